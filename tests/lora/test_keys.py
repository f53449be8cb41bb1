"""Names, shapes and order of every LoRA tensor of the full-size models are the reference trainer's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maquette.families import BaseModel
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from tests.conftest import GOLDEN

KEYS: dict[str, Any] = json.loads((GOLDEN / "lora_keys.json").read_text())


def written(model: BaseModel, spec: TrialSpec) -> dict[str, list[int]]:
    """Return {name: shape} of the file that training `spec` on `model` would write."""
    adapter = LoraAdapter.attach(model, [spec])
    shapes: dict[str, list[int]] = {}
    for key, layer in adapter.layers.items():
        down, up = layer.weights(0) or pytest.fail(f"{key} has no weights")
        shapes |= {
            f"{key}.alpha": [],
            f"{key}.lora_down.weight": list(down.shape),
            f"{key}.lora_up.weight": list(up.shape),
        }
    adapter.detach()
    return shapes


def test_sd1_tensors_are_the_reference_s(full_sd1: BaseModel) -> None:
    shapes = written(full_sd1, TrialSpec(rank=4))
    assert shapes == KEYS["sd15"]["keys"]
    assert list(shapes) == list(KEYS["sd15"]["keys"])


def test_sdxl_tensors_are_the_reference_s(full_sdxl: BaseModel) -> None:
    shapes = written(full_sdxl, TrialSpec(rank=4))
    assert shapes == KEYS["sdxl"]["keys"]
    assert list(shapes) == list(KEYS["sdxl"]["keys"])


def test_convolutions_add_the_reference_s_modules(full_sd1: BaseModel) -> None:
    plain = written(full_sd1, TrialSpec(rank=4))
    shapes = written(full_sd1, TrialSpec(rank=4, conv_rank=2, conv_alpha=1))
    added = {name.split(".")[0] for name in shapes if name not in plain}
    assert added == set(KEYS["sd15_conv_dim4"]["extra_modules"])
    counts = {
        part: len({name.split(".")[0] for name in shapes if name.startswith(f"lora_{part}")})
        for part in ("te", "unet")
    }
    assert counts == KEYS["sd15_conv_dim4"]["counts"]


def test_convolutions_take_their_own_rank_and_the_rest_of_the_block_the_ordinary_one(
    full_sd1: BaseModel,
) -> None:
    shapes = written(full_sd1, TrialSpec(rank=4, conv_rank=2))
    block = "lora_unet_down_blocks_1_resnets_0"
    assert shapes[f"{block}_conv1.lora_down.weight"] == [2, 320, 3, 3]
    assert shapes[f"{block}_conv1.lora_up.weight"] == [640, 2, 1, 1]
    assert shapes[f"{block}_time_emb_proj.lora_down.weight"] == [4, 1280]
    assert shapes[f"{block}_conv_shortcut.lora_down.weight"] == [4, 320, 1, 1]


@pytest.mark.parametrize(("part", "other"), [("text_encoder", "lora_unet"), ("denoiser", "lora_te")])
def test_one_part_alone_can_be_adapted(full_sd1: BaseModel, part: Any, other: str) -> None:
    assert not any(name.startswith(other) for name in written(full_sd1, TrialSpec(rank=4, parts=(part,))))
