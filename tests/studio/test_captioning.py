"""Captions written by a source from the page, and who wrote which."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from maquette.api import caption
from maquette.captioning.writers import writers
from maquette.jobs.ledger import Ledger
from maquette.project.undoing import undo

from .conftest import Served

TEMPLATE = {
    "source": "template",
    "overwrite": False,
    "said": {"template": "{trigger}, standing", "strategy": "character"},
}


def by(served: Served) -> dict[str, str]:
    return {each["name"]: each["by"] for each in served.api("captions").table["pictures"]}


def test_each_caption_says_who_wrote_it_while_it_still_is_what_was_written(served: Served) -> None:
    images = served.project / "images"
    (images / "00.txt").write_text("tovaki, brought\n", encoding="utf-8")
    assert by(served)["00.png"] == ""
    caption(served.project, strategy="character", source=("template",), template="{trigger}, standing")
    served.api("caption", {"name": "02.png", "text": "tovaki, mine", "expected": "tovaki, standing"})
    assert [by(served)[name] for name in ("00.png", "01.png", "02.png")] == ["", "template", "you"]
    (images / "01.txt").write_text("somebody else's\n", encoding="utf-8")
    assert by(served)["01.png"] == ""
    edit = {
        "kind": "insert",
        "part": "outdoors",
        "other": "",
        "place": -1,
        "names": ["03.png"],
        "preview": False,
    }
    served.api("edit-captions", edit)
    assert by(served)["03.png"] == "you"
    undo(served.project)  # the part
    undo(served.project)  # the one that was typed
    assert (by(served)["02.png"], by(served)["03.png"]) == ("template", "template")
    assert set(writers(images)) == {f"{number:02d}.txt" for number in range(2, 8)}


def test_the_price_counts_the_pictures_and_the_first_are_shown_without_writing(served: Served) -> None:
    images = served.project / "images"
    (images / "00.txt").write_text("tovaki, brought\n", encoding="utf-8")
    before = sorted(path.name for path in images.iterdir())

    def price(source: str, overwrite: bool) -> int:
        return int(served.api("caption-price", {"source": source, "overwrite": overwrite}).table["pictures"])

    assert [price("template", False), price("template", True), price("rewrite", False)] == [7, 8, 1]
    shown = served.api("try-captions", TEMPLATE).table["captions"]
    assert shown == [{"name": f"0{number}.png", "text": "tovaki, standing"} for number in (1, 2, 3)]
    assert sorted(path.name for path in images.iterdir() if path.name != ".maquette") == before
    for wrong in ({"source": "magic"}, {"source": "wd"}, {"said": {"nonsense": "x"}}, {"said": {"url": "x"}}):
        assert served.api("try-captions", TEMPLATE | wrong).status == 400


def test_captions_are_written_by_a_job_of_the_queue(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    number = served.api("write-captions", TEMPLATE).table["job"]
    for _ in range(600):
        with Ledger() as ledger:
            job = ledger.job(number)
        if job.is_over:
            break
        time.sleep(0.1)
    assert job.state == "done", job.error
    assert (served.project / "images" / "05.txt").read_text(encoding="utf-8") == "tovaki, standing\n"
    assert by(served)["05.png"] == "template"
    again = served.api("caption-price", {"source": "template", "overwrite": False}).table
    assert again["pictures"] == 0
