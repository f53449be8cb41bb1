"""`maquette init` proposes a profile beside the project's settings."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from maquette.cli.app import maquette
from maquette.project.profile_file import read_profile
from tests.conftest import make_pictures


def init(project: Path, images: Path, base: Path, *more: object) -> Result:
    arguments = ["init", project, "--images", images, "--base", base, "--trigger", "zkw", *more]
    return CliRunner().invoke(maquette, [str(argument) for argument in arguments])


def test_init_writes_a_profile_to_fill_in(tiny_base: Path, tmp_path: Path) -> None:
    images = make_pictures(tmp_path / "pictures", [(96, 96)] * 4)
    for path in images.glob("*.txt"):
        path.write_text(f"zkw, front view, full body, right hand red glove, {path.stem}", encoding="utf-8")
    made = init(tmp_path / "project", images, tiny_base, "--class-word", "anime character", "--json")
    assert made.exit_code == 0, made.output
    answer = json.loads(made.stdout.strip().splitlines()[-1])
    assert answer["profile"] == str(tmp_path / "project" / "profile.toml") and answer["profile_is_new"]
    profile = read_profile(Path(answer["profile"]))
    assert (
        profile.kind == "character" and profile.trigger == "zkw" and profile.class_word == "anime character"
    )
    assert [detail.phrase for detail in profile.details] == ["right hand red glove"]
    assert any("fill in `appearance`" in guess for guess in answer["guesses"])


def test_a_profile_that_is_there_is_never_overwritten(
    tiny_base: Path, pictures: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    own = 'kind = "object"\ntrigger = "zkw"\n'
    (project / "profile.toml").write_text(own, encoding="utf-8")
    made = init(project, pictures, tiny_base)
    assert made.exit_code == 0 and "kept as it is" in made.output
    assert (project / "profile.toml").read_text(encoding="utf-8") == own
    assert (project / "maquette.toml").is_file()


def test_pictures_without_captions_get_a_profile_too(tiny_base: Path, pictures: Path, tmp_path: Path) -> None:
    for path in pictures.glob("*.txt"):
        path.unlink()
    made = init(tmp_path / "project", pictures, tiny_base, "--class-word", "dog")
    assert made.exit_code == 0, made.output
    assert read_profile(tmp_path / "project").kind == "object"
