"""One reader of a LoRA file: what loading says of a file and what its facts say are one answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maquette.errors import LoraError
from maquette.families import FAMILIES, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import inspect_lora, load_lora, read_lora
from maquette.lora.formats import to_diffusers
from maquette.lora.reading import family_named, read_lora_facts
from tests.conftest import GOLDEN


def written(version: str = "", architecture: str = "") -> dict[str, str]:
    return {"ss_base_model_version": version, "modelspec.architecture": architecture}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_known_by_the_names_that_trainers_write(family: str) -> None:
    """sd-scripts appends `_v` for v-prediction; a ModelSpec's architecture ends in what the file is: /lora, /lycoris."""
    spec = FAMILIES[family].spec
    assert family_named(written(spec.ss_base_model_version)) == family
    assert family_named(written(f"{spec.ss_base_model_version}_v")) == family
    assert family_named(written(architecture=spec.modelspec_architecture)) == family
    assert family_named(written(architecture=spec.modelspec_architecture.partition("/")[0])) == family


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ("sdxl_1.0", "sdxl"),  # ai-toolkit
        ("sd_1.5", "sd1"),
        ("sd_v2", "sd2"),
        ("sd_v2_v", "sd2"),
        ("sd_v15", None),
        ("sd3_m", None),
        ("flux1", None),
        ("", None),
    ],
)
def test_other_generations_are_not_taken_for_a_known_one(version: str, family: str | None) -> None:
    assert family_named(written(version)) == family


def test_a_version_counts_before_an_architecture() -> None:
    first, second, *_ = (family.spec for family in FAMILIES.values())
    both = written(first.ss_base_model_version, second.modelspec_architecture)
    assert family_named(both) == first.name


def test_alphas_beside_the_tensors_are_the_same_for_rules_and_for_drawing(
    tiny_sd1_path: Path, tmp_path: Path
) -> None:
    """PEFT keeps alpha in adapter_config.json: what is drawn with is what facts tell."""
    model = load(tiny_sd1_path)
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=4, alpha=2.0)])
    tensors, _ = to_diffusers(adapter.state_dict(0), model.lora_targets())
    path = tmp_path / "adapter_model.safetensors"
    save_file({name.removeprefix("unet."): value for name, value in tensors.items()}, path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 2.0}))
    facts = read_lora_facts(path)
    assert facts.alpha == 2.0 and set(facts.alphas_beside.values()) == {2.0}
    state = load_lora(facts).state
    assert {float(value) for name, value in state.items() if name.endswith(".alpha")} == {2.0}

    (tmp_path / "adapter_config.json").write_text("{broken")
    broken = read_lora_facts(path)
    assert broken.problem is None and broken.beside_problem is not None
    with pytest.raises(LoraError, match=r"adapter_config\.json"):
        read_lora(path)


@pytest.mark.parametrize(
    "tensor",
    [
        "x.diff",
        "x.hada_w1_a",
        "x.lora_mid.weight",
        "x.lokr_w1",
        "x.oft_blocks",
    ],
)
def test_what_facts_call_another_kind_of_adapter_is_refused(tensor: str, tmp_path: Path) -> None:
    plain = {"x.lora_down.weight": torch.ones(1, 2), "x.lora_up.weight": torch.ones(2, 1)}
    path = tmp_path / "a.safetensors"
    save_file({**plain, tensor: torch.ones(1)}, path)
    assert read_lora_facts(path).adapters == (tensor.removeprefix("x."),)
    with pytest.raises(LoraError, match="another kind of adapter"):
        inspect_lora(path)


def test_the_header_tells_the_same_as_the_values_do() -> None:
    path = GOLDEN / "tiny10" / "lora_final.safetensors"
    header, values = read_lora_facts(path, depth="header"), read_lora_facts(path)
    assert (header.rank, header.alpha, header.ranks, header.family) == (
        values.rank,
        values.alpha,
        values.ranks,
        values.family,
    )
    assert all(module.norm is None for module in header.modules)
    assert all(module.norm is not None for module in values.modules)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32]
)
def test_alphas_of_every_precision_are_read_without_torch(dtype: torch.dtype, tmp_path: Path) -> None:
    plain = {"x.lora_down.weight": torch.ones(4, 2), "x.lora_up.weight": torch.ones(2, 4)}
    path = tmp_path / "a.safetensors"
    save_file({**plain, "x.alpha": torch.tensor(3, dtype=dtype)}, path)
    assert read_lora_facts(path, depth="header").alpha == 3.0
