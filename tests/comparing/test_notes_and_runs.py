"""The experiment notebook and the list of runs: what was decided stays as it was written; what cannot be read is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import maquette
from maquette.errors import ConfigError, OutputError
from maquette.evaluating.notebook import render_notebook
from maquette.reading import parse_json
from maquette.runs.folder import RunFolder
from maquette.runs.migrations import RECORD_VERSION
from maquette.runs.notes import read_notes, standing_of
from maquette.runs.record import read_record
from maquette.runs.validation import ValidationPoint, ValidationRecord
from tests.comparing.making import asked, run_over, shown
from tests.dataset.making import captioned
from tests.runs.making import stored


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return captioned(tmp_path / "pictures", 2)


@pytest.fixture
def run(tmp_path: Path, pictures: Path) -> Path:
    run_over(pictures, tmp_path / "runs" / "one", created_at="2026-01-02T10:00:00+00:00")
    return tmp_path / "runs" / "one"


# --- notes -----------------------------------------------------------------------------------------------


def test_a_note_is_appended_with_its_time_and_changes_nothing_before_it(run: Path) -> None:
    was = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    first = maquette.note(run, "rejected: trigger decoupled")
    lines = (run / "notes.jsonl").read_bytes()
    both = maquette.note(run, "the captions name the hair", verdict="rejected", amends=1)
    assert (run / "notes.jsonl").read_bytes().startswith(lines)
    assert {path: path.read_bytes() for path in was} == was
    assert [each.text for each in both] == ["trigger decoupled", "the captions name the hair"]
    assert first == both[:1] and all(each.time.startswith("20") for each in both)
    assert read_notes(RunFolder(run)) == both
    assert (
        standing_of(both).verdict == "rejected" and standing_of(both).reason == "the captions name the hair"
    )


def test_the_last_verdict_that_was_not_taken_back_stands(run: Path) -> None:
    maquette.note(run, "good", verdict="kept")
    maquette.note(run, "seen on the other machine too")
    notes = maquette.note(run, "open: look at the hands first")
    assert (standing_of(notes).verdict, standing_of(notes).reason) == ("open", "look at the hands first")
    notes = maquette.note(run, "that was another run", amends=3)
    assert (standing_of(notes).verdict, standing_of(notes).reason) == ("kept", "good")
    assert standing_of([]).verdict is None


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("", {}, "empty"),
        ("   ", {"verdict": "kept"}, "empty"),
        ("x" * 5000, {}, "5,000 letters"),
        ("why", {"verdict": "good"}, "one of kept, rejected, open"),
        ("kept: why", {"verdict": "rejected"}, "begins with 'kept:'"),
        ("why", {"amends": 1}, "a run that has a note"),
    ],
)
def test_a_note_that_says_nothing_or_two_things_is_refused(
    text: str, given: dict[str, Any], expected: str, run: Path
) -> None:
    with pytest.raises(ConfigError, match=expected):
        maquette.note(run, text, **given)
    assert not (run / "notes.jsonl").exists()


def test_lines_that_are_no_notes_are_passed_over(run: Path) -> None:
    maquette.note(run, "kept: good")
    with (run / "notes.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": 3}\n{"text": "x", "verdict": "maybe"}\n[1]\n{"tex')
    maquette.note(run, "later")
    assert [each.text for each in maquette.note(run, "last")] == ["good", "later", "last"]


def test_only_a_run_has_notes(tmp_path: Path, run: Path) -> None:
    with pytest.raises(OutputError, match="no run"):
        maquette.note(run.parent, "why")
    with pytest.raises(OutputError, match="no such folder"):
        maquette.note(tmp_path / "nothing", "why")


def test_the_command_writes_and_shows_notes(run: Path) -> None:
    code, found = asked("note", run, "rejected: too dark")
    assert code == 0 and (found["verdict"], found["reason"]) == ("rejected", "too dark")
    assert asked("note", run)[1]["notes"] == found["notes"]
    assert "rejected: too dark" in shown("note", run)
    assert asked("note", run, "why", "--verdict", "good")[0] == 2


# --- the list --------------------------------------------------------------------------------------------


def test_the_runs_below_a_folder_are_listed_and_what_cannot_be_read_is_said(
    run: Path, pictures: Path, tmp_path: Path
) -> None:
    point = ValidationPoint(step=8, loss=0.25)
    measured = ValidationRecord(
        measured_on="held-out", seed=1, timesteps=(500.0,), pictures=(), points=(point,)
    )
    run_over(
        pictures, tmp_path / "runs" / "deep" / "two", {"subject": {"trigger": "abc"}}, validation=measured,
        created_at="2026-01-03T10:00:00+00:00", state="finished", step=8, final_loss=0.125,
    )  # fmt: skip
    for name, text in (("damaged", '{"run":'), ("newer", json.dumps({"record_version": RECORD_VERSION + 1}))):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "run.json").write_text(text)
    (tmp_path / "runs" / "old").mkdir()
    (tmp_path / "runs" / "old" / "run.json").write_text(stored(1).read_text(encoding="utf-8"))
    (run / "checkpoints" / "inner").mkdir(parents=True)
    (run / "checkpoints" / "inner" / "run.json").write_text("{}")  # a run's own folders hold no runs
    maquette.note(run, "rejected: too dark")
    code, found = asked("runs", tmp_path / "runs")
    assert code == 0
    by_name = {each["name"]: each for each in found["runs"]}
    assert [each["name"] for each in found["runs"]][-2:] == ["two", "one"] and set(by_name) == {
        "one",
        "two",
        "zkw",
    }
    assert (by_name["two"]["trigger"], by_name["two"]["validation"], by_name["two"]["loss"]) == (
        "abc",
        0.25,
        0.125,
    )
    assert (by_name["one"]["verdict"], by_name["one"]["reason"]) == ("rejected", "too dark")
    assert by_name["zkw"]["record_version"] == 1
    problems = {Path(each["path"]).name: each["problem"] for each in found["unread"]}
    assert (
        "not valid JSON" in problems["damaged"]
        and "newer release" in problems["newer"]
        and len(problems) == 2
    )
    text = shown("runs", tmp_path / "runs")
    assert "rejected: too dark" in text and "1 record of an older release" in text and "newer release" in text


def test_runs_are_sorted_by_any_column_those_without_a_value_last(run: Path, pictures: Path) -> None:
    for name, loss in (("a", 0.5), ("b", 0.1), ("c", None)):
        run_over(
            pictures,
            run.parent / name,
            final_loss=loss,
            created_at=f"2026-02-0{ord(name) - 96}T00:00:00+00:00",
        )
    run.rename(run.parent.parent / "away")

    def names(**given: Any) -> list[str]:
        return [each.name for each in maquette.list_runs(run.parent, **given).runs]

    assert names() == ["c", "b", "a"] and names(reverse=True) == ["a", "b", "c"]
    assert names(sort="loss") == ["b", "a", "c"] and names(sort="loss", reverse=True) == ["a", "b", "c"]
    assert names(sort="name") == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="sort"):
        names(sort="colour")


def test_a_run_that_says_it_runs_is_told_from_one_that_was_left(run: Path) -> None:
    read_record(run).with_(state="running").write(RunFolder(run))
    assert maquette.list_runs(run).runs[0].is_left
    own = run / ".maquette"
    own.mkdir()
    import socket

    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": "now", "what": "train"}
    (own / "owner.json").write_text(json.dumps(owner))
    assert not maquette.list_runs(run).runs[0].is_left
    (own / "owner.json").write_text(json.dumps({**owner, "pid": 2**22 + 12345}))
    assert maquette.list_runs(run).runs[0].is_left


def test_the_difference_of_two_runs_says_what_came_of_them(run: Path, pictures: Path) -> None:
    run_over(pictures, run.parent / "two", final_loss=0.5, state="finished")
    maquette.note(run.parent / "two", "kept: better hands")
    _, found = asked("diff", run, run.parent / "two")
    assert found["results"]["b"]["verdict"] == "kept" and found["results"]["b"]["loss"] == 0.5
    assert found["results"]["a"]["verdict"] is None
    assert "kept: better hands" in shown("diff", run, run.parent / "two")


# --- the page --------------------------------------------------------------------------------------------


def test_the_page_has_every_decision_failure_and_reason_and_what_each_run_changed(
    run: Path, pictures: Path, tmp_path: Path
) -> None:
    maquette.note(run, "rejected: <script>alert(1)</script>")
    run_over(
        pictures, run.parent / "two", {"lora": {"rank": 32}}, created_at="2026-01-05T00:00:00+00:00",
        state="failed", error="CUDA out of memory",
    )  # fmt: skip
    page = tmp_path / "notebook.html"
    code, found = asked("runs", run.parent, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert code == 0 and found["page"] == str(page)
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "CUDA out of memory" in text and "rank 2 → 32" in text
    assert 'id="rejected"' in text and 'id="failed"' in text and "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http-equiv", "")
    block = text.split('id="maquette-notebook">')[1].split("</script>")[0]
    assert [each["name"] for each in parse_json(block)["runs"]] == ["two", "one"]
    assert "No run below" in render_notebook(maquette.list_runs(pictures))


def test_looking_changes_no_byte_of_a_run(run: Path, pictures: Path, tmp_path: Path) -> None:
    run_over(pictures, run.parent / "two")
    was = {path: (path.read_bytes() if path.is_file() else None) for path in run.parent.rglob("*")}
    shown("runs", run.parent, "--notes")
    shown("runs", run.parent, "--html", tmp_path / "page.html")
    asked("note", run)
    assert was == {path: (path.read_bytes() if path.is_file() else None) for path in run.parent.rglob("*")}
