"""Files of other programs are told by their content, and are never taken for something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.checking.targets import identify
from maquette.elsewhere.kinds import recognise
from maquette.elsewhere.runs import is_run_of_a_trainer, runs_of
from maquette.errors import ConfigError
from tests.elsewhere.samples import NAMED, READ, written
from tests.planted.clean import DATASET_TOML, PROFILE, PROJECT_TOML

CONFIG_FILE = 'pretrained_model_name_or_path = "b"\nnetwork_dim = 4\n\n[additional_network_arguments]\nnetwork_alpha = 2\n'


@pytest.mark.parametrize("name", NAMED)
def test_files_without_a_run_are_named(name: str, tmp_path: Path) -> None:
    piece, text = NAMED[name]
    path = written(tmp_path, name, text)
    foreign = recognise(path)
    assert foreign is not None
    assert piece in foreign.kind.title
    assert foreign.kind.then
    assert identify(path).kind == "foreign"
    assert not is_run_of_a_trainer(path)
    with pytest.raises(ConfigError, match="it is"):
        runs_of(path)


@pytest.mark.parametrize("name", READ)
def test_files_with_a_run_are_read(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, READ[name])
    assert identify(path).kind == ("script" if path.suffix == ".sh" else "settings")
    assert is_run_of_a_trainer(path)
    (request,) = runs_of(path).requests
    assert request.base == "base.safetensors"
    assert not request.problems


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dataset.toml", DATASET_TOML),
        ("config.toml", CONFIG_FILE),
        ("profile.toml", PROFILE),
        ("project.toml", PROJECT_TOML),
        ("luca.yaml", "name: luca\nhair: brown\nclass: boy\n"),
        ("luca.json", json.dumps({"name": "luca", "trigger": "lka", "type": "character"})),
        ("empty.json", ""),
        ("list.json", "[]"),
        ("numbers.json", "[1, 2]"),
        ("broken.json", '{"cells": ['),
        ("deep.json", "[" * 5000),
        ("nothing.yaml", ""),
        ("rows.jsonl", '{"step": 1, "loss": 0.1}\n'),
    ],
)
def test_nothing_else_is_taken_for_one(name: str, text: str, tmp_path: Path) -> None:
    assert recognise(written(tmp_path, name, text)) is None


def test_a_file_of_many_gigabytes_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    assert recognise(path) is None
