"""Laws of the time model; and an earlier run of the project is believed before anything computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import maquette
from maquette import families
from maquette.footprint.known_times import PUBLISHED, from_published, step_flops
from maquette.footprint.memory import MemoryRequest
from maquette.footprint.speed import Speed, _Bench, costly_layers
from maquette.footprint.timing import computed_step
from maquette.footprint.workload import decoding, encoding
from maquette.planning.options import PlanOptions
from maquette.planning.requests import settings_for
from maquette.planning.run import plan

SMALL = min(families.FAMILIES.values(), key=lambda family: family.spec.native_resolution_px).layout(None)
SPEED = Speed(
    rates={
        "conv": ((4096, 1e12), (64, 2e11)),
        "linear": ((4096, 2e12), (64, 5e11)),
        "attention": ((4096, 3e11),),
    },
    read_bytes_per_s=5e10,
    call_s=1e-4,
    measured_s=2.0,
)
REQUEST = MemoryRequest(layout=SMALL, size_wh=(512, 512), rank=32)


def seconds(**changes: object) -> float:
    return computed_step(REQUEST.changed(**changes), SPEED)


@pytest.mark.parametrize("kind", ["conv", "linear", "attention"])
def test_a_layer_too_large_for_this_machine_is_measured_on_a_piece_of_it(kind: Any) -> None:
    """Run whole it would take terabytes, and years."""
    small = next(op for op in REQUEST.work().ops if op.kind == kind and op.flops)
    times = 2**30
    queries, keys, *rest = small.shape
    keys = keys * times if kind == "attention" else keys
    grown = times**2 if kind == "attention" else times
    large = replace(small, shape=(queries * times, keys, *rest), flops=small.flops * grown)
    assert 1e6 < _Bench(torch.device("cpu"), torch.float32, 4, 1).rate_of(large) < 1e14


def test_more_work_takes_longer() -> None:
    now = seconds()
    assert seconds(batch=2) > now and seconds(size_wh=(768, 512)) > now and seconds(rank=128) > now
    assert seconds(parts=("denoiser",)) < now and seconds(text_tokens=225) > now
    assert 1.1 * now < seconds(checkpointing=True) < 1.6 * now
    assert 1.3 * now < seconds(preservation_every=3) < 1.5 * now
    assert 2.2 * now < seconds(preservation_every=1) < 2.6 * now
    assert seconds(accumulation=4) == pytest.approx(4 * now, rel=0.1)


def test_a_layer_is_as_fast_as_the_measured_one_of_nearest_size() -> None:
    ops = [op for op in REQUEST.work().ops if op.kind == "conv"]
    assert {SPEED.rate(op) for op in ops if op.shape[0] >= 4096} == {1e12}
    assert {SPEED.rate(op) for op in ops if op.shape[0] <= 64} == {2e11}


def test_the_layers_that_are_measured_cost_the_most() -> None:
    ops = REQUEST.work().ops
    chosen = costly_layers(ops, "conv", 1)[0]
    at = {
        op.shape[0]: sum(
            each.flops * each.times for each in ops if each.kind == "conv" and each.shape[0] == op.shape[0]
        )
        for op in ops
    }
    assert at[chosen.shape[0]] == max(at.values())


def test_a_step_of_sd_1_5_at_512_px_takes_about_2_tflop() -> None:
    """Field notes: about 2.4 TFLOP a step, forward and backward, text encoder included."""
    assert step_flops(REQUEST.work(), REQUEST) == pytest.approx(2.0e12, rel=0.25)


def test_coding_pictures_grows_with_their_pixels() -> None:
    for coding in (encoding, decoding):
        assert coding(SMALL, (1024, 512)).flops == pytest.approx(
            2 * coding(SMALL, (512, 512)).flops, rel=0.05
        )


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.card)
def test_a_published_figure_comes_back_for_what_it_was_published_for(entry) -> None:  # type: ignore[no-untyped-def]
    family = next(f for f in families.FAMILIES.values() if f.spec.native_resolution_px == entry.native_px)
    request = MemoryRequest(
        layout=family.layout(None), size_wh=(entry.px, entry.px), batch=entry.batch, rank=entry.rank,
        checkpointing=entry.checkpointing, device="cuda",
    )  # fmt: skip
    step = from_published(entry.card, request, request.work(), entry.native_px)
    assert step.seconds == pytest.approx(entry.seconds) and "not measured here" in step.source


def test_an_earlier_run_tells_the_time_of_the_next(
    pictures: Path, short_run: Callable[..., dict], tmp_path: Path
) -> None:
    values = short_run(state_every_steps=0, dropout=0.0)
    done = maquette.train(**values)
    flags = {key: value for key, value in values.items() if key not in ("images", "name")}
    quiet = PlanOptions(measure=False)
    same = plan(settings_for(pictures, {**flags, "name": "next"}), quiet).time
    assert same is not None and same.step.seconds == pytest.approx(done.seconds_per_step, abs=1e-4)
    assert "the run zkw" in same.step.source
    twice = plan(settings_for(pictures, {**flags, "name": "next", "accumulation": 2}), quiet).time
    assert twice is not None and twice.step.seconds == pytest.approx(2 * same.step.seconds, rel=0.01)
    elsewhere = settings_for(pictures, {**flags, "name": "next", "output": tmp_path / "empty"})
    assert plan(elsewhere, quiet).time is None
