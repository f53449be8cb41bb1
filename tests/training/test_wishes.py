"""What is asked of a run under way is done at the next step, and changes nothing of what it would have been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette.errors import ConfigError
from maquette.events import Event, Progress
from maquette.logs.metrics import read_metrics
from maquette.runs.asked import Wish, ask_of_run, wishes_of
from maquette.runs.record import RunRecord, read_record
from maquette.training.loop import TrainResult
from tests.conftest import PICTURE_SIZES, make_pictures, short_settings

RUN = {"state_every_steps": None, "sample_prompts": ("zkw",), "sample_steps": 1, "learning_rate": 1e-2}


def asking(run: Path, *wishes: Wish, at: int = 2) -> object:
    """Return a listener that asks once step `at` is done: what is asked then is heard after that step."""

    def hear(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == at:
            for wish in wishes:
                ask_of_run(run, wish)

    return hear


def trained(
    base: Path, images: Path, out: Path, name: str, *wishes: Wish, at: int = 2, **more: object
) -> TrainResult:
    settings = short_settings(base, images, out, **{**RUN, **more}, name=name)
    return maquette.train(**settings, on_event=asking(out / name, *wishes, at=at))


def same(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("adamwschedulefree", marks=pytest.mark.slow)])
def test_what_is_asked_is_a_checkpoint_like_any_other_and_changes_no_bit(
    tiny_base: Path, pictures: Path, tmp_path: Path, optimizer: str
) -> None:
    """Also where the optimizer saves and draws with other weights than it trains."""
    more = {"optimizer": optimizer, "lr_scheduler": "constant"}
    plain = trained(tiny_base, pictures, tmp_path, "plain", **more)
    asked = trained(tiny_base, pictures, tmp_path, "asked", "save", "sample", **more)
    assert same(plain.lora, asked.lora)
    losses = [
        [(row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl")]
        for run in (plain.run, asked.run)
    ]
    assert losses[0] == losses[1]
    record: RunRecord = asked.record
    assert [entry.step for entry in record.checkpoints] == [2, 6]
    assert [entry.step for entry in record.samples] == [2, 6]
    assert (asked.run / "state" / "state-00000002.safetensors").is_file()
    assert wishes_of(asked.run) == frozenset()
    assert not (asked.run / ".maquette").exists()
    found = maquette.reproduce(asked.run)
    assert found.identical is True and len(found.compared) == 2 and not found.not_compared


def test_a_wish_that_a_kill_left_is_done_by_who_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    images = make_pictures(tmp_path / "p", PICTURE_SIZES)
    settings = short_settings(tiny_base, images, tmp_path, **RUN, name="one")

    def end(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**settings, on_event=end)
    run = tmp_path / "one"
    (run / ".maquette").mkdir(exist_ok=True)
    (run / ".maquette" / "asked-save").touch()
    resumed = maquette.train(resume=run)
    assert [entry.step for entry in resumed.record.checkpoints] == [3, 6]


def test_of_a_run_that_nobody_trains_nothing_can_be_asked(tiny_base: Path, tmp_path: Path) -> None:
    images = make_pictures(tmp_path / "p", PICTURE_SIZES)
    done = maquette.train(
        **short_settings(tiny_base, images, tmp_path, **{**RUN, "sample_prompts": ()}, name="one")
    )
    with pytest.raises(ConfigError, match="finished"):
        ask_of_run(done.run, "save")
    with pytest.raises(ConfigError, match=r"run\.json"):
        ask_of_run(tmp_path, "save")
    said = []

    def ask(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 2:
            with pytest.raises(ConfigError, match="sample_prompts") as told:
                ask_of_run(tmp_path / "two", "sample")
            said.append(told)

    maquette.train(
        **short_settings(tiny_base, images, tmp_path, **{**RUN, "sample_prompts": ()}, name="two"),
        on_event=ask,
    )
    assert said and [entry.step for entry in read_record(tmp_path / "two").checkpoints] == [6]
