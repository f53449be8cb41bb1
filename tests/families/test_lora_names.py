"""The table of LoRA names, made from sizes alone, is that of the loaded model and of the reference trainer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from maquette.families import FAMILIES
from maquette.families.lora_names import family_of_name, known_families, lora_modules
from tests.conftest import GOLDEN
from tests.families.full import full_targets


def test_every_family_is_in_the_table() -> None:
    assert set(known_families()) == set(FAMILIES)


@pytest.mark.parametrize("family", known_families())
def test_names_and_sizes_are_those_of_the_model(family: str) -> None:
    modules = lora_modules(family)
    targets = full_targets(family)
    assert set(modules) == {target.key for target in targets}
    for target in targets:
        module, weight = modules[target.key], target.module.weight
        assert (module.diffusers_key, module.part, module.kind, module.default) == (
            target.diffusers_key,
            target.part,
            target.kind,
            target.default,
        )
        assert (module.inputs, module.outputs) == (weight.shape[1], weight.shape[0])  # type: ignore[index]


@pytest.mark.parametrize(("golden", "family"), [("sd15", "sd1"), ("sdxl", "sdxl")])
def test_the_reference_trainer_writes_these_names(golden: str, family: str) -> None:
    written = json.loads((GOLDEN / "lora_keys.json").read_text())[golden]["keys"]
    keys = {name.partition(".")[0] for name in written}
    assert keys == {module.key for module in lora_modules(family).values() if module.default}


def test_the_table_needs_no_torch() -> None:
    code = "import sys, maquette.families.lora_names as n; n.lora_modules('sdxl'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("zkw_fox", None),
        ("fox_sd15", "sd1"),
        ("fox-v1-5", "sd1"),
        ("fox_SDXL_v2", "sdxl"),
        ("AnythingXL_inkBase", None),
        ("fox XL", "sdxl"),
        ("ponyXL_fox", "sdxl"),
        ("my_pony", None),
        ("pixl_fox", None),
        ("sd15_and_sdxl", None),
        ("fox_v1", None),
        ("fox_v12", None),
    ],
)
def test_names_of_files_speak_of_a_family_only_where_they_do(name: str, family: str | None) -> None:
    assert family_of_name(name) == family
