"""Settings that a base model's family has of its own: which were given, and whether it takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.protocol import FamilySpec


def family_options(spec: FamilySpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of the family's own by name: as `given`, else its default.

    Raises ConfigError for settings that the family does not have, and for values outside their bounds. Of a fixed setting
    the rules and the model itself say more.
    """
    problems = []
    for name, value in given.items():
        option = spec.option(name)
        if option is None:
            known = [option.name for option in spec.options]
            problems.append(
                Problem(
                    name,
                    f"{value!r}",
                    f"a setting that {spec.title} has",
                    did_you_mean(name, known) if known else "Leave it out.",
                )
            )
        elif not option.fixed and not option.takes(value):
            problems.append(
                Problem(name, f"{value!r}", option.wanted(), f"{option.help} Default: {option.default}.")
            )
    if problems:
        raise ConfigError(problems)
    return {option.name: given.get(option.name, option.default) for option in spec.options}
