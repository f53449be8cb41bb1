"""A VAE in the base's place: whichever way it is stored, it encodes the same; one that does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import maquette
from maquette import families
from maquette.errors import DatasetError, ModelError
from maquette.families.common.describe import VAE
from maquette.families.protocol import BaseModel, Stated
from maquette.families.tiny import write_tiny

ShortRun = Callable[..., dict]


def latents_of(model: BaseModel) -> torch.Tensor:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return model.encode_pictures(pixels, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another whole checkpoint of the same sizes."""
    return write_tiny("sd1", tmp_path_factory.mktemp("other") / "other.safetensors", seed=5)


@pytest.fixture(scope="module")
def forms(other: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the other checkpoint's VAE in every form in which one is given."""
    folder = tmp_path_factory.mktemp("forms")
    alone = {key.removeprefix(VAE): value for key, value in load_file(other).items() if key.startswith(VAE)}
    save_file(alone, folder / "original.safetensors")
    vae = families.load(other).vae
    save_file(vae.state_dict(), folder / "diffusers.safetensors")
    (folder / "folder").mkdir()
    (folder / "folder" / "config.json").write_text(json.dumps(dict(vae.config)))  # type: ignore[arg-type]
    save_file(vae.state_dict(), folder / "folder" / "diffusion_pytorch_model.safetensors")
    (folder / "pipeline").mkdir()
    (folder / "folder").rename(folder / "pipeline" / "vae")
    names = ("original.safetensors", "diffusers.safetensors", "pipeline", "pipeline/vae")
    return {"whole": other} | {name: folder / name for name in names}


def test_every_form_of_a_vae_encodes_alike(
    tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel], forms: dict[str, Path], other: Path
) -> None:
    expected = latents_of(families.load(other))
    assert not torch.equal(expected, latents_of(tiny_models["sd1"]))
    for path in forms.values():
        model = families.load(tiny_files["sd1"], stated=Stated(vae=str(path)))
        torch.testing.assert_close(latents_of(model), expected)
        assert not any(tensor.requires_grad for tensor in model.vae.parameters())
        assert model.vae_fingerprint() == families.load(other).vae_fingerprint()


def test_precision_follows_the_family_the_name_and_what_is_asked(
    tiny_files: dict[str, Path], forms: dict[str, Path], tmp_path: Path
) -> None:
    def dtype(base: str, dtype: torch.dtype, **stated: object) -> torch.dtype:
        return families.load(tiny_files[base], dtype=dtype, stated=Stated(**stated)).vae_dtype  # type: ignore[arg-type]

    repaired = tmp_path / "sdxl-vae-fp16-fix.safetensors"
    repaired.write_bytes(forms["original.safetensors"].read_bytes())
    assert dtype("sdxl", torch.float16, vae=str(forms["original.safetensors"])) == torch.float32
    assert dtype("sdxl", torch.float16, vae=str(repaired)) == torch.float16
    assert dtype("sdxl", torch.float16, vae=str(repaired), no_half_vae=True) == torch.float32
    assert dtype("sdxl", torch.bfloat16, no_half_vae=True) == torch.float32
    assert dtype("sd1", torch.float16) == torch.float16


def test_what_is_no_vae_or_does_not_fit_is_refused_before_anything_loads(
    short_run: ShortRun, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, lora)
    narrow = tmp_path / "narrow.safetensors"
    vae = {key: value for key, value in load_file(tiny_files["sd1"]).items() if key.startswith(VAE)}
    save_file({key: value for key, value in vae.items() if ".down.3." not in key}, narrow)
    for path, said in (
        (lora, "no VAE"),
        (narrow, "4 px a cell"),
        (tmp_path / "gone.safetensors", "no such file"),
    ):
        with pytest.raises(ModelError, match=said):
            maquette.train(**short_run(vae=str(path)))


def test_training_with_another_vae_meets_none_of_the_bases_cached_latents(
    short_run: ShortRun, other: Path, tmp_path: Path
) -> None:
    run = {"cache_folder": tmp_path / "cache", "steps": 1, "dropout": 0.0}
    own = maquette.train(**short_run(**run, name="own"))
    given = maquette.train(**short_run(**run, name="given", vae=str(other)))
    again = maquette.train(**short_run(**run, name="again"))
    assert own.final_loss == again.final_loss != given.final_loss
    assert given.record.settings.model.vae == str(other)


@pytest.mark.parametrize("cached", [True, False])
def test_a_vae_that_gives_no_numbers_is_named_with_the_picture(
    short_run: ShortRun, other: Path, tmp_path: Path, cached: bool
) -> None:
    broken = load_file(other)
    broken[f"{VAE}quant_conv.bias"] = torch.full_like(broken[f"{VAE}quant_conv.bias"], torch.nan)
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(DatasetError, match=r"p\d\.png.*encoding pictures gave NaN"):
        maquette.train(**short_run(vae=str(tmp_path / "broken.safetensors"), cache_latents=cached))
