"""The optimizers that can be asked for: what each takes, and how much it keeps. Torch-free; `training/optimize.py` makes them.

Settings, memory, disk and a file's metadata read this table; a new optimizer is one row here and one factory there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.errors import did_you_mean

Value = bool | int | float | tuple[float, ...]


@dataclass(frozen=True)
class Argument:
    """One argument of an optimizer: its default, whose type is the argument's, and what it does."""

    default: Value
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
        return type(self.default)(text)

    @property
    def kind(self) -> str:
        """What a value must be, in words."""
        if isinstance(self.default, tuple):
            return f"{len(self.default)} numbers with commas"
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


OPTIMIZERS: dict[str, OptimizerFacts] = {
    "adamw": OptimizerFacts(
        title="AdamW",
        class_name="torch.optim.adamw.AdamW",
        state_bytes=8,  # two moments, float32
        arguments={
            "betas": Argument((0.9, 0.999), "Decay of the two moments."),
            "eps": Argument(1e-8, "Added to the root of the second moment."),
        },
    ),
    "sgd": OptimizerFacts(
        title="SGD with momentum",
        class_name="torch.optim.sgd.SGD",
        state_bytes=4,  # one momentum, float32
        arguments={
            "momentum": Argument(0.9, "Share of the last update that the next one keeps."),
            "nesterov": Argument(False, "Look one update ahead."),
        },
    ),
}
"""Every optimizer that `[training] optimizer` may name, by that name."""

ELSEWHERE_STATE_BYTES = {"8bit": 2.0, "lion": 4.0}
"""What optimizers of other trainers keep of each value, by a part of their name: two moments of a byte, one of four."""
DEFAULT_OPTIMIZER = "adamw"


def state_bytes(name: str | None) -> float:
    """Return how many bytes the optimizer `name` keeps of each trained value; one that nobody knows counts as AdamW."""
    known = OPTIMIZERS.get(name or DEFAULT_OPTIMIZER)
    if known is not None:
        return known.state_bytes
    found = (size for part, size in ELSEWHERE_STATE_BYTES.items() if part in (name or ""))
    return next(found, OPTIMIZERS[DEFAULT_OPTIMIZER].state_bytes)


def saved_bytes(name: str | None) -> float:
    """Return how many bytes of each trained value a state for resuming holds: the value itself, float32, and the rest."""
    return 4 + state_bytes(name)


def optimizer_arguments(name: str, given: Sequence[str]) -> dict[str, Value]:
    """Return the arguments of optimizer `name` that `given` (NAME=VALUE each) say, typed.

    Raises ValueError, naming every one that is malformed, unknown or no value of its type.
    """
    known = OPTIMIZERS[name].arguments
    found: dict[str, Value] = {}
    wrong = []
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            wrong.append(f"'{text}' must be NAME=VALUE")
        elif key not in known:
            wrong.append(f"{name} has no argument '{key}'. {did_you_mean(key, known)}")
        else:
            try:
                found[key] = known[key].parse(value)
            except ValueError:
                wrong.append(f"{key} must be {known[key].kind}, not '{value}'")
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def optimizer_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return how a LoRA file's metadata name an optimizer: its class, then in brackets what differs from its defaults."""
    facts = OPTIMIZERS[name]
    told = [f"{key}={value}" for key, value in arguments.items() if value != facts.arguments[key].default]
    return facts.class_name + (f"({','.join(told)})" if told else "")
