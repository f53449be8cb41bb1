"""How a report says numbers, durations, sizes and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.evaluating.statistics import Estimate


def interval(estimate: Estimate) -> str:
    """Return "95 % 0.61–0.77", or nothing without an interval."""
    return "" if estimate.low is None else f"95 % {estimate.low:.2f}–{estimate.high:.2f}"


def change_text(estimate: Estimate) -> str:
    """Return "+0.41 (+0.35 to +0.47)", or the change alone without an interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def duration(seconds: float) -> str:
    """Return "48 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


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
