"""Real pictures on full-size layouts: train from a single file, offline, then draw with diffusers' own loader.

The base has random weights (nothing here downloads a model), so what it draws is noise; what is proven is that everything fits:
every key, every shape, every size. SDXL needs 16 GB of memory and minutes: MAQUETTE_FULL_SDXL=1 turns it on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import maquette
from maquette import families
from maquette.families.tiny import write_full
from tests.conftest import shared_data
from tests.lora.test_diffusers import adapted_layers, complaints, pipeline  # noqa: F401 (complaints is a fixture)

STEPS = 2
SETTINGS = {
    "rank": 4,
    "alpha": 2,
    "steps": STEPS,
    "device": "cpu",
    "seed": 1,
    "resolution": 128,
    "bucket_step_px": 64,
}
MODULES = {"sd1": 264, "sdxl": 986}
NEEDS_ROOM = pytest.mark.skipif(
    not os.environ.get("MAQUETTE_FULL_SDXL"),
    reason="SDXL at full size needs 16 GB and minutes: set MAQUETTE_FULL_SDXL=1",
)


@pytest.fixture(scope="module", params=["sd1", pytest.param("sdxl", marks=NEEDS_ROOM)])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full-size checkpoint with random weights in float16."""
    path = tmp_path_factory.mktemp("full") / f"{request.param}.safetensors"
    write_full(request.param, path)
    yield path
    path.unlink()


@pytest.mark.slow
def test_real_pictures_train_on_a_full_size_base_and_diffusers_draws_with_the_lora(
    base: Path,
    tmp_path: Path,
    complaints: list[str],  # noqa: F811
) -> None:
    portraits = shared_data("pixel_portraits")
    photos = shared_data("photos") / "dog"
    common = {**SETTINGS, "base": str(base), "output": tmp_path / "out", "precision": "bf16"}
    first = maquette.train(portraits, **common, trigger="bespokepunk", name="portraits")
    second = maquette.train(
        photos, **common, trigger="zkwdog", name="photos", caption_fallback="photo of zkwdog"
    )
    assert first.record.schedule.train_items == 2030
    _draw_with_diffusers(base, first.lora, complaints)
    assert second.lora.is_file()


def _draw_with_diffusers(base: Path, lora: Path, complaints: list[str]) -> None:  # noqa: F811
    """Load the file with diffusers' load_lora_weights: no unmatched key, every module adapted, another prediction."""
    model = families.load(base, dtype=torch.bfloat16)
    conditioning = model.encode_text(model.tokenize(["portrait of bespokepunk"]))
    sizes = [families.PictureSize((128, 128), (0, 0), (128, 128))]
    noisy = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))

    def predicted() -> torch.Tensor:
        with torch.no_grad():
            return model.predict(noisy, torch.tensor([500]), conditioning, sizes).float()

    before = predicted()
    pipe = pipeline(model)
    pipe.load_lora_weights(str(lora))
    assert complaints == []
    assert adapted_layers(model) == MODULES[model.info.family]
    with_lora = predicted()
    assert torch.isfinite(with_lora).all() and not torch.equal(before, with_lora)
    pipe.disable_lora()
    assert torch.equal(predicted(), before)
