"""Kinds held against LyCORIS: what its modules make of our tensors, and ours of its."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maquette.families import load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import read_lora, save_lora
from maquette.lora.kinds import kind_of
from maquette.lora.kinds.forms import factorization
from maquette.lora.layer import LayerTrial, LoraLayer
from tests.lora.test_layer import MODULES, rows

modules = pytest.importorskip("lycoris.modules", reason="needs LyCORIS: pip install lycoris-lora")

CASES = {
    "dora": {"weight_decompose": True, "wd_on_out": False},
    "dora_outputs": {"weight_decompose": True, "wd_on_out": True},
    "loha": {},
    "lokr": {},
    "lokr_whole": {"full_matrix": True},
    "lokr_parts": {"decompose_both": True},
    "oft": {},
}
RANK, ALPHA = 2, 1.5


def theirs_of(kind: str, base: nn.Module) -> Any:
    """Return LyCORIS' module over `base`, its weights random."""
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    made = {"do": LoConModule, "lh": LohaModule, "lk": LokrModule, "of": DiagOFTModule}
    kinds = {"dora": "do", "dora_outputs": "do", "loha": "lh", "oft": "of"}
    rank = 1 if kind == "lokr_parts" else RANK
    given = {"alpha": 0.0} if kind == "oft" else {"alpha": ALPHA}
    theirs = made[kinds.get(kind, "lk")]("key", base, 1.0, rank, **given, **CASES[kind])
    generator = torch.Generator().manual_seed(7)
    for parameter in theirs.parameters():
        parameter.data.uniform_(-0.5, 0.5, generator=generator)
    if hasattr(theirs, "dora_scale"):
        theirs.dora_scale.data.abs_().add_(0.5)
    return theirs


def tensors_of(theirs: Any) -> dict[str, Tensor]:
    """Return the module's tensors by their names in a file."""
    return {name: value.detach().clone() for name, value in theirs.state_dict().items()}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", CASES)
def test_a_layer_gives_what_lycoris_gives(kind: str, module: str) -> None:
    """Tolerance: float32 through products in another order."""
    torch.manual_seed(11)
    base = MODULES[module]().requires_grad_(False)
    theirs = theirs_of(kind, base)
    own = tensors_of(theirs)
    alpha = float(own.pop("alpha", torch.tensor(0.0)))
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    form = kind_of(own, shapes)
    # On layers too small for parts LyCORIS keeps the small matrix whole.
    assert form is not None and form.name in (kind, kind.removesuffix("_parts"))
    assert set(form.tensors) == set(own)
    rank = form.rank(shapes)
    assert rank is not None and form.misfit(shapes) is None
    layer = LoraLayer("key", base, [LayerTrial(rank=rank, alpha=alpha, form=form)])
    for leaf, name in zip(layer.first_leaves, form.tensors, strict=True):
        assert leaf.numel() == own[name].numel(), name
        leaf.data.copy_(own[name].reshape(leaf.shape))
    x = rows(module, 3)
    expected = theirs(x)
    found = layer(x)
    assert (expected - base(x)).abs().max() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    expected.square().sum().backward()
    found.square().sum().backward()
    for leaf, name in zip(layer.first_leaves, form.tensors, strict=True):
        grad = dict(theirs.named_parameters())[name].grad
        torch.testing.assert_close(leaf.grad, grad.reshape(leaf.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dimension", [127, 128, 250, 360, 512, 1024, 320, 1280])
@pytest.mark.parametrize("factor", [-1, 2, 4, 8, 16])
def test_sizes_are_split_as_lycoris_splits_them(dimension: int, factor: int) -> None:
    from lycoris.functional.general import factorization as theirs

    assert factorization(dimension, factor) == theirs(dimension, factor)


@pytest.mark.parametrize("kind", ["loha", "lokr", "oft"])
def test_lycoris_rebuilds_its_modules_from_our_files(kind: str, tiny_sd1_path: Path, tmp_path: Path) -> None:
    """As its own loader does: by names alone; and what it merges is what we merge."""
    from lycoris.modules import get_module, make_module

    model = load(tiny_sd1_path)
    adapter = LoraAdapter.attach(model, [TrialSpec(kind=kind, rank=4, alpha=2.0, parts=("denoiser",))])
    generator = torch.Generator().manual_seed(3)
    for leaf in adapter.parameters():
        leaf.data.uniform_(-0.3, 0.3, generator=generator)
    saved = save_lora(tmp_path / "ours.safetensors", adapter.state_dict(0), {}, dtype="fp32")
    state = dict(read_lora(saved.path).state)
    by_key = {target.key: target for target in model.lora_targets()}
    for key, layer in list(adapter.layers.items())[:6]:
        sort, parameters = get_module(state, key)
        theirs = make_module(sort, parameters, key, by_key[key].module)
        weight = by_key[key].module.weight
        merged = (
            theirs.get_merged_weight(1.0)[0] if kind == "oft" else weight + theirs.get_weight(weight.shape)
        )
        torch.testing.assert_close(weight + layer.delta(0), merged, rtol=1e-4, atol=1e-5)
