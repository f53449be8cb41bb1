"""What every family must do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from maquette import families
from maquette.errors import ConfigError
from maquette.families import FAMILIES, Conditioning
from maquette.families.common.source import SingleFile, open_source
from maquette.families.protocol import BaseModel
from maquette.families.tiny import write_tiny
from tests.families.models import CAPTIONS, NAMES, noisy_batch, rewrite_header, sizes_of

every_family = pytest.mark.parametrize("name", NAMES)


def conditioning_of(model: BaseModel, captions: tuple[str, ...] = CAPTIONS) -> Conditioning:
    return model.encode_text(model.tokenize(captions), clip_skip=model.spec.default("clip_skip"))


@every_family
def test_a_single_file_is_recognised_by_its_tensors_not_its_name(
    name: str, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    other = next(family for family in NAMES if family != name)
    misleading = tmp_path / f"{other}_xl_v15.safetensors"
    misleading.write_bytes(tiny_files[name].read_bytes())
    info = families.inspect(misleading)
    assert info.family == name
    assert (info.source, info.layout, info.dtype, info.prediction) == (
        "single-file",
        "single-file",
        "float32",
        "epsilon",
    )
    assert info.resolution == FAMILIES[name].spec.native_resolution_px
    assert (info.latent_channels, info.vae_factor) == (4, 8)


@every_family
def test_a_loaded_model_is_frozen_and_of_the_asked_precision(name: str, tiny_files: dict[str, Path]) -> None:
    model = families.load(tiny_files[name], dtype=torch.bfloat16)
    modules = (model.denoiser, *model.text_encoders, model.vae)
    assert len(model.text_encoders) == model.info.text_encoders
    assert not any(parameter.requires_grad for module in modules for parameter in module.parameters())
    assert {tensor.dtype for module in modules for tensor in module.parameters()} == {torch.bfloat16}
    assert not any(
        tensor.is_meta for module in modules for tensor in (*module.parameters(), *module.buffers())
    )
    assert model.dtype == model.vae_dtype == torch.bfloat16


@every_family
def test_float16_keeps_the_vae_in_float32_where_it_would_overflow(
    name: str, tiny_files: dict[str, Path]
) -> None:
    expected = torch.float16 if FAMILIES[name].spec.half_precision_vae else torch.float32
    loaded = families.load(tiny_files[name], dtype=torch.float16)
    moved = families.load(tiny_files[name]).to(dtype=torch.float16)
    assert loaded.vae_dtype == moved.vae_dtype == expected
    assert loaded.dtype == moved.dtype == torch.float16


@every_family
def test_text_gives_one_row_a_caption_that_depends_on_no_other(
    name: str, tiny_models: dict[str, BaseModel]
) -> None:
    model = tiny_models[name]
    together, alone = conditioning_of(model), conditioning_of(model, CAPTIONS[1:])
    assert together.text_BTD.shape[:2] == (2, 77)
    assert len(together) == 2
    torch.testing.assert_close(together.rows([1]).text_BTD, alone.text_BTD)
    assert not torch.allclose(together.text_BTD[0], together.text_BTD[1])
    joined = together.cat([together.rows(slice(0, 1)), together.rows(slice(1, 2))])
    assert torch.equal(joined.text_BTD, together.text_BTD)
    assert (together.pooled_BD is None) == (joined.pooled_BD is None) == (model.info.text_encoders == 1)


@every_family
def test_long_captions_take_chunks_and_what_is_cut_is_counted(
    name: str, tiny_models: dict[str, BaseModel]
) -> None:
    model = tiny_models[name]
    long = "word " * 100
    short, longer = model.tokenize([long, "word"]), model.tokenize([long, "word"], max_tokens=150)
    assert short.dropped == (25, 0)
    assert longer.dropped == (0, 0)
    assert [ids.shape for ids in longer.ids] == [(2, 154)] * model.info.text_encoders
    text = model.encode_text(longer, clip_skip=model.spec.default("clip_skip"))
    assert text.text_BTD.shape[1] == 152
    # the first chunk of a text that fits into one is the text itself: words see only what stands before them
    one = model.encode_text(model.tokenize(["word"]), clip_skip=model.spec.default("clip_skip"))
    torch.testing.assert_close(text.text_BTD[1, :3], one.text_BTD[0, :3])
    with pytest.raises(ConfigError, match="multiple of 75"):
        model.tokenize(["word"], max_tokens=100)


@every_family
def test_prediction_has_the_latents_shape_repeats_and_gives_gradients_to_the_text(
    name: str, tiny_models: dict[str, BaseModel]
) -> None:
    model = tiny_models[name]
    noisy, timesteps = noisy_batch(model)
    conditioning = conditioning_of(model)
    conditioning.text_BTD.requires_grad_(True)
    first = model.predict(noisy, timesteps, conditioning, sizes_of(2))
    second = model.predict(noisy, timesteps, conditioning, sizes_of(2))
    assert first.shape == noisy.shape
    assert torch.equal(first, second)
    assert bool(torch.isfinite(first).all())
    first.square().mean().backward()
    assert conditioning.text_BTD.grad is not None
    assert float(conditioning.text_BTD.grad.abs().max()) > 0


@every_family
def test_gradient_checkpointing_changes_no_number(name: str, tiny_files: dict[str, Path]) -> None:
    def gradient(checkpointing: bool, blocks: frozenset[str] | None = None) -> list[torch.Tensor]:
        model = families.load(tiny_files[name])
        model.set_gradient_checkpointing(checkpointing, blocks)
        target = model.lora_targets()[0].module.weight
        assert isinstance(target, torch.Tensor)
        target.requires_grad_(True)
        noisy, timesteps = noisy_batch(model)
        loss = model.predict(noisy, timesteps, conditioning_of(model), sizes_of(2)).square().mean()
        return [loss.detach(), *torch.autograd.grad(loss, [target])]

    plain = gradient(False)
    some = frozenset({"denoiser.mid_block.resnets.0", "denoiser.up_blocks.0.resnets.1"})
    for checkpointed in (gradient(True), gradient(True, some), gradient(True, frozenset())):
        assert all(torch.equal(a, b) for a, b in zip(plain, checkpointed, strict=True))


@every_family
def test_pictures_go_to_scaled_latents_and_back(name: str, tiny_models: dict[str, BaseModel]) -> None:
    model = tiny_models[name]
    pixels = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_pictures(pixels, generator=torch.Generator().manual_seed(1))
    again = model.encode_pictures(pixels, generator=torch.Generator().manual_seed(1))
    other = model.encode_pictures(pixels, generator=torch.Generator().manual_seed(2))
    assert latents.shape == (2, 4, 8, 6)
    assert latents.dtype == torch.float32
    assert torch.equal(latents, again)
    assert not torch.equal(latents, other)
    decoded = model.decode_latents(latents)
    assert decoded.shape == pixels.shape
    assert float(decoded.abs().max()) <= 1


@every_family
def test_every_tensor_of_the_file_is_used_once_and_goes_back_to_the_same_bytes(
    name: str, tiny_files: dict[str, Path]
) -> None:
    from maquette.families.common.shapes import file_tensors
    from tests.families.full import unread
    from tests.families.parts import parts_of

    parts, source = parts_of(name, tiny_files[name]), open_source(tiny_files[name])
    assert isinstance(source, SingleFile)
    left = unread(source, parts)
    stored = {key: value for key, value in load_file(tiny_files[name]).items() if key not in left}
    written: dict[str, torch.Tensor] = {}
    for part in parts:
        tensors = file_tensors(part.module, part.bindings)
        assert not set(tensors) & set(written)
        written.update(tensors)
    assert set(written) == set(stored)
    assert all(torch.equal(written[key], stored[key]) for key in stored)


@every_family
def test_tensors_that_nothing_reads_are_reported(
    name: str, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    extra = {"strange.tensor": torch.zeros(2), "model_ema.decay": torch.zeros(1), "betas": torch.zeros(3)}
    save_file({**load_file(tiny_files[name]), **extra}, tmp_path / "extra.safetensors")
    assert families.load(tmp_path / "extra.safetensors").notes == [
        "1 tensors of the base model are not used, e.g. 'strange.tensor'."
    ]


@every_family
def test_prediction_type_and_resolution_come_from_the_file(name: str, tmp_path: Path) -> None:
    path = write_tiny(
        name, tmp_path / "v.safetensors", prediction="v", metadata={"modelspec.resolution": "64x64"}
    )
    info = families.inspect(path)
    assert (info.prediction, info.resolution) == ("v", 64)
    sampler = families.load(path).sampler("ddim")
    assert sampler.config.prediction_type == "v_prediction"


@every_family
def test_a_file_says_what_it_predicts_by_marker_or_metadata_or_not_at_all(
    name: str, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    def stated(change: Callable[[dict[str, Any]], None]) -> tuple[str, str | None, bool]:
        info = families.inspect(rewrite_header(tiny_files[name], tmp_path / "said.safetensors", change))
        return info.prediction, info.prediction_stated, info.zero_terminal_snr

    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    assert stated(lambda table: None) == ("epsilon", None, False)
    assert stated(lambda table: table.update(v_pred=empty)) == ("v", "v", False)
    assert stated(lambda table: table.update(v_pred=empty, ztsnr=empty)) == ("v", "v", True)
    for key, value in (("prediction_type", "v_prediction"), ("predict_key", "v")):
        assert stated(
            lambda table, key=key, value=value: table.update(__metadata__={f"modelspec.{key}": value})
        ) == (
            "v",
            "v",
            False,
        )
    said = {"modelspec.predict_key": "epsilon"}
    assert stated(lambda table: table.update(__metadata__=said)) == ("epsilon", "epsilon", False)


@every_family
def test_lora_targets_are_where_they_say(name: str, tiny_models: dict[str, BaseModel]) -> None:
    model = tiny_models[name]
    targets = model.lora_targets()
    assert (
        len({target.key for target in targets})
        == len({target.diffusers_key for target in targets})
        == len(targets)
    )
    parts = [target.part for target in targets]
    assert parts == sorted(parts, key=["text_encoder", "denoiser"].index)
    for target in targets:
        assert getattr(target.parent, target.attribute) is target.module
        weight = target.module.weight
        assert isinstance(weight, torch.Tensor)
        assert weight.dim() == (2 if target.kind == "linear" else 4)
        assert target.kind != "conv3x3" or not target.default


@every_family
def test_the_vae_fingerprint_follows_the_weights(
    name: str, tiny_models: dict[str, BaseModel], tmp_path: Path
) -> None:
    own = tiny_models[name].vae_fingerprint()
    other = families.load(write_tiny(name, tmp_path / "other.safetensors", seed=1))
    assert own == tiny_models[name].vae_fingerprint()
    assert own != other.vae_fingerprint()
