"""The tables of sd-scripts' dataset TOML: what each key may be, and that one wrong key costs nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from maquette.kohya.config_file import is_config_file, is_dataset_toml
from maquette.kohya.dataset_toml import TABLES, DatasetFile, General, form_of, read_dataset_file

KEYS = [(title, name) for title, table in TABLES.items() for name in table.model_fields if name != "subsets"]


@pytest.mark.parametrize(("title", "name"), KEYS, ids=lambda value: value.strip("[]"))
def test_what_a_remedy_tells_to_write_is_accepted(title: str, name: str) -> None:
    form, _ = form_of(TABLES[title], name)
    assert form.required
    example = tomllib.loads(f"{name} = {form.example}")
    table = TABLES[title].model_validate({"image_dir": "folder"} | example if "subsets" in title else example)
    assert name in table.written


def test_a_wrong_key_costs_that_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text(
        "[general]\nbatch_size = 0\nkeep_tokens = 2\n[[datasets]]\nresolution = 512\nenable_buckets = true\n"
        '[[datasets.subsets]]\nimage_dir = "a"\nnum_repeats = "5"\n[[datasets.subsets]]\nnum_repeats = 2\n',
        encoding="utf-8",
    )
    file, problems = read_dataset_file(path)
    assert file.general.written == {"keep_tokens": 2}
    (dataset,) = file.datasets
    assert dataset.written == {"resolution": (512, 512)}
    assert [subset.written for subset in dataset.subsets] == [{"image_dir": "a"}]
    assert [problem.given for problem in problems] == [
        "batch_size = 0 in [general]",
        "unknown key 'enable_buckets' in [[datasets]] 1",
        'num_repeats = "5" in [[datasets.subsets]] 1 of dataset 1',
        "[[datasets.subsets]] 2 of dataset 1 has no image_dir",
    ]
    assert "Did you mean 'enable_bucket'?" in problems[1].remedy


def test_a_file_that_cannot_be_read_is_an_empty_one_with_a_problem(tmp_path: Path) -> None:
    file, (problem,) = read_dataset_file(tmp_path / "none.toml")
    assert file == DatasetFile() and problem.given == "no such file"


def test_tables_do_not_change_once_read() -> None:
    table = General(batch_size=2)
    with pytest.raises(ValidationError, match="frozen"):
        table.batch_size = 3  # type: ignore[misc]


def test_options_that_datasets_share_do_not_make_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text('[general]\nenable_bucket = true\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\n')
    assert is_dataset_toml(path) and not is_config_file(path)
    path.write_text("[general]\nenable_bucket = true\nnetwork_dim = 8\n")
    assert is_config_file(path) and not is_dataset_toml(path)
