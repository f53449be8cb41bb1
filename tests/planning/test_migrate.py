"""Carrying settings to a larger base gives the field notes' own table, and a project that parses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.cli.plan import command
from maquette.errors import ConfigError
from maquette.families import FAMILIES
from maquette.families.protocol import ModelInfo
from maquette.planning.migrate import migrate, migrate_settings
from maquette.planning.presets import preset_named
from maquette.planning.run import base_info
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
from tests.planning.making import answer, folder

TABLE = {
    "learning_rate": (0.00013, 0.0001),
    "text_encoder_lr": (0.00008, 0.00006),
    "batch_size": (4, 1),
    "accumulation": (3, 8),
    "epochs": (18, 20),
    "resolution": (512, 1024),
    "precision": ("fp16", "bf16"),
    "rank": (128, 128),
    "alpha": (96, 96),
    "min_snr_gamma": (5.0, 5.0),
}
"""Field notes: parameter migration table, SD 1.5 to SDXL on 16 GB. The optimizer's line is not a setting here."""
KEPT = {"noise_offset": 0.05, "lr_scheduler": "cosine_with_restarts", "lr_cycles": 3, "warmup_steps": 100}
SIZES = {"bucket_step_px": 64, "bucket_no_upscale": True}
"""The notes' shortest and longest bucket side mean nothing beside bucket_no_upscale, there as here."""


def large() -> ModelInfo:
    return base_info("", (1024, 1024))


def test_the_field_notes_table_comes_out_value_by_value() -> None:
    migration = migrate(preset_named("character-film-strong").values(), native_px=1024, base="xl.safetensors")
    lines = {line.setting: line for line in migration.lines}
    assert {name: (lines[name].before, lines[name].after) for name in TABLE} == TABLE
    assert {name: lines[name].after for name in KEPT} == KEPT
    assert {name: lines[name].after for name in SIZES} == SIZES
    assert lines["gradient_checkpointing"].after is True and lines["cache_latents"].after is True
    assert migration.elsewhere["optimizer"].value == "AdamW8bit"
    assert all(line.reason for line in migration.lines)


def test_it_agrees_with_the_settings_that_were_then_trained() -> None:
    migration = migrate(preset_named("character-film-strong").values(), native_px=1024, base="xl.safetensors")
    trained, values = preset_named("character-film-1024").values(), migration.values()
    shared = trained.keys() & values.keys()
    same = shared - {"rank", "alpha"}  # 128 fits 16 GB in other trainers alone
    assert len(same) > 14 and {name: values[name] for name in same} == {name: trained[name] for name in same}
    assert trained["alpha"] / trained["rank"] == values["alpha"] / values["rank"]


def test_what_would_have_no_effect_is_left_out_with_the_reason() -> None:
    idle = {
        "min_bucket_px": 256, "max_bucket_px": 1024, "lr_cycles": 3, "lr_scheduler": "cosine", "keep_tokens": 1,
        "prior_loss_weight": 0.5, "sample_steps": 20, "sample_every_steps": 100, "conv_alpha": 4.0,
    }  # fmt: skip
    migration = migrate({**idle, "steps": 1000, "epochs": None}, native_px=1024, base="b")
    written = migration.values()
    assert set(idle) & set(written) == {"lr_scheduler"}
    reasons = {line.setting: line.reason for line in migration.lines}
    assert all(reasons[name].startswith("no effect: ") for name in idle if name != "lr_scheduler")
    kept = {
        "lr_cycles": 3,
        "lr_scheduler": "cosine_with_restarts",
        "sample_prompts": ("a",),
        "sample_steps": 20,
    }
    assert kept.items() <= migrate(kept, native_px=1024, base="b").values().items()


def test_samples_are_drawn_as_the_new_base_likes_and_files_are_as_many_as_before() -> None:
    values = {
        "sampler": "ddim", "guidance": 3.0, "sample_prompts": ("{trigger}",), "steps": 900, "save_every_steps": 180,
    }  # fmt: skip
    own = {"sampler": "euler", "guidance": 5.0}
    written = migrate(values, native_px=1024, base="b", own=own).values()
    assert (written["sampler"], written["guidance"], written["steps"]) == ("euler", 5.0, 1000)
    assert written["save_every_steps"] == 200


def test_a_small_base_is_not_migrated_to() -> None:
    spec = FAMILIES[large().family].spec
    with pytest.raises(ConfigError, match="larger"):
        migrate_settings(load_settings(None, {"base": "a", "resolution": 1024}), large(), spec, "b")


def test_single_pictures_keep_their_batch() -> None:
    values = {
        line.setting: line.after
        for line in migrate({"batch_size": 1, "steps": 900}, native_px=1024, base="b").lines
    }
    assert (values["batch_size"], values["accumulation"], values["steps"]) == (1, 1, 1000)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as `init` would leave it, with a profile."""
    root = tmp_path / "fox"
    folder(root / "images", 12)
    (root / "maquette.toml").write_text(
        '[subject]\ntrigger = "zkw_fox"\nclass_word = "fox"\n[model]\nbase = "small.safetensors"\nclip_skip = 1\n'
        "[dataset]\nresolution = 512\nrepeats = 5\n[lora]\nrank = 48\nalpha = 24\ndropout = 0.1\n"
        "[training]\nepochs = 18\nlearning_rate = 0.00013\ntext_encoder_lr = 0.00008\nbatch_size = 4\naccumulation = 3\n"
        'lr_scheduler = "cosine_with_restarts"\nlr_cycles = 3\nwarmup_steps = 9\n'
        "[objective]\nmin_snr_gamma = 5\nnoise_offset = 0.05\n"
        '[saving]\nname = "zkw_fox"\nsave_every_epochs = 2\n[samples]\n'
        'sample_prompts = ["{trigger}", "zkw_fox, the fox in a forest, no foxes"]\n'
    )
    (root / "profile.toml").write_text(
        'kind = "character"\ntrigger = "zkw_fox"\nclass_word = "fox"\nappearance = ["red fur"]\nvaries = ["pose"]\n'
    )
    return root


def test_a_project_is_carried_over_into_a_folder_of_its_own(project: Path, tmp_path: Path) -> None:
    from maquette.families.tiny import write_tiny

    base = write_tiny(large().family, tmp_path / "xl.safetensors")
    found = answer(project, "--migrate-to", base, "--write", tmp_path / "fox-xl")
    settings = load_settings(tmp_path / "fox-xl")
    assert settings.samples.sample_prompts == load_settings(project).samples.sample_prompts
    assert (settings.training.epochs, settings.training.batch_size, settings.training.accumulation) == (
        20,
        1,
        8,
    )
    assert settings.dataset.resolution == (1024, 1024) and settings.lora.rank == 48
    assert settings.model.base == str(tmp_path / "fox-xl" / "../xl.safetensors")
    assert settings.dataset.images.resolve() == (project / "images").resolve()
    assert settings.saving.output == tmp_path / "fox-xl" / "runs"
    assert (tmp_path / "fox-xl" / "profile.toml").is_file()
    text = (tmp_path / "fox-xl" / "maquette.toml").read_text()
    changed = [line for line in found["migration"] if line["changed"] and line["after"] is not None]
    assert changed and all(line["reason"] in text for line in changed)
    again = CliRunner().invoke(
        command, [str(project), "--migrate-to", str(base), "--write", str(tmp_path / "fox-xl")]
    )
    assert again.exit_code == 2 and (tmp_path / "fox-xl" / "maquette.toml").read_text() == text


def test_only_a_project_is_migrated(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "--migrate-to", "x.safetensors"])
    assert result.exit_code == 2 and "project" in result.output


# --- siblings ------------------------------------------------------------------------------------------------


def test_a_sibling_keeps_what_is_proven_and_adjusts_its_length(project: Path, tmp_path: Path) -> None:
    pictures = folder(tmp_path / "wolf-pictures", 48)
    found = answer(
        project,
        "--sibling",
        tmp_path / "wolf",
        "--images",
        pictures,
        "--trigger",
        "zkw_wolf",
        "--class-word",
        "wolf",
    )
    old, new = load_settings(project), load_settings(tmp_path / "wolf")
    assert new.lora == old.lora
    assert old.samples.sample_prompts == ("{trigger}", "zkw_fox, the fox in a forest, no foxes")
    assert new.samples.sample_prompts == ("{trigger}", "{trigger}, the wolf in a forest, no foxes")
    assert (old.saving.save_every_epochs, new.saving.save_every_epochs) == (2, 1)  # nine files each
    kept = (
        "lr_scheduler",
        "lr_cycles",
        "learning_rate",
        "text_encoder_lr",
        "optimizer",
    )
    assert all(getattr(new.training, name) == getattr(old.training, name) for name in kept)
    assert new.objective == old.objective
    assert (new.subject.trigger, new.subject.class_word, new.saving.name) == ("zkw_wolf", "wolf", "zkw_wolf")
    assert new.dataset.images.resolve() == pictures.resolve() and new.model.base.endswith("small.safetensors")
    assert new.training.epochs == 9 and old.training.epochs == 18  # four times the pictures
    assert found["pictures"] == 48 and "18 → 9" in found["changed"][0]
    profile = tomllib.loads((tmp_path / "wolf" / "profile.toml").read_text())
    assert (profile["trigger"], profile["kind"], profile["varies"]) == ("zkw_wolf", "character", ["pose"])
    assert not profile.get("appearance")


def test_a_sibling_is_a_project_that_plans(project: Path, tmp_path: Path) -> None:
    pictures = folder(tmp_path / "wolf-pictures", 12)
    answer(project, "--sibling", tmp_path / "wolf", "--images", pictures, "--trigger", "zkw_wolf")
    Settings.model_validate(tomllib.loads((tmp_path / "wolf" / "maquette.toml").read_text()))
    assert load_settings(tmp_path / "wolf").training.epochs == 18


def test_a_sibling_overwrites_nothing_and_says_what_it_needs(project: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command,
        [str(project), "--sibling", str(project), "--images", str(project / "images"), "--trigger", "x"],
    )
    assert result.exit_code == 2 and "exists already" in result.output
    lacking = CliRunner().invoke(command, [str(project), "--sibling", str(tmp_path / "new")])
    assert lacking.exit_code == 2 and "--images" in lacking.output and "--trigger" in lacking.output
    assert not (tmp_path / "new").exists()
