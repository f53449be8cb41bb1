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
from maquette.planning.presets import Preset, fitting_presets, preset_named, presets
from maquette.planning.settings_text import settings_toml
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
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
        "rank": 128, "alpha": 96, "learning_rate": 1e-4, "text_encoder_lr": 6e-5, "batch_size": 1, "accumulation": 8,
        "epochs": 20, "min_bucket_px": 640, "max_bucket_px": 1536,
    },
    "pixel-art-1024": {
        "rank": 128, "alpha": 64, "batch_size": 2, "lr_cycles": 3, "noise_offset": 0.1, "epochs": 10, "repeats": 10,
    },
}  # fmt: skip


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
