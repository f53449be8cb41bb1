"""Settings changed value by value: what a person wrote stays, what is wrong is refused, one undo takes it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.project.config_file import load_settings
from maquette.project.settings_edit import (
    ChangedSince,
    edit_settings,
    mark_of,
    tried,
    undo_settings,
    undoable,
    written_in,
)

TEXT = """# made for nine pictures

[subject]
trigger = "tovaki"   # a word that nothing means

[model]
base = "base.safetensors"

[lora]
alpha = 8
rank = 16            # enough for one character

# how long
[training]
steps = 100
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "maquette.toml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "images").mkdir()
    return tmp_path


def text_of(project: Path) -> str:
    return (project / "maquette.toml").read_text(encoding="utf-8")


def test_only_the_line_of_a_changed_value_changes(project: Path) -> None:
    done = edit_settings(project, {"rank": "32"})
    assert text_of(project) == TEXT.replace("rank = 16  ", "rank = 32  ")
    assert done.changed == ("rank",)
    assert load_settings(project).lora.rank == 32


def test_new_values_stand_in_their_tables_and_comments_stay_with_what_they_are_about(project: Path) -> None:
    edit_settings(
        project, {"conv_rank": 4, "save_every_steps": "50", "resolution": "64,96", "images": "images"}
    )
    text = text_of(project)
    assert "rank = 16            # enough for one character\nconv_rank = 4\n\n# how long\n[training]" in text
    settings = load_settings(project)
    assert (settings.lora.conv_rank, settings.saving.save_every_steps) == (4, 50)
    assert settings.dataset.resolution == (64, 96)
    assert 'images = "images"' in text  # as typed, not as it is resolved


def test_a_length_takes_the_place_of_the_other_and_none_takes_out(project: Path) -> None:
    assert edit_settings(project, {"epochs": 4}).changed == ("steps", "epochs")
    assert load_settings(project).training.steps is None
    assert edit_settings(project, {"alpha": None}).changed == ("alpha",)
    assert "alpha" not in text_of(project)


def test_one_undo_takes_back_one_change_to_the_byte(project: Path) -> None:
    edit_settings(project, {"rank": 8, "seed": 3})
    once = text_of(project)
    edit_settings(project, {"rank": 4}, what="a smaller rank")
    assert undoable(project) == "a smaller rank"
    undo_settings(project)
    assert text_of(project) == once
    undo_settings(project)
    assert text_of(project) == TEXT
    assert undoable(project) == ""


def test_what_is_wrong_is_told_in_the_words_of_the_file_and_nothing_is_written(project: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        edit_settings(project, {"rank": "many", "steps": -3, "seed": 5})
    told = {problem.where.rpartition(" ")[2]: problem.required for problem in refused.value.problems}
    assert set(told) == {"rank", "steps"}
    assert text_of(project) == TEXT
    with pytest.raises(ConfigError, match="known setting"):
        edit_settings(project, {"rnak": 3})


def test_who_read_an_older_file_is_told(project: Path) -> None:
    mark = mark_of(project)
    edit_settings(project, {"rank": 8}, expected=mark)
    with pytest.raises(ChangedSince):
        edit_settings(project, {"rank": 4}, expected=mark)
    assert load_settings(project).lora.rank == 8


def test_trying_writes_nothing_and_says_where_values_come_from(project: Path) -> None:
    assert tried(project, {"rank": "8"}).settings.lora.rank == 8
    assert text_of(project) == TEXT
    assert written_in(project)["rank"] == (16, "enough for one character")
    edit_settings(project, {"rank": 8}, reasons={"rank": "a preset's"})
    assert written_in(project)["rank"] == (8, "a preset's")


def test_a_table_that_is_not_there_is_made_and_the_same_value_changes_nothing(project: Path) -> None:
    assert edit_settings(project, {"rank": 16}).changed == ()
    assert undoable(project) == ""
    edit_settings(project, {"min_snr_gamma": 5})
    assert text_of(project) == TEXT + "\n[objective]\nmin_snr_gamma = 5.0\n"


def test_truth_values_have_comments_too(project: Path) -> None:
    edit_settings(project, {"flip_aug": "true"}, reasons={"flip_aug": "alike on\nboth sides"})
    assert written_in(project)["flip_aug"] == (True, "alike on both sides")
    edit_settings(project, {"flip_aug": False})
    assert load_settings(project).dataset.flip_aug is False


@pytest.mark.parametrize(
    "text",
    [
        'model = {base = "b"}\nlora = {rank = 4, alpha = 2}\n',
        'model.base = "b"\nlora.rank = 4\nlora.alpha = 2\n',
        '[lora]\nrank = 4 # r\n[model]\nbase = "b"\n[training]\noptimizer_args = [\n  "betas=0.9,0.99", # two\n]\n',
        '\ufeff[model]\r\nbase = "b"\r\n[lora]\r\nrank = 4\r\n',
    ],
)
def test_whatever_toml_allows_is_changed_or_refused_and_never_spoilt(tmp_path: Path, text: str) -> None:
    file = tmp_path / "maquette.toml"
    file.write_bytes(text.encode())
    (tmp_path / "images").mkdir()
    written_in(tmp_path)
    try:
        edit_settings(tmp_path, {"rank": "8", "conv_rank": "2", "seed": "7"})
    except ConfigError:
        assert file.read_bytes() == text.encode()
        return
    settings = load_settings(tmp_path)
    assert (settings.lora.rank, settings.lora.conv_rank, settings.training.seed) == (8, 2, 7)
    undo_settings(tmp_path)
    assert file.read_bytes() == text.encode()
