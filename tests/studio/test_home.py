"""Home: how far each project is, and what this computer is."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

from .conftest import Served


def stage(served: Served) -> str:
    page = html.unescape(served.ask("/").body.decode())
    return page.split('<p class="stage">')[1].split("</p>")[0]


def test_a_project_says_how_far_it_is(served: Served) -> None:
    assert stage(served) == "9 pictures · no captions yet · not trained yet"
    for number in range(2):
        (served.project / "images" / f"0{number}.txt").write_text("tovaki\n", encoding="utf-8")
    assert stage(served) == "9 pictures · 2 with a caption · not trained yet"
    recorded = Path(__file__).parent.parent / "runs" / "run-v3.json"
    (served.project / "runs" / "first").mkdir(parents=True)
    shutil.copy(recorded, served.project / "runs" / "first" / "run.json")
    assert stage(served).startswith("9 pictures · 2 with a caption · 1 run · ")
    (served.project / "runs" / "first" / "run.json").write_text("{", encoding="utf-8")
    assert served.ask("/").status == 200


def test_the_machine_is_told_in_words(served: Served) -> None:
    facts = dict(served.ask("/api/machine").table["facts"])
    assert facts["Device"]
    disks = [text for name, text in facts.items() if name.startswith("Disk of ")]
    assert disks and all(text.endswith(" free") for text in disks)
