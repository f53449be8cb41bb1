"""What a check says of what it looked at: nothing to look at is an error, and what lies below is found."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.cli import check
from maquette.cli.app import maquette
from maquette.dataset.below import pictures_below
from maquette.dataset.facts import DatasetInput
from maquette.dataset.reading import read_dataset
from maquette.dataset.strict import dataset_of
from maquette.errors import DatasetError
from tests.families.full import header_only


def pictures(folder: Path, count: int = 3) -> Path:
    """Fill a folder with captioned noise, in which no rule finds another picture's likeness."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(sum(map(ord, folder.name)))
    for index in range(count):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"zkw fox, pose {index}", encoding="utf-8")
    return folder


def checked(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(check.command, [*map(str, arguments), "--json"])
    answer: dict[str, Any] = json.loads(result.output.strip().splitlines()[-1])
    return answer


def codes(answer: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in answer["findings"]}


def kohya_gui(folder: Path) -> Path:
    """Lay a dataset out as the GUI of kohya_ss does."""
    pictures(folder / "img" / "10_zkw fox")
    pictures(folder / "reg" / "1_fox", 2)
    pictures(folder / "model" / "sample", 4)
    (folder / "log").mkdir()
    return folder


def test_the_dataset_below_is_found_and_judged_with_its_regularization(tmp_path: Path) -> None:
    """kohya_ss' own layout, given by its parent or grandparent; what a run has drawn is no dataset."""
    layout = kohya_gui(tmp_path / "all" / "mk")
    for given in (layout, tmp_path / "all"):
        answer = checked(given)
        assert answer["pictures"] == 5, "three of the subject, two of the class"
        assert answer["looked_at"] == ["3 pictures, 3 captions, 2 regularization pictures"]
        assert any(str(layout / "img") in note for note in answer["notes"])
        assert "STP015" not in codes(answer)


def test_of_several_datasets_below_none_is_taken_for_the_one_meant(tmp_path: Path) -> None:
    pictures(tmp_path / "fox")
    pictures(tmp_path / "wolf" / "5_wolf", 2)
    answer = checked(tmp_path)
    assert answer["errors"] == 1
    (finding,) = [each for each in answer["findings"] if each["severity"] == "error"]
    assert f"{tmp_path / 'fox'} (3 pictures)" in finding["message"]
    assert f"{tmp_path / 'wolf'} (2 pictures)" in finding["message"]


@pytest.mark.parametrize("trainer", ["maquette", "sd-scripts"])
def test_a_run_that_names_the_grandparent_is_told_the_folder(trainer: Any, tmp_path: Path) -> None:
    """A trainer takes the folder as it stands, so that only `check` of a folder may look further."""
    layout = kohya_gui(tmp_path / "mk")
    facts = read_dataset(DatasetInput(images=layout, trainer=trainer), "listing")
    assert [(each.path, each.count) for each in facts.below] == [(layout / "img", 3)]
    with pytest.raises(DatasetError, match=r"Give .*img"):
        dataset_of(facts)
    script = tmp_path / "train.sh"
    script.write_text(f"accelerate launch train_network.py --train_data_dir={layout}\n", encoding="utf-8")
    (said,) = [each for each in checked(script)["findings"] if each["code"] == "STP006"]
    assert said["remedy"] == f"Give {layout / 'img'}."


@pytest.mark.parametrize("files", [(), ("notes.docx",), ("IMG_1.heic",), ("readme.txt",)])
def test_a_folder_without_pictures_is_an_error(files: tuple[str, ...], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    answer = checked(tmp_path)
    assert answer["errors"] == 1
    assert len([each for each in answer["findings"] if each["severity"] == "error"]) == 1


def test_a_base_model_alone_says_what_it_is_and_what_was_read(tmp_path: Path) -> None:
    base = header_only("sdxl", tmp_path / "base.safetensors")
    answer = checked(base)
    assert answer["errors"] == 0
    (looked,) = answer["looked_at"]
    assert "Stable Diffusion XL, predicts the noise, float16, made for 1024 px" in looked
    assert "2 text encoders" in looked
    text = CliRunner().invoke(check.command, [str(base)]).output.splitlines()[-1]
    assert text.startswith("Nothing found in the header of") and "no rule is about it alone" in text


def test_a_choice_of_rules_that_asks_nothing_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(check.command, [str(pictures(tmp_path / "fox")), "--select", "LOG"])
    assert result.exit_code == 2
    assert "none of which is about 3 pictures, 3 captions" in result.output


def test_the_last_line_says_what_was_looked_at(tmp_path: Path) -> None:
    said = CliRunner().invoke(check.command, [str(pictures(tmp_path / "fox"))]).output.splitlines()[-1]
    assert " in 3 pictures, 3 captions (" in said and said.endswith(" rules).")


def test_maquettes_own_folders_are_no_pictures(tmp_path: Path) -> None:
    """Neither as part of a dataset nor when they are given themselves."""
    fox = pictures(tmp_path / "fox")
    for own in (".curation/sheets", ".maquette/history/0001.kept"):
        pictures(fox / own, 2)
        refused = checked(fox / own)
        assert refused["errors"] == 1 and str(fox) in refused["findings"][0]["remedy"]
    assert checked(fox)["pictures"] == 3
    for picture in fox.glob("*.png"):
        picture.unlink()
    assert pictures_below(tmp_path) == ()


def test_a_mistake_in_every_table_of_a_file_is_one_line(tmp_path: Path) -> None:
    fox = pictures(tmp_path / "fox")
    subset = f'[[datasets.subsets]]\nimage_dir = "{fox}"\nnum_repeat = 3\n'
    (tmp_path / "data.toml").write_text("[[datasets]]\n" + 20 * subset, encoding="utf-8")
    said = [
        each["message"] for each in checked(tmp_path / "data.toml")["findings"] if each["code"] == "CHK001"
    ]
    (message,) = said
    assert "'num_repeat'" in message and "So it is in 19 more places." in message


def test_a_folder_of_scripts_alone_says_which_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(
        "accelerate launch train_network.py --output_dir=out\n", encoding="utf-8"
    )
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(check.command, [str(tmp_path)])
    assert result.exit_code == 1 and "holds train.sh: give such a file itself" in result.output


def test_names_that_no_text_can_hold_are_refused_where_they_would_be_written_down(tmp_path: Path) -> None:
    """A record of pictures is text; a name in another encoding (old zip files, old disks) is none."""
    folder = pictures(tmp_path / "set")
    odd = os.fsencode(folder) + b"/caf\xe9.png"
    shutil.copyfile(folder / "0.png", odd)
    asked = (["caption", "--trigger", "zkw", "--strategy", "character", "--source", "template"], ["curate"])
    for command, *flags in asked:
        result = CliRunner().invoke(maquette, [command, str(folder), *flags])
        assert result.exit_code == 2 and "its name is not UTF-8" in result.output, result.output
        assert "caf\\xe9.png" in result.output and result.output.count("error:") == 1
