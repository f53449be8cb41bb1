"""Real pictures: a whole folder on a small base; and on full-size layouts from a single file, offline, until diffusers' own
loader draws with the LoRA.

The full-size base has random weights (nothing here downloads a model), so what it draws is noise; what is proven is that
everything fits: every key, every shape, every size. A few pictures show that as well as two hundred. SDXL needs 16 GB of memory
and minutes: MAQUETTE_FULL_SDXL=1 turns it on.
"""

from __future__ import annotations

import os
import shutil
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
# Single precision where it fits in 8 GB: convolutions in bfloat16 take a hundred times as long on processors without it.
PRECISIONS = {"sd1": "no", "sdxl": "bf16"}
FEW = 4
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
    portraits = _few_portraits(tmp_path / "portraits")
    family = families.inspect(base).family
    result = maquette.train(
        portraits,
        **SETTINGS,
        base=str(base),
        output=tmp_path / "out",
        precision=PRECISIONS[family],
        trigger="bespoke punk",
        name="portraits",
    )
    assert result.record.schedule.train_items == 10 * FEW
    _draw_with_diffusers(base, result.lora, PRECISIONS[family], complaints)


@pytest.mark.slow
def test_whole_folders_of_real_pictures_train(tiny_base: Path, tmp_path: Path) -> None:
    common = {**SETTINGS, "base": str(tiny_base), "output": tmp_path / "out", "precision": "no"}
    portraits, photos = shared_data("pixel_portraits"), shared_data("photos") / "dog"
    first = maquette.train(portraits, **common, trigger="bespoke punk", name="portraits")
    assert first.record.schedule.train_items == 2030
    second = maquette.train(
        photos, **common, trigger="zkwdog", name="photos", caption_fallback="photo of zkwdog"
    )
    assert second.lora.is_file()


def _few_portraits(folder: Path) -> Path:
    """Copy the first few real portraits with their captions, ten repeats each, into `folder`; return it."""
    (source,) = shared_data("pixel_portraits").glob("10_*")
    (folder / source.name).mkdir(parents=True)
    for picture in sorted(source.glob("*.png"))[:FEW]:
        for path in (picture, picture.with_suffix(".txt")):
            shutil.copy(path, folder / source.name)
    return folder


def _draw_with_diffusers(base: Path, lora: Path, precision: str, complaints: list[str]) -> None:  # noqa: F811
    """Load the file with diffusers' load_lora_weights: no unmatched key, every module adapted, another prediction."""
    model = families.load(base, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    conditioning = model.encode_text(model.tokenize(["portrait of bespoke punk"]))
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
