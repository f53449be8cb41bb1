"""What tests in several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


def shared_data(name: str = "") -> Path:
    """Return the folder of real pictures beside the repository, or `name` in it; skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data" / name
    if not folder.exists():
        pytest.skip(f"needs real pictures in {folder}, which are not part of the repository")
    return folder
