"""The Compare page: what changed beside what it did, of runs of this project and others, and the notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.cli.app import maquette as command
from maquette.files import sha256_file
from maquette.runs.folder import RunFolder
from maquette.runs.record import PictureRecord, read_record

from .conftest import Served, serving
from .making import judged, made_run

ODD = "<img src=x onerror=alert(1)>"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A studio over two projects; the first has three runs, the third of them not judged, the second one."""

    served: Served
    project: Path
    other: str

    def compare(self, a: str, b: str) -> Any:
        answer = self.served.api(f"compare?a={a}&b={b}")
        assert answer.status == 200, answer.body
        return answer.table


def with_pictures(run: RunFolder, pictures: dict[Path, str]) -> None:
    """Let the run have been trained on these pictures as they lie there now, with these captions."""
    record = read_record(run.path)
    made = tuple(
        PictureRecord(
            path=str(path),
            subset=0,
            size_wh=(8, 8),
            sha256=sha256_file(path),
            caption=caption,
            caption_sha256=None,
        )
        for path, caption in pictures.items()
    )
    record.with_(dataset=replace(record.dataset, pictures=made)).write(run)


def drawn(path: Path, colour: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("compare")
    project = folder / "project"
    images = project / "images"
    first = judged(made_run(project), 4.0)
    one, two, gone = (drawn(images / f"{name}.png", name) for name in ("red", "blue", "green"))
    with_pictures(first, {one: "zkw, standing", two: "zkw, sitting", gone: f"zkw {ODD}"})
    second = judged(made_run(project, "zkw-002", settings={"lora": {"rank": 16}}), 7.0)
    drawn(two, "navy")  # edited: what the first run had is nowhere any more
    new = drawn(images / "new.png", "white")
    with_pictures(second, {one: "zkw, red hair, standing", two: "zkw, sitting", new: "zkw, jumping"})
    made_run(project, "zkw-003")
    other = made_run(folder / "other", "far").path.parent.parent
    for served in serving(project, folder / "home"):
        key = served.studio.workspace.open(other).key
        yield Opened(served=served, project=project, other=key)


def test_what_changed_stands_beside_what_it_did(opened: Opened) -> None:
    found = opened.compare("zkw-001", "zkw-002")
    assert {"name": "lora.rank", "a": 2, "b": 16} in found["settings"]
    [caption] = found["captions"]
    assert [kind for kind, _ in caption["pieces"]] == ["same", "new", "same"]
    assert caption["pieces"][1][1].strip(" ,") == "red hair" and found["words"][0]["come"] == 1
    assert {each["name"]: each["change"] for each in found["pictures"]} == {
        "blue.png": "changed",
        "new.png": "added",
        "green.png": "removed",
    }
    [total] = [row for row in found["scores"] if row["name"] == "score"]
    assert total["difference"]["value"] == pytest.approx(total["b"]["value"] - total["a"]["value"])
    assert total["is_clear"] and total["a"]["low"] < total["a"]["value"] < total["a"]["high"]
    assert {(row["prompt"], row["seed"]) for row in found["drawings"]} >= {("a", 1), ("b", 2)}
    answer = CliRunner().invoke(
        command, ["diff", *(str(opened.project / "runs" / f"zkw-00{n}") for n in (1, 2)), "--json"]
    )
    assert set(json.loads(answer.stdout)["captions"]) == {caption["name"]}  # as the command line says it


def test_pictures_are_shown_while_they_hold_what_was_trained_on(opened: Opened) -> None:
    found = opened.compare("zkw-001", "zkw-002")
    shown = {each["name"]: (each["a"], each["b"]) for each in found["pictures"]}
    assert shown["blue.png"][0] is None and shown["blue.png"][1]  # edited since: only the new one is there
    assert shown["new.png"][0] is None and shown["green.png"][1] is None
    addresses = [shown["blue.png"][1], shown["new.png"][1], shown["green.png"][0]]
    addresses += [row[side] for row in found["drawings"] for side in "ab"]
    for address in addresses:
        assert opened.served.ask(address).headers["content-type"] == "image/webp"


def test_a_run_that_was_not_judged_says_the_way_to_judge_it(opened: Opened) -> None:
    found = opened.compare("zkw-001", "zkw-003")
    assert [run["judged"] for run in found["runs"]] == [True, False]
    assert found["runs"][1]["command"].startswith("maquette select ") and found["drawings"]
    assert all(row["b"] is None and row["difference"] is None for row in found["scores"])


def test_runs_of_another_opened_project_are_compared_and_no_others(opened: Opened) -> None:
    found = opened.compare("zkw-001", f"{opened.other}/far")
    assert [run["name"] for run in found["runs"]] == ["zkw-001", "far"]
    assert found["runs"][1]["key"] == opened.other
    for ref in ("nowhere", "../runs/zkw-001", "0123456789ab/far", "%2fetc", ""):
        assert opened.served.api(f"compare?a=zkw-001&b={ref}").status == 404
    text = opened.served.ask(f"/p/{opened.served.key}/compare").body.decode()
    assert f'value="{opened.other}/far"' in text and 'data-b="zkw-00' in text


def test_a_note_is_written_as_the_command_writes_it_and_corrected(opened: Opened) -> None:
    run = opened.project / "runs" / "zkw-003"
    CliRunner().invoke(command, ["note", str(run), "too dark"])
    said = {"text": f"rejected: {ODD}", "verdict": "", "amends": 0}
    answer = opened.served.api("run/zkw-003/note", said).table
    assert answer["verdict"] == "rejected" and answer["notes"][1]["text"] == ODD
    answer = opened.served.api("run/zkw-003/note", {"text": "fine", "verdict": "kept", "amends": 2}).table
    assert answer["verdict"] == "kept" and [each["amended"] for each in answer["notes"]] == [
        False,
        True,
        False,
    ]
    told = json.loads(CliRunner().invoke(command, ["note", str(run), "--json"]).stdout)
    assert told["verdict"] == "kept" and len(told["notes"]) == 3
    before = (run / "notes.jsonl").read_bytes()
    for bad in ({"text": " "}, {"text": "x", "verdict": "maybe"}, {"text": "x", "amends": 9}):
        assert (
            opened.served.api("run/zkw-003/note", {"text": "", "verdict": "", "amends": 0, **bad}).status
            == 400
        )
    assert opened.served.api("run/zkw-003/note", said, page=False).status == 403
    assert (run / "notes.jsonl").read_bytes() == before


def test_one_run_is_not_two(served: Served) -> None:
    assert "Two runs are needed" in served.ask(f"/p/{served.key}/compare").body.decode()
