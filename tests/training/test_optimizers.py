"""Every optimizer of the table: what it keeps, that it resumes to the bit, that weights which are judged are what is saved."""

from __future__ import annotations

import inspect
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
from maquette.logs.metrics import read_metrics
from maquette.project.config_file import load_settings
from maquette.project.optimizers import OPTIMIZERS as FACTS
from maquette.project.optimizers import (
    Argument,
    OptimizerFacts,
    missing_package,
    optimizer_arguments,
    state_bytes,
)
from maquette.training.averaging import WeightAverage
from maquette.training.classes import load_class
from maquette.training.config import TrialSettings, trial_of
from maquette.training.optimize import OPTIMIZERS, Optimizer, TrialOptimizer
from maquette.training.rates import RateGroup
from maquette.training.schedules import schedule_in_force
from maquette.training.state import latest_state, restore_state, save_state

ShortRun = Callable[..., dict]


def _group(trial: TrialSettings, parameter: torch.nn.Parameter) -> list[RateGroup]:
    return [RateGroup("denoiser", trial.denoiser_lr, (parameter,))]


RATES = {"adamw": 1e-3, "sgd": 0.5}
"""Optimizers that whole runs are made with. All others keep the same law weight by weight."""


def needs_package(name: str) -> Any:
    """Return the parameter `name`, left out where the package that holds the optimizer is not installed."""
    missing = missing_package(name)
    return pytest.param(
        name, marks=pytest.mark.skipif(missing is not None, reason=f"{missing} is not installed")
    )


TABLE = [needs_package(name) for name in OPTIMIZERS]
OF_PACKAGES = [needs_package(name) for name in OPTIMIZERS if FACTS[name].made_by]


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


@pytest.mark.parametrize("name", TABLE)
def test_an_optimizer_keeps_what_the_table_says(name: str) -> None:
    """To the byte where it keeps whole values; nearly where blocks, rows and columns decide (here rank 16 of width 640)."""
    parameters = [torch.nn.Parameter(torch.randn(16, 640)), torch.nn.Parameter(torch.randn(640, 16))]
    optimizer = TrialOptimizer(
        TrialSettings(optimizer=name), [RateGroup("denoiser", 1e-4, tuple(parameters))], total_steps=2
    )
    sum(parameter.square().sum() for parameter in parameters).backward()
    optimizer.train(True)
    optimizer.update(0)
    kept = [
        value
        for moments in optimizer.torch_optimizer.state.values()
        for value in moments.values()
        if isinstance(value, torch.Tensor) and value.numel() > 1
    ]
    values = sum(parameter.numel() for parameter in parameters)
    size, told = sum(value.nbytes for value in kept), FACTS[name].state_bytes * values
    is_whole = told % values == 0 and "8bit" not in name
    assert size == (told if is_whole else pytest.approx(told, rel=0.2))


@pytest.mark.parametrize("name", OF_PACKAGES)
def test_the_table_s_arguments_are_the_class_s_own(name: str) -> None:
    facts = FACTS[name]
    kind = load_class(facts.made_by, torch.optim.Optimizer, "optimizer")
    assert f"{kind.__module__}.{kind.__name__}" == facts.class_name
    own = {key: each.default for key, each in inspect.signature(kind.__init__).parameters.items()}
    assert facts.weight_decay == own["weight_decay"]
    # Without a momentum of its own sd-scripts' SGDNesterov8bit takes 0.9.
    given = {"momentum": 0.9, "nesterov": False} if name == "sgd8bit" else {}
    assert {key: each.default for key, each in facts.arguments.items()} == {
        key: given.get(key, own[key]) for key in facts.arguments
    }


@pytest.mark.parametrize("name", TABLE)
def test_training_goes_on_to_the_bit_from_what_was_saved(name: str, tmp_path: Path) -> None:
    """Weights, moments, counters, rates that were found, and what is saved in between: in a state, and back out of it."""
    rate = 1.0 if FACTS[name].finds_rate else 1e-2
    trial = TrialSettings(
        optimizer=name, denoiser_lr=rate, text_encoder_lr=rate, lr_scheduler="linear", ema_decay=0.9
    )

    def make() -> tuple[dict[str, torch.nn.Parameter], TrialOptimizer]:
        generator = torch.Generator().manual_seed(5)
        weights = {key: torch.nn.Parameter(torch.randn(48, 96, generator=generator)) for key in "ab"}
        groups = [RateGroup(key, rate, (weight,)) for key, weight in weights.items()]
        return weights, TrialOptimizer(trial, groups, total_steps=8)

    def go(weights: dict[str, torch.nn.Parameter], optimizer: TrialOptimizer, steps: range) -> None:
        for step in steps:
            optimizer.train(True)
            sum((weight * (step + 1)).sin().square().sum() for weight in weights.values()).backward()
            optimizer.update(step)
            optimizer.take_in(step)
            optimizer.train(False)
        optimizer.train(True)

    whole, first_optimizer = make()
    go(whole, first_optimizer, range(8))
    halves, optimizer = make()
    go(halves, optimizer, range(4))
    save_state(tmp_path, 4, "digest", halves, optimizer, None)
    resumed, optimizer = make()
    state = latest_state(tmp_path)
    assert state is not None
    restore_state(state, resumed, optimizer, None)
    go(resumed, optimizer, range(4, 8))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not any(torch.equal(weight, halves[key]) for key, weight in whole.items())
    assert first_optimizer.effective_rates() == optimizer.effective_rates()
    first_optimizer.train(False), optimizer.train(False)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole), "the averages too"


@pytest.mark.parametrize("name", RATES)
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
    averaged = heavy.changed(averages=True)
    assert estimate_memory(averaged).parts["average"] == 8 * heavy.work().trainable
    assert (state_bytes("adamw8bit"), state_bytes("lion"), state_bytes("prodigy")) == (2, 4, 16)
    assert (state_bytes("torch.optim.RAdam"), state_bytes("bitsandbytes.optim.AdEMAMix8bit")) == (8, 2)


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


# --- classes of packages, and what cannot be made --------------------------------------------------------


def test_any_class_of_a_package_trains_and_resumes(short_run: ShortRun) -> None:
    wanted = {
        "optimizer": "torch.optim.RAdam",
        "optimizer_args": ("betas=0.8,0.9", "decoupled_weight_decay=True"),
        "weight_decay": 0.1,
        "lr_scheduler": "torch.optim.lr_scheduler.OneCycleLR",
        "lr_scheduler_args": ("max_lr=0.01", "total_steps=6"),
    }
    whole = maquette.train(**short_run(**wanted, name="whole"))
    with pytest.raises(InterruptedError):
        maquette.train(**short_run(**wanted, name="halves"), on_event=_stop_after(5))
    resumed = maquette.train(resume=whole.run.parent / "halves")
    assert resumed.record.resumed_at_steps[0] >= 2
    assert _same(whole.lora, resumed.lora)
    with safe_open(whole.lora, framework="pt") as file:
        told = file.metadata()
    name = "torch.optim.RAdam(weight_decay=0.1,betas=(0.8, 0.9),decoupled_weight_decay=True)"
    assert told["ss_optimizer"] == name
    assert told["ss_lr_scheduler"] == "torch.optim.lr_scheduler.OneCycleLR"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": "no_such_package.Adam"}, "pip install no_such_package"),
        ({"optimizer": "torch.optim.Adamm"}, "Did you mean 'Adam'?"),
        ({"optimizer": "torch.nn.Linear"}, "is no Optimizer"),
        ({"optimizer": "torch.optim.RAdam", "optimizer_args": ("beta=1",)}, "refuses beta=1"),
        ({"optimizer": "prodigy", "unet_lr": 1.0, "text_encoder_lr": 0.5}, "knows one rate"),
        ({"optimizer": "dadaptsgd", "warmup_steps": 2, "learning_rate": 1.0}, "divides by its first rate"),
        ({"lr_scheduler": "warmup_stable_decay"}, "lr_decay_steps beside it"),
        ({"lr_scheduler": "cosine_with_min_lr"}, "lr_min_ratio or min_lr in lr_scheduler_args"),
        ({"lr_scheduler": "torch.optim.lr_scheduler.StepLR"}, "refuses no arguments"),
        ({"lr_scheduler": "torch.optim.lr_scheduler.ReduceLROnPlateau"}, "follows a measured value"),
        (
            {
                "lr_scheduler": "torch.optim.lr_scheduler.OneCycleLR",
                "lr_scheduler_args": ("max_lr=1", "total_steps=3"),
            },
            "ends after",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_said_before_anything_loads(
    short_run: ShortRun, given: dict[str, Any], said: str
) -> None:
    wanted = short_run(**given)
    with pytest.raises(ConfigError) as refused:
        maquette.train(**wanted)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not (wanted["output"] / wanted["name"]).exists()


def test_a_missing_package_is_named_with_the_command_that_brings_it(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maquette.training import optimizing_checks

    monkeypatch.setattr(optimizing_checks, "missing_package", lambda name: FACTS[name].package)
    with pytest.raises(ConfigError, match=r"lion-pytorch.*pip install 'maquette\[optimizers\]'"):
        maquette.train(**short_run(optimizer="Lion"))


def test_nothing_of_an_argument_is_evaluated() -> None:
    for text in ("betas=__import__('os').getcwd()", "lr=[x for x in (1,)]", "a=1+1+f()"):
        with pytest.raises(ValueError, match="must be a number"):
            optimizer_arguments("torch.optim.RAdam", [text])
    typed = optimizer_arguments("torch.optim.RAdam", ["betas=0.9,0.99", "foreach=None", "mode='a'", "x=true"])
    assert typed == {"betas": (0.9, 0.99), "foreach": None, "mode": "a", "x": True}


# --- optimizers that find their rate ---------------------------------------------------------------------


def test_one_rate_is_the_default_of_optimizers_that_know_one() -> None:
    settings = load_settings(None, {"base": "x", "optimizer": "Prodigy", "learning_rate": 1.0})
    assert settings.training.optimizer == "prodigy"
    assert trial_of(settings).text_encoder_lr == trial_of(settings).denoiser_lr == 1.0


def test_found_rates_are_logged(short_run: ShortRun) -> None:
    result = maquette.train(
        **short_run(optimizer="prodigy", learning_rate=1.0, lr_scheduler="constant", steps=3)
    )
    rows = read_metrics(result.run / "metrics.jsonl")
    assert all(row["lr_denoiser"] == 1.0 for row in rows)
    assert 0 < rows[0]["effective_lr_denoiser"] < 1e-4
    assert rows[0]["effective_lr_denoiser"] == rows[0]["effective_lr_text_encoder"]


def test_adafactor_takes_its_steps_as_sd_scripts_has_it() -> None:
    """With relative steps no rate is taken and no schedule; a slow start asks for them; without them rates are rates."""
    relative, slow, plain = (
        TrialSettings(optimizer="adafactor", optimizer_args=arguments, lr_scheduler="linear")
        for arguments in ({}, {"relative_step": False, "warmup_init": True}, {"relative_step": False})
    )
    assert [schedule_in_force(each) for each in (relative, slow, plain)] == ["constant", "constant", "linear"]

    def after_one_step(trial: TrialSettings) -> tuple[TrialOptimizer, torch.nn.Parameter]:
        weight = torch.nn.Parameter(torch.full((4, 8), 2.0))
        optimizer = TrialOptimizer(trial, _group(trial, weight), total_steps=10)
        (weight**2).sum().backward()
        optimizer.update(0)
        return optimizer, weight

    optimizer, weight = after_one_step(relative)
    assert optimizer.torch_optimizer.param_groups[0]["lr"] is None
    # Step 1: 1e-2 times the weights' root mean square, of an update of root mean square 1.
    assert float(weight[0, 0]) == pytest.approx(2.0 - 1e-2 * 2.0, rel=1e-3)
    assert optimizer.effective_rates() == pytest.approx(
        [1e-2 * float(weight[0, 0].detach()) / 0.99], rel=2e-2
    )
    optimizer, weight = after_one_step(plain)
    assert optimizer.effective_rates() is None and optimizer.learning_rates(0) == [1e-4]


def test_a_schedule_free_optimizer_follows_no_schedule() -> None:
    trial = TrialSettings(optimizer="adamwschedulefree", lr_scheduler="linear", warmup_steps=5)
    optimizer = TrialOptimizer(trial, _group(trial, torch.nn.Parameter(torch.ones(2, 2))), total_steps=10)
    assert optimizer.learning_rates(9) == [1e-4] and optimizer.learning_rates(0) == [1e-4]


def test_what_is_saved_is_the_average_of_the_weights(short_run: ShortRun) -> None:
    result = maquette.train(**short_run(ema_decay=0.9, steps=4))
    saved, state = load_file(result.lora), load_file(result.run / "state" / "state-00000004.safetensors")
    key = next(key for key in saved if key.startswith("lora_unet") and key.endswith("lora_up.weight"))
    averages = [value for name, value in state.items() if name.startswith("0.average.")]
    assert not torch.equal(saved[key], state[f"0.lora.{key.removesuffix('.lora_up.weight')}.up"])
    assert any(value.shape == saved[key].shape and torch.equal(value, saved[key]) for value in averages)


def test_an_average_forgets_its_first_steps_soonest() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    average = WeightAverage([weight], decay=0.6)
    expected = 0.0
    for step, value in enumerate((4.0, 8.0, 2.0, 6.0, 1.0, 3.0, 9.0, 5.0, 7.0, 2.0)):
        weight.data.fill_(value)
        average.update(step)
        kept = 0.0 if step == 0 else min(0.6, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    assert float(average.averages[0]) == pytest.approx(expected, rel=1e-6)
    average.show(True), average.show(True)
    assert float(weight) == pytest.approx(expected, rel=1e-6)
    average.show(False), average.show(False)
    assert float(weight) == 2.0
