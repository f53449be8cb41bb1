"""What is counted from sizes alone is what torch really keeps and computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maquette import families
from maquette.families.sd2.keys import PROJECTIONS, TEXT
from maquette.families.tiny import file_shapes, write_tiny
from maquette.footprint.memory import MemoryRequest
from maquette.footprint.recomputing import blocks_by_worth
from maquette.footprint.workload import Workload, workload
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.size import lora_parameters

RANK = 4
LAST_LAYER = f"{TEXT}transformer.resblocks.23."
"""OpenCLIP's last layer, which no model of Stable Diffusion 2.x reads."""
FAMILIES = sorted(families.FAMILIES)


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(request.param, tmp_path_factory.mktemp("base") / f"{request.param}.safetensors")


def counted(base: Path, px: int, conv_rank: int | None = None) -> Workload:
    layout = families.layout_of(families.inspect(base))
    return workload(layout, (px, px), TrialSpec(rank=RANK, conv_rank=conv_rank))


@dataclass
class Traced:
    kept_bytes: int
    flops: int
    trainable: int


def traced(
    base: Path,
    px: int,
    *,
    checkpointing: bool = False,
    blocks: frozenset[str] | None = None,
    conv_rank: int | None = None,
) -> Traced:
    """Run one forward pass and count the distinct storages that autograd keeps, parameters left out."""
    model = families.load(base)
    model.set_gradient_checkpointing(checkpointing, blocks)
    spec = TrialSpec(rank=RANK, alpha=RANK / 2, conv_rank=conv_rank, conv_alpha=1 if conv_rank else None)
    adapter = LoraAdapter.attach(model, [spec])
    modules = (model.denoiser, *model.text_encoders)
    own = {p.untyped_storage().data_ptr() for module in modules for p in module.parameters()}
    own |= {p.untyped_storage().data_ptr() for p in adapter.parameters_of(0)}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    side = px // model.info.vae_factor
    counter = FlopCounterMode(display=False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), counter:
        text = model.encode_text(model.tokenize(["a fox"]))
        sizes = [families.PictureSize((px, px), (0, 0), (px, px))]
        model.predict(torch.randn(1, 4, side, side), torch.tensor([5]), text, sizes)
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return Traced(size, counter.get_total_flops(), sum(p.numel() for p in adapter.parameters_of(0)))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["all", "checkpointed"])
def test_the_backward_pass_keeps_what_is_counted(base: Path, checkpointing: bool) -> None:
    """0.2 %: kernels keep sums of their own beside the attention; 2 % where torch's checkpointing keeps a few inputs twice."""
    real = traced(base, 256, checkpointing=checkpointing)
    plain, norms = counted(base, 256).kept_values(checkpointing=checkpointing)
    assert 4 * (plain + norms) == pytest.approx(real.kept_bytes, rel=0.02 if checkpointing else 0.002)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_choice_of_blocks_keeps_what_is_counted(base: Path, share: float) -> None:
    """4 %: a block's inputs count as kept for it even where its neighbour keeps the same values."""
    request = MemoryRequest(layout=families.layout_of(families.inspect(base)), size_wh=(256, 256), rank=RANK)
    names = blocks_by_worth(request)
    chosen = frozenset(names[: round(share * len(names))])
    real = traced(base, 256, checkpointing=True, blocks=chosen)
    plain, norms = request.changed(checkpointing=chosen).work().kept_values(checkpointing=True)
    assert 4 * (plain + norms) == pytest.approx(real.kept_bytes, rel=0.04)
    assert real.kept_bytes < traced(base, 256).kept_bytes


def test_adapted_convolutions_keep_no_more_than_is_counted(base: Path) -> None:
    real = traced(base, 256, conv_rank=2)
    plain, norms = counted(base, 256, conv_rank=2).kept_values(checkpointing=False)
    assert 4 * (plain + norms) == pytest.approx(real.kept_bytes, rel=0.002)


def test_the_forward_pass_computes_what_is_counted(base: Path) -> None:
    """torch does not count its CPU's fused attention; of the rest, the LoRA and the time embedding are left out: 6 %."""
    layers = sum(op.flops * op.times for op in counted(base, 256).ops if op.kind in ("conv", "linear"))
    assert layers == pytest.approx(traced(base, 256).flops, rel=0.06)


@pytest.mark.parametrize("conv_rank", [None, 2])
def test_the_adapter_has_as_many_values_as_attached(base: Path, conv_rank: int | None) -> None:
    expected = lora_parameters(families.inspect(base), TrialSpec(rank=RANK, conv_rank=conv_rank))
    assert (
        counted(base, 64, conv_rank).trainable == traced(base, 64, conv_rank=conv_rank).trainable == expected
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_the_published_models_are_counted_to_the_last_value(family: str) -> None:
    counts = families.parts_of(families.FAMILIES[family].layout(None))
    shapes = file_shapes(family, "full")
    read = {
        name: shape for name, shape in shapes.items() if name not in PROJECTIONS and LAST_LAYER not in name
    }
    total = sum(torch.Size(shape).numel() for shape in read.values())
    assert counts.denoiser + counts.text_encoders + counts.vae == total
