"""Rules over LoRA files: every planted fault, files of the reference trainer and of Maquette, and damaged ones."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maquette.families.lora_names import known_families, lora_modules
from maquette.findings.records import Finding
from maquette.findings.registry import RULES, run_rules
from maquette.lora.facts import LoraFacts
from maquette.lora.reading import read_lora_facts
from maquette.rules import lora_files as rules
from tests.conftest import GOLDEN
from tests.planted import lora_files
from tests.planted.case import PLANTED, Case, Planted
from tests.planted.clean import MACHINE, _write_lora

LORA_RULES = [rule for code, rule in RULES.items() if code.startswith("LOR")]
assert rules and lora_files, "importing them registers rules and cases"


def findings_of(path: Path) -> list[Finding]:
    findings, ran = run_rules(LORA_RULES, {LoraFacts: read_lora_facts(path)})
    assert len(ran) == len(LORA_RULES)
    return findings


def codes_of(path: Path) -> set[str]:
    return {finding.code for finding in findings_of(path)}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clean") / "lora.safetensors"
    _write_lora(path)
    return path


def write_for(family: str, path: Path, *, default_only: bool = True, rank: int = 2) -> Path:
    """Write a LoRA over every module of a family, with the metadata that its trainer would give."""
    from maquette.families import FAMILIES

    spec = FAMILIES[family].spec
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for module in lora_modules(family).values():
        if module.default or not default_only:
            window = {"linear": (), "conv1x1": (1, 1), "conv3x3": (3, 3)}[module.kind]
            ones = (1,) * len(window)
            down = torch.randn(rank, module.inputs, *window, generator=generator)
            up = torch.randn(module.outputs, rank, *ones, generator=generator)
            tensors[f"{module.key}.lora_down.weight"] = (0.01 * down).half()
            tensors[f"{module.key}.lora_up.weight"] = (0.01 * up).half()
            tensors[f"{module.key}.alpha"] = torch.tensor(rank / 2).half()
    metadata = {
        "ss_base_model_version": spec.ss_base_model_version,
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank / 2),
        "modelspec.architecture": spec.modelspec_architecture,
    }
    save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    "planted",
    [planted for planted in PLANTED if planted.code.startswith("LOR")],
    ids=lambda planted: f"{planted.code} {planted.kind}: {planted.description}",
)
def test_each_fault_is_found_and_nothing_else(planted: Planted, clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "zkw_fox.safetensors"
    shutil.copyfile(clean, path)
    case = Case(tmp_path, "lora", [path], MACHINE)
    planted.plant(case)
    expected = {planted.code, *planted.also} if planted.kind == "fault" else set()
    assert codes_of(case.paths[0]) == expected


def test_a_clean_file_says_nothing(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "zkw_fox.safetensors"
    shutil.copyfile(clean, path)
    assert findings_of(path) == []


@pytest.mark.parametrize("family", known_families())
@pytest.mark.parametrize("default_only", [True, False])
def test_whole_files_of_every_family_match_without_a_leftover(
    family: str, default_only: bool, tmp_path: Path
) -> None:
    path = write_for(family, tmp_path / "fox.safetensors", default_only=default_only)
    facts = read_lora_facts(path)
    assert facts.family == family
    assert not facts.strangers
    assert not facts.misfits
    assert findings_of(path) == []


def test_the_reference_trainers_own_file_passes() -> None:
    """A file that sd-scripts wrote over a narrow base: no more than that its sizes are another model's."""
    assert {finding.severity for finding in findings_of(GOLDEN / "tiny10" / "lora_final.safetensors")} == {
        "hint"
    }


def test_an_untrained_file_of_the_reference_trainer_learned_nothing() -> None:
    assert "LOR015" in codes_of(GOLDEN / "tiny10" / "lora_init.safetensors")


def test_a_small_worlds_lora_is_no_broken_file(tmp_path: Path) -> None:
    """Narrow models share names with both families; sizes tell that neither is meant, so names are not blamed."""
    path = tmp_path / "tovaki.safetensors"
    tensors = {}
    for key in (
        "lora_unet_down_blocks_0_attentions_0_proj_in",
        "lora_unet_up_blocks_0_attentions_0_proj_in",
        "lora_unet_down_blocks_1_attentions_0_proj_in",
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ):
        tensors[f"{key}.lora_down.weight"] = torch.full((4, 64), 0.01).half()
        tensors[f"{key}.lora_up.weight"] = torch.full((64, 4), 0.01).half()
        tensors[f"{key}.alpha"] = torch.tensor(4.0).half()
    save_file(
        tensors, path, {"ss_base_model_version": "sd_v1", "ss_network_dim": "4", "ss_network_alpha": "4.0"}
    )
    (finding,) = findings_of(path)
    assert (finding.code, finding.severity) == ("LOR006", "hint")


def test_norms_are_those_of_the_product(clean: Path) -> None:
    facts = read_lora_facts(clean)
    generator = random.Random(2)
    from safetensors import safe_open

    with safe_open(clean, framework="pt") as file:
        for module in generator.sample(facts.modules, 12):
            down = file.get_tensor(f"{module.name}.lora_down.weight").float().flatten(1)
            up = file.get_tensor(f"{module.name}.lora_up.weight").float().flatten(1)
            assert module.alpha is not None
            wanted = float((up @ down).norm()) * module.alpha / down.shape[0]
            assert module.norm == pytest.approx(wanted, rel=1e-4)


def test_weights_as_large_as_a_fresh_layers_are_called_exploded(tmp_path: Path) -> None:
    """A fresh PyTorch layer's own weights reach √(outputs / 3): the line is drawn there."""
    layer = torch.nn.Linear(1280, 1280, bias=False)
    assert float(layer.weight.detach().norm()) == pytest.approx(math.sqrt(1280 / 3), rel=0.01)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"{}", b"<html>not found</html>", b"\x80\x04pickle", b"version https://git-lfs.github.com/spec/v1\n",
     (2).to_bytes(8, "little") + b"{}", (10**6).to_bytes(8, "little") + b"{"],
)  # fmt: skip
def test_damaged_files_give_one_finding_each_and_never_raise(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    (finding,) = findings_of(path)
    assert finding.code in ("LOR001", "LOR002")
    assert finding.severity == "error"
    assert finding.remedy


def test_random_damage_never_raises(clean: Path, tmp_path: Path) -> None:
    """Bytes changed in the header and in the tensors of a real file, many times."""
    data = clean.read_bytes()
    length = int.from_bytes(data[:8], "little")
    generator = random.Random(4)
    path = tmp_path / "damaged.safetensors"
    for _ in range(40):
        changed = bytearray(data)
        for _ in range(generator.randint(1, 6)):
            end = 8 + length if generator.random() < 0.7 else len(data)
            changed[generator.randrange(8, end)] = generator.randrange(256)
        path.write_bytes(changed)
        findings_of(path)


def test_a_folder_or_nothing_in_its_place_is_a_finding(tmp_path: Path) -> None:
    assert codes_of(tmp_path) == {"LOR001"}
    assert codes_of(tmp_path / "absent.safetensors") == {"LOR001"}
