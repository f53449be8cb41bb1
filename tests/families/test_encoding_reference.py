"""The VAE encodes the pictures as trained into the reference trainer's latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from maquette import families
from maquette.dataset.preprocess import to_float_CHW
from maquette.families import BaseModel
from tests.conftest import GOLDEN
from tests.rounding import exact

TENSORS = load_file(GOLDEN / "preprocess.safetensors")


@pytest.fixture(scope="module")
def models(tiny_base: Path) -> tuple[BaseModel, BaseModel]:
    """The golden base as it is used, and its twin in double precision."""
    return families.load(tiny_base), families.load(tiny_base, dtype=torch.float64)


@torch.no_grad()
def moments(model: BaseModel, name: str) -> dict[str, Tensor]:
    pixels_BCHW = torch.from_numpy(to_float_CHW(TENSORS[f"{name}.cropped_u8"].numpy()))[None]
    vae = model.vae
    posterior = vae.encode(pixels_BCHW.to(next(vae.parameters()).dtype)).latent_dist  # type: ignore[operator]
    return {"mean": posterior.mean, "logvar": posterior.logvar}


@pytest.mark.parametrize("name", ["down", "same", "up"])
def test_mean_and_log_variance_agree(models: tuple[BaseModel, BaseModel], name: str) -> None:
    """Ours and the reference's are both as near to the exact moments as float32 comes: within 2e-5 to 4e-5 of size 4."""
    model, twin = models
    ours, bounds = moments(model, name), exact(lambda: moments(twin, name), [twin.vae])
    for moment, bound in bounds.items():
        assert bound.holds(ours[moment]), (moment, bound.distance(ours[moment]))
        assert bound.holds(TENSORS[f"{name}.{moment}"]), moment
