"""Learning-rate tables against the reference trainer's, and against transformers' and diffusers' own functions."""

import json
import re
from pathlib import Path

import diffusers.optimization
import pytest
import torch
import transformers.optimization

from maquette.errors import ConfigError
from maquette.project.config_file import load_settings
from maquette.project.schedules import SCHEDULES, idle_schedule, schedule_arguments
from maquette.training.config import TrialSettings, trial_of
from maquette.training.optimize import TrialOptimizer
from maquette.training.rates import RateGroup
from maquette.training.schedules import ScheduleShape, depends_on_length, learning_rate_factor, shape_of

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lr_tables.json").read_text())


@pytest.mark.parametrize("title", GOLDEN["tables"])
def test_every_rate_is_the_reference_s_to_the_last_bit(title: str) -> None:
    name, warmup, options = re.fullmatch(r"(\w+) warmup=(\d+) (\{.*\})", title).groups()
    given = json.loads(options.replace("'", '"'))
    shape = ScheduleShape(
        total_steps=GOLDEN["steps"],
        warmup_steps=int(warmup),
        cycles=given.get("lr_scheduler_num_cycles", 1),
        power=given.get("lr_scheduler_power", 1.0),
        # The tables were made with rates on the parameter groups, so the optimizer's own rate was AdamW's 1e-3.
        base_lr=1e-3,
    )
    rates = [
        GOLDEN["base_lr"] * learning_rate_factor(name, step, shape) for step in range(GOLDEN["steps"] + 1)
    ]
    assert rates == GOLDEN["tables"][title]


# --- the schedules' own packages -------------------------------------------------------------------------

THEIRS = {
    "constant": ("constant", {}),
    "constant_with_warmup": ("constant_with_warmup", {"num_warmup_steps": 4}),
    "linear": ("linear", {"num_warmup_steps": 4, "num_training_steps": 30}),
    "cosine": ("cosine", {"num_warmup_steps": 4, "num_training_steps": 30, "num_cycles": 1.5}),
    "cosine_with_restarts": (
        "cosine_with_restarts",
        {"num_warmup_steps": 4, "num_training_steps": 30, "num_cycles": 3},
    ),
    "polynomial": (
        "polynomial",
        {"num_warmup_steps": 4, "num_training_steps": 30, "power": 2.0, "lr_end": 1e-5},
    ),
    "inverse_sqrt": ("inverse_sqrt", {"num_warmup_steps": 4, "timescale": 7}),
    "cosine_with_min_lr": (
        "cosine_with_min_lr",
        {"num_warmup_steps": 4, "num_training_steps": 30, "num_cycles": 1.5, "min_lr_rate": 0.2},
    ),
    "cosine_warmup_with_min_lr": (
        "cosine_warmup_with_min_lr",
        {"num_warmup_steps": 4, "num_training_steps": 30, "num_cycles": 1.5, "min_lr_rate": 0.2},
    ),
    "warmup_stable_decay": (
        "warmup_stable_decay",
        {
            "num_warmup_steps": 4,
            "num_stable_steps": 16,
            "num_decay_steps": 10,
            "num_cycles": 1.5,
            "min_lr_ratio": 0.2,
        },
    ),
    "piecewise_constant": ("piecewise_constant", {"step_rules": "1:10,0.1:20,0.005"}),
}
OURS = {
    "cosine": {"arguments": {"num_cycles": 1.5}},
    "polynomial": {"power": 2.0, "arguments": {"lr_end": 1e-5}},
    "inverse_sqrt": {"timescale": 7},
    "piecewise_constant": {"arguments": {"step_rules": "1:10,0.1:20,0.005"}},
}
"""What our shape needs beside warm-up 4, decay 10, three cycles and a least ratio of 0.2."""


def _table_of(schedule: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[float]:
    """Return the rate of each update as a trainer sees it: the optimizer steps, then the schedule."""
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return rates


def _their_table(name: str, steps: int, **given) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    if name == "piecewise_constant":
        functions, kinds = (
            diffusers.optimization.TYPE_TO_SCHEDULER_FUNCTION,
            diffusers.optimization.SchedulerType,
        )
    else:
        functions = transformers.optimization.TYPE_TO_SCHEDULER_FUNCTION
        kinds = transformers.trainer_utils.SchedulerType
    return _table_of(functions[kinds(name)](optimizer, **given), steps)


def test_every_schedule_has_a_table_to_be_held_against() -> None:
    assert THEIRS.keys() == SCHEDULES.keys()


@pytest.mark.parametrize("name", THEIRS)
def test_every_rate_is_their_own_function_s(name: str) -> None:
    """Also beyond the end, as far as a longer run would go."""
    kind, given = THEIRS[name]
    shape = ScheduleShape(
        total_steps=30,
        warmup_steps=4,
        decay_steps=10,
        base_lr=1e-3,
        cycles=3,
        **{"min_ratio": 0.2, **OURS.get(name, {})},
    )
    ours = [1e-3 * learning_rate_factor(name, step, shape) for step in range(34)]
    assert ours == pytest.approx(_their_table(kind, 34, **given), rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("warmup", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize("decay", ["linear", "cosine", "1-sqrt"])
def test_the_shapes_of_warmup_stable_decay_are_theirs(warmup: str, decay: str) -> None:
    arguments = schedule_arguments("warmup_stable_decay", [f"warmup_type={warmup}", f"decay_type='{decay}'"])
    shape = ScheduleShape(total_steps=12, warmup_steps=3, decay_steps=5, base_lr=1e-3, arguments=arguments)
    ours = [1e-3 * learning_rate_factor("warmup_stable_decay", step, shape) for step in range(13)]
    theirs = _their_table(
        "warmup_stable_decay",
        13,
        num_warmup_steps=3,
        num_stable_steps=4,
        num_decay_steps=5,
        warmup_type=warmup,
        decay_type=decay,
    )
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-18)


def test_a_least_rate_may_be_given_as_a_rate() -> None:
    shape = ScheduleShape(total_steps=9, base_lr=1e-3, arguments={"min_lr": 2e-4})
    theirs = _their_table("cosine_with_min_lr", 10, num_warmup_steps=0, num_training_steps=9, min_lr=2e-4)
    ours = [1e-3 * learning_rate_factor("cosine_with_min_lr", step, shape) for step in range(10)]
    assert ours == pytest.approx(theirs, rel=1e-12)


# --- accounting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "steps"),
    [("0.1", 9), ("10%", 9), (0.1, 9), ("25", 25), (25, 25), ("0.999", 98), (0, 0), ("33.3%", 32)],
)
def test_a_share_is_of_all_steps_and_cut(given, steps: int) -> None:
    """int(share x steps), as sd-scripts has it."""
    training = load_settings(None, {"base": "x", "warmup_steps": given, "lr_decay_steps": given})
    shape = shape_of(trial_of(training), 99)
    assert (shape.warmup_steps, shape.decay_steps) == (steps, steps)


@pytest.mark.parametrize("given", ["1.5", "-1", "100%", "many", True, "nan"])
def test_what_is_neither_steps_nor_a_share_is_refused(given) -> None:
    with pytest.raises(ConfigError, match="warmup-steps"):
        load_settings(None, {"base": "x", "warmup_steps": given})


def test_names_and_arguments_are_held_against_the_table() -> None:
    with pytest.raises(ConfigError, match=r"lr-scheduler: 'cosin' — .*Did you mean 'cosine'\?$"):
        load_settings(None, {"base": "x", "lr_scheduler": "cosin"})
    for name, text, said in (
        ("cosine", "T_max=5", "has no argument 'T_max'"),
        ("warmup_stable_decay", "decay_type=square", "one of linear, cosine, 1-sqrt"),
        ("piecewise_constant", "step_rules=1:ten", "1:10,0.1:20"),
        ("polynomial", "lr_end=small", "a number"),
    ):
        with pytest.raises(ValueError, match=said):
            schedule_arguments(name, [text])


def test_settings_that_a_schedule_does_not_heed_are_told_with_those_that_do() -> None:
    idle = idle_schedule({"lr_cycles": 3, "lr_power": 2.0, "warmup_steps": 5}, "linear")
    assert idle.keys() == {"lr_cycles", "lr_power"}
    assert idle["lr_power"].endswith("polynomial does")


def test_only_schedules_that_know_the_length_depend_on_it() -> None:
    assert not depends_on_length(TrialSettings(lr_scheduler="constant_with_warmup", warmup_steps=5))
    assert depends_on_length(TrialSettings(lr_scheduler="constant_with_warmup", warmup_steps=0.1))
    assert depends_on_length(TrialSettings(lr_scheduler="cosine"))


# --- classes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("OneCycleLR", {"max_lr": 0.01, "total_steps": 20}),
        ("CosineAnnealingWarmRestarts", {"T_0": 6}),
        ("MultiStepLR", {"milestones": (3, 9), "gamma": 0.3}),
    ],
)
def test_a_class_makes_of_an_optimizer_what_it_makes_elsewhere(name: str, arguments: dict) -> None:
    """Rates and betas of every step, asked for in order or, as by a resumed run, in the middle."""
    path = f"torch.optim.lr_scheduler.{name}"
    trial = TrialSettings(denoiser_lr=1e-2, schedule_lr=1e-2, lr_scheduler=path, lr_scheduler_args=arguments)

    def made() -> TrialOptimizer:
        group = RateGroup("denoiser", 1e-2, (torch.nn.Parameter(torch.ones(2)),))
        return TrialOptimizer(trial, [group], 20)

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=1e-2)
    schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    ours = made()
    for step in range(18):
        assert ours.learning_rates(step) == schedule.get_last_lr()
        ours.parameters[0].sum().backward()
        ours.update(step)
        assert ours.torch_optimizer.param_groups[0]["betas"] == optimizer.param_groups[0]["betas"]
        optimizer.step()
        schedule.step()
    assert made().learning_rates(11) == ours.learning_rates(11)
