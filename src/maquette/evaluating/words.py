"""How a report says numbers, durations, sizes and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.measuring.statistics import Estimate


def interval(estimate: Estimate) -> str:
    """Return "95 % 0.61–0.77", or nothing without an interval."""
    return "" if estimate.low is None else f"95 % {estimate.low:.2f}–{estimate.high:.2f}"


def change_text(estimate: Estimate) -> str:
    """Return "+0.41 (+0.35 to +0.47)", or the change alone without an interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings as one, inner names as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value) if isinstance(value, Mapping) else {key: value}
    return flat


def spelled(name: str) -> str:
    """Return a field's name as words."""
    return name.replace("_", " ").strip()


def value_text(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None or value == "" or value == () or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(value_text(entry) for entry in value)
    return str(value)
