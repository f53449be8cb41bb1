"""The VAE encodes the pictures as trained into the reference trainer's latents."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from maquette import families
from maquette.dataset.preprocess import to_float_CHW
from maquette.families import BaseModel
from tests.conftest import GOLDEN

TENSORS = load_file(GOLDEN / "preprocess.safetensors")
# Equal to the last bit on one thread; on more, convolutions sum in another order: values of size 4 move by up
# to 4e-6, as measured.
ROUNDING = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def golden_base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    path = tmp_path_factory.mktemp("golden") / "base_tiny.safetensors"
    subprocess.run(
        [sys.executable, GOLDEN / "base_weights.py", "tiny", path], check=True, capture_output=True
    )
    return families.load(path)


@pytest.mark.parametrize("name", ["down", "same", "up"])
def test_mean_and_log_variance_agree(golden_base: BaseModel, name: str) -> None:
    pixels_BCHW = torch.from_numpy(to_float_CHW(TENSORS[f"{name}.cropped_u8"].numpy()))[None]
    with torch.no_grad():
        posterior = golden_base.vae.encode(pixels_BCHW).latent_dist  # type: ignore[operator]
    torch.testing.assert_close(posterior.mean, TENSORS[f"{name}.mean"], **ROUNDING)
    torch.testing.assert_close(posterior.logvar, TENSORS[f"{name}.logvar"], **ROUNDING)
