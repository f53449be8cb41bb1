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


def test_what_is_nowhere_stays_as_it_was_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(trained / "images")
    monkeypatch.chdir(tmp_path)
    record = read_record(trained / "runs/a")
    assert as_found(record, trained / "runs/a") is record
