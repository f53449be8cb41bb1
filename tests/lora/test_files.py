"""LoRA files: written whole with the reference's hashes, read back from every layout, refused when unusable."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.errors import LoraError, OutputError
from maquette.families import BaseModel, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import DTYPES, MAX_HEADER_BYTES, inspect_lora, read_lora, save_lora
from tests.conftest import GOLDEN
from tests.lora.test_adapter import randomized, same

GOLDEN_LORA = GOLDEN / "tiny10" / "lora_final.safetensors"


@pytest.fixture(scope="module")
def model(tiny_sd1_path: Path) -> BaseModel:
    """A model that every test leaves as it was."""
    return load(tiny_sd1_path)


@pytest.fixture(scope="module")
def made_state(model: BaseModel) -> dict[str, Tensor]:
    adapter = randomized(LoraAdapter.attach(model, [TrialSpec(rank=3, alpha=1.5, seed=1)]))
    tensors = adapter.state_dict(0)
    adapter.detach()
    return tensors


@pytest.fixture
def state(made_state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made_state.items()}


def hash_by_the_book(path: Path) -> str:
    """SHA-256 of the bytes after the header."""
    data = path.read_bytes()
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


# --- writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_in_every_precision(
    model: BaseModel, state: dict[str, Tensor], dtype: Any, tmp_path: Path
) -> None:
    saved = save_lora(tmp_path / "a.safetensors", state, {"ss_output_name": "a"}, dtype=dtype)
    expected = {name: value.to(DTYPES[dtype]) for name, value in state.items()}
    assert same(load_file(saved.path), dict(sorted(expected.items())))
    lora = read_lora(saved.path, model.lora_targets())
    assert list(lora.state) == list(state)
    assert all(torch.equal(lora.state[name], expected[name]) for name in state if "alpha" not in name)
    assert {float(lora.state[name]) for name in state if "alpha" in name} == {1.5}
    assert (lora.facts.rank, lora.facts.alpha, lora.facts.layout) == (3, 1.5, "kohya")
    assert lora.facts.dtype == {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}[dtype]
    assert lora.facts.num_bytes == saved.num_bytes == saved.path.stat().st_size
    assert lora.metadata["ss_output_name"] == "a"


def test_the_hashes_are_the_reference_s(state: dict[str, Tensor], tmp_path: Path) -> None:
    metadata = {"ss_output_name": "a", "modelspec.title": "not hashed"}
    saved = save_lora(tmp_path / "a.safetensors", state, metadata, dtype="fp32")
    assert saved.model_hash == hash_by_the_book(saved.path)
    with safe_open(saved.path, "pt") as file:
        assert file.metadata() == metadata | {
            "sshs_model_hash": saved.model_hash,
            "sshs_legacy_hash": saved.legacy_hash,
        }


def test_the_reference_s_own_file_has_the_hash_that_we_compute(tmp_path: Path) -> None:
    recorded = json.loads((GOLDEN / "metadata.json").read_text())["g10.safetensors"]
    saved = save_lora(tmp_path / "g10.safetensors", load_file(GOLDEN_LORA), recorded, dtype="fp32")
    assert saved.model_hash == recorded["sshs_model_hash"]
    assert saved.legacy_hash == recorded["sshs_legacy_hash"]


def test_the_short_hash_of_a_large_file_is_of_its_second_megabyte(tmp_path: Path) -> None:
    large = {
        "lora_unet_a.lora_down.weight": torch.rand(300, 1000),
        "lora_unet_a.lora_up.weight": torch.rand(5, 300),
    }
    metadata = {"ss_seed": "1", "modelspec.title": "t"}
    saved = save_lora(tmp_path / "a.safetensors", large, metadata, dtype="fp32")
    file = io.BytesIO(safetensors.torch.save(large, {"ss_seed": "1"}))
    file.seek(0x100000)
    assert saved.legacy_hash == hashlib.sha256(file.read(0x10000)).hexdigest()[:8]


def test_equal_weights_and_metadata_give_equal_bytes(state: dict[str, Tensor], tmp_path: Path) -> None:
    metadata = {f"ss_{number}": str(number) for number in range(40)}
    first = save_lora(tmp_path / "a.safetensors", state, metadata)
    again = save_lora(tmp_path / "b.safetensors", state, dict(reversed(metadata.items())))
    assert first.path.read_bytes() == again.path.read_bytes()
    other = save_lora(tmp_path / "c.safetensors", state, {"ss_other": "x"})
    assert other.model_hash == first.model_hash


def test_a_long_tag_list_is_trimmed_and_said_so(state: dict[str, Tensor], tmp_path: Path) -> None:
    tags = {"10_sks": {f"tag number {number:06d}": number for number in range(60_000)}}
    metadata = {
        "ss_tag_frequency": json.dumps(tags),
        "ss_datasets": json.dumps([{"tag_frequency": tags, "n": 1}]),
    }
    saved = save_lora(tmp_path / "a.safetensors", state, metadata)
    assert int.from_bytes(saved.path.read_bytes()[:8], "little") < MAX_HEADER_BYTES
    assert len(saved.notes) == 1 and "most frequent tags" in saved.notes[0]
    kept = json.loads(inspect_lora(saved.path).metadata["ss_tag_frequency"])["10_sks"]
    assert "tag number 059999" in kept and "tag number 000000" not in kept
    assert save_lora(tmp_path / "b.safetensors", state, {"ss_tag_frequency": "{}"}).notes == ()


def test_other_metadata_is_never_cut(state: dict[str, Tensor], tmp_path: Path) -> None:
    saved = save_lora(tmp_path / "a.safetensors", state, {"ss_training_comment": "x" * (2 << 20)})
    assert "longer than 1 MiB" in saved.notes[0]
    assert len(inspect_lora(saved.path).metadata["ss_training_comment"]) == 2 << 20


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), 1e6], ids=["NaN", "infinity", "too large for fp16"]
)
def test_weights_that_are_no_numbers_are_refused_and_the_old_file_stays(
    state: dict[str, Tensor], bad: float, tmp_path: Path
) -> None:
    path = save_lora(tmp_path / "a.safetensors", state, {}).path
    before = path.read_bytes()
    spoiled = dict(state)
    name = next(name for name in state if "lora_up" in name)
    spoiled[name] = torch.full_like(state[name], bad)
    with pytest.raises(LoraError, match=name):
        save_lora(path, spoiled, {}, dtype="fp16")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_lora(tmp_path / "file" / "a.safetensors", state, {})


# --- reading ---------------------------------------------------------------------------------------------


def test_the_reference_s_file_is_read(model: BaseModel) -> None:
    lora = read_lora(GOLDEN_LORA, model.lora_targets())
    assert (lora.facts.rank, lora.facts.alpha) == (4, 2.0)
    assert same(dict(sorted(lora.state.items())), load_file(GOLDEN_LORA))


def test_the_tensors_tell_the_family_and_metadata_only_name_one(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    recorded = json.loads((GOLDEN / "metadata.json").read_text())["g10.safetensors"]
    told = inspect_lora(save_lora(tmp_path / "a.safetensors", state, recorded).path)
    untold = inspect_lora(save_lora(tmp_path / "b.safetensors", state, {}).path)
    assert (told.family, told.named_family) == ("sd1", "sd1")
    assert (untold.family, untold.named_family) == ("sd1", None)


def test_without_alpha_the_scale_is_one(model: BaseModel, state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(
        {name: value for name, value in state.items() if "alpha" not in name}, tmp_path / "a.safetensors"
    )
    lora = read_lora(tmp_path / "a.safetensors", model.lora_targets())
    assert lora.facts.alpha == 3.0
    adapter = LoraAdapter.attach(model, [lora.state])
    assert {layer.scale(0) for layer in adapter.layers.values()} == {1.0}
    adapter.detach()


def test_flat_matrices_of_pointwise_convolutions_get_their_shape(
    model: BaseModel, state: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(
        {name: value.flatten(1) if value.ndim == 4 else value for name, value in state.items()},
        tmp_path / "a.safetensors",
    )
    assert same(dict(read_lora(tmp_path / "a.safetensors", model.lora_targets()).state), state)


def rename(state: dict[str, Tensor], change: Callable[[str, str], str]) -> dict[str, Tensor]:
    return {change(*name.split(".", 1)): value for name, value in state.items()}


def test_both_namings_of_the_xl_u_net_are_read(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from maquette.families.tiny import write_tiny

    model = load(write_tiny("sdxl", tmp_path_factory.mktemp("xl") / "xl.safetensors"))
    adapter = randomized(LoraAdapter.attach(model, [TrialSpec(rank=3, conv_rank=2)]))
    state = adapter.state_dict(0)
    paths = {target.key: target.diffusers_key for target in model.lora_targets()}

    def diffusers_naming(key: str, tensor: str) -> str:
        flat = paths[key].removeprefix("unet.").replace(".", "_")
        return f"{f'lora_unet_{flat}' if paths[key].startswith('unet.') else key}.{tensor}"

    def comfy_naming(key: str, tensor: str) -> str:
        ending = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}.get(tensor, tensor)
        return f"{paths[key].replace('unet.', 'diffusion_model.')}.{ending}"

    for number, naming in enumerate((diffusers_naming, comfy_naming)):
        save_file(rename(state, naming), tmp_path / f"{number}.safetensors")
        assert same(dict(read_lora(tmp_path / f"{number}.safetensors", model.lora_targets()).state), state)


OLD_SPELLINGS = {
    "to_q": "processor.to_q_lora",
    "to_k": "processor.to_k_lora",
    "to_v": "processor.to_v_lora",
    "to_out.0": "processor.to_out_lora",
    "q_proj": "to_q_lora",
    "k_proj": "to_k_lora",
    "v_proj": "to_v_lora",
    "out_proj": "to_out_lora",
}


def test_the_first_diffusers_spelling_is_read(
    model: BaseModel, state: dict[str, Tensor], tmp_path: Path
) -> None:
    paths = {target.key: target.diffusers_key for target in model.lora_targets()}
    old, expected = {}, {}
    for name, value in state.items():
        key, tensor = name.split(".", 1)
        last = next((last for last in OLD_SPELLINGS if paths[key].endswith(f".{last}")), None)
        if last and tensor != "alpha":
            spelling = paths[key].removesuffix(last) + OLD_SPELLINGS[last]
            old[f"{spelling}.{tensor.removeprefix('lora_')}"] = value
            expected[name] = value
    save_file(old, tmp_path / "old.safetensors")
    lora = read_lora(tmp_path / "old.safetensors", model.lora_targets())
    assert same({name: value for name, value in lora.state.items() if "alpha" not in name}, expected)


def test_without_a_model_modules_keep_their_names(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(
        {"unet.a.b.lora_A.weight": torch.ones(2, 3), "unet.a.b.lora_B.weight": torch.ones(4, 2)},
        tmp_path / "a.safetensors",
    )
    assert set(read_lora(tmp_path / "a.safetensors").state) == {
        "unet.a.b.lora_down.weight",
        "unet.a.b.lora_up.weight",
    }


# --- refusing --------------------------------------------------------------------------------------------


def test_a_base_model_is_called_one(tiny_sd1_path: Path) -> None:
    with pytest.raises(LoraError, match="is a base model"):
        inspect_lora(tiny_sd1_path)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999])
def test_damaged_files_are_refused(state: dict[str, Tensor], keep: float, tmp_path: Path) -> None:
    whole = save_lora(tmp_path / "a.safetensors", state, {}).path.read_bytes()
    (tmp_path / "b.safetensors").write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    for read in (inspect_lora, read_lora):
        with pytest.raises(LoraError, match=r"b\.safetensors.*a LoRA as a \.safetensors file"):
            read(tmp_path / "b.safetensors")


def test_pickles_and_missing_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(LoraError, match="pickle"):
        inspect_lora(tmp_path / "a.pt")
    with pytest.raises(LoraError, match="no such file"):
        inspect_lora(tmp_path / "none.safetensors")


def without_an_up(state: dict[str, Tensor]) -> None:
    del state["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"]


def with_a_wrong_shape(state: dict[str, Tensor]) -> None:
    state["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"] = torch.ones(3, 7, 1, 1)


def with_a_misspelling(state: dict[str, Tensor]) -> None:
    for tensor in ("alpha", "lora_down.weight", "lora_up.weight"):
        value = state.pop(f"lora_unet_mid_block_attentions_0_proj_in.{tensor}")
        state[f"lora_unet_mid_block_attentions_0_projin.{tensor}"] = value


def of_another_kind(state: dict[str, Tensor]) -> None:
    state["lora_unet_mid_block_attentions_0_proj_in.dora_scale"] = torch.ones(3)


def of_another_model(state: dict[str, Tensor]) -> None:
    for name in list(state):
        state[name.replace("lora_", "lora_transformer_", 1)] = state.pop(name)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_an_up, "proj_in: has no lora_up.weight"),
        (with_a_wrong_shape, r"down \[3, 7, 1, 1\].*down \[3, 64, 1, 1\]"),
        (with_a_misspelling, "Did you mean 'lora_unet_mid_block_attentions_0_proj_in'"),
        (of_another_kind, "another kind of adapter"),
        (of_another_model, "none of its .* modules is in this model"),
    ],
)
def test_files_that_do_not_fit_the_model_are_refused(
    model: BaseModel,
    state: dict[str, Tensor],
    spoil: Callable[[dict[str, Tensor]], None],
    words: str,
    tmp_path: Path,
) -> None:
    spoil(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(LoraError, match=words) as refusal:
        read_lora(tmp_path / "a.safetensors", model.lora_targets())
    assert "a.safetensors" in str(refusal.value)


def test_every_problem_of_a_file_is_named_at_once(
    model: BaseModel, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.ones(3, 5)
    with_a_wrong_shape(state)
    with_a_misspelling(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(LoraError) as refusal:
        read_lora(tmp_path / "a.safetensors", model.lora_targets())
    assert len(refusal.value.problems) == 2
