"""Laws of measuring LoRA files: what a run measured of itself comes out again, and anybody's files are asked the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import maquette
from maquette.errors import ConfigError
from maquette.logs.metrics import VALIDATION, read_metrics


def test_a_runs_checkpoints_measure_what_the_run_did(short_run: Callable[..., dict]) -> None:
    settings = short_run(
        steps=2, learning_rate=1e-2, validation_pictures=1, validation_timesteps=2, save_every_steps=1
    )
    run = maquette.train(**settings)
    again = maquette.validate(run.run, timesteps=2)
    rows = read_metrics(run.run / "metrics.jsonl", VALIDATION)
    assert [row["step"] for row in rows] == [0, 1, 2] and len(again.measured) == 3
    for row, found in zip(rows, again.measured, strict=True):
        assert found.losses == pytest.approx(row["pictures"], rel=1e-5)
    assert [each.lora and each.lora.name for each in again.measured] == [
        None, "zkw-step00000001.safetensors", "zkw.safetensors",
    ]  # fmt: skip

    alone = maquette.validate(
        run.lora, base=settings["base"], images=settings["images"], resolution=64, timesteps=2
    )
    assert len(alone.pictures) == 3 and alone.measured[1].point.from_base is not None
    (place,) = [n for n, path in enumerate(alone.pictures) if path == again.pictures[0]]
    assert alone.measured[0].losses[place] == pytest.approx(again.measured[0].losses[0], rel=1e-5)


def test_files_outside_a_run_need_base_and_pictures(short_run: Callable[..., dict]) -> None:
    with pytest.raises(ConfigError, match="--base, --images"):
        maquette.validate("one.safetensors")
