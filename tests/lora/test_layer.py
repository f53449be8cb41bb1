"""Laws of one LoRA layer, on small modules."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maquette.lora.layer import LayerTrial, LoraLayer, stable_seed

MODULES = {
    "linear": lambda: nn.Linear(12, 10),
    "conv1x1": lambda: nn.Conv2d(6, 10, 1),
    "conv3x3": lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1),
}
INPUTS = {"linear": (5, 12), "conv1x1": (6, 4, 4), "conv3x3": (6, 8, 8)}
"""Shapes of one row."""


def make(kind: str, trials: list[LayerTrial | None]) -> LoraLayer:
    """Return a layer over a module of `kind`, both always with the same weights; up is not zero."""
    torch.manual_seed(11)
    layer = LoraLayer(f"lora_unet_{kind}", MODULES[kind](), trials)
    with torch.no_grad():
        for index in layer.slots:
            weights = layer.weights(index)
            assert weights is not None
            trial = layer.trials[index]
            assert trial is not None
            weights[1].uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(100 + trial.seed))
    return layer


def rows(kind: str, count: int) -> Tensor:
    return torch.randn(count, *INPUTS[kind], generator=torch.Generator().manual_seed(5))


MIXED: list[LayerTrial | None] = [
    LayerTrial(rank=2, alpha=1.0, dropout=0.3, seed=1),
    LayerTrial(rank=4, alpha=4.0, seed=2),
    None,
    LayerTrial(rank=3, alpha=9.0, dropout=0.5, seed=3),
]
EQUAL: list[LayerTrial | None] = [
    LayerTrial(rank=3, alpha=float(seed), dropout=0.2, seed=seed) for seed in (1, 2, 3)
]


@pytest.mark.parametrize("kind", MODULES)
def test_fresh_weights_are_the_identity(kind: str) -> None:
    module = MODULES[kind]()
    x = rows(kind, 4)
    for trials in (
        [LayerTrial(rank=2, alpha=1.0)],
        [LayerTrial(rank=2, alpha=1.0), LayerTrial(rank=3, alpha=1.0)],
    ):
        assert torch.equal(LoraLayer("key", module, trials)(x), module(x))


@pytest.mark.parametrize("kind", MODULES)
def test_down_is_kaiming_uniform_and_follows_from_seed_and_key_alone(kind: str) -> None:
    module = MODULES[kind]()
    alone = LoraLayer("key", module, [LayerTrial(rank=4, alpha=1.0, seed=7)])
    among = LoraLayer(
        "key", module, [LayerTrial(rank=2, alpha=1.0, seed=1), LayerTrial(rank=4, alpha=1.0, seed=7)]
    )
    assert torch.equal(alone.leaves[0][0], among.leaves[0][1])
    assert not torch.equal(
        alone.leaves[0][0], LoraLayer("other", module, [LayerTrial(rank=4, alpha=1.0, seed=7)]).leaves[0][0]
    )
    bound = 1 / math.sqrt(alone.leaves[0][0][0].numel())
    assert 0.8 * bound < alone.leaves[0][0].abs().max() <= bound
    assert not alone.leaves[1][0].any()


def test_seeds_are_the_same_on_every_machine() -> None:
    assert stable_seed(42, "lora_unet_mid_block_attentions_0_proj_in") == 2989338845073149082
    assert stable_seed(1, "23") != stable_seed(12, "3")


@pytest.mark.parametrize("kind", MODULES)
def test_one_trial_computes_what_the_reference_computes_bit_for_bit(kind: str) -> None:
    layer = make(kind, [LayerTrial(rank=4, alpha=3.0)])
    layer.set_multiplier(0, 0.7)
    x = rows(kind, 3)
    down, up = layer.weights(0) or ()
    if kind == "linear":
        lx = F.linear(F.linear(x, down), up)
    else:
        placing = (2, 1) if kind == "conv3x3" else (1, 0)
        lx = F.conv2d(F.conv2d(x, down, None, *placing), up)
    assert torch.equal(layer(x), layer.base_forward(x) + lx * 0.7 * (3.0 / 4))


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("trials", [MIXED, EQUAL], ids=["mixed ranks", "equal ranks"])
def test_packed_trials_compute_what_each_computes_alone(kind: str, trials: list[LayerTrial | None]) -> None:
    x = rows(kind, 2 * len(trials)).requires_grad_()
    packed = make(kind, trials).train()
    packed.micro_step = 4
    packed(x).square().sum().backward()
    assert x.grad is not None
    for index, trial in enumerate(trials):
        own = x.detach()[2 * index : 2 * index + 2].clone().requires_grad_()
        alone = make(kind, [trial]).train() if trial else None
        if alone is None:
            out = packed.base_forward(own)
        else:
            alone.micro_step = 4
            out = alone(own)
        out.square().sum().backward()
        # Sums are grouped otherwise in batched products: float32 rounding, a few units in the last place.
        torch.testing.assert_close(packed(x)[2 * index : 2 * index + 2], out, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(x.grad[2 * index : 2 * index + 2], own.grad, rtol=1e-5, atol=2e-5)
        if alone is not None:
            pairs = zip(packed.weights(index) or (), alone.weights(0) or (), strict=True)
            for leaf, expected in pairs:
                torch.testing.assert_close(leaf.grad, expected.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", MODULES)
def test_a_trial_without_lora_gives_the_base_bit_for_bit(kind: str) -> None:
    layer = make(kind, [LayerTrial(rank=2, alpha=1.0), None])
    x = rows(kind, 4)
    assert torch.equal(layer(x)[2:], layer.base_forward(x)[2:])
    assert not torch.equal(layer(x)[:2], layer.base_forward(x)[:2])


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("trials", [MIXED[:1], MIXED, EQUAL], ids=["one trial", "mixed ranks", "equal ranks"])
def test_dropout_is_the_same_when_a_block_is_computed_again(
    kind: str, trials: list[LayerTrial | None]
) -> None:
    x = rows(kind, 2 * len(trials))
    gradients = []
    for again in (False, True):
        layer = make(kind, trials).train()
        own = x.clone().requires_grad_()
        out = checkpoint(layer, own, use_reentrant=False, preserve_rng_state=False) if again else layer(own)
        out.square().sum().backward()
        gradients.append([own.grad, *(leaf.grad for leaf in layer.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def test_dropout_changes_from_step_to_step_and_stops_outside_training() -> None:
    layer = make("linear", MIXED[:1]).train()
    x = rows("linear", 3)
    first = layer(x)
    assert torch.equal(first, layer(x))
    layer.micro_step = 1
    assert not torch.equal(first, layer(x))
    layer.eval()
    trained = layer(x)
    layer.micro_step = 2
    assert torch.equal(trained, layer(x))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer = make("linear", [LayerTrial(rank=4, alpha=1.0, dropout=0.25, seed=3)]).train()
    dropped = layer.drop(0, torch.ones(4000, 4))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_leaves_of_equal_rank_share_the_stack_s_memory_and_stay_contiguous() -> None:
    layer = make("linear", EQUAL)
    for index in range(3):
        for leaf, stack in zip(layer.weights(index) or (), layer.stacked(), strict=True):
            assert leaf.data_ptr() == stack[index].data_ptr()
            assert leaf.is_leaf and leaf.is_contiguous()


@pytest.mark.parametrize("change", ["new memory", "half and back", "in place"])
def test_the_stack_follows_its_leaves(change: str) -> None:
    layer, x = make("linear", EQUAL), rows("linear", 3)
    if change == "new memory":
        layer.leaves[1][1].data = torch.full_like(layer.leaves[1][1], 0.25)
    elif change == "half and back":
        layer.leaves[1][1].data.fill_(0.25)
        layer.half().float()
        layer.leaves[1][1].data.fill_(0.25)
    else:
        with torch.no_grad():
            layer.leaves[1][1].fill_(0.25)
    assert torch.equal(layer.stacked()[1][1], torch.full((10, 3), 0.25))
    alone = make("linear", [EQUAL[1]])
    alone.leaves[1][0].data.fill_(0.25)
    if change == "half and back":
        alone.half().float()
        alone.leaves[1][0].data.fill_(0.25)
    torch.testing.assert_close(layer(x)[1:2], alone(x[1:2]))


@pytest.mark.parametrize("trials", [EQUAL[:1], EQUAL], ids=["one trial", "packed"])
@pytest.mark.parametrize("kind", MODULES)
def test_half_precision_bases_and_autocast_run(kind: str, trials: list[LayerTrial | None]) -> None:
    layer, x = make(kind, trials), rows(kind, 2 * len(trials))
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        cast = layer(x)
    assert cast.dtype == torch.bfloat16
    layer.base_forward.__self__.bfloat16()  # type: ignore[attr-defined]
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16 and layer.leaves[0][0].dtype == torch.float32
    # bfloat16 keeps eight bits: relative errors of 2⁻⁸ a product, a few of which add up.
    torch.testing.assert_close(cast.float(), exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)


def test_rows_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rows cannot be shared out among 3 trials"):
        make("linear", EQUAL)(rows("linear", 5))


def test_other_modules_are_refused() -> None:
    for module in (
        nn.LayerNorm(4),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ):
        with pytest.raises(TypeError, match=r"wraps nn\.Linear"):
            LoraLayer("key", module, [LayerTrial(rank=1, alpha=1.0)])


@pytest.mark.parametrize("kind", MODULES)
def test_delta_is_what_the_layer_adds_to_the_weight(kind: str) -> None:
    layer = make(kind, [LayerTrial(rank=4, alpha=3.0)])
    layer.set_multiplier(0, 0.5)
    x, module = rows(kind, 3), layer.base_forward.__self__  # type: ignore[attr-defined]
    expected = layer(x)
    with torch.no_grad():
        module.weight += layer.delta(0)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
