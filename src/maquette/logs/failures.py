"""The table of known failures that the log rules are made from."""

from __future__ import annotations

from functools import cache

from maquette.logs.failure import Failure
from maquette.logs.failures_base import BASE_FAILURES
from maquette.logs.failures_card import CARD_FAILURES
from maquette.logs.failures_command import COMMAND_FAILURES
from maquette.logs.failures_files import FILE_FAILURES
from maquette.logs.failures_input import INPUT_FAILURES
from maquette.logs.failures_machine import MACHINE_FAILURES
from maquette.logs.failures_packages import PACKAGE_FAILURES


@cache
def all_failures() -> tuple[Failure, ...]:
    """Return the whole table, in the order of the codes."""
    tables = (
        *INPUT_FAILURES,
        *BASE_FAILURES,
        *MACHINE_FAILURES,
        *CARD_FAILURES,
        *COMMAND_FAILURES,
        *FILE_FAILURES,
        *PACKAGE_FAILURES,
    )
    return tuple(sorted(tables, key=lambda failure: failure.code))


def may_match(line: str) -> bool:
    """Tell in a glance whether a line may show a known failure: it holds the literal text of one."""
    low = line.lower()
    for needle in _needles():  # noqa: SIM110 (every line of a log comes through here, and any() takes twice as long)
        if needle in low:
            return True
    return False


@cache
def _needles() -> tuple[str, ...]:
    """Return the literal texts of the table, without those that hold another one."""
    every = {needle for failure in all_failures() for needle in failure.needles}
    return tuple(
        sorted(needle for needle in every if not any(other != needle and other in needle for other in every))
    )
