"""Several processes train as one with so many times the batch; whatever happens to one of them, none is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import maquette
from maquette import families
from maquette.devices import place
from maquette.errors import ConfigError, TrainingError
from maquette.events import Progress, run_stage
from maquette.families.protocol import PictureSize
from maquette.logs.metrics import read_metrics
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.project.config_file import load_settings
from maquette.project.settings import ObjectiveSettings, SubjectSettings
from maquette.rules.verdict import judge
from maquette.runs.record import read_record
from maquette.training.batches import MicroBatch, own_rows
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine, Shown
from maquette.training.exchange import parameters_of
from maquette.training.loop import TrainResult, run_job
from maquette.training.prepare import prepare
from maquette.training.processes import together
from tests.conftest import make_pictures

ShortRun = Callable[..., dict[str, Any]]

TOLERANCE = 2e-5
"""Of a loss: the same products, summed up in another order."""
NORM_TOLERANCE = 1e-3
"""Of a gradient's norm: ten times what float32 by itself is off from double precision on the tiny base."""


def rows_of(run: Path) -> list[dict[str, Any]]:
    return read_metrics(run / "metrics.jsonl")


def told_by(lora: Path) -> dict[str, str]:
    with safe_open(lora, "pt") as file:
        return file.metadata()


def helpers() -> list[psutil.Process]:
    """Return the helpers at work below this process; what has ended, of another test for one, has no command line any more."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and any("maquette.training.helping" in word for word in child.cmdline())
    ]


def test_rows_are_shared_out_whole_and_the_first_process_has_some() -> None:
    for whole in range(1, 9):
        for processes in range(1, 5):
            shares = [own_rows(whole, process, processes) for process in range(processes)]
            shown = [row for each in shares for row in range(each.first, each.last)]
            assert shown == list(range(whole))
            sizes = [each.last - each.first for each in shares]
            assert sizes[0] >= 1
            assert max(sizes) - min(sizes) <= 1


def _batch() -> MicroBatch:
    generator = torch.Generator().manual_seed(7)
    return MicroBatch(
        clean_BCHW=torch.randn(3, 4, 8, 8, generator=generator),
        captions=("zkw, standing", "a person, sitting", "zkw, a hat, walking"),
        sizes=(PictureSize((64, 64), (0, 0), (64, 64)),) * 3,
        regularization_B=torch.tensor([False, True, False]),
        names=("a", "b", "c"),
        masks_B1HW=torch.rand(3, 1, 8, 8, generator=generator).round(),
    )


def test_the_rows_of_all_processes_add_up_to_the_whole_batch(tiny_base: Path) -> None:
    """Losses and gradients of two trials, in double precision, with everything that is drawn by chance row by row."""
    objective = ObjectiveSettings(
        unmasked_probability=0.5,
        masked_prior_preservation_weight=0.5,
        multires_noise_iterations=2,
        ip_noise_gamma=0.1,
        preservation=0.5,
        prior_loss_weight=0.3,
    )
    subject = SubjectSettings(trigger="zkw", class_word="person")
    trials = [
        TrialSettings(rank=2, dropout=0.3, rank_dropout=0.3, seed=1, objective=objective, subject=subject),
        TrialSettings(rank=3, dropout=0.2, seed=2, objective=ObjectiveSettings(noise_offset=0.1)),
    ]
    model = families.load(tiny_base, dtype=torch.float64)
    specs = [
        TrialSpec(rank=t.rank, alpha=1, dropout=t.dropout, rank_dropout=t.rank_dropout, seed=t.seed)
        for t in trials
    ]
    adapter = LoraAdapter.attach(model, specs).to(dtype=torch.float64)
    engine = Engine(model, adapter, trials, place("cpu", "no"), total_steps=8, options={"clip_skip": 2})
    parameters = parameters_of(engine)
    with torch.no_grad():
        for number, parameter in enumerate(parameters):
            parameter.add_(torch.full_like(parameter, 0.01 * (number % 3)))
    engine.train(True)

    def computed(batches: list[MicroBatch]) -> tuple[list[Any], torch.Tensor]:
        engine.forget_gradients()
        shown = [engine.micro_step(0, batch, 2) for batch in batches]
        return shown, torch.cat([each.grad.flatten() for each in parameters if each.grad is not None])

    (whole,), gradient = computed([_batch()])
    parts, summed = computed([replace(_batch(), own=own_rows(3, process, 2)) for process in range(2)])
    joined = together(parts)
    assert [len(part.names) for part in parts] == [2, 1]
    assert joined.names == whole.names
    assert torch.equal(joined.timesteps_PB, whole.timesteps_PB)
    assert torch.equal(joined.regularization_B, whole.regularization_B)
    assert torch.allclose(joined.losses_PB, whole.losses_PB, rtol=1e-6)
    assert whole.preserved_P is not None and float(whole.preserved_P[0]) > 0
    assert torch.allclose(joined.preserved_P, whole.preserved_P, rtol=1e-6)
    assert float(gradient.norm()) > 0
    assert float((summed - gradient).norm()) <= 1e-6 * float(gradient.norm())


def test_steps_in_double_precision_are_those_of_one_process(tiny_base: Path) -> None:
    """What processes share is the same mathematics: norms of the gradients over steps agreed to 3e-13, all weights taken along.

    In float32 one process alone is up to 9e-5 from this at some steps of so small a base: NORM_TOLERANCE has room for that.
    """
    objective = ObjectiveSettings(multires_noise_iterations=2)
    trial = TrialSettings(
        rank=2,
        rank_dropout=0.2,
        optimizer="sgd",
        denoiser_lr=0.01,
        text_encoder_lr=0.005,
        objective=objective,
    )

    def norms(processes: int) -> list[float]:
        model = families.load(tiny_base, dtype=torch.float64)
        spec = TrialSpec(rank=2, alpha=1, rank_dropout=0.2, seed=trial.seed)
        adapter = LoraAdapter.attach(model, [spec]).to(dtype=torch.float64)
        engine = Engine(model, adapter, [trial], place("cpu", "no"), total_steps=8)
        engine.crew = _InTurn(processes)  # type: ignore[assignment]
        taken = [engine.step(step, [(step, _batch)], 1) for step in range(2)]
        return [result.gradient_norms[0] for result in taken]

    assert norms(2) == pytest.approx(norms(1), rel=1e-9)


class _InTurn:
    """Computes what several processes would, one after the other; their gradients add up where they lie."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def passes(
        self, engine: Engine, micro_steps: list[tuple[int, MicroBatch]], accumulation: int
    ) -> list[Shown]:
        def part(index: int, batch: MicroBatch, process: int) -> Shown:
            own = own_rows(len(batch.captions), process, self.processes)
            return engine.micro_step(index, replace(batch, own=own), accumulation)

        return [
            together([part(index, batch, process) for process in range(self.processes)])
            for index, batch in micro_steps
        ]


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(short_run: ShortRun, tmp_path: Path) -> None:
    """Three pictures in batches of 4: the second process has one row, and its share counts as one.

    What is drawn by chance (noise, captions, dropout) is the whole batch's; text encoders train too. SGD, since AdamW divides
    each gradient by its own size, which makes rounding large where there is next to none (test_packed_runs.py).
    A run of two processes that is stopped and resumed on its way ends with the same bits.
    """
    images = make_pictures(tmp_path / "three", [(96, 96)] * 3)
    both = {"images": images, "steps": 4, "optimizer": "sgd", "optimizer_args": ("momentum=0.9",), "learning_rate": 0.01,
                "text_encoder_lr": 0.005, "rank_dropout": 0.2, "max_grad_norm": 0.1,
                "multires_noise_iterations": 2}  # fmt: skip
    shared = {"batch_size": 2, "processes": 2, **both}
    one = maquette.train(**short_run(name="one", batch_size=4, **both))
    two = maquette.train(**short_run(name="two", **shared))
    assert not helpers()

    class Stopped(Exception):
        pass

    def stop(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        maquette.train(**short_run(name="stopped", **shared), on_event=stop)
    assert not helpers()
    resumed = maquette.train(resume=one.run.parent / "stopped")
    assert resumed.record.resumed_at_steps == (2,)
    assert not helpers()
    learned, again = (load_file(each.lora) for each in (two, resumed))
    assert all(torch.equal(learned[key], again[key]) for key in learned)

    assert two.record.schedule.steps_per_epoch == one.record.schedule.steps_per_epoch == 1
    for first, second in zip(rows_of(one.run), rows_of(two.run), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=TOLERANCE)
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=NORM_TOLERANCE)
        assert [shown[:2] for shown in second["shown"]] == [shown[:2] for shown in first["shown"]]
    first, second = (load_file(each.lora) for each in (one, two))
    apart = sum(float((first[key] - second[key]).square().sum()) for key in first)
    whole = sum(float(values.square().sum()) for values in first.values())
    assert apart <= (1e-3) ** 2 * whole
    told = [told_by(each.lora) for each in (one, two)]
    assert [each["ss_total_batch_size"] for each in told] == ["4", "4"]
    assert [each["ss_batch_size_per_device"] for each in told] == ["4", "2"]
    assert two.record.settings.training.processes == 2
    assert "batch 4 (2 processes × 2)" in two.record.schedule.sum


OWN = ({"rank": 2, "learning_rate": 1e-3}, {"rank": 4, "learning_rate": 3e-4, "min_snr_gamma": 5.0})


@pytest.mark.slow
def test_trials_share_the_processes_and_a_process_that_dies_ends_the_run_in_words(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """One of the processes is killed on the way; the run says so, leaves none behind, and resumes."""
    images = make_pictures(tmp_path / "three", [(96, 96)] * 3)
    both = {"images": images, "steps": 3, "text_encoder_lr": 0.0, "accumulation": 2}

    def run(on_event: Callable[[Any], None] | None = None, **own: Any) -> TrainResult:
        more = {"resume": own.pop("resume")} if "resume" in own else {}
        shared = load_settings(None, short_run(**both, **own))
        trials = [load_settings(None, short_run(**both, **own, **changes)) for changes in OWN]
        return run_stage(run_job(prepare(shared, judge=judge, trials=trials, **more)), on_event)

    def kill(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 1:
            (helper,) = helpers()
            helper.kill()
            psutil.wait_procs([helper], timeout=0)

    one = run(name="one", batch_size=2)
    with pytest.raises(TrainingError, match=r"process 1: it ended \(signal 9\)"):
        run(kill, name="two", batch_size=1, processes=2)
    assert not helpers()
    folder = one.run.parent / "two"
    failed = read_record(folder / "trials" / "two-01")
    assert (failed.state, failed.step) == ("failed", 1)
    two = run(name="two", batch_size=1, processes=2, resume=folder)
    assert not helpers()
    for first, second in zip(one.trials, two.trials, strict=True):
        losses = [[row["loss"] for row in rows_of(trial.run)] for trial in (first, second)]
        assert len(losses[0]) == 3
        assert losses[1] == pytest.approx(losses[0], rel=TOLERANCE)


def test_what_several_processes_cannot_do_is_said_all_at_once(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as refused:
        maquette.train(**short_run(processes=2, device="cuda:1", fit_memory_gib=4.0))
    told = str(refused.value)
    assert "each process takes the GPU of its number" in told
    assert "fit_memory_gib" in told
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--processes 2"):
        maquette.train(**short_run())
