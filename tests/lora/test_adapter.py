"""Laws of a LoRA standing in a model, on the tiny variant of every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from maquette.errors import ConfigError, LoraError
from maquette.families import BaseModel, LoraModule, PictureSize, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec

PLAIN = TrialSpec(rank=3, alpha=1.5, seed=1)
CONV = TrialSpec(rank=2, alpha=4.0, conv_rank=3, conv_alpha=1.0, seed=2)


@pytest.fixture
def model(tiny_path: Path) -> BaseModel:
    return load(tiny_path)


def randomized(adapter: LoraAdapter) -> LoraAdapter:
    """Give every up weight values, as training would; the same ones for the same trial and key."""
    for key, layer in adapter.layers.items():
        for index in range(adapter.num_trials):
            weights = layer.weights(index)
            if weights:
                generator = torch.Generator().manual_seed(len(key) + weights[1].shape[1])
                weights[1].data.uniform_(-0.05, 0.05, generator=generator)
    return adapter


def prediction(model: BaseModel, num_rows: int = 1) -> Tensor:
    """Return what the model predicts for rows that are all the same."""
    tokens = model.tokenize(["sks dog on a beach"] * num_rows)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(num_rows, 1, 1, 1)
    sizes = [PictureSize((64, 64), (0, 0), (64, 64))] * num_rows
    conditioning = model.encode_text(tokens, clip_skip=2)
    return model.predict(noisy, torch.full((num_rows,), 400), conditioning, sizes)


def base_weights(model: BaseModel) -> dict[str, Tensor]:
    parts = (model.denoiser, *model.text_encoders, model.vae)
    return {
        f"{n}.{name}": value.clone()
        for n, part in enumerate(parts)
        for name, value in part.state_dict().items()
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def test_a_fresh_lora_changes_nothing(model: BaseModel) -> None:
    before = prediction(model)
    for trials in ([PLAIN], [CONV]):
        adapter = LoraAdapter.attach(model, trials)
        assert torch.equal(prediction(model), before)
        adapter.detach()


@torch.no_grad()
def test_detaching_restores_the_base_bit_for_bit(model: BaseModel) -> None:
    before, weights = prediction(model), base_weights(model)
    flags = [parameter.requires_grad for parameter in model.denoiser.requires_grad_(True).parameters()]
    adapter = randomized(LoraAdapter.attach(model, [CONV]))
    assert list(base_weights(model)) == list(weights)
    assert not torch.equal(prediction(model), before)
    adapter.detach()
    assert torch.equal(prediction(model), before)
    assert same(base_weights(model), weights)
    assert [parameter.requires_grad for parameter in model.denoiser.parameters()] == flags
    assert not any("forward" in module.__dict__ for module in model.denoiser.modules())
    adapter.detach()  # again: nothing happens


def test_only_lora_weights_take_gradients(model: BaseModel) -> None:
    model.denoiser.requires_grad_(True)
    adapter = randomized(LoraAdapter.attach(model, [PLAIN]))
    weights = base_weights(model)
    prediction(model).square().mean().backward()
    torch.optim.AdamW(list(adapter.parameters()), lr=0.1).step()
    assert same(base_weights(model), weights)
    assert all(parameter.grad is None for parameter in model.denoiser.parameters())
    assert any(leaf.grad is not None and leaf.grad.any() for leaf in adapter.parameters_of(0, "text_encoder"))


@torch.no_grad()
def test_strength_and_switches(model: BaseModel) -> None:
    base = prediction(model)
    adapter = randomized(LoraAdapter.attach(model, [PLAIN]))
    full = prediction(model)
    adapter.enabled = False
    assert torch.equal(prediction(model), base)
    adapter.enabled = True
    assert torch.equal(prediction(model), full)
    adapter.set_multiplier(0.0)
    assert torch.equal(prediction(model), base)
    adapter.set_multiplier(1.0, part="denoiser")
    denoiser_only = prediction(model)
    assert not torch.equal(denoiser_only, base) and not torch.equal(denoiser_only, full)
    state = {key: value for key, value in adapter.state_dict().items() if key.startswith("lora_unet")}
    adapter.detach()
    LoraAdapter.attach(model, [state])
    assert torch.equal(prediction(model), denoiser_only)


@torch.no_grad()
def test_base_and_checkpoints_draw_in_one_batch(model: BaseModel) -> None:
    base = prediction(model)
    adapter = randomized(LoraAdapter.attach(model, [PLAIN, CONV]))
    states = [adapter.state_dict(index) for index in range(2)]
    adapter.detach()
    alone = [base]
    for state in states:
        adapter = LoraAdapter.attach(model, [state])
        alone.append(prediction(model))
        adapter.detach()
    adapter = LoraAdapter.attach(model, [None, *states])
    # One batch of three against three of one: other kernels, float32 rounding.
    torch.testing.assert_close(prediction(model, 3), torch.cat(alone), rtol=1e-4, atol=1e-5)
    adapter.set_multiplier(0.0, trial=2)
    torch.testing.assert_close(prediction(model, 3)[2:], base, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("spec", [PLAIN, CONV], ids=["plain", "convolutions"])
def test_merged_draws_as_unmerged_and_unmerging_is_exact(model: BaseModel, spec: TrialSpec) -> None:
    weights = base_weights(model)
    adapter = randomized(LoraAdapter.attach(model, [spec]))
    adapter.set_multiplier(0.8)
    expected = prediction(model)
    with adapter.merged():
        # W x + s · U (D x) against (W + s · U D) x: float32 rounding.
        torch.testing.assert_close(prediction(model), expected, rtol=1e-4, atol=1e-5)
        merged = base_weights(model)
        for target in model.lora_targets():
            if target.key in adapter.layers:
                added = target.module.weight - weights[_name_of(model, target.module)]  # type: ignore[operator]
                torch.testing.assert_close(added, adapter.layers[target.key].delta(0), rtol=0, atol=1e-6)
        with pytest.raises(LoraError, match="merged already"):
            adapter.merge()
        assert same(base_weights(model), merged)
    assert same(base_weights(model), weights)
    assert torch.equal(prediction(model), expected)
    adapter.merge()
    adapter.detach()
    assert same(base_weights(model), weights)


def _name_of(model: BaseModel, module: torch.nn.Module) -> str:
    for number, part in enumerate((model.denoiser, *model.text_encoders, model.vae)):
        for name, found in part.named_modules():
            if found is module:
                return f"{number}.{name}.weight"
    raise AssertionError


def test_state_round_trip_and_continuation(model: BaseModel) -> None:
    adapter = randomized(LoraAdapter.attach(model, [PLAIN, CONV]))
    state = adapter.state_dict(1)
    adapter.detach()
    assert len(state) == 3 * len(model.lora_targets())
    other = LoraAdapter.attach(model, [CONV])
    leaves = other.parameters_of(0)
    other.load_state(0, state)
    assert same(other.state_dict(0), state)
    assert all(new is old for new, old in zip(other.parameters_of(0), leaves, strict=True))
    other.detach()
    attached = LoraAdapter.attach(model, [state])
    assert same(attached.state_dict(0), state)


def test_states_are_copies(model: BaseModel) -> None:
    adapter = LoraAdapter.attach(model, [PLAIN])
    state = adapter.state_dict(0)
    randomized(adapter)
    assert not any(value.any() for name, value in state.items() if "lora_up" in name)


def break_shape(state: dict[str, Tensor]) -> str:
    name = next(name for name in state if name.endswith("lora_down.weight"))
    state[name] = state[name][:, :-1]
    return name.split(".")[0]


def break_pair(state: dict[str, Tensor]) -> str:
    name = next(name for name in state if name.endswith("lora_up.weight"))
    del state[name]
    return f"{name.split('.')[0]}: has no lora_up.weight"


def misspell(state: dict[str, Tensor]) -> str:
    for name in [name for name in state if name.startswith("lora_unet_")][:3]:
        state[name.replace("proj_in", "projj_in")] = state.pop(name)
    return "Did you mean 'lora_unet_"


def other_model(state: dict[str, Tensor]) -> str:
    for name in list(state):
        state[f"lora_other_{name}"] = state.pop(name)
    return "none of its"


@pytest.mark.parametrize("spoil", [break_shape, break_pair, misspell, other_model])
def test_states_that_do_not_fit_are_refused(
    model: BaseModel, spoil: Callable[[dict[str, Tensor]], str]
) -> None:
    adapter = LoraAdapter.attach(model, [PLAIN])
    state = adapter.state_dict(0)
    adapter.detach()
    words = spoil(state)
    with pytest.raises(LoraError) as refusal:
        LoraAdapter.attach(model, [state])
    assert words in str(refusal.value)
    assert not any("forward" in target.module.__dict__ for target in model.lora_targets())
    adapter = LoraAdapter.attach(model, [PLAIN])
    with pytest.raises(LoraError) as refusal:
        adapter.load_state(0, state)
    assert words in str(refusal.value)


def test_a_state_of_another_rank_is_not_loaded_in_place(model: BaseModel) -> None:
    adapter = LoraAdapter.attach(model, [PLAIN, TrialSpec(rank=5)])
    with pytest.raises(LoraError, match="rank 5 — rank 3"):
        adapter.load_state(0, adapter.state_dict(1))


def test_two_adapters_cannot_stand_in_one_model(model: BaseModel) -> None:
    LoraAdapter.attach(model, [PLAIN])
    with pytest.raises(LoraError, match="carries an adapter already"):
        LoraAdapter.attach(model, [PLAIN])


def test_trials_may_adapt_different_parts(model: BaseModel) -> None:
    text = TrialSpec(rank=2, parts=("text_encoder",))
    adapter = LoraAdapter.attach(model, [text, PLAIN], parts=("text_encoder", "denoiser"))
    assert not adapter.parameters_of(0, "denoiser") and adapter.parameters_of(1, "denoiser")
    assert all(name.startswith("lora_te") for name in adapter.state_dict(0))
    prediction(model, 2).square().mean().backward()


def test_gradient_checkpointing_changes_no_gradient(model: BaseModel) -> None:
    spec = TrialSpec(rank=3, alpha=1.0, dropout=0.3, seed=4)
    gradients = []
    for checkpointed in (False, True):
        adapter = randomized(LoraAdapter.attach(model, [spec])).train()
        model.set_gradient_checkpointing(checkpointed)
        adapter.set_step(3)
        prediction(model).square().mean().backward()
        gradients.append([leaf.grad for leaf in adapter.parameters()])
        adapter.detach()
    for first, second in zip(*gradients, strict=True):
        assert (first is None and second is None) or torch.equal(first, second)


def test_every_problem_of_a_trial_is_named() -> None:
    with pytest.raises(ConfigError) as refusal:
        TrialSpec(rank=0, alpha=-1.0, conv_alpha=1.0, dropout=1.0, parts=("unet",))  # type: ignore[arg-type]
    assert len(refusal.value.problems) == 5


def test_alpha_of_zero_means_the_rank() -> None:
    spec = TrialSpec(rank=8, alpha=0, conv_rank=4, conv_alpha=0)
    layers = [LoraModule(kind, f"unet.{kind}", "denoiser", kind, 4, 4) for kind in ("linear", "conv3x3")]
    assert [size.alpha for layer in layers if (size := spec.size_of(layer))] == [8.0, 4.0]
