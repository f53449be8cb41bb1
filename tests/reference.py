"""The reference trainer's numbers (tests/golden) and the tiny base they were computed on."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from maquette.training.noise import NoiseDraw, draw_noise

GOLDEN = Path(__file__).parent / "golden"
# How many 32-bit draws sd-scripts had taken from the generator of seed 42 when the first training step began. Found by
# searching that generator's stream for the first step's noise; test_reference proves it on all ten steps.
DRAWS_BEFORE_TRAINING = 8_352_303


def golden_json(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def golden_tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / name)


def base_weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("base_weights", GOLDEN / "base_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_tiny_base(path: Path) -> Path:
    """Write the golden numbers' base checkpoint: 26 MB, float32, narrow SD 1.5 layout."""
    weights = base_weights()
    shapes = json.loads((GOLDEN / "base_shapes.json").read_text())["tiny"]
    save_file({name: torch.from_numpy(weights.tensor(name, shape)) for name, shape in shapes.items()}, path)
    return path


def formula_lora(shapes: dict[str, tuple[int, ...]], alpha: float) -> dict[str, torch.Tensor]:
    """Return the LoRA state of the fixed-input goldens: down = u / sqrt(fan_in), up = 0.02 u, seed 7."""
    weights = base_weights()
    state = {}
    for key, shape in shapes.items():
        if key.endswith(".alpha"):
            state[key] = torch.tensor(alpha)
            continue
        count = int(torch.tensor(shape).prod())
        values = weights.uniform(key, count, 7)
        fan_in = count // shape[0]
        factor = 0.02 if "lora_up" in key else fan_in**-0.5
        state[key] = torch.from_numpy(values * factor).float().reshape(shape)
    return state


def reference_generator() -> torch.Generator:
    """Return the reference's generator as it stood before its first training step."""
    generator = torch.Generator().manual_seed(42)
    torch.rand(DRAWS_BEFORE_TRAINING, generator=generator)
    return generator


class ReferenceNoise:
    """The reference's noise: one running generator, drawn from step by step."""

    def __init__(self) -> None:
        self.generator = reference_generator()

    def __call__(self, trial: Any, index: int, clean_BCHW: torch.Tensor, model: Any) -> NoiseDraw:
        return draw_noise(clean_BCHW, model.objective, trial.objective, self.generator)


def trajectory_inputs() -> Iterator[dict[str, torch.Tensor]]:
    """Yield each of the ten steps' latents, noise, noisy latents, timesteps and token ids."""
    tensors = golden_tensors("tiny10/inputs.safetensors")
    for step in range(10):
        prefix = f"step{step:02d}."
        yield {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
