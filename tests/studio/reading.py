"""What a screen reader's rules find on a page."""

from __future__ import annotations

from typing import Any

import pytest


def serious_findings(page: Any) -> list[tuple[str, str]]:
    """Return what axe calls serious or critical: its name and the first place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [
        (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
    ]
