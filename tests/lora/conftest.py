"""Base models that LoRA tests stand on: tiny ones with weights, full-size ones without."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from maquette.families import BaseModel, load
from maquette.families.tiny import file_shapes, write_tiny


@pytest.fixture(scope="session", params=["sd1", "sdxl"])
def tiny_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny single-file model of each family."""
    return write_tiny(request.param, tmp_path_factory.mktemp("base") / f"{request.param}.safetensors", seed=3)


@pytest.fixture(scope="session")
def tiny_sd1_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("sd1", tmp_path_factory.mktemp("base") / "tiny.safetensors", seed=3)


@pytest.fixture
def tiny_sd1(tiny_sd1_path: Path) -> BaseModel:
    return load(tiny_sd1_path)


def skeleton(family: str, folder: Path) -> BaseModel:
    """Return a full-size model without weights, read from a file that is all hole: the header is real."""
    table: dict[str, object] = {}
    end = 0
    for name, shape in file_shapes(family, "full").items():
        start, end = end, end + 2 * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(table).encode()
    path = folder / f"{family}.safetensors"
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    model = load(path, dtype=torch.float16, device="meta")
    path.unlink()
    return model


@pytest.fixture(scope="module")
def full_sd1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseModel]:
    yield skeleton("sd1", tmp_path_factory.mktemp("skeleton"))


@pytest.fixture(scope="module")
def full_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseModel]:
    yield skeleton("sdxl", tmp_path_factory.mktemp("skeleton"))
