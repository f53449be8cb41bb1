"""A LoRA file, a recipe and a ComfyUI-style folder that every deploy test shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from maquette.deploying.recipe import Recipe
from maquette.drawing.request import DrawRequest
from maquette.drawing.scene import Scene
from maquette.families import FAMILIES
from maquette.lora.files import save_lora
from maquette.runs.folder import RunFolder
from tests.drawing.trained import train_small

KEY = "lora_unet_down_blocks_0_attentions_0_proj_in"


def write_lora(path: Path, seed: int = 0) -> Path:
    """Write a LoRA of one module; different seeds give different content of the same size."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        f"{KEY}.alpha": torch.tensor(2.0),
        f"{KEY}.lora_down.weight": torch.randn(2, 8, 1, 1, generator=generator),
        f"{KEY}.lora_up.weight": torch.randn(8, 2, 1, 1, generator=generator),
    }
    save_lora(path, state, {"ss_base_model_version": "sd_v1"}, dtype="fp16")
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was really trained; a test that changes it copies it first."""
    return train_small(tmp_path_factory.mktemp("project"))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A whole LoRA file."""
    return write_lora(tmp_path / "run" / "zkw-step00000200.safetensors")


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    """A folder laid out as ComfyUI's, with a base model's file."""
    root = tmp_path / "ComfyUI"
    (root / "models" / "loras").mkdir(parents=True)
    (root / "models" / "checkpoints").mkdir()
    (root / "models" / "checkpoints" / "base.safetensors").write_bytes(b"")
    return root


@pytest.fixture
def recipe() -> Recipe:
    """How the LoRA is drawn."""
    prompts = ("zkw, standing, front view", "zkw, jumping")
    request = DrawRequest(prompt=prompts[0], width_px=512, height_px=512, steps=20, sampler="euler")
    return Recipe(
        trigger="zkw",
        prompts=prompts,
        origin="step 200 (zkw-step00000200) of run zkw-001",
        scene=Scene(request=request, family=FAMILIES["sd1"].spec, base="base.safetensors"),
    )


def with_scene(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with other values in its scene, or in what the scene asks for."""
    scene = recipe.scene
    asked = {name: changes.pop(name) for name in list(changes) if hasattr(scene.request, name)}
    return replace(recipe, scene=replace(scene, request=replace(scene.request, **asked), **changes))
