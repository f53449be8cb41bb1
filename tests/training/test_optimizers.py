"""Every optimizer of the table: what it keeps, that it resumes to the bit, that weights which are judged are what is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import maquette
from maquette import families
from maquette.errors import ConfigError
from maquette.events import Progress, run_stage
from maquette.footprint.memory import MemoryRequest, estimate_memory
from maquette.project.config_file import load_settings
from maquette.project.optimizers import OPTIMIZERS as FACTS
from maquette.project.optimizers import Argument, OptimizerFacts, state_bytes
from maquette.training.config import TrialSettings, trial_of
from maquette.training.optimize import OPTIMIZERS, Optimizer, TrialOptimizer
from maquette.training.rates import RateGroup

ShortRun = Callable[..., dict]


def _group(trial: TrialSettings, parameter: torch.nn.Parameter) -> list[RateGroup]:
    return [RateGroup("denoiser", trial.denoiser_lr, (parameter,))]


RATES = {"adamw": 1e-3, "sgd": 0.5}


class AveragedDescent(torch.optim.Optimizer):
    """A schedule-free kind in small: it trains one set of weights, is judged by their mean, and counts in its groups."""

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "steps": 0, "training": True})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            assert group["training"], "a step outside training would train the mean"
            group["steps"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter -= group["lr"] * parameter.grad
                    mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                    mean.lerp_(parameter, 1 / group["steps"])

    def train(self) -> None:
        self._exchange(True)

    def eval(self) -> None:
        self._exchange(False)

    @torch.no_grad()
    def _exchange(self, training: bool) -> None:
        for group in self.param_groups:
            for parameter in group["params"] if group["training"] != training else ():
                if "mean" in self.state[parameter]:
                    kept = parameter.clone()
                    parameter.copy_(self.state[parameter]["mean"])
                    self.state[parameter]["mean"] = kept
            group["training"] = training


@pytest.fixture
def averaged(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put a third row into both tables."""
    facts = OptimizerFacts(title="Averaged descent", class_name="tests.AveragedDescent", state_bytes=4)
    row = Optimizer(lambda groups, trial, _: AveragedDescent(list(groups), trial.schedule_lr), has_modes=True)
    monkeypatch.setitem(FACTS, "averaged", facts)
    monkeypatch.setitem(OPTIMIZERS, "averaged", row)
    yield "averaged"


def _stop_after(step: int) -> Callable[[object], None]:
    def stop(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == step:
            raise InterruptedError

    return stop


def _same(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_both_tables_hold_the_same_optimizers() -> None:
    assert FACTS.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_keeps_what_the_table_says(name: str) -> None:
    parameters = [torch.nn.Parameter(torch.randn(8, 64)), torch.nn.Parameter(torch.randn(64, 8))]
    optimizer = TrialOptimizer(
        TrialSettings(optimizer=name), [RateGroup("denoiser", 1e-4, tuple(parameters))], total_steps=2
    )
    sum(parameter.square().sum() for parameter in parameters).backward()
    optimizer.update(0)
    kept = [
        value
        for moments in optimizer.torch_optimizer.state.values()
        for value in moments.values()
        if isinstance(value, torch.Tensor) and value.numel() > 1
    ]
    values = sum(parameter.numel() for parameter in parameters)
    assert sum(value.nbytes for value in kept) == FACTS[name].state_bytes * values


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stopped_run_resumes_to_the_same_weights(short_run: ShortRun, name: str) -> None:
    wanted = {"optimizer": name, "learning_rate": RATES[name]}
    whole = maquette.train(**short_run(**wanted, name="whole"))
    fresh = maquette.train(**short_run(**wanted, name="fresh", steps=1))
    assert not _same(whole.lora, fresh.lora)
    with pytest.raises(InterruptedError):
        maquette.train(**short_run(**wanted, name="halves"), on_event=_stop_after(5))
    resumed = maquette.train(resume=whole.run.parent / "halves")
    assert resumed.record.resumed_at_steps[0] >= 2
    assert _same(whole.lora, resumed.lora)


def _trained(optimizer: TrialOptimizer, parameter: torch.nn.Parameter, steps: range) -> None:
    for step in steps:
        optimizer.train(True)
        (parameter * (step + 1)).square().sum().backward()
        optimizer.update(step)


def test_what_an_optimizer_keeps_in_its_groups_is_saved_and_restored(averaged: str, tmp_path: Path) -> None:
    from maquette.training.state import latest_state, restore_state, save_state

    def make() -> tuple[torch.nn.Parameter, TrialOptimizer]:
        parameter = torch.nn.Parameter(torch.ones(3))
        trial = TrialSettings(optimizer=averaged, denoiser_lr=1e-2, lr_scheduler="constant")
        return parameter, TrialOptimizer(trial, _group(trial, parameter), total_steps=6)

    whole, optimizer = make()
    _trained(optimizer, whole, range(6))
    first, optimizer = make()
    _trained(optimizer, first, range(3))
    save_state(tmp_path, 3, "digest", {"x": first}, optimizer, None)
    second, optimizer = make()
    state = latest_state(tmp_path)
    assert state is not None
    restore_state(state, {"x": second}, optimizer, None)
    assert optimizer.torch_optimizer.param_groups[0]["steps"] == 3
    _trained(optimizer, second, range(3, 6))
    assert torch.equal(whole, second)
    optimizer.train(False)
    assert not torch.equal(whole, second)


def test_what_is_saved_is_what_the_optimizer_is_judged_by(averaged: str, short_run: ShortRun) -> None:
    """The final file of a run holds the mean; its state, from which training goes on, holds the weights that train."""
    from maquette.rules.verdict import judge
    from maquette.training.loop import run_job
    from maquette.training.prepare import prepare

    settings = load_settings(None, short_run(learning_rate=0.5))
    # The table's names are fixed when settings are declared: a row of a test's is put in beside them.
    training = settings.training.model_copy(update={"optimizer": averaged})
    job = prepare(settings.model_copy(update={"training": training}), judge=judge)
    lora = run_stage(run_job(job)).lora
    saved = load_file(lora)
    state = load_file(job.folder.state / "state-00000006.safetensors")
    key = next(key for key in saved if key.startswith("lora_unet") and key.endswith("lora_up.weight"))
    name = key.removesuffix(".lora_up.weight")
    training_weights = state[f"0.lora.{name}.up"]
    assert not torch.equal(saved[key], training_weights)
    means = [value for name, value in state.items() if name.endswith(".mean")]
    assert any(value.shape == saved[key].shape and torch.equal(value, saved[key]) for value in means)
    with safe_open(lora, framework="pt") as file:
        assert file.metadata()["ss_optimizer"] == "tests.AveragedDescent"


def test_a_trial_has_an_optimizer_of_its_own() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    trials = [
        TrialSettings(),
        TrialSettings(optimizer="sgd", optimizer_args={"momentum": 0.5}),
    ]
    made = [
        TrialOptimizer(trial, _group(trial, parameter), 4).torch_optimizer
        for trial, parameter in zip(trials, parameters, strict=True)
    ]
    assert [type(optimizer) for optimizer in made] == [torch.optim.AdamW, torch.optim.SGD]
    assert made[1].param_groups[0]["momentum"] == 0.5


def test_a_lighter_optimizer_needs_less_memory() -> None:
    layout = next(iter(families.FAMILIES.values())).layout(None)
    heavy = MemoryRequest(layout=layout, optimizer="adamw")
    light = heavy.changed(optimizer="sgd")
    apart = estimate_memory(heavy).parts["optimizer"] - estimate_memory(light).parts["optimizer"]
    assert apart == 4 * heavy.work().trainable
    assert (state_bytes("adamw8bit"), state_bytes("lion"), state_bytes("prodigy")) == (2, 4, 8)


def test_arguments_are_typed_and_told_in_the_file(short_run: ShortRun) -> None:
    wanted = short_run(optimizer="sgd", optimizer_args=("momentum=0.8", "nesterov=True"), learning_rate=0.1)
    trial = trial_of(load_settings(None, wanted))
    assert trial.optimizer_args == {"momentum": 0.8, "nesterov": True}
    result = maquette.train(**wanted)
    with safe_open(result.lora, framework="pt") as file:
        assert file.metadata()["ss_optimizer"] == "torch.optim.sgd.SGD(momentum=0.8,nesterov=True)"
    assert Argument((0.9, 0.99), "").parse("0.8, 0.95") == (0.8, 0.95)


def test_all_wrong_arguments_are_told_together(short_run: ShortRun) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(
            None, short_run(optimizer="sgd", optimizer_args=("momentun=1", "nesterov=maybe", "eps"))
        )
    said = str(refused.value)
    assert "Did you mean 'momentum'?" in said
    assert "nesterov must be true or false, not 'maybe'" in said
    assert "'eps' must be NAME=VALUE" in said
