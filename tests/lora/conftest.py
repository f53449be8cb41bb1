"""Base models that LoRA tests stand on: tiny ones with weights, full-size ones without."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from torch import nn

from maquette.families import BaseModel
from maquette.families.tiny import write_tiny
from tests.families.full import full_targets


@pytest.fixture(scope="session", params=["sd1", "sdxl"])
def tiny_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny single-file model of each family."""
    return write_tiny(request.param, tmp_path_factory.mktemp("base") / f"{request.param}.safetensors", seed=3)


@pytest.fixture(scope="session")
def tiny_sd1_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("sd1", tmp_path_factory.mktemp("base") / "tiny.safetensors", seed=3)


def skeleton(family: str) -> BaseModel:
    """Return what `attach` reads of a full-size model: its layers, without weights."""
    targets = full_targets(family)
    return cast(
        BaseModel,
        SimpleNamespace(
            denoiser=nn.Module(), text_encoders=(), vae=nn.Module(), lora_targets=lambda: targets
        ),
    )


@pytest.fixture(scope="module")
def full_sd1() -> BaseModel:
    return skeleton("sd1")


@pytest.fixture(scope="module")
def full_sdxl() -> BaseModel:
    return skeleton("sdxl")
