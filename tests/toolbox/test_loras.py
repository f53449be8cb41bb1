"""LoRA files into LoRA files: converting, merging, resizing, comparing, pruning, stripping."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from maquette import (
    lora_compare,
    lora_convert,
    lora_inspect,
    lora_merge,
    lora_prune_blocks,
    lora_resize,
    lora_strip_metadata,
)
from maquette.errors import ConfigError, LoraError, OutputError
from maquette.lora.reading import read_lora_facts
from tests.toolbox.conftest import MakeLora, changes_of

NOT_PLAIN = ("dora", "loha", "lokr", "oft")


def relative(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """Return the error over all modules together."""
    missed = sum(float((found[key] - change).double().square().sum()) for key, change in wanted.items())
    return math.sqrt(missed / sum(float(change.double().square().sum()) for change in wanted.values()))


# --- convert ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) if kind in ("oft", "loha") else kind for kind in NOT_PLAIN],
)
def test_any_kind_becomes_plain_lora_and_says_how_nearly(
    kind: str, bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    lora = make_lora("sd1", kind)
    base = {"base": bases["sd1"]} if kind in ("dora", "oft") else {}
    whole = lora_convert(lora, plain=True, energy=1.0, output=tmp_path / "whole.safetensors", **base)
    wanted = changes_of(bases["sd1"], lora)
    assert read_lora_facts(whole.path).is_plain and whole.kept == pytest.approx(1.0, abs=1e-6)
    assert relative(changes_of(bases["sd1"], whole.path), wanted) < 1e-4
    part = lora_convert(lora, plain=True, rank=3, output=tmp_path / "part.safetensors", **base)
    error = relative(changes_of(bases["sd1"], part.path), wanted)
    assert part.ranks[-1] == 3 and part.kept == pytest.approx(1 - error**2, abs=1e-4)


def test_a_kind_that_leans_on_the_base_asks_for_it(make_lora: MakeLora) -> None:
    with pytest.raises(
        LoraError, match=r"it is DoRA, whose change depends on the base's own weights.*--base"
    ):
        lora_convert(make_lora("sd1", "dora"), plain=True)
    with pytest.raises(ConfigError, match="--rank: given without --plain"):
        lora_convert(make_lora(), rank=4)


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", "F16"), ("bf16", "BF16"), ("fp32", "F32")])
def test_precision_is_what_was_asked_for(
    dtype: str, stored: str, make_lora: MakeLora, tmp_path: Path
) -> None:
    done = lora_convert(make_lora(), dtype=dtype, output=tmp_path / "c.safetensors")
    assert read_lora_facts(done.path, depth="header").dtype == stored
    assert done.dtype == dtype


def test_norms_of_a_kind_that_leans_on_the_base_are_told_over_it(
    bases: dict[str, Path], make_lora: MakeLora
) -> None:
    lora = make_lora("sd1", "dora")
    assert lora_inspect(lora).norm is None
    norms = [float(change.norm()) for change in changes_of(bases["sd1"], lora).values()]
    assert lora_inspect(lora, base=bases["sd1"]).norm == pytest.approx(math.hypot(*norms), rel=1e-4)


# --- merge -----------------------------------------------------------------------------------------------


def test_loras_beside_each_other_are_their_sum(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    """Tolerance: products of float32 factors of about 0.1, summed."""
    one, other = make_lora(rank=4, alpha=2.0), make_lora(rank=3, alpha=5.0, seed=2)
    done = lora_merge(one, other, strengths=(0.8, -0.5), output=tmp_path / "m.safetensors")
    assert done.ranks == (7,) and done.error is not None and done.error < 1e-6
    changes = changes_of(bases["sd1"], one), changes_of(bases["sd1"], other)
    found = changes_of(bases["sd1"], done.path)
    for key, change in found.items():
        torch.testing.assert_close(
            change, 0.8 * changes[0][key] - 0.5 * changes[1][key], rtol=1e-4, atol=1e-7
        )


def test_equally_strong_ones_keep_every_bit_of_their_weights(make_lora: MakeLora, tmp_path: Path) -> None:
    one, other = (make_lora(rank=rank, alpha=rank / 2, seed=rank, dtype="fp16") for rank in (4, 6))
    done = lora_merge(one, other, output=tmp_path / "m.safetensors")
    merged, first, second = load_file(done.path), load_file(one), load_file(other)
    assert done.error == 0.0
    for name, value in merged.items():
        if name.endswith(".alpha"):
            assert float(value) == 5.0
        else:
            axis = 0 if "lora_down" in name else 1
            assert torch.equal(value, torch.cat([first[name], second[name]], dim=axis))


def test_at_a_rank_the_sum_is_as_near_as_it_says(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    one, other = make_lora(rank=4), make_lora("sd1", "lokr", seed=2)
    done = lora_merge(one, other, rank=5, output=tmp_path / "m.safetensors")
    changes = changes_of(bases["sd1"], one), changes_of(bases["sd1"], other)
    wanted = {key: changes[0][key] + changes[1][key] for key in changes[0]}
    assert done.error == pytest.approx(relative(changes_of(bases["sd1"], done.path), wanted), rel=1e-3)
    assert done.ranks == (5,)


def test_loras_that_do_not_go_together_are_refused(make_lora: MakeLora) -> None:
    with pytest.raises(LoraError, match=r"it is for Stable Diffusion XL.*a LoRA for Stable Diffusion 1"):
        lora_merge(make_lora("sd1"), make_lora("sdxl"))
    with pytest.raises(LoraError, match=r"it is LoHa — plain LoRA.*convert .* --plain"):
        lora_merge(make_lora("sd1"), make_lora("sd1", "loha"))
    with pytest.raises(ConfigError, match="one LoRA and no --base"):
        lora_merge(make_lora("sd1"))


# --- resize ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_the_energy_that_is_asked_for_is_kept_by_the_least_rank(
    share: float, make_lora: MakeLora, tmp_path: Path
) -> None:
    done = lora_resize(make_lora(rank=6), energy=share, output=tmp_path / "r.safetensors")
    facts = read_lora_facts(done.path)
    kept = {key: 1 - error**2 for key, error in done.errors.items()}
    assert min(kept.values()) >= share - 1e-6
    smaller = {module.name: module.rank - 1 for module in facts.modules if module.rank and module.rank > 1}
    probe = lora_resize(make_lora(rank=6), rank=max(smaller.values()) or 1, output=tmp_path / "p.safetensors")
    least = [key for key, rank in smaller.items() if rank == max(smaller.values())]
    assert all(1 - probe.errors[key] ** 2 < share for key in least)


def test_at_its_own_rank_a_lora_stays_what_it_is(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    lora = make_lora(rank=4, alpha=2.0)
    done = lora_resize(lora, rank=4, output=tmp_path / "r.safetensors")
    assert done.error is not None and done.error < 1e-6
    facts = read_lora_facts(done.path, depth="header")
    assert (facts.rank, facts.alpha) == (4, 2.0), "alpha over rank stays"
    assert relative(changes_of(bases["sd1"], done.path), changes_of(bases["sd1"], lora)) < 1e-5
    with safe_open(done.path, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == "4" and metadata["ss_training_comment"].startswith(
        "resized from rank 4"
    )


def test_what_chooses_no_rank_is_refused(make_lora: MakeLora) -> None:
    for asked in (
        {},
        {"method": "sv_fro"},
        {"value": 0.9},
        {"method": "sv_fro", "value": 2.0},
        {"energy": 2},
    ):
        with pytest.raises(ConfigError):
            lora_resize(make_lora(), **asked)
    with pytest.raises(LoraError, match=r"plain LoRA.*--plain --base BASE"):
        lora_resize(make_lora("sd1", "dora"), rank=2)


def test_weights_that_are_no_numbers_are_refused_and_zeros_are_not(
    make_lora: MakeLora, tmp_path: Path
) -> None:
    tensors = load_file(make_lora())
    name = next(name for name in tensors if "lora_up" in name)
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, tmp_path / "nan.safetensors")
    idle = {name: torch.zeros_like(value) if "lora_up" in name else value for name, value in tensors.items()}
    save_file(idle, tmp_path / "idle.safetensors")
    for tool, asked in (
        (lora_resize, {"rank": 2}),
        (lora_convert, {}),
        (lora_prune_blocks, {"block": ("MID",)}),
    ):
        with pytest.raises(LoraError, match=f"1 of its .* tensors hold NaN or infinity .*{name}"):
            tool(tmp_path / "nan.safetensors", **asked)
    resized = lora_resize(tmp_path / "idle.safetensors", energy=0.9)
    assert resized.ranks == (1,) and resized.error == 0.0
    assert lora_compare(tmp_path / "idle.safetensors", make_lora()).whole.cosine is None
    merged = lora_merge(tmp_path / "idle.safetensors", make_lora(), output=tmp_path / "m.safetensors")
    assert lora_compare(merged.path, make_lora()).whole.cosine == pytest.approx(1.0)


# --- compare ---------------------------------------------------------------------------------------------


def test_likeness_is_that_of_the_whole_changes(bases: dict[str, Path], make_lora: MakeLora) -> None:
    one, other = make_lora("sd1"), make_lora("sd1", "dora")
    found = lora_compare(one, other, base=bases["sd1"])
    changes = changes_of(bases["sd1"], one), changes_of(bases["sd1"], other)
    flat = [torch.cat([change.flatten() for change in each.values()]).double() for each in changes]
    assert found.whole.cosine == pytest.approx(float(torch.cosine_similarity(*flat, dim=0)), abs=1e-5)
    assert found.whole.norms == pytest.approx([float(each.norm()) for each in flat], rel=1e-5)
    assert sum(each.norms[0] ** 2 for each in found.blocks.values()) == pytest.approx(
        found.whole.norms[0] ** 2
    )
    assert [*found.blocks][:2] == ["text_encoder", "IN01"] and [*found.blocks][-1] == "OUT03"


def test_a_lora_is_like_itself_and_unlike_its_opposite(make_lora: MakeLora, tmp_path: Path) -> None:
    lora = make_lora(trigger="one", base="x")
    assert lora_compare(lora, lora).whole.cosine == pytest.approx(1.0)
    assert not lora_compare(lora, lora).metadata
    opposite = tmp_path / "o.safetensors"
    save_file({name: -value if "up" in name else value for name, value in load_file(lora).items()}, opposite)
    found = lora_compare(lora, opposite)
    assert found.whole.cosine == pytest.approx(-1.0)
    assert found.metadata["trigger"] == ("one", None)


# --- prune -----------------------------------------------------------------------------------------------


def test_named_blocks_go_and_the_rest_stays_to_the_bit(make_lora: MakeLora, tmp_path: Path) -> None:
    lora = make_lora()
    done = lora_prune_blocks(lora, block=("text_encoder", "IN01", "MID"), output=tmp_path / "p.safetensors")
    before, after = load_file(lora), load_file(done.written.path)
    assert set(done.blocks) == {"text_encoder", "IN01", "MID"} and sum(done.blocks.values()) == len(
        done.removed
    )
    assert {name.split(".")[0] for name in before} - {name.split(".")[0] for name in after} == set(
        done.removed
    )
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert not [name for name in after if name.startswith(("lora_te", "lora_unet_mid_block"))]
    inspected = {block.name: block for block in lora_inspect(lora).blocks}
    assert done.share == pytest.approx(sum(inspected[name].share or 0 for name in done.blocks), rel=1e-6)
    other = lora_prune_blocks(lora, keep=("text_encoder", "IN01", "MID"), output=tmp_path / "k.safetensors")
    assert set(other.removed) == {name.split(".")[0] for name in after}


def test_blocks_that_hardly_change_anything_go(make_lora: MakeLora, tmp_path: Path) -> None:
    lora = make_lora()
    shares = {block.name: block.share for block in lora_inspect(lora).blocks}
    below, above = sorted(share for share in shares.values() if share is not None)[2:4]
    bound = (below + above) / 2
    done = lora_prune_blocks(lora, below=bound, output=tmp_path / "p.safetensors")
    assert set(done.blocks) == {name for name, share in shares.items() if share is not None and share < bound}


def test_what_prunes_nothing_or_everything_is_refused(make_lora: MakeLora) -> None:
    with pytest.raises(ConfigError, match=r"--block IN1: none of .* Did you mean 'IN1\d'"):
        lora_prune_blocks(make_lora(), block=("IN1",))
    with pytest.raises(ConfigError, match=r"all of its .* modules"):
        lora_prune_blocks(make_lora(), block=("text_encoder", "unet"))
    with pytest.raises(ConfigError, match="none given"):
        lora_prune_blocks(make_lora())


# --- strip -----------------------------------------------------------------------------------------------

METADATA = {
    "ss_sd_model_name": "secret-base.safetensors",
    "ss_dataset_dirs": json.dumps({"10_anna smith": {"n_repeats": 10, "img_count": 4}}),
    "ss_tag_frequency": json.dumps({"10_anna smith": {"red hair": 4}}),
    "ss_output_name": "anna",
    "ss_training_comment": "from /home/anna/pictures",
    "custom": "see C:\\Users\\anna\\loras",
    "ss_network_dim": "4",
    "ss_base_model_version": "sd_v1",
    "modelspec.trigger_phrase": "zkw",
    "modelspec.architecture": "stable-diffusion-v1/lora",
}


def test_stripping_takes_metadata_and_no_bit_of_the_weights(make_lora: MakeLora, tmp_path: Path) -> None:
    lora = tmp_path / "anna.safetensors"
    tensors = load_file(make_lora())
    save_file(tensors, lora, METADATA)
    everything = lora_strip_metadata(lora)
    assert everything.path.name == "anna-stripped.safetensors" and not everything.kept
    private = lora_strip_metadata(lora, private=True)
    assert set(private.kept) == {
        "ss_network_dim", "ss_base_model_version", "modelspec.trigger_phrase", "modelspec.architecture",
    }  # fmt: skip
    for done in (everything, private):
        found = load_file(done.path)
        assert found.keys() == tensors.keys() and all(
            torch.equal(found[name], tensors[name]) for name in tensors
        )
        raw = done.path.read_bytes()
        assert b"anna" not in raw and b"secret" not in raw


def test_alphas_that_lie_in_the_metadata_are_not_stripped(
    bases: dict[str, Path], make_lora: MakeLora, tmp_path: Path
) -> None:
    """diffusers keeps them there: without them the LoRA would draw at another strength."""
    there = lora_convert(make_lora(alpha=1.0), to="diffusers", output=tmp_path / "d.safetensors").path
    done = lora_strip_metadata(there)
    assert changes_of(bases["sd1"], done.path).keys() == changes_of(bases["sd1"], there).keys()
    wanted = changes_of(bases["sd1"], make_lora(alpha=1.0))
    assert relative(changes_of(bases["sd1"], done.path), wanted) < 1e-6


def test_a_file_that_is_there_stays_unless_it_may_go(make_lora: MakeLora, tmp_path: Path) -> None:
    place = tmp_path / "x.safetensors"
    place.write_bytes(b"mine")
    for tool, asked in (
        (lora_convert, {}),
        (lora_resize, {"rank": 2}),
        (lora_prune_blocks, {"block": ("MID",)}),
        (lora_strip_metadata, {}),
    ):
        with pytest.raises(OutputError, match="is there already"):
            tool(make_lora(), output=place, **asked)
    assert place.read_bytes() == b"mine"
    with pytest.raises(OutputError, match=r"a .safetensors file"):
        lora_convert(make_lora(), output=tmp_path / "x.pt")
    lora_strip_metadata(make_lora(), output=place, overwrite=True)
    assert read_lora_facts(place).is_lora
