"""diffusers loads our files, whole and to the same effect, and we read what diffusers and PEFT write."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import Tensor

from maquette.families import BaseModel, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import read_lora, save_lora
from maquette.lora.formats import to_diffusers
from tests.lora.test_adapter import prediction, randomized, same

SPECS = {
    "plain": TrialSpec(rank=3, alpha=1.5, seed=1),
    "convolutions": TrialSpec(rank=3, alpha=1.5, conv_rank=2, conv_alpha=4.0, seed=2),
}


@pytest.fixture
def model(tiny_path: Path) -> BaseModel:
    return load(tiny_path)


def pipeline(model: BaseModel) -> Any:
    """Return diffusers' pipeline around the very modules of `model`."""
    shared = {"vae": model.vae, "unet": model.denoiser, "scheduler": EulerDiscreteScheduler(steps_offset=1)}
    if len(model.text_encoders) == 2:
        first, second = model.text_encoders
        return StableDiffusionXLPipeline(
            **shared, text_encoder=first, text_encoder_2=second, tokenizer=None, tokenizer_2=None
        )
    return StableDiffusionPipeline(
        **shared,
        text_encoder=model.text_encoders[0],
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What diffusers, PEFT and transformers warn about."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("diffusers", "peft", "transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    yield found
    for logger in loggers:
        logger.removeHandler(handler)


def adapted_layers(model: BaseModel) -> int:
    parts = (model.denoiser, *model.text_encoders)
    return sum(isinstance(module, BaseTunerLayer) for part in parts for module in part.modules())


@torch.no_grad()
def trained(model: BaseModel, spec: TrialSpec) -> tuple[dict[str, Tensor], Tensor]:
    """Return a LoRA's tensors, its effect on the base and leave the model bare."""
    adapter = randomized(LoraAdapter.attach(model, [spec]))
    state, expected = adapter.state_dict(0), prediction(model)
    adapter.detach()
    assert not torch.allclose(prediction(model), expected, atol=1e-3)
    return state, expected


@torch.no_grad()
@pytest.mark.parametrize("name", SPECS)
def test_diffusers_loads_our_file_whole_and_to_the_same_effect(
    model: BaseModel, name: str, tmp_path: Path, complaints: list[str]
) -> None:
    state, expected = trained(model, SPECS[name])
    saved = save_lora(tmp_path / "ours.safetensors", state, {"ss_network_dim": "3"}, dtype="fp32")
    pipe = pipeline(model)
    pipe.load_lora_weights(str(saved.path))
    assert adapted_layers(model) == len(state) // 3
    assert complaints == []
    # PEFT multiplies by alpha / r before it adds, as we do; its layers cast and reshape: float32 rounding.
    torch.testing.assert_close(prediction(model), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", SPECS)
def test_diffusers_loads_its_own_layout_from_us(
    model: BaseModel, name: str, tmp_path: Path, complaints: list[str]
) -> None:
    spec = SPECS[name]
    state, expected = trained(model, spec)
    tensors, metadata = to_diffusers(state, model.lora_targets())
    save_file(tensors, tmp_path / "theirs.safetensors", metadata)
    pipe = pipeline(model)
    pipe.load_lora_weights(str(tmp_path / "theirs.safetensors"))
    assert adapted_layers(model) == len(state) // 3
    assert complaints == []
    torch.testing.assert_close(prediction(model), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_mixed_ranks_and_alphas_survive_diffusers_layout(model: BaseModel, tmp_path: Path) -> None:
    state, _ = trained(model, TrialSpec(rank=3, alpha=1.5, conv_rank=2, conv_alpha=4.0, seed=2))
    tensors, metadata = to_diffusers(state, model.lora_targets())
    save_file(tensors, tmp_path / "theirs.safetensors", metadata)
    lora = read_lora(tmp_path / "theirs.safetensors", model.lora_targets())
    assert same(dict(lora.state), state)
    assert lora.facts.layout == "diffusers"
    assert (lora.facts.rank, lora.facts.ranks, lora.facts.alpha) == (3, (2, 3), 1.5)


CONFIGS = {
    "unet": ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj"],
    "text": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"],
}


def injected(model: BaseModel, **changes: Any) -> dict[str, tuple[dict[str, Tensor], LoraConfig]]:
    """Put PEFT's own layers into every part, with random weights; return their tensors and configurations."""
    parts = {"unet": model.denoiser, "text_encoder": model.text_encoders[0]}
    if len(model.text_encoders) == 2:
        parts["text_encoder_2"] = model.text_encoders[1]
    found = {}
    for name, module in parts.items():
        config = LoraConfig(r=4, target_modules=CONFIGS["unet" if name == "unet" else "text"], **changes)
        inject_adapter_in_model(config, module)
        generator = torch.Generator().manual_seed(4)
        for key, parameter in module.named_parameters():
            if "lora_B" in key:
                parameter.data.uniform_(-0.05, 0.05, generator=generator)
        found[name] = get_peft_model_state_dict(module), config
    return found


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{"lora_alpha": 2}, {"lora_alpha": 8, "use_rslora": True}], ids=["alpha", "rsLoRA"]
)
def test_we_read_what_diffusers_saves(
    model: BaseModel, tiny_path: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    parts = injected(model, **changes)
    expected = prediction(model)
    layers = {f"{name}_lora_layers": tensors for name, (tensors, _) in parts.items()}
    configs = {f"{name}_lora_adapter_metadata": config.to_dict() for name, (_, config) in parts.items()}
    pipeline(model).save_lora_weights(tmp_path, weight_name="theirs.safetensors", **layers, **configs)

    fresh = load(tiny_path)
    lora = read_lora(tmp_path / "theirs.safetensors", fresh.lora_targets())
    assert len(lora.facts.modules) == sum(len(tensors) // 2 for tensors, _ in parts.values())
    LoraAdapter.attach(fresh, [lora.state])
    torch.testing.assert_close(prediction(fresh), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_we_read_what_peft_saves_with_its_configuration_beside(
    model: BaseModel, tiny_path: Path, tmp_path: Path
) -> None:
    tensors, config = injected(model, lora_alpha=2)["unet"]
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.{name}": value.contiguous() for name, value in tensors.items()}, path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config.to_dict(), default=list))
    lora = read_lora(path, load(tiny_path).lora_targets())
    assert lora.facts.layout == "peft" and lora.facts.alpha == 2.0
    alphas = {float(value) for name, value in lora.state.items() if name.endswith(".alpha")}
    assert alphas == {2.0}

    (tmp_path / "adapter_config.json").unlink()
    without = read_lora(path, load(tiny_path).lora_targets())
    assert {float(value) for name, value in without.state.items() if name.endswith(".alpha")} == {4.0}
