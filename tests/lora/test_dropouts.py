"""sd-scripts' three dropouts and its limit of norms, held against its formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from maquette.errors import ConfigError
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.kinds import KINDS, rows
from maquette.lora.layer import LayerTrial, LoraLayer
from tests.lora.test_layer import MODULES

RANK, ROWS, TOKENS = 4, 3, 5


def layer_of(**dropouts: float) -> LoraLayer:
    """Return a layer in training whose output is what lies between down and up, times the scale."""
    base = nn.Linear(6, RANK, bias=False).double().requires_grad_(False)
    layer = LoraLayer("key", base, [LayerTrial(rank=RANK, alpha=2.0, seed=3, **dropouts)]).double().train()
    layer.first_leaves[1].data.copy_(torch.eye(RANK))
    return layer


def changes(layer: LoraLayer, x: Tensor, steps: int) -> Tensor:
    """Return what the adapter adds at each of `steps` steps as shares of what it adds undropped."""
    layer.eval()
    whole = layer(x) - layer.base_forward(x)
    layer.train()
    found = []
    for step in range(steps):
        layer.micro_step = step
        found.append((layer(x) - layer.base_forward(x)) / whole)
    return torch.stack(found).detach()


def test_rank_dropout_drops_whole_ranks_of_a_row_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    shares = changes(layer_of(rank_dropout=0.25), torch.randn(ROWS, TOKENS, 6).double(), 200)
    kept = shares > 0.5
    torch.testing.assert_close(shares[kept], torch.full_like(shares[kept], 1 / 0.75), rtol=1e-9, atol=0)
    assert shares[~kept].abs().max() < 1e-9
    assert torch.equal(kept, kept[:, :, :1].expand_as(kept)), "a rank is dropped at all positions of a row"
    assert not torch.equal(kept[:, 0], kept[:, 1]), "each row has a choice of its own"
    # 2400 draws of 0.25: the standard error is 0.009.
    assert kept[:, :, 0].double().mean() == pytest.approx(0.75, abs=0.04)


def test_both_dropouts_between_down_and_up_work_together() -> None:
    torch.manual_seed(0)
    shares = changes(layer_of(rank_dropout=0.5, dropout=0.2), torch.randn(ROWS, TOKENS, 6).double(), 100)
    whole = shares[shares > 0.1]
    torch.testing.assert_close(whole, torch.full_like(whole, 1 / (0.5 * 0.8)), rtol=1e-9, atol=0)
    # 6000 elements that share 1200 choices of ranks: 0.5 · 0.8 within four standard errors.
    assert (shares > 0.1).double().mean() == pytest.approx(0.4, abs=0.05)


def test_module_dropout_leaves_the_module_out_of_a_pass_with_its_gradients() -> None:
    layer = layer_of(module_dropout=0.4)
    x = torch.randn(ROWS, TOKENS, 6).double()
    skipped = 0
    for step in range(200):
        layer.micro_step = step
        layer.zero_grad(set_to_none=True)
        out = layer(x)
        if torch.equal(out, layer.base_forward(x)):
            skipped += 1
            assert not out.requires_grad
        else:
            out.sum().backward()
            assert all(leaf.grad is not None for leaf in layer.first_leaves)
    assert skipped / 200 == pytest.approx(0.4, abs=0.14)
    layer.eval()
    assert not torch.equal(layer(x), layer.base_forward(x))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_a_change_that_is_too_long_is_shrunk_as_sd_scripts_shrinks_it(module: str, limit: float) -> None:
    """Tolerance: its norm is that of the product itself, ours comes from the ranks' products; float32."""
    layer = LoraLayer("key", MODULES[module]().requires_grad_(False), [LayerTrial(rank=3, alpha=1.5)])
    torch.manual_seed(1)
    for leaf in layer.first_leaves:
        leaf.data.normal_()
    down, up = (leaf.detach().clone() for leaf in layer.first_leaves)
    product = (up.flatten(1) @ down.flatten(1)) * 1.5 / 3
    norm = product.norm().clamp(min=limit / 2)
    ratio = norm.clamp(max=limit) / norm
    was, now = layer.limit_norm(0, limit)
    assert was == bool(ratio != 1)
    assert now == pytest.approx(float(product.norm() * ratio), rel=1e-4)
    for leaf, before in zip(layer.first_leaves, (down, up), strict=True):
        torch.testing.assert_close(leaf.detach(), before * ratio**0.5, rtol=1e-4, atol=1e-6)


def test_limits_are_told_over_all_modules_of_a_trial() -> None:
    pairs = [
        LoraLayer(key, nn.Linear(4, 4).requires_grad_(False), [LayerTrial(rank=2, alpha=2.0)] * 2)
        for key in ("a", "b")
    ]
    adapter = LoraAdapter([], 2)
    adapter.layers = {layer.key: layer for layer in pairs}
    for layer, size in zip(pairs, (0.1, 3.0), strict=True):
        for leaf in layer.weights(1) or ():
            leaf.data.fill_(size)
    before = [leaf.detach().clone() for leaf in pairs[0].weights(0) or ()]
    done = adapter.limit_norms(1, 1.0)
    # Norms: 0.1 · 0.1 · rank 2 in each of 16 values, and far above one.
    assert done.shrunk == 1 and done.largest == pytest.approx(1.0)
    assert done.mean == pytest.approx((math.sqrt(16) * 0.02 + 1.0) / 2, rel=1e-5)
    assert all(torch.equal(old, new) for old, new in zip(before, pairs[0].weights(0) or (), strict=True))


def test_every_dropout_has_its_bounds_and_its_kinds() -> None:
    for name in ("dropout", "rank_dropout", "module_dropout"):
        with pytest.raises(ConfigError, match=f"{name}: 1.0 — at least 0, below 1"):
            TrialSpec(rank=2, **{name: 1.0})
    for kind in rows():
        for name in {"dropout", "rank_dropout", "module_dropout"} - set(KINDS[kind].dropouts):
            with pytest.raises(ConfigError, match=f"Leave {name} at 0 for {KINDS[kind].title}"):
                TrialSpec(rank=2, kind=kind, **{name: 0.5})
