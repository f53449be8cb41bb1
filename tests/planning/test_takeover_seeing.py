"""How a run of another trainer was watched becomes settings: its held-out pictures."""

from __future__ import annotations

from pathlib import Path

from maquette.dataset.planned import input_of, schedule_of
from maquette.dataset.reading import read_dataset
from maquette.elsewhere.runs import runs_of
from tests.conftest import make_pictures
from tests.elsewhere.samples import written
from tests.planning.test_takeover import SCRIPT, taken_from

HELD = SCRIPT.rstrip() + " --train_batch_size=2 {}\n"


def test_held_out_pictures_are_taken_over(tmp_path: Path) -> None:
    options = (
        "--validation_split=0.2 --validation_seed=5 --validate_every_n_steps=50 --max_validation_steps=3"
    )
    settings = taken_from(tmp_path, "train.sh", HELD.format(options)).settings()
    names = (
        "validation_split",
        "validation_seed",
        "validate_every_steps",
        "validate_every_epochs",
        "max_validation_pictures",
    )
    assert [settings[name] for name in names] == [0.2, 5, 50, 1, 6]


def test_validation_of_nothing_is_left_out(tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", HELD.format("--validate_every_n_steps=50"))
    assert "validate_every_epochs" not in taken.settings()
    assert any("no pictures are held out" in why for why in taken.left.values())


def test_a_kohya_run_counts_its_steps_without_held_out_pictures(tmp_path: Path) -> None:
    make_pictures(tmp_path / "img" / "10_zkw", [(64, 64)] * 7)
    (request,) = runs_of(written(tmp_path, "train.sh", HELD.format("--validation_split=0.3"))).requests
    facts = read_dataset(input_of(request, tmp_path / "img"), "headers")
    schedule = schedule_of(facts, request)
    assert schedule is not None and schedule.train_items == 50, "ceil(7 × 0.7) pictures, ten times"


def test_trackers_are_taken_over(tmp_path: Path) -> None:
    options = "--log_with=all --logging_dir=logs --log_tracker_name=foxes --wandb_run_name=first"
    taken = taken_from(tmp_path, "train.sh", HELD.format(options))
    settings = taken.settings()
    assert (settings["tensorboard"], settings["trackers"]) == (True, ("wandb",))
    assert (settings["tracker_project"], settings["tracker_run"]) == ("foxes", "first")
    assert any(name.startswith("logging_dir") for name in taken.left)


def test_a_folder_of_logs_alone_means_tensorboard(tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", HELD.format("--logging_dir=logs --wandb_run_name=first"))
    assert taken.settings()["tensorboard"] is True and "trackers" not in taken.settings()
    assert taken.left["wandb_run_name = first"] == "only wandb would show it"
