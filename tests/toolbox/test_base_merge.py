"""Merged into a base: what training's own adapter makes of the weights, and not a bit elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import maquette
from maquette import lora_compare, lora_convert, lora_extract, lora_inspect, lora_merge
from maquette.errors import ConfigError, LoraError, ModelError, OutputError
from maquette.families import FAMILIES, inspect, load, weight_places
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import save_lora
from tests.toolbox.conftest import MakeLora, changes_of, loaded, trained, weights_of

KINDS = ("lora", "dora", "loha", "lokr", "oft")


@pytest.mark.parametrize("family", [pytest.param("sd1", marks=pytest.mark.slow), "sd2", "sdxl"])
def test_a_merged_base_is_the_base_and_the_lora(
    family: str, bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    """Tolerance: one rounding to float32 of a sum of two float32 numbers of about one."""
    lora = make_lora(family)
    done = lora_merge(lora, base=bases[family], strengths=0.7, output=tmp_path / "m.safetensors")
    before, after, change = weights_of(bases[family]), weights_of(done.path), changes_of(bases[family], lora)
    assert done.layers == len(change) < len(before)
    for key, weight in before.items():
        wanted = 0.7 * change[key] if key in change else torch.zeros_like(weight)
        torch.testing.assert_close(after[key] - weight, wanted, rtol=1e-3, atol=3e-7)
    assert inspect(done.path).family == family
    adapted = {place.entry.name for place in weight_places(bases[family])[1]}
    own, base = load_file(done.path), load_file(bases[family])
    assert own.keys() == base.keys()
    assert all(torch.equal(own[name], base[name]) for name in base if name not in adapted)


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("lora", "dora") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_every_kind_of_adapter_merges_as_it_draws(
    kind: str, bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    lora = make_lora("sdxl", kind)
    done = lora_merge(lora, base=bases["sdxl"], output=tmp_path / "m.safetensors")
    before, after, change = weights_of(bases["sdxl"]), weights_of(done.path), changes_of(bases["sdxl"], lora)
    for key, added in change.items():
        torch.testing.assert_close(after[key] - before[key], added, rtol=1e-3, atol=1e-6)


def test_several_at_their_strengths_are_rounded_once(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    """In float16 the merged weight is the nearest number to the sum, though each LoRA by itself might be lost in rounding."""
    half = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in load_file(bases["sd1"]).items()}, half)
    one, other = make_lora(seed=1), make_lora(seed=2, rank=2)
    done = lora_merge(one, other, base=half, strengths=(0.5, -0.25), output=tmp_path / "m.safetensors")
    before, after = weights_of(half), weights_of(done.path)
    changes = changes_of(half, one), changes_of(half, other)
    for key in changes[0]:
        sums = before[key].double() + 0.5 * changes[0][key].double() - 0.25 * changes[1][key].double()
        step = torch.finfo(torch.float16).eps * sums.abs().clamp(min=2**-14)
        assert bool(((after[key].double() - sums).abs() <= 0.51 * step + 1e-8).all()), key
    assert 0 < done.rounding < 0.1
    assert {str(value.dtype) for value in load_file(done.path).values()} == {"torch.float16"}


def test_merged_and_taken_out_again_it_is_the_lora(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    """Tolerance: the merged base's float32 rounding (1e-7 of weights that are some hundred times the change)."""
    lora = make_lora(rank=2)
    tuned = lora_merge(lora, base=bases["sd1"], output=tmp_path / "tuned.safetensors").path
    back = lora_extract(
        tuned, base=bases["sd1"], rank=2, conv_rank=2, dtype="fp32", output=tmp_path / "back.safetensors"
    )
    assert back.written.error is not None and back.written.error < 1e-4
    assert back.outside is not None and back.outside.tensors == 0
    known, found = changes_of(bases["sd1"], lora), changes_of(bases["sd1"], back.written.path)
    assert known.keys() == found.keys()
    for key, change in known.items():
        assert float((found[key] - change).norm() / change.norm()) < 1e-4, key


@pytest.mark.slow
def test_another_precision_is_that_of_all_tensors(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    done = lora_merge(make_lora(), base=bases["sd1"], dtype="bf16", output=tmp_path / "m.safetensors")
    found, base = load_file(done.path), load_file(bases["sd1"])
    assert {value.dtype for value in found.values()} == {torch.bfloat16}
    assert all(found[name].shape == base[name].shape for name in base)


def test_what_does_not_go_together_is_refused_before_anything_is_written(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    place = tmp_path / "m.safetensors"
    with pytest.raises(LoraError, match=r"it is for Stable Diffusion XL — a LoRA for Stable Diffusion 1"):
        lora_merge(make_lora("sdxl"), base=bases["sd1"], output=place)
    with pytest.raises(ModelError, match="it is a LoRA, not a base model"):
        lora_merge(make_lora(), base=make_lora(), output=place)
    with pytest.raises(ConfigError, match="3 for 2 LoRAs"):
        lora_merge(make_lora(), make_lora(seed=2), base=bases["sd1"], strengths=(1, 2, 3), output=place)
    with pytest.raises(LoraError, match="--rank: given together with --base"):
        lora_merge(make_lora(), base=bases["sd1"], rank=4, output=place)
    with pytest.raises(LoraError, match="no finite numbers in"):
        lora_merge(make_lora(), base=bases["sd1"], strengths=1e9, dtype="fp16", output=place)
    assert not list(tmp_path.iterdir())
    place.write_bytes(b"mine")
    with pytest.raises(OutputError, match="is there already"):
        lora_merge(make_lora(), base=bases["sd1"], output=place)
    assert place.read_bytes() == b"mine"
    lora_merge(make_lora(), base=bases["sd1"], output=place, overwrite=True)
    assert inspect(place).family == "sd1"


def test_every_family_tells_where_its_weights_lie() -> None:
    for family in FAMILIES.values():
        assert set(family.spec.blocks) <= set(family.spec.layer_sets)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_layer_s_weight_lies_where_the_loader_reads_it(family: str, bases: dict[str, Path]) -> None:
    own = {target.key: target.module.weight for target in loaded(bases[family]).lora_targets()}
    found = weights_of(bases[family])
    assert list(found) == list(own) and all(torch.equal(found[key], weight) for key, weight in own.items())


def test_a_model_with_layers_of_its_own_is_merged_extracted_and_told_by_blocks(tmp_path: Path) -> None:
    """The small world has attention where no published model has some."""
    base = Path(maquette.__file__).parent / "world" / "pack" / "small_world.safetensors"
    adapter = LoraAdapter.attach(load(base), [TrialSpec(rank=3, alpha=3.0, seed=1)])
    lora = tmp_path / "lora.safetensors"
    save_lora(lora, trained(adapter.state_dict(0), 1), {}, dtype="fp32")
    inspected = lora_inspect(lora)
    assert inspected.facts.strangers and set(inspected.parts) == {"text_encoder", "unet"}
    assert {block.name for block in inspected.blocks} >= {"text_encoder", "IN01", "MID", "OUT00"}
    there = lora_convert(lora, base=base, to="diffusers", output=tmp_path / "d.safetensors")
    assert there.modules == len(inspected.facts.modules) and not there.left_out
    tuned = lora_merge(there.path, base=base, dtype="fp32", output=tmp_path / "m.safetensors")
    back = lora_extract(tuned.path, base=base, rank=3, dtype="fp32", output=tmp_path / "e.safetensors")
    assert back.written.modules == len(inspected.facts.modules)
    cosine = lora_compare(lora, back.written.path).whole.cosine
    assert cosine == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(LoraError, match=r"in no published model.*--base BASE"):
        lora_convert(lora, to="diffusers", output=tmp_path / "x.safetensors")
    kept = lora_convert(lora, dtype="fp16", output=tmp_path / "h.safetensors")
    assert kept.modules == len(inspected.facts.modules) and not kept.left_out
