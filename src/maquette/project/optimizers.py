"""The optimizers that can be asked for: what each takes, and how much it keeps. Torch-free; `training/optimize.py` makes them.

Settings, memory, disk and a file's metadata read this table; a new optimizer is one row here, and one factory there where its
class is not made like most. Beside these, any class of an installed package may be named (`package.Class`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from maquette.errors import did_you_mean
from maquette.project.validation import Unfit
from maquette.project.values import is_class_path, literal_arguments

Value = Any
"""An argument's value: a number, a truth value, a text, None, or numbers in a tuple."""
EXTRA = "optimizers"
"""The extra that holds the packages of the table."""
OF_NO_EXTRA = "bitsandbytes"
"""The package of 8-bit and paged ones stands apart: where it is installed diffusers imports it at every start, for seconds."""


@dataclass(frozen=True)
class Argument:
    """One argument of an optimizer: its default, whose type is the argument's, and what it does."""

    default: Value
    """None: a number, or None for the optimizer's own choice."""
    meaning: str

    def parse(self, text: str) -> Value:
        """Return what `text` says. Raises ValueError where it is no value of this argument's type."""
        if isinstance(self.default, bool):
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is neither true nor false")
            return text.lower() == "true"
        if isinstance(self.default, tuple):
            numbers = tuple(float(part) for part in text.strip("()[] ").split(","))
            if len(numbers) != len(self.default):
                raise ValueError(f"{len(numbers)} numbers where {len(self.default)} are wanted")
            return numbers
        if self.default is None:
            return None if text.lower() == "none" else float(text)
        return type(self.default)(text)

    @property
    def kind(self) -> str:
        """What a value must be, in words."""
        if isinstance(self.default, tuple):
            return f"{len(self.default)} numbers with commas"
        if self.default is None:
            return "a number or None"
        return {bool: "true or false", int: "a whole number", float: "a number"}[type(self.default)]


@dataclass(frozen=True, kw_only=True)
class OptimizerFacts:
    """What is known of an optimizer without making it."""

    title: str
    class_name: str
    """Its Python class, as sd-scripts' files name it."""
    state_bytes: float
    """What it keeps of each trained value, bytes."""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    """Beside the learning rate and weight decay, which are settings of their own."""
    made_by: str = ""
    """The name by which its class is imported; empty where `training/optimize.py` makes it in its own way."""
    package: str = ""
    """The package on PyPI that holds it, where that is none of Maquette's own."""
    weight_decay: float | None = 0.0
    """In force where nobody says one; None: whatever the class does."""
    one_rate: bool = False
    """It knows a single learning rate for all parts."""
    finds_rate: bool = False
    """It finds its rate itself; what is given is a factor on it."""
    follows_schedule: bool = True
    """False where it needs no schedule, and none is applied."""
    keeps_shapes: bool = True
    """What it keeps of a weight has the weight's shape, or another number of sides."""


_BETAS = Argument((0.9, 0.999), "Decay of the two moments.")
_EPS = Argument(1e-8, "Added to the root of the second moment.")
_D0 = Argument(1e-6, "First guess of the rate.")
_GROWTH = Argument(float("inf"), "The most by which the rate grows in a step.")
_LOG = Argument(0, "Print the rate every so many steps.")
_DECOUPLE = Argument(False, "Decay weights as AdamW does.")
_LEAST_8BIT = Argument(4096, "Smaller tensors keep their state in float32.")
_ADAN_BETAS = Argument((0.98, 0.92, 0.99), "Decay of the three moments.")
_FOREACH = Argument(True, "Update all tensors at once.")
_SCHEDULE_FREE = {
    "r": Argument(0.0, "Exponent of the steps' weights in the mean."),
    "weight_lr_power": Argument(2.0, "Exponent of the rates' weights in the mean."),
    "foreach": _FOREACH,
}


def _of_bitsandbytes(title: str, name: str, module: str, size: float, **more: Any) -> OptimizerFacts:
    """Return a row of bitsandbytes. A scale for each block of 256 values, under a hundredth, is not counted."""
    return OptimizerFacts(
        title=title,
        class_name=f"bitsandbytes.optim.{module}.{name}",
        made_by=f"bitsandbytes.optim.{name}",
        package="bitsandbytes",
        state_bytes=size,
        **more,
    )


def _of_dadaptation(name: str, module: str, size: float, **arguments: Argument) -> OptimizerFacts:
    return OptimizerFacts(
        title=f"D-Adaptation ({name})",
        class_name=f"dadaptation.{module}.{name}",
        made_by=f"dadaptation.{module}.{name}",
        package="dadaptation",
        state_bytes=size,
        weight_decay=0.02 if "Adan" in name else 0.0,
        one_rate=True,
        finds_rate=True,
        arguments={"d0": _D0, "log_every": _LOG, **arguments},
    )


_ADAMW_8BIT = {"betas": _BETAS, "eps": _EPS, "min_8bit_size": _LEAST_8BIT}
_ADAMW_32BIT = {"betas": _BETAS, "eps": _EPS}
_LION_8BIT = {"betas": Argument((0.9, 0.99), "Decay of update and moment."), "min_8bit_size": _LEAST_8BIT}
_DADAPT_ADAM = {"betas": _BETAS, "eps": _EPS, "decouple": _DECOUPLE, "growth_rate": _GROWTH}
_ADAN = {
    "betas": _ADAN_BETAS,
    "eps": _EPS,
    "no_prox": Argument(False, "Decay weights as AdamW does."),
    "growth_rate": _GROWTH,
}
_DADAPT_PREPRINT = _of_dadaptation(
    "DAdaptAdamPreprint", "experimental.dadapt_adam_preprint", 12, **_DADAPT_ADAM
)

OPTIMIZERS: dict[str, OptimizerFacts] = {
    "adamw": OptimizerFacts(
        title="AdamW",
        class_name="torch.optim.adamw.AdamW",
        state_bytes=8,  # two moments, float32
        weight_decay=0.01,
        arguments={"betas": _BETAS, "eps": _EPS},
    ),
    "sgd": OptimizerFacts(
        title="SGD with momentum",
        class_name="torch.optim.sgd.SGD",
        state_bytes=4,  # one momentum, float32
        weight_decay=0.01,
        arguments={
            "momentum": Argument(0.9, "Share of the last update that the next one keeps."),
            "nesterov": Argument(False, "Look one update ahead."),
        },
    ),
    "adamw8bit": _of_bitsandbytes(
        "8-bit AdamW", "AdamW8bit", "adamw", 2, weight_decay=0.01, arguments=_ADAMW_8BIT
    ),
    "pagedadamw8bit": _of_bitsandbytes(
        "paged 8-bit AdamW",
        "PagedAdamW8bit",
        "adamw",
        2,
        weight_decay=0.01,
        arguments=_ADAMW_8BIT,
    ),
    "pagedadamw": _of_bitsandbytes(
        "paged AdamW", "PagedAdamW", "adamw", 8, weight_decay=0.01, arguments=_ADAMW_32BIT
    ),
    "pagedadamw32bit": _of_bitsandbytes(
        "paged AdamW", "PagedAdamW32bit", "adamw", 8, weight_decay=0.01, arguments=_ADAMW_32BIT
    ),
    "sgd8bit": _of_bitsandbytes(
        "8-bit SGD with momentum",
        "SGD8bit",
        "sgd",
        1,
        arguments={
            "momentum": Argument(0.9, "Share of the last update that the next one keeps."),
            "nesterov": Argument(False, "Look one update ahead."),
            "min_8bit_size": _LEAST_8BIT,
        },
    ),
    "lion8bit": _of_bitsandbytes("8-bit Lion", "Lion8bit", "lion", 1, arguments=_LION_8BIT),
    "pagedlion8bit": _of_bitsandbytes("paged 8-bit Lion", "PagedLion8bit", "lion", 1, arguments=_LION_8BIT),
    "lion": OptimizerFacts(
        title="Lion",
        class_name="lion_pytorch.lion_pytorch.Lion",
        made_by="lion_pytorch.Lion",
        package="lion-pytorch",
        state_bytes=4,
        arguments={
            "betas": Argument((0.9, 0.99), "Decay of update and moment."),
            "use_triton": Argument(False, "Update by a kernel of Triton's."),
            "decoupled_weight_decay": Argument(False, "Decay weights apart from the rate."),
        },
    ),
    "adafactor": OptimizerFacts(
        title="Adafactor",
        class_name="transformers.optimization.Adafactor",
        made_by="transformers.optimization.Adafactor",
        # Rows and columns instead of matrices: (rank + width) values for rank × width, with the usual 16 and 320.
        state_bytes=0.3,
        arguments={
            "eps": Argument((1e-30, 1e-3), "Least squared gradient, and least scale of a weight."),
            "clip_threshold": Argument(1.0, "Updates are scaled down to this root mean square."),
            "decay_rate": Argument(-0.8, "Exponent by which the moment's memory grows."),
            "beta1": Argument(None, "Decay of a first moment; None keeps none."),
            "scale_parameter": Argument(True, "Scale updates with the weights."),
            "relative_step": Argument(True, "Find the rate from the step's number; rates are not taken."),
            "warmup_init": Argument(False, "Begin with small relative steps."),
        },
    ),
    "prodigy": OptimizerFacts(
        title="Prodigy",
        class_name="prodigyopt.prodigy.Prodigy",
        made_by="prodigyopt.Prodigy",
        package="prodigyopt",
        state_bytes=16,  # two moments, the first weights, a sum of gradients
        one_rate=True,
        finds_rate=True,
        arguments={
            "betas": _BETAS,
            "beta3": Argument(None, "Decay of the rate's own sums; None: the root of the second beta."),
            "eps": _EPS,
            "decouple": Argument(True, "Decay weights as AdamW does."),
            "use_bias_correction": Argument(False, "Correct the moments of the first steps."),
            "safeguard_warmup": Argument(False, "Keep a warm-up out of the rate's estimate."),
            "d0": _D0,
            "d_coef": Argument(1.0, "Factor on the rate that is found."),
            "growth_rate": _GROWTH,
            "slice_p": Argument(
                1, "Estimate the rate from every so manieth value: 11 saves most of its memory."
            ),
        },
    ),
    "prodigyplusschedulefree": OptimizerFacts(
        title="Prodigy, schedule-free",
        class_name="prodigyplus.prodigy_plus_schedulefree.ProdigyPlusScheduleFree",
        made_by="prodigyplus.ProdigyPlusScheduleFree",
        package="prodigy-plus-schedule-free",
        state_bytes=4.9,  # one more set of weights; factored moments and a slice of the rest
        finds_rate=True,
        follows_schedule=False,
        keeps_shapes=False,
        arguments={
            "betas": Argument((0.9, 0.99), "Decay of the two moments."),
            "beta3": Argument(None, "Decay of the rate's own sums."),
            "weight_decay_by_lr": Argument(True, "Decay weights in proportion to the rate."),
            "d0": _D0,
            "d_coef": Argument(1.0, "Factor on the rate that is found."),
            "d_limiter": Argument(True, "Keep the rate from jumping in the first steps."),
            "prodigy_steps": Argument(0, "Hold the rate after so many steps; 0 never."),
            "schedulefree_c": Argument(0.0, "Width of the averaging window; 0: all steps."),
            "eps": _EPS,
            "split_groups": Argument(True, "Find a rate for each part of the model."),
            "split_groups_mean": Argument(False, "Use the mean of the parts' rates."),
            "factored": Argument(True, "Keep rows and columns of the second moment alone."),
            "use_bias_correction": Argument(False, "Correct the moments of the first steps."),
            "use_stableadamw": Argument(True, "Scale updates down where gradients jump."),
            "use_schedulefree": Argument(True, "Average the weights."),
            "use_speed": Argument(False, "Find the rate by another estimate."),
            "stochastic_rounding": Argument(True, "Round bf16 weights at random."),
            "use_cautious": Argument(False, "Skip values whose update and gradient disagree."),
        },
    ),
    "dadaptation": _DADAPT_PREPRINT,
    "dadaptadampreprint": _DADAPT_PREPRINT,
    "dadaptadam": _of_dadaptation(
        "DAdaptAdam",
        "dadapt_adam",
        12,
        **_DADAPT_ADAM,
        use_bias_correction=Argument(False, "Correct the moments of the first steps."),
    ),
    "dadaptadagrad": _of_dadaptation(
        "DAdaptAdaGrad",
        "dadapt_adagrad",
        12,
        momentum=Argument(0.0, "Share of the last update that the next one keeps."),
        eps=Argument(1e-6, "Added to the root of the sum."),
        growth_rate=_GROWTH,
    ),
    "dadaptadan": _of_dadaptation("DAdaptAdan", "dadapt_adan", 20, **_ADAN),
    "dadaptadanip": _of_dadaptation("DAdaptAdanIP", "experimental.dadapt_adan_ip", 20, **_ADAN),
    "dadaptlion": _of_dadaptation(
        "DAdaptLion", "dadapt_lion", 8, betas=Argument((0.9, 0.99), "Decay of update and moment.")
    ),
    "dadaptsgd": _of_dadaptation(
        "DAdaptSGD",
        "dadapt_sgd",
        12,
        momentum=Argument(0.0, "Share of the last update that the next one keeps."),
        growth_rate=_GROWTH,
    ),
    "adamwschedulefree": OptimizerFacts(
        title="AdamW, schedule-free",
        class_name="schedulefree.adamw_schedulefree.AdamWScheduleFree",
        made_by="schedulefree.AdamWScheduleFree",
        package="schedulefree",
        state_bytes=8,
        follows_schedule=False,
        arguments={
            "betas": _BETAS,
            "eps": _EPS,
            "warmup_steps": Argument(0, "Steps over which its rate rises."),
            **_SCHEDULE_FREE,
        },
    ),
    "radamschedulefree": OptimizerFacts(
        title="RAdam, schedule-free",
        class_name="schedulefree.radam_schedulefree.RAdamScheduleFree",
        made_by="schedulefree.RAdamScheduleFree",
        package="schedulefree",
        state_bytes=8,
        follows_schedule=False,
        arguments={
            "betas": _BETAS,
            "eps": _EPS,
            **_SCHEDULE_FREE,
            "silent_sgd_phase": Argument(
                True, "Change nothing in the first steps, which RAdam leaves to SGD."
            ),
        },
    ),
    "sgdschedulefree": OptimizerFacts(
        title="SGD, schedule-free",
        class_name="schedulefree.sgd_schedulefree.SGDScheduleFree",
        made_by="schedulefree.SGDScheduleFree",
        package="schedulefree",
        state_bytes=4,
        follows_schedule=False,
        arguments={
            "momentum": Argument(0.9, "Where between mean and newest weights gradients are taken."),
            "warmup_steps": Argument(0, "Steps over which its rate rises."),
            **_SCHEDULE_FREE,
        },
    ),
}
"""Every optimizer that `[training] optimizer` may name beside classes, by that name."""

DEFAULT_OPTIMIZER = "adamw"


def known_optimizer(name: str) -> str:
    """Return `name` as the table spells it. Raises ValueError where it is neither in the table nor a dotted class."""
    small = name.lower()
    if small in OPTIMIZERS:
        return small
    if not is_class_path(name):
        raise Unfit(
            "an optimizer of the table, or a class with its package (torch.optim.RAdam)",
            did_you_mean(name, OPTIMIZERS),
            f"'{name}'",
        )
    return name


def facts_of(name: str | None) -> OptimizerFacts:
    """Return what is known of optimizer `name`; of a class as much as its name tells."""
    known = OPTIMIZERS.get(name or DEFAULT_OPTIMIZER)
    if known is not None:
        return known
    path = name or ""
    return OptimizerFacts(
        title=path,
        class_name=path,
        made_by=path,
        package=path.partition(".")[0],
        state_bytes=next((size for part, size in _BY_NAME.items() if part in path.lower()), 8),
        weight_decay=None,
        follows_schedule=not path.lower().endswith("schedulefree"),
        keeps_shapes=False,
    )


_BY_NAME = {"8bit": 2.0, "lion": 4.0, "prodigy": 16.0, "sgd": 4.0}
"""What a class probably keeps of each value, by a part of its name."""


def state_bytes(name: str | None) -> float:
    """Return how many bytes the optimizer `name` keeps of each trained value; one that nobody knows counts as AdamW."""
    return facts_of(name).state_bytes


def saved_bytes(name: str | None) -> float:
    """Return how many bytes of each trained value a state for resuming holds: the value itself, float32, and the rest."""
    return 4 + state_bytes(name)


def missing_package(name: str) -> str | None:
    """Return the package that optimizer `name` needs and that is not installed, or None."""
    facts = facts_of(name)
    module = facts.made_by.partition(".")[0]
    return facts.package if facts.package and module and find_spec(module) is None else None


def optimizer_arguments(name: str, given: Sequence[str]) -> dict[str, Value]:
    """Return the arguments of optimizer `name` that `given` (NAME=VALUE each) say, typed.

    A class takes any, each a literal as Python writes it. Raises ValueError, naming every one that is malformed, unknown or no
    value of its type.
    """
    if name not in OPTIMIZERS:
        return literal_arguments(given)
    known = OPTIMIZERS[name].arguments
    found: dict[str, Value] = {}
    wrong = []
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            wrong.append(f"'{text}' must be NAME=VALUE")
        elif key not in known:
            hint = " It is a setting of its own: weight_decay." if key == "weight_decay" else ""
            wrong.append(f"{name} has no argument '{key}'. {hint.strip() or did_you_mean(key, known)}")
        else:
            try:
                found[key] = known[key].parse(value)
            except ValueError:
                wrong.append(f"{key} must be {known[key].kind}, not '{value}'")
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def optimizer_text(name: str, arguments: Mapping[str, Any], weight_decay: float | None = None) -> str:
    """Return how a LoRA file's metadata name an optimizer: its class, then in brackets what differs from its defaults."""
    facts = facts_of(name)
    told = dict(arguments)
    if weight_decay is not None and weight_decay != facts.weight_decay:
        told = {"weight_decay": weight_decay, **told}
    shown = [
        f"{key}={value}"
        for key, value in told.items()
        if key not in facts.arguments or value != facts.arguments[key].default
    ]
    return facts.class_name + (f"({','.join(shown)})" if shown else "")
