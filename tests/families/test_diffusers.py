"""Agreement with diffusers' own pipelines over the same weights, converted by diffusers' own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette import families
from maquette.families import PictureSize
from maquette.families.protocol import BaseModel
from tests.families.models import CAPTIONS, NAMES, diffusers_pipeline, noisy_batch, sizes_of

every_family = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def pipelines(tiny_files: dict[str, Path], tiny_models: dict[str, BaseModel]) -> dict[str, Any]:
    return {name: diffusers_pipeline(tiny_files[name], tiny_models[name]) for name in NAMES}


@pytest.fixture(scope="module")
def folders(pipelines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    saved = {name: tmp_path_factory.mktemp("diffusers") / name for name in NAMES}
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(saved[name])
    return saved


@every_family
def test_text_agrees_with_encode_prompt(
    name: str, pipelines: dict[str, Any], tiny_models: dict[str, BaseModel]
) -> None:
    model, pipeline = tiny_models[name], pipelines[name]
    with torch.no_grad():
        ours = model.encode_text(model.tokenize(CAPTIONS), clip_skip=model.spec.default("clip_skip"))
        theirs = pipeline.encode_prompt(
            list(CAPTIONS), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    assert torch.equal(ours.text_BTD, theirs[0])
    if ours.pooled_BD is not None:
        assert torch.equal(ours.pooled_BD, theirs[2])


def test_clip_skip_counts_from_one_where_diffusers_counts_from_zero(
    pipelines: dict[str, Any], tiny_models: dict[str, BaseModel]
) -> None:
    for name in NAMES:
        model, pipeline = tiny_models[name], pipelines[name]
        if model.info.text_encoders > 1:
            continue
        # diffusers 0.42 still looks for the level that transformers 5 took away
        vars(pipeline.text_encoder).setdefault("text_model", pipeline.text_encoder)
        for clip_skip in (2, 3):
            with torch.no_grad():
                ours = model.encode_text(model.tokenize(CAPTIONS), clip_skip=clip_skip).text_BTD
                theirs = pipeline.encode_prompt(list(CAPTIONS), "cpu", 1, False, clip_skip=clip_skip - 1)[0]
            assert torch.equal(ours, theirs)


@every_family
def test_prediction_agrees_with_the_pipelines_unet(
    name: str, pipelines: dict[str, Any], tiny_models: dict[str, BaseModel]
) -> None:
    model, pipeline = tiny_models[name], pipelines[name]
    noisy, timesteps = noisy_batch(model)
    sizes = sizes_of(2)
    with torch.no_grad():
        text = model.encode_text(model.tokenize(CAPTIONS), clip_skip=model.spec.default("clip_skip"))
        ours = model.predict(noisy, timesteps, text, sizes)
        extra = None
        if text.pooled_BD is not None:
            time_ids = [
                pipeline._get_add_time_ids(
                    size.original_hw, size.crop_top_left, size.target_hw, torch.float32, 64
                )
                for size in sizes
            ]
            extra = {"text_embeds": text.pooled_BD, "time_ids": torch.cat(time_ids)}
        theirs = pipeline.unet(noisy, timesteps, text.text_BTD, added_cond_kwargs=extra).sample
    assert torch.equal(ours, theirs)


def test_picture_sizes_matter_only_where_the_family_knows_them(tiny_models: dict[str, BaseModel]) -> None:
    for name in NAMES:
        model = tiny_models[name]
        noisy, timesteps = noisy_batch(model, count=1)
        text = model.encode_text(model.tokenize(CAPTIONS[:1]), clip_skip=model.spec.default("clip_skip"))
        whole = [PictureSize((128, 128), (0, 0), (128, 128))]
        default, same, cropped = (
            model.predict(noisy, timesteps, text, sizes) for sizes in (None, whole, sizes_of(1))
        )
        assert torch.equal(default, same)
        assert torch.equal(default, cropped) == (text.pooled_BD is None)


@every_family
def test_the_vae_agrees(name: str, pipelines: dict[str, Any], tiny_models: dict[str, BaseModel]) -> None:
    model, vae = tiny_models[name], pipelines[name].vae
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        ours = model.encode_pictures(pixels, generator=torch.Generator().manual_seed(1))
        theirs = (
            vae.encode(pixels).latent_dist.sample(torch.Generator().manual_seed(1))
            * vae.config.scaling_factor
        )
        assert torch.equal(ours, theirs)
        drawn = vae.decode(theirs / vae.config.scaling_factor).sample.clamp(-1, 1)
    assert torch.equal(model.decode_latents(ours), drawn)


@every_family
def test_a_diffusers_folder_and_a_single_file_of_the_same_weights_are_the_same_model(
    name: str, folders: dict[str, Path], tiny_models: dict[str, BaseModel]
) -> None:
    info = families.inspect(folders[name])
    assert (info.family, info.source, info.layout, info.dtype) == (name, "diffusers", "diffusers", "float32")
    first, second = tiny_models[name], families.load(folders[name])
    noisy, timesteps = noisy_batch(first)
    assert first.tokenize(CAPTIONS).ids[0].tolist() == second.tokenize(CAPTIONS).ids[0].tolist()
    with torch.no_grad():
        drawn = []
        for model in (first, second):
            text = model.encode_text(model.tokenize(CAPTIONS), clip_skip=model.spec.default("clip_skip"))
            drawn.append(model.predict(noisy, timesteps, text, sizes_of(2)))
    assert torch.equal(*drawn)
    assert first.vae_fingerprint() == second.vae_fingerprint()
    assert first.latent_scale == second.latent_scale
    assert [target.key for target in first.lora_targets()] == [target.key for target in second.lora_targets()]


@every_family
def test_a_scheduler_tells_a_folders_prediction_type(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(folders[name], tmp_path / "copy")
    path = copy / "scheduler" / "scheduler_config.json"
    config = {
        **json.loads(path.read_text()),
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
    }
    path.write_text(json.dumps(config))
    info = families.inspect(copy)
    assert (info.prediction, info.zero_terminal_snr) == ("v", True)
    assert float(families.load(copy).objective.alphas_cumprod[-1]) == 0  # type: ignore[attr-defined]


def test_a_folder_with_half_precision_variants_only_and_old_vae_names_loads(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    name = NAMES[0]
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    for path in list(copy.glob("*/*.safetensors")):
        state = {
            old_vae_name(key) if path.parent.name == "vae" else key: value.half()
            for key, value in load_file(path).items()
        }
        save_file(state, path.with_name(f"{path.stem}.fp16.safetensors"))
        path.unlink()
    assert families.inspect(copy).dtype == "float16"
    model = families.load(copy)
    assert model.dtype == torch.float32


def old_vae_name(key: str) -> str:
    """Spell a VAE key as diffusers did before 0.15."""
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        key = key.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
    return key


@every_family
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_samplers_start_from_this_models_schedule(name: str, tiny_models: dict[str, BaseModel]) -> None:
    from maquette.families.common.samplers import SAMPLERS

    model = tiny_models[name]
    for sampler_name in SAMPLERS:
        sampler = model.sampler(sampler_name)
        sampler.set_timesteps(8)
        assert sampler.config.prediction_type == "epsilon"
        assert sampler is not model.sampler(sampler_name)
        torch.testing.assert_close(
            sampler.alphas_cumprod.float(),
            model.objective.alphas_cumprod,  # type: ignore[attr-defined]
        )
