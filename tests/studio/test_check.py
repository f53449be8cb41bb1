"""The Check page: the command line's findings, its repairs and its journal; and what the rail says of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.checking.options import CheckOptions
from maquette.checking.run import check_events
from maquette.checking.run import undo as undo_repairs
from maquette.events import run_stage
from maquette.project.config_file import load_settings
from maquette.studio.pages import RAIL

from .conftest import Served, make_project, serving


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A studio with a project that lacks a trigger, has a byte order mark and a picture on its side."""
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    project = make_project(tmp_path / "project", [f"{number}.png" for number in range(5)], side_px=96)
    images = project / "images"
    for number in range(5):
        (images / f"{number}.txt").write_text(f"tovaki, standing {number}", encoding="utf-8")
    (images / "1.txt").write_bytes(b"\xef\xbb\xbftovaki, standing")
    (images / "2.txt").write_text("standing alone", encoding="utf-8")
    exif = Image.Exif()
    exif[0x112] = 6
    with Image.open(images / "3.png") as picture:
        picture.resize((96, 64)).save(images / "3.png", exif=exif)
    yield from serving(project, tmp_path / "home")


def checked(served: Served) -> Any:
    """Return the page's state once no check is at work."""
    for _ in range(400):
        state = served.api("check").table
        if not state["running"]:
            return state
        time.sleep(0.05)
    raise AssertionError("the check does not end")


def findings(state: Any) -> dict[str, Any]:
    return {group["code"]: group["findings"] for group in state["result"]["groups"]}


def test_the_page_shows_what_the_command_line_finds_and_keeps_it(faulty: Served) -> None:
    assert faulty.api("check").table["result"] is None
    assert faulty.api("rail").table["check"]["note"] == "not checked yet"
    assert faulty.api("check", {}).status == 200
    state = checked(faulty)
    assert state["problems"] == []
    told = run_stage(check_events([faulty.project])).findings
    shown = {one["key"] for group in state["result"]["groups"] for one in group["findings"]}
    assert shown == {finding.key for finding in told}
    found = findings(state)
    assert found["PIC007"][0]["pictures"] == ["3.png"]
    assert found["CAP007"][0]["pictures"] == ["2.png"]
    rule = state["result"]["rules"]["PIC007"]
    assert [part["title"] for part in rule["parts"]][:3] == [
        "What goes wrong",
        "How it is found",
        "What to do",
    ]
    assert state["result"]["is_fresh"]
    rail = faulty.api("rail").table
    assert list(rail) == [stop.name for stop in RAIL]
    errors = sum(finding.severity == "error" for finding in told)
    assert (rail["check"]["state"], rail["check"]["count"]) == ("blocked", errors)
    (faulty.project / "images" / "4.txt").write_text("tovaki, running", encoding="utf-8")
    assert not checked(faulty)["result"]["is_fresh"]
    assert faulty.api("rail").table["check"]["state"] == ""


def test_a_repair_is_shown_before_it_is_made_and_the_command_line_takes_it_back(faulty: Served) -> None:
    faulty.api("check", {})
    found = findings(checked(faulty))
    before = {
        path.name: path.read_bytes() for path in (faulty.project / "images").iterdir() if path.is_file()
    }
    keys = [found["CAP007"][0]["key"], found["PIC007"][0]["key"]]
    preview = faulty.api("preview-repair", {"keys": keys}).table
    edits = {edit["name"]: edit for edit in preview["edits"]}
    assert (
        "".join(text for kind, text in edits["2.txt"]["pieces"] if kind != "gone") == "tovaki, standing alone"
    )
    assert edits["3.png"]["kind"] == "picture" and edits["3.png"]["after"].startswith(
        "data:image/webp;base64,"
    )
    assert preview["files"] == 2
    assert before == {
        path.name: path.read_bytes() for path in (faulty.project / "images").iterdir() if path.is_file()
    }
    done = faulty.api("repair", {"keys": keys}).table
    assert (done["repaired"], done["files"], done["troubles"]) == (2, 2, [])
    with Image.open(faulty.project / "images" / "3.png") as picture:
        assert picture.size == (64, 96)
    left = findings(checked(faulty))
    assert "PIC007" not in left and "CAP007" not in left and "CAP005" in left
    undo_repairs([faulty.project])
    assert before == {
        path.name: path.read_bytes() for path in (faulty.project / "images").iterdir() if path.is_file()
    }


def test_repairs_of_the_command_line_are_taken_back_on_the_page(faulty: Served) -> None:
    before = (faulty.project / "images" / "2.txt").read_bytes()
    run_stage(check_events([faulty.project], CheckOptions(fix=True, select=("CAP007",))))
    assert (faulty.project / "images" / "2.txt").read_bytes() != before
    assert faulty.api("check").table["undo"] == "repairs in 1 file"
    assert faulty.api("undo-repair", {}).table["files"] == 1
    assert (faulty.project / "images" / "2.txt").read_bytes() == before
    checked(faulty)


def test_a_rule_is_silenced_in_the_settings_and_heard_again(faulty: Served) -> None:
    assert faulty.api("silence", {"code": "CAP007", "hear": False}).status == 200
    assert load_settings(faulty.project).check.ignore_rules == ("CAP007",)
    state = checked(faulty)
    assert "CAP007" not in findings(state)
    assert [each["code"] for each in state["silenced"]] == ["CAP007"]
    assert faulty.api("silence", {"code": "CAP007", "hear": True}).status == 200
    assert "ignore_rules" not in (faulty.project / "maquette.toml").read_text(encoding="utf-8")
    assert faulty.api("silence", {"code": "<b>", "hear": False}).status == 400
    assert "CAP007" in findings(checked(faulty))


def test_what_is_no_finding_changes_nothing(faulty: Served) -> None:
    assert faulty.api("preview-repair", {"keys": ["nothing"]}).status == 400
    assert faulty.api("repair", {"keys": []}).status == 400
    assert faulty.api("repair", {"keys": ["nothing"]}).table["files"] == 0
    assert faulty.api("repair", {"keys": ["nothing"]}, page=False).status == 403
    checked(faulty)


def test_the_rail_says_what_waits_at_each_stop(faulty: Served) -> None:
    rail = faulty.api("rail").table
    assert (rail["pictures"]["state"], rail["pictures"]["count"]) == ("open", 2)
    assert rail["captions"]["state"] == "done"
    (faulty.project / "images" / "0.txt").unlink()
    assert faulty.api("rail").table["captions"] == {
        "state": "open",
        "note": "1 without a caption",
        "count": 1,
    }
    (faulty.project / "images" / "curation.json").write_text("{", encoding="utf-8")
    assert faulty.api("rail").table["pictures"]["state"] == "blocked"
