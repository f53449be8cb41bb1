"""What is searched: a space as a TOML file says it, what a proposal of it means, and what is refused of it.

    [space]
    network_dim = { choose = [64, 128, 256] }
    network_alpha_ratio = { low = 0.25, high = 0.9, step = 0.05 }
    learning_rate = { low = 6e-5, high = 1.2e-4, log = true }
    lr_warmup_steps = { choose = [50, 100], if = "lr_scheduler != 'constant'" }
    middle = { choose = [4, 16], layers = "MID" }           # the rank of these layers alone

    [refuse]
    too_fast = "learning_rate > 1e-4 and network_dim > 128"
    alpha_near_dim = { when = "abs(network_alpha - network_dim) < 1", why = "nothing damps the adapter" }

`safety = true` at the top adds the seven constraints of `constraints.py`; one in a line: `refuse = "learning_rate > 1e-4"`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from maquette.errors import ConfigError, MaquetteError, Problem, did_you_mean
from maquette.project.config_file import with_changes
from maquette.project.optimizers import OPTIMIZERS
from maquette.project.settings import SECTION_OF, SECTIONS, Settings
from maquette.searching.constraints import Constraint
from maquette.searching.expressions import Expression
from maquette.searching.names import ALPHA_RATIO, searchable
from maquette.searching.records import Value

Kind = Literal["choice", "int", "float"]
LayerTarget = Literal["rank", "lr"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One dimension of the space."""

    name: str
    kind: Kind
    setting: str
    """The setting that it decides; `blocks` where it speaks of some layers."""
    choices: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    only_if: Expression | None = None
    layers: str = ""
    sets: LayerTarget = "rank"

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that stand for all of it: its choices, or its two ends."""
        return self.choices if self.kind == "choice" else (self.low, self.high)

    def holds(self, value: Value) -> bool:
        """Return whether `value` lies in it, on its grid."""
        if self.kind == "choice":
            return any(value == each and type(value) is type(each) for each in self.choices)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)


@dataclass(frozen=True, kw_only=True)
class Space:
    """All that may be proposed."""

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    text: str
    """As TOML."""

    def changes(self, base: Settings, params: Mapping[str, Value]) -> dict[str, Any]:
        """Return the settings that `params` mean over `base`, by their names in maquette.toml."""
        found: dict[str, Any] = {}
        for each in self.parameters:
            if each.name in params and each.name != ALPHA_RATIO and not each.layers:
                found[each.setting] = as_setting(each.setting, params[each.name])
        rank = found.get("rank", base.lora.rank)
        ratio = params.get(ALPHA_RATIO)
        if isinstance(ratio, int | float):
            found["alpha"] = alpha_of(rank, ratio)
        elif "rank" in found and "alpha" not in found and base.lora.alpha is not None:
            found["alpha"] = alpha_of(rank, base.lora.alpha_in_force / base.lora.rank)
        own_ratio = found.get("alpha", rank / 2) / max(1, rank)
        blocks = [
            _block(each, params[each.name], own_ratio)
            for each in self.parameters
            if each.layers and each.name in params
        ]
        if blocks:
            found["blocks"] = (*base.lora.blocks, *blocks)
        return found

    def settings(self, base: Settings, params: Mapping[str, Value]) -> Settings:
        """Return `base` with what `params` mean. Raises ConfigError."""
        return with_changes(base, self.changes(base, params))

    def params_of(self, settings: Settings) -> dict[str, Value] | None:
        """Return the point of the space that `settings` are; None where they lie outside of it."""
        found: dict[str, Value] = {}
        for each in self.parameters:
            value = _value_of(each, settings)
            if each.only_if is not None and not each.only_if.holds(found):
                continue
            value = next((one for one in each.choices if _alike(one, value)), value)
            if not each.holds(value):
                return None
            found[each.name] = value
        return found


def alpha_of(rank: int, ratio: float) -> int:
    """Return int(rank × ratio), 1 at least."""
    return max(1, int(rank * ratio + 1e-9))


def as_setting(setting: str, value: Value) -> Any:
    """Return a space's value as the setting takes it: an optimizer by its name here, 0 as off where off is None."""
    if setting == "optimizer" and isinstance(value, str):
        return next((name for name in OPTIMIZERS if name.casefold() == value.casefold()), value)
    field = SECTIONS[SECTION_OF[setting]].model_fields[setting]
    above_zero = any(getattr(each, "gt", None) == 0 for each in field.metadata)
    return (
        None if value == 0 and not isinstance(value, bool) and above_zero and field.default is None else value
    )


def _alike(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _value_of(parameter: Parameter, settings: Settings) -> Value:
    """Return what `settings` say of a parameter, as the space would say it."""
    lora, training = settings.lora, settings.training
    if parameter.layers:
        return None
    if parameter.name == ALPHA_RATIO:
        return lora.alpha_in_force / lora.rank
    in_force = {
        "alpha": lora.alpha_in_force,
        "unet_lr": training.unet_lr_in_force,
        "text_encoder_lr": training.text_encoder_lr_in_force,
    }
    value: Value = in_force.get(
        parameter.setting, getattr(getattr(settings, SECTION_OF[parameter.setting]), parameter.setting)
    )
    return 0 if value is None and as_setting(parameter.setting, 0) is None else value


def _block(parameter: Parameter, value: Value, ratio: float) -> str:
    assert isinstance(value, int | float)
    if parameter.sets == "lr":
        return f"{parameter.layers}: lr={value:.9g}"
    return f"{parameter.layers}: rank={int(value)}, alpha={max(1, round(value * ratio, 6)):g}"


# --- whether the settings take it ------------------------------------------------------------------------


def require_settable(space: Space, base: Settings) -> None:
    """Raise ConfigError for every value of the space that its setting does not take over `base`."""
    problems = list(_unsettable(space, base))
    if problems:
        raise ConfigError(problems)


def _unsettable(space: Space, base: Settings) -> Iterator[Problem]:
    for each in space.parameters:
        for value in each.ends:
            try:
                space.settings(base, {each.name: value})
            except MaquetteError as error:
                for problem in error.problems:
                    yield Problem(f"[space] {each.name}", problem.given, problem.required, problem.remedy)
                break


def unknown_parameter(name: str) -> Problem:
    """Return what to say of a name that means no setting."""
    known = searchable()
    if name in SECTION_OF:
        given = f"{name} belongs to the base, the pictures or the machine"
        return Problem(
            f"[space] {name}",
            given,
            "a setting in which trials may differ",
            "Set it in maquette.toml for all.",
        )
    remedy = f'{did_you_mean(name, known)} The rank of some layers alone: {name} = {{ choose = […], layers = "PATTERN" }}'
    return Problem(f"[space] {name}", "unknown", "a setting, or a name of sd-scripts for one", remedy)
