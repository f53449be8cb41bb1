"""A space's TOML read: every unknown key, name and value is a problem, and all are told together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.optimizers import OPTIMIZERS
from maquette.project.schedules import SCHEDULES
from maquette.reading import FileKind, Unreadable, parse_toml, shown, text_of
from maquette.searching.constraints import SAFETY, Constraint
from maquette.searching.expressions import Expression, parse_expression
from maquette.searching.expressions import Unreadable as NoCondition
from maquette.searching.names import known_names, searchable
from maquette.searching.space import Parameter, Space, unknown_parameter

FILE = FileKind("a search space as TOML", "maquette search PROJECT --print-space writes one to begin with.")
KEYS = ("space", "refuse", "safety")
PARAMETER_KEYS = ("choose", "low", "high", "step", "log", "if", "layers", "sets")
REFUSAL_KEYS = ("when", "why")
OWN_REASON = "the space refuses it"


def read_space(path: Path) -> Space:
    """Return the space that the file at `path` describes. Raises ConfigError with every problem."""
    try:
        text = text_of(path)
    except OSError as error:
        raise ConfigError(
            Problem(str(path), error.strerror or str(error), FILE.required, FILE.remedy)
        ) from None
    except Unreadable as error:
        raise ConfigError(Problem(str(path), str(error), FILE.required, FILE.remedy)) from None
    return parse_space(text, str(path))


def parse_space(text: str, where: str) -> Space:
    """Return the space that a TOML text describes. Raises ConfigError with every problem."""
    try:
        table = parse_toml(text)
    except Unreadable as error:
        raise ConfigError(Problem(where, str(error), FILE.required, FILE.remedy)) from None
    reader = _Reader(where)
    space = reader.space(table, text)
    if reader.problems:
        raise ConfigError(reader.problems)
    return space


@dataclass
class _Reader:
    where: str
    problems: list[Problem] = field(default_factory=list)

    def space(self, table: Mapping[str, Any], text: str) -> Space:
        for key in table:
            if key not in KEYS:
                self._say(key, "unknown key", "a known key", did_you_mean(key, KEYS))
        tables = table.get("space")
        if not isinstance(tables, Mapping) or not tables:
            self._say("[space]", shown(tables), "a table of what is searched", FILE.remedy)
            tables = {}
        parameters: list[Parameter] = []
        for name, entry in tables.items():
            found = self._parameter(name, entry, [each.name for each in parameters])
            parameters += [found] if found else []
        self._rivals(parameters)
        constraints = self._constraints(table, {each.name: each for each in parameters})
        return Space(parameters=tuple(parameters), constraints=constraints, text=text)

    # --- parameters --------------------------------------------------------------------------------------

    def _parameter(self, name: str, entry: Any, before: list[str]) -> Parameter | None:
        place, count = f"[space] {name}", len(self.problems)
        if not isinstance(entry, Mapping):
            self._say(place, shown(entry), "a table", f"Write {name} = {{ choose = [1, 2] }}")
            return None
        for key in entry:
            if key not in PARAMETER_KEYS:
                self._say(f"{place} {key}", "unknown key", "a known key", did_you_mean(key, PARAMETER_KEYS))
        layers = entry.get("layers", "")
        known = searchable()
        setting = name.rpartition(".")[2] if "." in name else name
        if not layers and setting not in known:
            problem = unknown_parameter(name)
            self._say(problem.where, problem.given, problem.required, problem.remedy)
        if not isinstance(layers, str):
            self._say(f"{place} layers", shown(layers), "a pattern of layers", 'Write layers = "MID"')
        if entry.get("sets", "rank") not in ("rank", "lr") or ("sets" in entry and not layers):
            self._say(
                f"{place} sets",
                shown(entry.get("sets")),
                "rank or lr, with layers",
                "Leave it out for the rank.",
            )
        only_if = self._only_if(place, entry.get("if"), before)
        made = {"name": name, "only_if": only_if, "layers": layers, "sets": entry.get("sets", "rank")}
        made["setting"] = "blocks" if layers else known.get(setting, setting)
        found = self._values(place, entry)
        return Parameter(**made, **found) if found and len(self.problems) == count else None

    def _values(self, place: str, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        if "choose" in entry:
            return self._choices(place, entry)
        low, high = entry.get("low"), entry.get("high")
        if not _is_number(low) or not _is_number(high) or not low < high:
            required = "choose = [ … ], or two numbers low and high, low below high"
            self._say(place, f"low {shown(low)}, high {shown(high)}", required, FILE.remedy)
            return None
        step, log = entry.get("step"), entry.get("log", False)
        is_whole = isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int))
        if not isinstance(log, bool):
            self._say(f"{place} log", shown(log), "true or false", "Leave it out for even steps.")
        if step is not None and (not _is_number(step) or step <= 0):
            self._say(f"{place} step", shown(step), "a number above 0", "Leave it out for any value between.")
            return None
        if step is not None and not math.isclose(
            (high - low) / step, round((high - low) / step), abs_tol=1e-9
        ):
            self._say(
                f"{place} step", shown(step), f"a part of {high - low:g} (high - low)", "Change high or step."
            )
        if log is True and (low <= 0 or step is not None):
            self._say(f"{place} log", "true", "a range above 0 without step", "Leave out log or step.")
        return {
            "kind": "int" if is_whole else "float",
            "low": low,
            "high": high,
            "step": step,
            "log": log is True,
        }

    def _choices(self, place: str, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        choices = entry["choose"]
        if not isinstance(choices, list) or not choices:
            self._say(f"{place} choose", shown(choices), "a list of values", "Write choose = [64, 128]")
            return None
        if not all(isinstance(each, str | int | float | bool) for each in choices):
            self._say(
                f"{place} choose",
                shown(choices),
                "texts, numbers or truth values",
                "Write choose = [64, 128]",
            )
            return None
        if len(set(map(repr, choices))) < len(choices):
            self._say(f"{place} choose", shown(choices), "each value once", "Leave out the second.")
        for key in ("low", "high", "step", "log"):
            if key in entry:
                self._say(
                    f"{place} {key}", shown(entry[key]), "nothing beside choose", "Leave out one of them."
                )
        return {"kind": "choice", "choices": tuple(choices)}

    def _only_if(self, place: str, given: Any, before: list[str]) -> Expression | None:
        if given is None:
            return None
        found = self._condition(f"{place} if", given)
        for name in found.names if found else ():
            if name not in before:
                remedy = did_you_mean(name, before) if before else "Move what it asks for before it."
                self._say(f"{place} if", f"'{name}'", "names that stand before it in [space]", remedy)
        return found

    def _rivals(self, parameters: list[Parameter]) -> None:
        """Say where two names decide one setting, or its length twice."""
        seen: dict[str, str] = {}
        for each in parameters:
            key = f"{each.layers} {each.sets}" if each.layers else each.setting
            key = "length" if key in ("steps", "epochs") else key
            if key in seen and each.only_if is None:
                required = "one name for each setting"
                self._say(
                    f"[space] {each.name}", f"decides what {seen[key]} decides", required, "Leave out one."
                )
            seen.setdefault(key, each.name)

    # --- constraints -------------------------------------------------------------------------------------

    def _constraints(
        self, table: Mapping[str, Any], parameters: Mapping[str, Parameter]
    ) -> tuple[Constraint, ...]:
        safety = table.get("safety", False)
        if not isinstance(safety, bool):
            self._say("safety", shown(safety), "true or false", "true adds the seven safety constraints.")
        found = list(SAFETY) if safety is True else []
        for name, when, why in self._refusals(table.get("refuse", {})):
            place = f"refuse {name}"
            condition = self._condition(place, when)
            if condition is not None:
                self._known(place, condition, parameters)
                found = [each for each in found if each.name != name]
                found.append(Constraint(name, condition, why))
        return tuple(found)

    def _refusals(self, given: Any) -> Iterator[tuple[str, Any, str]]:
        if isinstance(given, str | list):
            lines = [given] if isinstance(given, str) else given
            yield from ((f"refused_{number}", line, OWN_REASON) for number, line in enumerate(lines, 1))
            return
        if not isinstance(given, Mapping):
            self._say(
                "refuse",
                shown(given),
                "a condition, a list of them, or a table",
                'Write refuse = "learning_rate > 1e-4"',
            )
            return
        for name, entry in given.items():
            if not isinstance(entry, Mapping):
                yield name, entry, OWN_REASON
                continue
            for key in entry:
                if key not in REFUSAL_KEYS:
                    self._say(
                        f"[refuse] {name} {key}",
                        "unknown key",
                        "a known key",
                        did_you_mean(key, REFUSAL_KEYS),
                    )
            yield name, entry.get("when"), str(entry.get("why", OWN_REASON))

    def _condition(self, place: str, given: Any) -> Expression | None:
        if not isinstance(given, str):
            self._say(
                place,
                shown(given),
                "a condition in quotes",
                'Write "learning_rate > 1e-4 and network_dim > 64"',
            )
            return None
        try:
            return parse_expression(given)
        except NoCondition as error:
            remedy = "Comparisons with and, or, not, + - * /, abs, min, max over names, numbers and texts."
            self._say(place, f"{shown(given)}: {error}", "a condition", remedy)
            return None

    def _known(self, place: str, condition: Expression, parameters: Mapping[str, Parameter]) -> None:
        known = {*known_names(), *parameters}
        for name in condition.names:
            if name not in known:
                self._say(
                    place,
                    f"unknown name '{name}'",
                    "a name of the space, or a setting",
                    did_you_mean(name, known),
                )
        for name, text in condition.compared_texts():
            texts = _texts_of(name, parameters)
            if texts and text.casefold() not in [each.casefold() for each in texts]:
                self._say(
                    place,
                    f"{name} compared with '{text}'",
                    f"a value that {name} can have",
                    did_you_mean(text, texts),
                )

    def _say(self, place: str, given: str, required: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self.where} {place}", given, required, remedy))


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts_of(name: str, parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the texts that the value of `name` can be; none where anything may be asked of it."""
    setting = parameters[name].setting if name in parameters else searchable().get(name, name)
    tables: Mapping[str, Iterable[str]] = {"optimizer": OPTIMIZERS, "lr_scheduler": SCHEDULES}
    own = [each for each in parameters[name].choices if isinstance(each, str)] if name in parameters else []
    return [*own, *tables.get(setting, ())]
