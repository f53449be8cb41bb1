"""Which of a LoRA's modules drawing programs find by their names. They skip the others without an error.

ComfyUI looks a module up by kohya's names (over diffusers' or the original blocks), `lycoris_` names, the original's dotted
names behind `diffusion_model.`, and by diffusers' names as they were when LoRAs sat in attention processors: it finds
`…attn1.processor.to_q` and not `…attn1.to_q`, `text_encoder.text_model.…` and not `text_encoder.encoder.…`. PEFT's wrapper is
known to none. (ComfyUI 0.3.64, comfy/lora.py, read; a full SDXL file of `…to_q.lora_A.weight` names matches 0 of 1,120 tensors.)
kohya's names are read by every program.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.lora.facts import LoraFacts

_FLAT = re.compile(r"(lora_unet|lora_te[12]?|lycoris)_[^.]+$")
_ORIGINAL = re.compile(r"diffusion_model\.(input_blocks|middle_block|output_blocks)\.")
_UNET = re.compile(r"(unet\.)?(down_blocks|mid_block|up_blocks)\.")
_ATTENTION = re.compile(r"\.to_(q|k|v|out)\b")
_PROCESSOR = re.compile(r"\.processor\.to_(q|k|v|out)$")
_TEXT = re.compile(r"text_encoder(_2)?\.text_model\.encoder\.layers\.")


def comfyui_finds(module: str) -> bool:
    """Tell whether ComfyUI looks for a module under this spelling of its name. The module itself must be in the model."""
    if _FLAT.match(module) or _ORIGINAL.match(module) or _TEXT.match(module):
        return True
    return bool(_UNET.match(module)) and (not _ATTENTION.search(module) or bool(_PROCESSOR.search(module)))


_DIFFUSERS_FLAT = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")


def diffusers_draws(facts: LoraFacts) -> bool:
    """Tell whether diffusers draws a LoRA as it was trained: plain LoRA alone, all under kohya's names or all under dotted ones.

    It drops a DoRA's lengths with a warning, and cannot name LoHa, LoKr, OFT or a tensor beside (diffusers 0.42, read).
    """
    flat = [module.name.startswith(_DIFFUSERS_FLAT) for module in facts.modules]
    dotted = ["." in module.name for module in facts.modules]
    return facts.is_plain and not facts.stray and (all(flat) or all(dotted))
