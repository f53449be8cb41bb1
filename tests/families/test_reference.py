"""Agreement with the reference trainer, on the golden tiny base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from maquette import families
from maquette.families import Tokens
from maquette.families.protocol import BaseModel
from tests.conftest import GOLDEN
from tests.reference import base_weights
from tests.rounding import exact

uniform = base_weights().uniform
# The mean of 1,024 squared errors of size 1, each off by the prediction's rounding of up to 7e-6 (see tests/rounding.py)
# in either direction: 7e-6 / sqrt(1024), and as much again for adding them up.
LOSS_ROUNDING = 1e-6
STORED = load_file(GOLDEN / "fixed_tiny.safetensors")


@pytest.fixture(scope="module")
def golden_base(tiny_base: Path) -> BaseModel:
    return families.load(tiny_base)


@pytest.fixture(scope="module")
def exact_base(tiny_base: Path) -> BaseModel:
    """The same base in double precision."""
    return families.load(tiny_base, dtype=torch.float64)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return load_file(GOLDEN / "fixed_inputs.safetensors")


@pytest.fixture(scope="module")
def fixed() -> dict[str, Any]:
    return json.loads((GOLDEN / "fixed_tiny.json").read_text())


class FixedLora:
    """The golden LoRA (rank 4, alpha 2, values by formula), added to each target's output while entered."""

    def __init__(self, model: BaseModel, rank: int, alpha: float) -> None:
        self.layers = [(target, rank, alpha / rank) for target in model.lora_targets() if target.default]
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for target, rank, scale in self.layers:
            self.handles.append(target.module.register_forward_hook(self._hook(target, rank, scale)))

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    @staticmethod
    def _hook(target: Any, rank: int, scale: float) -> Any:
        weight = target.module.weight
        down_shape, up_shape = (rank, *weight.shape[1:]), (weight.shape[0], rank, *[1] * (weight.dim() - 2))
        fan_in = int(np.prod(down_shape[1:]))
        down = formula(f"{target.key}.lora_down.weight", down_shape) / np.float32(np.sqrt(fan_in))
        up = formula(f"{target.key}.lora_up.weight", up_shape) * np.float32(0.02)
        layer = nn.functional.linear if weight.dim() == 2 else nn.functional.conv2d

        def added(_module: Any, given: Any, output: Tensor) -> Tensor:
            weights = (down.to(output.dtype), up.to(output.dtype))
            return output + layer(layer(given[0], weights[0]), weights[1]) * scale

        return added


def formula(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(uniform(name, int(np.prod(shape)), 7).astype(np.float32).reshape(shape))


def run(model: BaseModel, inputs: dict[str, Tensor], clip_skip: int) -> dict[str, Tensor]:
    """Return text hidden states and prediction of the golden batch, from its stored noisy latents."""
    tokens = Tokens((inputs["input_ids"].reshape(2, -1),), (0, 0))
    with torch.no_grad():
        text = model.encode_text(tokens, clip_skip=clip_skip)
        predicted = model.predict(STORED["noisy"].to(model.dtype), inputs["timesteps"], text)
    return {"te_hidden": text.text_BTD, "noise_pred": predicted}


def per_sample(prediction: Tensor, noise: Tensor) -> Tensor:
    return (prediction - noise).square().mean(dim=(1, 2, 3))


def test_text_and_prediction_agree(
    golden_base: BaseModel, exact_base: BaseModel, inputs: dict[str, Tensor], fixed: dict[str, Any]
) -> None:
    """Ours and the reference's are both as near to the exact numbers as float32 comes: within 1e-5 of size 3."""
    with FixedLora(golden_base, fixed["dim"], fixed["alpha"]):
        ours = run(golden_base, inputs, clip_skip=2)
    with FixedLora(exact_base, fixed["dim"], fixed["alpha"]):
        layers = [exact_base.denoiser, *exact_base.text_encoders]
        bounds = exact(lambda: run(exact_base, inputs, clip_skip=2), layers)
    for name, bound in bounds.items():
        assert bound.holds(ours[name]), (name, bound.distance(ours[name]))
        assert bound.holds(STORED[name]), name


@pytest.mark.parametrize(("variant", "clip_skip"), [("multiplier0", 2), ("base", 2), ("clip_skip_none", 1)])
def test_loss_per_sample_agrees(
    golden_base: BaseModel, inputs: dict[str, Tensor], fixed: dict[str, Any], variant: str, clip_skip: int
) -> None:
    lora = FixedLora(golden_base, fixed["dim"], fixed["alpha"] if variant != "multiplier0" else 0.0)
    with lora:
        prediction = run(golden_base, inputs, clip_skip)["noise_pred"]
    expected = torch.tensor(fixed["variants"][variant]["per_sample_unweighted"])
    torch.testing.assert_close(per_sample(prediction, inputs["noise"]), expected, rtol=LOSS_ROUNDING, atol=0)


def test_token_ids_agree(golden_base: BaseModel) -> None:
    golden = json.loads((GOLDEN / "tokens.json").read_text())
    tokens = golden_base.tokenize(list(golden))
    assert tokens.ids[0].tolist() == list(golden.values())
    assert tokens.dropped == (0,) * len(golden)


def test_lora_targets_have_the_reference_trainers_names_order_and_shapes() -> None:
    from tests.families.full import full_targets

    golden = json.loads((GOLDEN / "lora_keys.json").read_text())
    for family, layout in (("sd1", "sd15"), ("sdxl", "sdxl")):
        targets = full_targets(family)
        tensors = golden[layout]["keys"]
        expected = list(dict.fromkeys(key.split(".")[0] for key in tensors))
        assert [target.key for target in targets if target.default] == expected
        for target in targets:
            if target.default:
                weight = target.module.weight
                assert isinstance(weight, Tensor)
                assert tensors[f"{target.key}.lora_down.weight"] == [4, *weight.shape[1:]]
                assert tensors[f"{target.key}.lora_up.weight"] == [
                    weight.shape[0],
                    4,
                    *[1] * (weight.dim() - 2),
                ]


def test_convolutions_that_only_conv_dim_adds_have_the_reference_trainers_names() -> None:
    from tests.families.full import full_targets

    golden = json.loads((GOLDEN / "lora_keys.json").read_text())["sd15_conv_dim4"]
    targets = full_targets("sd1")
    assert [target.key for target in targets if not target.default] == golden["extra_modules"]
    assert sum(target.part == "denoiser" for target in targets) == golden["counts"]["unet"]
    # SDXL with convolutions: 788 in the U-Net, counted in a ComfyUI that matched them all
    assert sum(target.part == "denoiser" for target in full_targets("sdxl")) == 788


def test_the_full_layout_has_exactly_the_tensors_of_a_real_checkpoint() -> None:
    from maquette.families.tiny import file_shapes

    golden = json.loads((GOLDEN / "base_shapes.json").read_text())["sd15"]
    assert file_shapes("sd1", "full") == {name: tuple(shape) for name, shape in golden.items()}


def test_the_full_sdxl_layout_has_the_published_number_of_tensors() -> None:
    from maquette.families.tiny import file_shapes

    shapes = file_shapes("sdxl", "full")
    # sd_xl_base_1.0.safetensors: 2515 tensors; no part of the model reads position ids and logit scale
    assert len(shapes) == 2513
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 3_468_837_867


def test_both_full_layouts_are_recognised_from_their_shapes(tmp_path: Path) -> None:
    from tests.families.full import header_only

    for name in families.FAMILIES:
        info = families.inspect(header_only(name, tmp_path / f"{name}.safetensors"))
        assert (info.family, info.dtype) == (name, "float16")
