"""Presets are settings that the program accepts, with the values of the field notes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.cli.plan import command
from maquette.errors import ConfigError
from maquette.families import FAMILIES
from maquette.planning.options import PlanOptions
from maquette.planning.presets import Preset, fitting_presets, preset_named, presets
from maquette.planning.requests import settings_for
from maquette.planning.run import plan
from maquette.planning.show import plan_lines
from maquette.project.config_file import load_settings
from maquette.project.machine_look import apple_gpu_bytes
from maquette.project.settings import Settings
from maquette.project.settings_text import idle_settings, settings_toml
from tests.planning.making import answer, folder

BY_NAME = {preset.name: preset for preset in presets()}


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_preset_parses_as_settings_and_gives_a_reason_for_each_value(preset: Preset) -> None:
    load_settings(None, {"base": "model.safetensors", **preset.values()})
    assert all(entry.reason for entry in (*preset.settings.values(), *preset.elsewhere.values()))
    assert preset.native_px in {family.spec.native_resolution_px for family in FAMILIES.values()}


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_what_is_written_reads_back_as_the_same_settings(preset: Preset) -> None:
    text = settings_toml(preset.settings, preset.title, preset.elsewhere)
    tables = tomllib.loads(text)
    tables["model"] = {**tables.get("model", {}), "base": "model.safetensors"}
    read = Settings.model_validate(tables)
    assert read == load_settings(None, {"base": "model.safetensors", **preset.values()})
    assert all(entry.reason in text for entry in preset.settings.values())


FIELD_NOTES = {
    "character-few": {
        "rank": 32, "alpha": 16, "learning_rate": 1e-4, "text_encoder_lr": 5e-5, "lr_scheduler": "cosine",
        "batch_size": 1,
    },
    "character-film": {
        "rank": 64, "alpha": 32, "dropout": 0.1, "learning_rate": 8e-5, "text_encoder_lr": 4e-5, "lr_cycles": 2,
        "warmup_steps": 100, "epochs": 20, "batch_size": 4, "accumulation": 2, "min_snr_gamma": 5.0, "noise_offset": 0.05,
    },
    "character-film-1024": {
        "learning_rate": 1e-4, "text_encoder_lr": 6e-5, "batch_size": 1, "accumulation": 8, "epochs": 20,
    },
    "pixel-art-1024": {
        "rank": 128, "alpha": 64, "batch_size": 2, "lr_cycles": 3, "noise_offset": 0.1, "epochs": 10, "repeats": 10,
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_preset_fits_the_machine_that_it_names_and_writes_nothing_without_effect(
    preset: Preset, tmp_path: Path
) -> None:
    """By our own footprint, its error on top, over pictures of every shape; with samples where it draws them."""
    memory = preset.memory_gb << 30
    if preset.device == "mps":
        memory = apple_gpu_bytes(memory)
    pictures = folder(tmp_path / "wide", 2, (2048, 1200))
    for size, name in (((1200, 2048), "tall"), ((2048, 2048), "square")):
        folder(tmp_path / name, 1, size).joinpath("p000.png").rename(pictures / f"{name}.png")
        (pictures / f"{name}.txt").write_text("zkw")
    draws = any(name.startswith("sample_every") for name in preset.settings)
    values = {
        **preset.values(),
        "device": preset.device,
        **({"sample_prompts": ("{trigger}",)} if draws else {}),
    }
    assert not idle_settings(values)
    planned = plan(settings_for(pictures, values), PlanOptions(memory_bytes=memory, measure=False))
    assert planned.memory_fits and planned.changes == ()
    assert planned.info.resolution == preset.native_px


def test_the_field_notes_recipe_for_16_gb_is_told_a_rank_that_fits(tmp_path: Path) -> None:
    """With AdamW 8 bits are enough. Where none are to be had the answer is numbered, on one footing, and taken it fits."""
    pictures = folder(tmp_path / "pictures", 3, (1400, 1400))
    recipe = {**preset_named("character-film-1024").values(), "rank": 128, "alpha": 96.0, "device": "cuda"}
    options = PlanOptions(memory_bytes="16GB", measure=False)
    changes = plan(settings_for(pictures, recipe), options).changes
    assert [change.setting for change in changes] == ["--optimizer adamw8bit"], "as the project had it"
    assert plan(settings_for(pictures, {**recipe, "optimizer": "adamw8bit"}), options).memory_fits
    recipe["optimizer"] = "prodigy"
    found = plan(settings_for(pictures, recipe), options)
    here = [change for change in found.changes if change.applies]
    assert [change.name for change in here] == ["lower rank"] and found.fits and not found.memory_fits
    assert here[0].before_bytes == found.memory.needed_bytes
    assert here[0].saves_bytes == here[0].before_bytes - here[0].needed_bytes
    rank = int(here[0].setting.removeprefix("--rank "))
    assert 64 <= rank < 128 and plan(settings_for(pictures, {**recipe, "rank": rank}), options).memory_fits
    assert not plan(settings_for(pictures, {**recipe, "rank": rank + 8}), options).memory_fits
    lines = "\n".join(plan_lines(found))
    assert f"1.  lower rank (--rank {rank})" in lines and "smaller pictures" not in lines


@pytest.mark.parametrize("name", FIELD_NOTES)
def test_presets_hold_the_field_notes_values(name: str) -> None:
    assert FIELD_NOTES[name].items() <= BY_NAME[name].values().items()


def test_the_base_the_kind_and_the_number_of_pictures_choose() -> None:
    assert fitting_presets(512, "character", 20)[0].name == "character-few"
    assert fitting_presets(512, "character", 413)[0].name == "character-film"
    assert fitting_presets(1024, "style", 203)[0].name == "pixel-art-1024"
    assert fitting_presets(64, None, 20) == ()


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'character-few'"):
        preset_named("charakter-few")


def test_a_preset_is_planned_with_and_flags_win(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 12)
    common = ("--preset", "character-few", "--device-like", "RTX 2080 Ti")
    assert answer(pictures, *common)["steps"] == 1000
    assert answer(pictures, *common, "--epochs", 2)["steps"] == 240
    assert answer(pictures, *common, "--steps", 700, "--rank", 8)["steps"] == 700


def test_the_list_is_printed_and_a_file_is_never_overwritten(tmp_path: Path) -> None:
    listed = CliRunner().invoke(command, ["--presets", "--json"])
    assert {entry["name"] for entry in json.loads(listed.stdout.splitlines()[-1])["presets"]} == set(BY_NAME)
    path = tmp_path / "settings.toml"
    words = ["--preset", "character-film", "--write", str(path)]
    assert CliRunner().invoke(command, words).exit_code == 0
    before = path.read_text()
    assert CliRunner().invoke(command, words).exit_code == 2 and path.read_text() == before
