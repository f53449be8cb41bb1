"""Variants of the layouts that are in circulation, narrow models, and the hub's cache."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette import families
from maquette.errors import ModelError
from maquette.families.common.assemble import BOOKKEEPING
from maquette.families.common.keymap import file_shape
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.shapes import write_streamed
from maquette.families.common.source import SingleFile, open_source
from maquette.families.common.tokenizer import BEGIN, END, byte_symbols
from maquette.families.common.vae import PrecisionWarning
from maquette.families.protocol import BaseModel
from maquette.families.sd1.tiny import file_shapes as sd1_shapes
from maquette.families.tiny import random_tensor, write_tiny
from tests.families.full import full_parts, header_only, unread
from tests.families.models import CAPTIONS, NAMES, diffusers_pipeline, noisy_batch

every_family = pytest.mark.parametrize("name", NAMES)
SD1, SD2, SDXL = NAMES


def prediction_of(model: BaseModel) -> Tensor:
    noisy, timesteps = noisy_batch(model)
    with torch.no_grad():
        text = model.encode_text(model.tokenize(CAPTIONS), clip_skip=model.spec.default("clip_skip"))
        return model.predict(noisy, timesteps, text)


def rewritten(
    source: Path, target: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> BaseModel:
    save_file(change(load_file(source)), target)
    return families.load(target)


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


@every_family
def test_text_encoders_without_the_text_model_level(
    name: str, tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel], tmp_path: Path
) -> None:
    older = rewritten(
        tiny_files[name], tmp_path / "older.safetensors", renamed("transformer.text_model.", "transformer.")
    )
    assert torch.equal(prediction_of(older), prediction_of(tiny_models[name]))


@every_family
def test_vae_attention_as_linear_layers(
    name: str, tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel], tmp_path: Path
) -> None:
    def flatten(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            key: value.flatten(1) if ".mid.attn_1." in key and value.dim() == 4 else value
            for key, value in state.items()
        }

    model = rewritten(tiny_files[name], tmp_path / "flat.safetensors", flatten)
    assert model.vae_fingerprint() == tiny_models[name].vae_fingerprint()


def test_sd1_with_linear_projections(
    tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel], tmp_path: Path
) -> None:
    def flatten(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            key: value.flatten(1) if ".proj_in.weight" in key or ".1.proj_out.weight" in key else value
            for key, value in state.items()
        }

    model = rewritten(tiny_files[SD1], tmp_path / "linear.safetensors", flatten)
    kinds = {target.kind for target in model.lora_targets() if target.key.endswith("proj_in")}
    assert kinds == {"linear"}
    # a 1×1 convolution and a linear layer sum in different orders
    torch.testing.assert_close(prediction_of(model), prediction_of(tiny_models[SD1]), rtol=1e-5, atol=1e-5)


def test_sdxl_with_the_projection_stored_as_a_linear_layer(
    tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel], tmp_path: Path
) -> None:
    key = "conditioner.embedders.1.model.text_projection"

    def transpose(state: dict[str, Tensor]) -> dict[str, Tensor]:
        state[f"{key}.weight"] = state.pop(key).t().contiguous()
        return state

    model = rewritten(tiny_files[SDXL], tmp_path / "linear.safetensors", transpose)
    assert torch.equal(prediction_of(model), prediction_of(tiny_models[SDXL]))


@every_family
def test_marker_tensors_tell_prediction_and_schedule(
    name: str, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    markers = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    model = rewritten(tiny_files[name], tmp_path / "v.safetensors", lambda state: {**state, **markers})
    assert (model.info.prediction, model.info.zero_terminal_snr, model.notes) == ("v", True, [])
    assert model.sampler("euler").config.rescale_betas_zero_snr


@every_family
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_into_any_precision(name: str, stored: torch.dtype, tmp_path: Path) -> None:
    path = write_tiny(name, tmp_path / "half.safetensors", dtype=stored)
    assert families.inspect(path).dtype == str(stored).removeprefix("torch.")
    weights = load_file(path)
    model = families.load(path, dtype=torch.float32)
    key = "model.diffusion_model.out.2.weight"
    assert torch.equal(model.denoiser.get_parameter("conv_out.weight"), weights[key].float())


@every_family
def test_loading_does_not_depend_on_the_file_afterwards(name: str, tmp_path: Path) -> None:
    """A memory-mapped model would die with its file."""
    path = write_tiny(name, tmp_path / "m.safetensors")
    model = families.load(path)
    before = prediction_of(model)
    path.write_bytes(b"")
    assert torch.equal(prediction_of(model), before)


@every_family
def test_the_full_layout_is_used_to_the_last_tensor(name: str, tmp_path: Path) -> None:
    path = header_only(name, tmp_path / "full.safetensors")
    parts, source = full_parts(name, path), open_source(path)
    assert isinstance(source, SingleFile)
    used = unread(source, parts)
    for part in parts:
        own = part.module.state_dict()
        assert [binding.module_key for binding in part.bindings] == list(own)
        for binding in part.bindings:
            assert part.entries[binding.file_key].shape == file_shape(
                binding, tuple(own[binding.module_key].shape)
            )
        names = {binding.file_key for binding in part.bindings}
        assert not names & used
        used |= names
    assert used == set(part.entries)


def test_what_training_leaves_behind_is_not_worth_a_note() -> None:
    left_behind = (
        "model_ema.diffusion_modelinput_blocks00weight",
        "alphas_cumprod_prev",
        "sqrt_recip_alphas_cumprod",
        "posterior_mean_coef1",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.1.model.logit_scale",
        "first_stage_model.loss.logvar",
    )
    assert all(BOOKKEEPING.search(name) for name in left_behind)
    assert not BOOKKEEPING.search("model.diffusion_model.out.2.weight")


def own_tokenizer() -> tuple[str, int]:
    """Return a tokenizer's JSON with one merge, and how many tokens it has."""
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), "ca", BEGIN, END]
    return json.dumps(
        {"vocab": {token: number for number, token in enumerate(tokens)}, "merges": ["c a"]}
    ), len(tokens)


def test_a_small_world_loads_by_the_same_path(tmp_path: Path) -> None:
    """Two levels, sixteen latent channels, a vocabulary and a text length of its own."""
    tokenizer, rows = own_tokenizer()
    layouts = ModelLayout(
        SD1,
        UnetLayout(16, 16, (64, 96), 1, (1, 1), 1, 128, False, 256, 0),
        VaeLayout(3, 16, (32, 32, 64), 1),
        (TextLayout(rows, 40, 128, 512, 2, 0),),
    )
    metadata = {
        "maquette.tokenizer": tokenizer,
        "modelspec.prediction_type": "v",
        "modelspec.resolution": "64x64",
    }
    path = write_streamed(
        tmp_path / "world.safetensors",
        sd1_shapes(layouts),
        lambda name, shape: random_tensor(name, shape, 0),
        dtype=torch.float16,
        metadata=metadata,
    )
    info = families.inspect(path)
    assert (info.family, info.prediction, info.resolution, info.latent_channels, info.vae_factor) == (
        SD1,
        "v",
        64,
        16,
        4,
    )
    model = families.load(path)
    tokens = model.tokenize(["cat " * 20, "cat"])
    assert tokens.ids[0].shape == (2, 40)
    assert tokens.dropped == (2, 0)
    noisy = torch.randn(2, 16, 16, 16)
    text = model.encode_text(tokens, clip_skip=1)
    assert text.text_BTD.shape == (2, 40, 128)
    assert model.predict(noisy, torch.tensor([1, 2]), text).shape == noisy.shape
    assert model.encode_pictures(torch.zeros(1, 3, 64, 64)).shape == (1, 16, 16, 16)


def test_a_small_vocabulary_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    layouts = ModelLayout(
        SD1,
        UnetLayout(4, 4, (32, 32), 1, (1, 1), 1, 32, False, 128, 0),
        VaeLayout(3, 4, (32, 32), 1),
        (TextLayout(600, 77, 32, 64, 1, 0),),
    )
    path = write_streamed(
        tmp_path / "m.safetensors",
        sd1_shapes(layouts),
        lambda name, shape: torch.zeros(shape),
        dtype=torch.float32,
        metadata={},
    )
    with pytest.raises(ModelError, match="600 tokens"):
        families.load(path)


@every_family
def test_an_overflow_in_the_vae_is_repeated_in_float32_and_said(
    name: str, tiny_files: dict[str, Path]
) -> None:
    model = families.load(tiny_files[name], dtype=torch.float16)
    model.vae.to(torch.float16)
    exact = families.load(tiny_files[name])
    with torch.no_grad():
        for vae in (model.vae, exact.vae):
            vae.get_parameter("encoder.conv_in.weight").mul_(3e4)
    pixels = torch.ones(1, 3, 32, 32)
    with pytest.warns(PrecisionWarning, match=r"overflowed in float16 while encoding"):
        latents = model.encode_pictures(pixels, generator=torch.Generator().manual_seed(0))
    assert model.vae_dtype == torch.float32
    assert bool(torch.isfinite(latents).all())
    # once in float32 it stays there, silently
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_pictures(pixels)
        model.decode_latents(latents)


@every_family
def test_numbers_that_are_not_finite_end_in_an_error(name: str, tiny_models: dict[str, BaseModel]) -> None:
    broken = torch.full((1, 4, 4, 4), torch.nan)
    with pytest.raises(ModelError, match="already held some"):
        tiny_models[name].decode_latents(broken)
    with pytest.raises(ModelError, match="encoding pictures"):
        tiny_models[name].encode_pictures(torch.full((1, 3, 32, 32), torch.inf))


def test_a_hub_model_comes_from_the_cache_without_a_network(
    tiny_files: dict[str, Path],
    tiny_models: dict[str, BaseModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--some-model"
    snapshot = repository / "snapshots" / revision
    diffusers_pipeline(tiny_files[SD1], tiny_models[SD1]).save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    info = families.inspect("someone/some-model")
    assert (info.family, info.source, info.path) == (SD1, "hub", "someone/some-model")
    assert torch.equal(prediction_of(families.load("someone/some-model")), prediction_of(tiny_models[SD1]))
    shutil.rmtree(snapshot / "unet")
    with pytest.raises(ModelError):
        families.load("someone/some-model")
