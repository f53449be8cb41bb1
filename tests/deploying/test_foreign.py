"""Files of other trainers go out too: under names that every program reads, over the base that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import maquette
from maquette.errors import ConfigError
from maquette.families.tiny import write_tiny
from maquette.lora.files import inspect_lora

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def theirs(path: Path) -> Path:
    """Write a LoRA as PEFT and diffusers write it: no alpha, no base, names that ComfyUI skips."""
    generator = torch.Generator().manual_seed(1)
    tensors = {
        f"unet.{LAYER}.lora_A.weight": torch.randn(2, 320, generator=generator),
        f"unet.{LAYER}.lora_B.weight": torch.randn(320, 2, generator=generator),
    }
    save_file(tensors, path)
    return path


def test_a_file_under_diffusers_names_goes_out_under_kohyas(comfy: Path, tmp_path: Path) -> None:
    file = theirs(tmp_path / "theirs.safetensors")
    told: list[str] = []
    [entry] = maquette.deploy(
        file,
        comfyui=comfy,
        base_name="base.safetensors",
        trigger="ink",
        on_event=lambda event: told.append(str(event)),
    )
    facts = inspect_lora(entry.lora)
    assert facts.unfound == () and [module.name for module in facts.modules] == [
        f"lora_unet_{LAYER.replace('.', '_')}"
    ]
    before, after = load_file(file), load_file(entry.lora)
    key = facts.modules[0].name
    assert torch.equal(after[f"{key}.lora_down.weight"], before[f"unet.{LAYER}.lora_A.weight"])
    assert torch.equal(after[f"{key}.lora_up.weight"], before[f"unet.{LAYER}.lora_B.weight"])
    assert facts.metadata["modelspec.trigger_phrase"] == "ink"
    assert any("names that drawing programs skip" in text for text in told)


def test_the_only_base_of_its_family_stands_in(comfy: Path, tmp_path: Path) -> None:
    """Said in a sentence; where there are several, none is taken."""
    write_tiny("sd1", comfy / "models/checkpoints/mine.safetensors")
    write_tiny("sdxl", comfy / "models/checkpoints/large.safetensors")
    file = theirs(tmp_path / "theirs.safetensors")
    told: list[str] = []
    [entry] = maquette.deploy(file, comfyui=comfy, on_event=lambda event: told.append(str(event)))
    workflow = json.loads(Path(str(entry.workflow)).read_text(encoding="utf-8"))
    assert workflow["1"]["inputs"]["ckpt_name"] == "mine.safetensors"
    assert any("does not say its base model: mine.safetensors" in text for text in told)
    write_tiny("sd1", comfy / "models/checkpoints/other.safetensors")
    with pytest.raises(ConfigError, match=r"mine\.safetensors or other\.safetensors"):
        maquette.deploy(file, comfyui=comfy)
