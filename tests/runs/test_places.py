"""A record's relative paths are found from wherever it is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import maquette
from maquette.runs.places import as_found
from maquette.runs.record import read_record
from tests.conftest import make_pictures

ShortRun = Callable[..., dict]


@pytest.fixture
def trained(short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project in which a run was trained with paths as `cd project` has them."""
    home = tmp_path / "project"
    make_pictures(home / "images", [(96, 96)] * 5)
    monkeypatch.chdir(home)
    settings = short_run(images=Path("images"), output=Path("runs"), steps=1, name="a", validation_pictures=2)
    base = Path(settings["base"])
    shutil.copytree(base, "base") if base.is_dir() else shutil.copy(base, "base.safetensors")
    own = Path("base") if base.is_dir() else Path("base.safetensors")
    maquette.train(**{**settings, "base": str(own)})
    return home


def test_pictures_and_base_are_found_from_elsewhere_and_after_a_move(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = read_record(trained / "runs/a")
    assert as_found(here, Path("runs/a")) is here, "where it was trained nothing changes"
    moved = tmp_path / "moved"
    shutil.move(trained, moved)
    elsewhere = tmp_path / "elsewhere"
    make_pictures(elsewhere / "images", [(64, 64)] * 2)  # another project's, under the same name
    monkeypatch.chdir(elsewhere)
    found = as_found(read_record(moved / "runs/a"), Path(os.path.relpath(moved / "runs/a")))
    assert found.settings.dataset.images == moved / "images" and Path(found.settings.model.base).exists()
    for each in (*found.dataset.pictures, *found.validation.pictures):  # type: ignore[union-attr]
        assert Path(each.path).is_file() and moved in Path(each.path).parents
    assert [each.sha256 for each in found.dataset.pictures] == [each.sha256 for each in here.dataset.pictures]
    assert read_record(moved / "runs/a").dataset == here.dataset, "the record itself stays as it was written"


def test_a_project_under_another_name_is_resumed_and_reproduced_from_anywhere(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was trained from the folder above it, so that its paths begin with its name."""
    monkeypatch.chdir(trained.parent)
    written = read_record(trained / "runs/a").settings
    base = Path("project") / written.model.base
    maquette.train(
        base=str(base), images=Path("project/images"), output=Path("project/runs"), name="b", trigger="zkw",
        rank=2, steps=1, resolution=64, cache_folder=Path("project/cache"), lr_scheduler="constant", device="cpu",
    )  # fmt: skip
    moved = tmp_path / "far" / "renamed"
    moved.parent.mkdir()
    shutil.move(trained, moved)
    elsewhere = tmp_path / "elsewhere"
    make_pictures(elsewhere / "project/images", [(64, 64)] * 2)  # another project's, under the old name
    monkeypatch.chdir(elsewhere)
    before = read_record(moved / "runs/b")
    resumed = maquette.train(resume=Path(os.path.relpath(moved / "runs/b")), steps=2)
    assert resumed.steps == 2
    after = read_record(moved / "runs/b")
    assert after.dataset == before.dataset and after.settings.dataset == before.settings.dataset
    assert after.settings.model == before.settings.model, "paths stay as they were written"
    assert maquette.reproduce(moved / "runs/b").identical
    assert not (elsewhere / "project/cache").exists() and not (elsewhere / "project/runs").exists()


def test_what_is_nowhere_stays_as_it_was_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(trained / "images")
    monkeypatch.chdir(tmp_path)
    record = read_record(trained / "runs/a")
    assert as_found(record, trained / "runs/a") is record
