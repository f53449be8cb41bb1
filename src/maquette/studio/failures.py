"""What the rules know of a log: why something failed, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def known_failures(log: Path) -> list[dict[str, Any]]:
    """Return what `maquette check` finds in a log or a run's folder, worst first, each with its rule's name and remedy."""
    from maquette.api import check
    from maquette.findings.registry import RULES

    return [
        {
            "code": each.code,
            "name": RULES[each.code].summary if each.code in RULES else "",
            "severity": each.severity,
            "message": each.message,
            "remedy": each.remedy,
        }
        for each in check(log).findings
    ]
