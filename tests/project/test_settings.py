"""Settings from files and flags: one meaning, all problems at once, nothing ignored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.dataset.targets import proposed_steps
from maquette.errors import ConfigError
from maquette.project.config_file import dump_settings, load_settings
from maquette.project.profile import Profile
from maquette.project.scaffold import NewProject, write_profile, write_project
from maquette.project.settings import SECTION_OF, SECTIONS, Settings
from maquette.project.values import parse_resolution


def _project(folder: Path, text: str) -> Path:
    (folder / "maquette.toml").write_text(text)
    return folder


def test_names_are_unique_over_all_sections_so_that_flags_are_unambiguous() -> None:
    assert len(SECTION_OF) == sum(len(record.model_fields) for record in SECTIONS.values())


def test_every_setting_says_what_it_does() -> None:
    for record in SECTIONS.values():
        for name, field in record.model_fields.items():
            assert field.description and field.description.endswith((".", "]")), name


@pytest.mark.parametrize("value", [512, "512", "512,512", "512x512", [512], [512, 512], "(512, 512)", 512.0])
def test_a_square_resolution_in_every_spelling(value: object) -> None:
    assert parse_resolution(value) == (512, 512)


@pytest.mark.parametrize("value", ["", "51o", [1, 2, 3], 7, True, None, "512,,512", -512, 99999])
def test_what_is_no_resolution_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="resolution"):
        parse_resolution(value)


def test_paths_in_a_file_are_relative_to_it_and_flags_win(tmp_path: Path) -> None:
    _project(
        tmp_path,
        '[model]\nbase = "m.safetensors"\n[dataset]\nimages = "pics"\n[lora]\nrank = 8\n[training]\nepochs = 3\n',
    )
    settings = load_settings(tmp_path, {"rank": 4, "steps": 20})
    assert settings.dataset.images == tmp_path / "pics" and settings.saving.output == tmp_path / "runs"
    assert settings.lora.rank == 4
    assert (settings.training.steps, settings.training.epochs) == (20, None)


def test_settings_survive_the_record(tmp_path: Path) -> None:
    settings = load_settings(
        None, {"base": "m", "resolution": [512, 768], "sample_prompts": ("a", "b"), "images": tmp_path}
    )
    assert Settings.model_validate(json.loads(json.dumps(dump_settings(settings)))) == settings


def test_all_problems_of_a_file_come_together(tmp_path: Path) -> None:
    _project(tmp_path, 'rank = 3\n[lora]\nrnak = 3\nalpha = "x"\n[trainig]\nsteps = 3\n[dataset]\nrank = 4\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    text = str(caught.value)
    assert (
        "belongs to [lora]" in text
        and "'rank'" in text
        and "'training'" in text
        and "alpha" in text
        and "base" in text
    )
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize("content", [b"[lora\nrank=3", "[lora]\nrank = 'ü'".encode("utf-16"), b'lora = "x"'])
def test_broken_files_say_where(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "maquette.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"maquette\.toml"):
        load_settings(tmp_path)


def test_a_new_project_reads_back_as_it_was_meant(tmp_path: Path) -> None:
    base = tmp_path / "models" / "b.safetensors"
    base.parent.mkdir()
    base.write_bytes(b"x")
    images = tmp_path / 'pictures "of" me'
    images.mkdir()
    folder = tmp_path / "project"
    write_project(
        NewProject(
            folder=folder,
            images=images,
            base=str(base),
            trigger='z"k',
            class_word="dog",
            steps=900,
            regularization=images,
        )
    )
    write_profile(folder, Profile(kind="character", trigger='z"k', class_word="dog"))
    settings = load_settings(folder)
    assert settings.subject.trigger == 'z"k' and settings.subject.class_word == "dog", "from profile.toml"
    assert settings.training.steps == 900
    assert settings.dataset.images.resolve() == images and Path(settings.model.base).resolve() == base
    assert settings.dataset.regularization.resolve() == images


@pytest.mark.parametrize("pictures", range(15, 26))
def test_a_character_of_15_to_25_pictures_is_proposed_800_to_1200_steps(pictures: int) -> None:
    assert 800 <= proposed_steps(pictures) <= 1200


@pytest.mark.parametrize("without", [True, False])
def test_a_new_project_of_pictures_without_captions_gets_one_for_all(tmp_path: Path, without: bool) -> None:
    new = NewProject(
        folder=tmp_path / "p",
        images=tmp_path,
        base="b",
        trigger="zkw",
        class_word="dog",
        without_captions=without,
    )
    write_project(new)
    assert load_settings(tmp_path / "p").dataset.caption_fallback == ("zkw dog" if without else "")
