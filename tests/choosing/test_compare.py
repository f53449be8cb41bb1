"""Runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.choosing.compare import compare_events, difference_of
from maquette.choosing.options import CompareRunsOptions
from maquette.cli.app import maquette as command
from maquette.errors import ConfigError
from maquette.events import run_stage
from maquette.runs.choice import NAME
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint
from tests.runs.making import run_record

from .making import look_of


def made(folder: Path, rank: int, truth: float, *, seed: int = 0) -> Path:
    """Return an evaluated run with two checkpoints, the second of which is as good as `truth`."""
    run = RunFolder(folder)
    entries = [
        Checkpoint(path=f"checkpoints/step-{step}.safetensors", step=step, epoch=1) for step in (100, 200)
    ]
    record = run_record(
        {"lora": {"rank": rank}}, run=folder.name, state="finished", step=200, checkpoints=tuple(entries)
    )
    run.path.mkdir(parents=True)
    record.write(run)
    look = look_of({"step 100": 1.0, "step 200": truth}, seed=seed, folder=run.evaluation)
    for each in look.looks:
        path = run.evaluation / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "teal").save(path)
    look.write()
    return folder


def test_numbers_of_the_chosen_stand_beside_what_was_changed(tmp_path: Path) -> None:
    runs = [str(made(tmp_path / "one", 8, 4.0)), str(made(tmp_path / "two", 16, 7.0, seed=1))]
    result = CliRunner().invoke(command, ["compare", *runs, "--json"])
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    answer = json.loads(line)
    assert [run["checkpoint"] for run in answer["runs"]] == ["checkpoints/step-200.safetensors"] * 2
    assert answer["runs"][0]["scores"]["score"]["value"] == pytest.approx(0.4, abs=0.03)
    (step,) = answer["differences"]
    assert step["changed"]["settings"]["lora.rank"] == {"a": 8, "b": 16}
    assert step["scores"]["score"]["value"] == pytest.approx(0.3, abs=0.05)
    assert step["scores"]["score"]["is_clear"] is True and answer["notes"] == []
    spoken = CliRunner().invoke(command, ["compare", *runs]).stdout
    assert "rank 8 → 16" in spoken and "score +0.3" in spoken


def test_nothing_is_chosen_or_written_by_comparing(tmp_path: Path) -> None:
    runs = [made(tmp_path / "one", 8, 4.0), made(tmp_path / "two", 8, 4.0)]
    found = run_stage(compare_events(runs, CompareRunsOptions()))
    assert not any((run / NAME).exists() for run in runs) and found.page is None
    change = difference_of(*found.runs, "score")
    assert change is not None and change.mean == 0 and not change.shows_difference_from(0.0)


def test_runs_of_one_name_are_told_apart_by_where_they_lie(tmp_path: Path) -> None:
    runs = [made(tmp_path / place / "runs" / "zkw", 8, 4.0) for place in ("sd15", "sdxl")]
    found = run_stage(compare_events(runs, CompareRunsOptions()))
    assert [run.name for run in found.runs] == ["sd15/runs/zkw", "sdxl/runs/zkw"]


def test_the_page_is_complete_in_itself(tmp_path: Path) -> None:
    runs = [made(tmp_path / f"run-{number}", 8, 4.0 + number) for number in range(3)]
    found = run_stage(compare_events(runs, CompareRunsOptions(html=tmp_path / "compare.html")))
    assert found.page is not None
    page = found.page.read_text(encoding="utf-8")
    assert page.count('<h3 class="name">') == 2 and page.count("data:image/png") == 3 * 3 * 4
    assert "src=" in page and 'src="http' not in page and "href" not in page


def test_runs_that_were_not_evaluated_or_drew_other_things_are_told(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", 8, 4.0), made(tmp_path / "two", 8, 4.0)
    look_of({"step 100": 1.0, "step 200": 4.0}, seeds=2, folder=RunFolder(two).evaluation).write()
    three = RunFolder(tmp_path / "three")
    three.path.mkdir()
    run_record({}, run="three").write(three)
    found = run_stage(compare_events([one, two, three.path], CompareRunsOptions()))
    told = " ".join(found.notes)
    assert (
        "three was not evaluated: maquette select" in told
        and "one and two drew other prompts or seeds" in told
    )


def test_one_run_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        run_stage(compare_events([made(tmp_path / "one", 8, 4.0)], CompareRunsOptions()))
