"""A denoiser in int8: how far it is off, that it keeps nothing whole, and that adapters train on it as on any base."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import maquette
from maquette import families
from maquette.devices import place
from maquette.errors import LoraError, ModelError
from maquette.events import Message
from maquette.families.protocol import BaseModel, PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine
from maquette.training.int8_base import (
    Int8Conv2d,
    Int8Linear,
    dequantised,
    hold_in_int8,
    multiplied_at_once,
    quantised,
)


def layers() -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Layers, and the shape of what they take."""
    torch.manual_seed(3)
    return [
        (nn.Linear(24, 10), (2, 5, 24)),
        (nn.Linear(8, 3, bias=False), (4, 8)),
        (nn.Conv2d(6, 5, 3, stride=2, padding=1), (2, 6, 9, 8)),
        (nn.Conv2d(8, 4, 1, groups=2), (1, 8, 4, 4)),
    ]


def held(module: nn.Module) -> nn.Module:
    hold_in_int8(module)
    return module.requires_grad_(False)


def noted(kept: list[Tensor], tensor: Tensor) -> Tensor:
    kept.append(tensor)
    return tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_weight_is_off_by_half_a_scale_at_most(dtype: torch.dtype) -> None:
    """And by the rounding of its own precision, which holds any weight no better."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((7, 33), (5, 4, 3, 3)):
        weight = torch.randn(shape, generator=generator)
        weight[0] *= 1e-5
        weight[1] *= 1e3
        weight[2] = 0
        weight = weight.to(dtype)
        int8, scale = quantised(weight)
        assert int8.dtype == torch.int8 and scale.dtype == torch.float32
        off = (dequantised(int8, scale, dtype).double() - weight.double()).flatten(1).abs()
        own = torch.finfo(dtype).eps * weight.double().flatten(1).abs() + torch.finfo(dtype).smallest_normal
        assert bool((off <= scale.double()[:, None] / 2 * (1 + 1e-6) + own).all())
        # The largest of an output is met, and an output of zeros stays one.
        largest = weight.double().flatten(1).abs()
        assert bool((off[largest == largest.amax(dim=1, keepdim=True)] <= own.max()).all())
        assert not bool(dequantised(int8, scale, dtype)[2].any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_of_gpus_gives_the_same_bits(dtype: torch.dtype) -> None:
    for shape in ((7, 33), (5, 4, 3, 3)):
        int8, scale = quantised(torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype))
        wide = scale.view(-1, *(1 for _ in shape[1:]))
        assert torch.equal(multiplied_at_once(int8, wide, dtype), dequantised(int8, scale, dtype))


def test_a_broken_weight_is_not_hidden() -> None:
    for broken in (float("nan"), float("inf")):
        with pytest.raises(ModelError, match="no finite numbers"):
            quantised(torch.tensor([[1.0, broken], [1.0, 2.0]]))


def test_layers_give_what_their_weights_as_they_are_held_give_and_keep_only_these() -> None:
    for module, shape in layers():
        plain = type(module)
        x = torch.randn(shape, requires_grad=True)
        held(module)
        assert isinstance(module, Int8Linear | Int8Conv2d) and isinstance(module, plain)
        weight = module.weight.clone()
        again = x.detach().clone().requires_grad_()
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(noted, kept), lambda t: t):
            out = module(x)
        assert {(each.dtype, each.shape) for each in kept} == {
            (torch.int8, weight.shape),
            (torch.float32, weight.shape[:1]),
        }
        if isinstance(module, nn.Conv2d):
            expected = nn.functional.conv2d(
                again, weight, module.bias, module.stride, module.padding, module.dilation, module.groups
            )
        else:
            expected = nn.functional.linear(again, weight, module.bias)
        gradient = torch.randn(out.shape)
        out.backward(gradient)
        expected.backward(gradient)
        assert torch.equal(out, expected)
        assert x.grad is not None and again.grad is not None
        assert torch.allclose(x.grad, again.grad, rtol=1e-5, atol=1e-6)


def test_another_precision_changes_what_is_computed_with_and_not_what_is_held() -> None:
    module, shape = layers()[0]
    held(module)
    scale = module.scale.clone()
    module.to(torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16 and torch.equal(module.scale, scale)
    assert module(torch.randn(shape).bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert module(torch.randn(shape)).dtype == torch.bfloat16


def loaded(base: Path, *, int8: bool = True) -> BaseModel:
    model = families.load(base, dtype=torch.float32)
    if int8:
        hold_in_int8(model.denoiser)
    return model


def test_a_held_denoiser_predicts_nearly_what_it_did(tiny_base: Path) -> None:
    """1.2 % of the prediction on the tiny base, 1.4 % on the small world; and its layers take a byte a weight."""
    plain, model = loaded(tiny_base, int8=False), loaded(tiny_base)
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    conditioning = plain.encode_text(plain.tokenize(["a fox", "zkw"]))
    with torch.no_grad():
        first, second = (
            each.predict(noisy, torch.tensor([50, 900]), conditioning) for each in (plain, model)
        )
    off = float((second - first).norm() / first.norm())
    assert 0 < off < 0.03
    held_bytes = sum(each.nbytes for each in (*model.denoiser.parameters(), *model.denoiser.buffers()))
    values = sum(each.numel() for each in plain.denoiser.parameters())
    assert (
        values < held_bytes < 1.1 * values
    )  # narrow layers have more scales and biases to a weight than full-size ones


def gradients(model: BaseModel, kind: str, trials: int, *, again: bool) -> list[Tensor]:
    model.set_gradient_checkpointing(again)
    settings = [TrialSettings(kind=kind, rank=2, seed=seed) for seed in range(trials)]
    specs = [TrialSpec(kind=kind, rank=2, alpha=1, conv_rank=2, seed=trial.seed) for trial in settings]
    adapter = LoraAdapter.attach(model, specs)
    engine = Engine(model, adapter, settings, place("cpu", "no"), total_steps=1)
    parameters = [each for index in range(trials) for each in adapter.parameters_of(index)]
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.01)
    batch = MicroBatch(
        clean_BCHW=torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7)),
        captions=("zkw, standing", "zkw, a hat"),
        sizes=(PictureSize((64, 64), (0, 0), (64, 64)),) * 2,
        regularization_B=torch.tensor([False, False]),
        names=("a", "b"),
    )
    engine.train(True)
    engine.micro_step(0, batch, 1)
    adapter.detach()
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.mark.parametrize(
    "kind",
    ["lora", pytest.param("dora", marks=pytest.mark.slow), pytest.param("oft", marks=pytest.mark.slow)],
)
def test_adapters_train_on_it_as_on_a_base_of_these_weights(tiny_base: Path, kind: str) -> None:
    """One trial and two, with blocks computed again or not: the gradients of a plain base with the same weights.

    The kinds beside LoRA are those whose change of the weight is made of the weight itself.
    """
    model, plain = loaded(tiny_base), loaded(tiny_base, int8=False)
    with torch.no_grad():
        for mine, other in zip(model.denoiser.modules(), plain.denoiser.modules(), strict=True):
            if isinstance(mine, Int8Linear | Int8Conv2d):
                other.weight.copy_(mine.weight)  # type: ignore[operator]
    for trials, again in ((1, True), (2, False)):
        found = gradients(model, kind, trials, again=again)
        expected = gradients(plain, kind, trials, again=again)
        assert len(found) == len(expected) > 0
        for first, second in zip(found, expected, strict=True):
            assert torch.allclose(first, second, rtol=1e-3, atol=1e-5 * float(second.abs().max()) + 1e-9)


def test_what_is_made_anew_takes_no_lora_in(tiny_base: Path) -> None:
    adapter = LoraAdapter.attach(loaded(tiny_base), [TrialSpec(rank=2, alpha=1, parts=("denoiser",))])
    for change in (adapter.merge, adapter.bake):
        with pytest.raises(LoraError, match="base_precision same"):
            change()


@pytest.mark.slow
def test_a_run_over_an_int8_base_says_so_and_resumes_to_the_bit(
    short_run: Callable[..., dict[str, Any]],
) -> None:
    """Its loss is near the one over the base as it is."""
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    def stop(event: Any) -> None:
        if getattr(event, "stage", "") == "train" and getattr(event, "done", 0) == 2:
            raise KeyboardInterrupt

    plain = maquette.train(**short_run(name="plain", steps=4))
    whole = maquette.train(**short_run(name="whole", steps=4, base_precision="int8"), on_event=hear)
    assert any("held in int8" in text for text in told)
    assert whole.final_loss == pytest.approx(plain.final_loss, rel=0.05)
    with pytest.raises(KeyboardInterrupt):
        maquette.train(**short_run(name="stopped", steps=4, base_precision="int8"), on_event=stop)
    resumed = maquette.train(resume=whole.run.parent / "stopped")
    assert resumed.record.resumed_at_steps == (2,)
    assert resumed.final_loss == whole.final_loss
    once, twice = load_file(whole.lora), load_file(resumed.lora)
    assert once.keys() == twice.keys() and all(torch.equal(once[key], twice[key]) for key in once)
