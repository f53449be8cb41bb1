"""Tiny random checkpoints, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette import families
from maquette.families.protocol import BaseModel
from maquette.families.tiny import write_tiny
from tests.families.models import NAMES


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a tiny single file of each family."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: write_tiny(name, folder / f"{name}.safetensors") for name in NAMES}


@pytest.fixture(scope="session")
def tiny_models(tiny_files: dict[str, Path]) -> dict[str, BaseModel]:
    """Return the loaded tiny model of each family; tests must leave them as they are."""
    return {name: families.load(path) for name, path in tiny_files.items()}
