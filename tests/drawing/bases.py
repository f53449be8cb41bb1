"""Tiny random bases, and LoRAs that visibly change what they draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from maquette import families
from maquette.drawing.request import DrawRequest
from maquette.families.tiny import write_tiny
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import save_lora


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A loaded tiny model of each kind that is drawn differently."""
    folder = tmp_path_factory.mktemp("bases")
    kinds = {
        "sd1": ("sd1", "epsilon"),
        "sd1 v": ("sd1", "v"),
        "sd2 v": ("sd2", "v"),
        "sdxl": ("sdxl", "epsilon"),
    }
    paths = {
        name: write_tiny(family, folder / f"{name}.safetensors", prediction=prediction)  # type: ignore[arg-type]
        for name, (family, prediction) in kinds.items()
    }
    return {name: families.load(str(path), dtype=torch.float32) for name, path in paths.items()}


@pytest.fixture
def base(bases: dict[str, Any]) -> Any:
    """The tiny SD 1.x."""
    return bases["sd1"]


def request_of(index: int, **changes: Any) -> DrawRequest:
    """Return a small, quick request; another index draws something else."""
    facts: dict[str, Any] = {"prompt": f"picture number {index}", "negative": "blurry", "seed": index}
    quick = {"width_px": 64, "height_px": 64, "steps": 3, "guidance": 3.0}
    return DrawRequest(**(facts | quick | changes))


def strong_states(model: Any, ranks: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """Return the state of one LoRA for each rank, far enough from zero to be seen."""
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=rank, alpha=rank, seed=rank) for rank in ranks])
    states = [adapter.state_dict(trial) for trial in range(len(ranks))]
    adapter.detach()
    for number, state in enumerate(states):
        generator = torch.Generator().manual_seed(number)
        for name, tensor in state.items():
            if name.endswith("lora_up.weight"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return states


def write_strong(model: Any, folder: Path, ranks: tuple[int, ...]) -> list[Path]:
    """Write those LoRAs as files."""
    paths = [folder / f"zkw-step{100 * (number + 1):08d}.safetensors" for number in range(len(ranks))]
    for path, state in zip(paths, strong_states(model, ranks), strict=True):
        save_lora(path, state, {}, dtype="fp32")
    return paths
