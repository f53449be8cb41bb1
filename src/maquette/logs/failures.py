"""The table of known failures that the log rules are made from."""

from __future__ import annotations

from maquette.logs.failure import Failure
from maquette.logs.failures_input import INPUT_FAILURES
from maquette.logs.failures_machine import MACHINE_FAILURES


def all_failures() -> tuple[Failure, ...]:
    """Return the whole table, in the order of the codes."""
    return tuple(sorted((*INPUT_FAILURES, *MACHINE_FAILURES), key=lambda failure: failure.code))
