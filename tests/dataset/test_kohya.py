"""Dataset TOMLs of sd-scripts mean here what they mean there, and everything wrong in one is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.dataset.config import DatasetPlan, SubsetOptions
from maquette.dataset.kohya import UNSUPPORTED, plan_of_toml
from maquette.errors import DatasetError
from maquette.kohya.dataset_toml import Subset
from tests.dataset.making import captioned, dataset_at, picture, said_of


def plan(tmp_path: Path, text: str, options: SubsetOptions | None = None) -> DatasetPlan:
    path = tmp_path / "dataset.toml"
    path.write_text(text, encoding="utf-8")
    return plan_of_toml(path, options)


def problems(tmp_path: Path, text: str) -> list[str]:
    return [str(problem) for problem in plan(tmp_path, text).problems]


def test_a_subset_overrules_its_dataset_overrules_general_overrules_the_caller(tmp_path: Path) -> None:
    read = plan(
        tmp_path,
        """
        [general]
        keep_tokens = 1
        shuffle_caption = true
        caption_extension = "txt"
        resolution = 512
        batch_size = 2
        [[datasets]]
        keep_tokens = 2
        resolution = [512, 768]
        bucket_no_upscale = true
          [[datasets.subsets]]
          image_dir = "a"
          keep_tokens = 3
          [[datasets.subsets]]
          image_dir = "b"
          is_reg = true
          class_tokens = "dog"
        [[datasets]]
          [[datasets.subsets]]
          image_dir = "c"
        """,
        SubsetOptions(num_repeats=5, keep_tokens=9, caption_prefix="sks"),
    )
    a, b, c = read.subsets
    assert [s.options.keep_tokens for s in read.subsets] == [3, 2, 1]
    assert all(s.options.shuffle_caption and s.options.caption_prefix == "sks" for s in read.subsets)
    assert [s.num_repeats for s in read.subsets] == [5, 5, 5]
    assert {s.caption_extension for s in read.subsets} == {".txt"}
    assert (a.is_regularization, b.is_regularization, b.class_tokens, c.dataset) == (False, True, "dog", 1)
    assert [d.resolution_wh for d in read.datasets] == [(512, 768), (512, 512)]
    assert [d.batch_size for d in read.datasets] == [2, 2]
    assert [d.no_upscale for d in read.datasets] == [True, None]


def test_masks_are_named_by_subset(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\nalpha_mask = true\n'
    text += '[[datasets.subsets]]\nimage_dir = "b"\nconditioning_data_dir = "m"\n'
    a, b = plan(tmp_path, text).subsets
    assert (a.options.alpha_mask, a.options.mask_folder) == (True, None)
    assert (b.options.alpha_mask, b.options.mask_folder) == (False, tmp_path / "m")


@pytest.mark.parametrize(
    ("written", "size_wh"),
    [("512", (512, 512)), ('"512,768"', (512, 768)), ("[512, 768]", (512, 768)), ('"512"', (512, 512))],
)
def test_resolution_is_read_however_it_is_written(
    tmp_path: Path, written: str, size_wh: tuple[int, int]
) -> None:
    read = plan(tmp_path, f'[[datasets]]\nresolution = {written}\n[[datasets.subsets]]\nimage_dir = "a"')
    assert read.datasets[0].resolution_wh == size_wh


def test_everything_wrong_is_reported_together(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """
        [general]
        resolutoin = 512
        enable_bucket = "yes"
        image_dir = "a"
        [[datasets]]
        resolution = "big"
        batch_size = 0
        keep_tokens = true
          [[datasets.subsets]]
          num_repeats = "10"
          caption_dropout_rate = 1.5
          resize_interpolation = "lancsoz"
          [[datasets.subsets]]
          image_dir = "b"
          alpha_mask = "true"
          custom_attributes = {a = 1}
        [generall]
        """,
    )
    expected = [
        "Did you mean 'resolution'?",
        "a boolean",
        "Move it to [[datasets.subsets]]",
        '512, "512,768" or [512, 768]',
        "batch_size = 0",
        "keep_tokens = true",
        "image_dir",
        'num_repeats = "10"',
        "a number from 0 to 1",
        "Did you mean 'lanczos'?",
        'alpha_mask = "true"',
        "custom_attributes",
        "Did you mean 'general'?",
    ]
    for sentence in expected:
        sentence = {"a boolean": "true or false"}.get(sentence, sentence)
        assert any(sentence in line for line in said), f"{sentence} in\n" + "\n".join(said)
    assert len(said) == len(expected)
    assert all(str(tmp_path / "dataset.toml") in line for line in said)


NEUTRAL = {
    "custom_attributes": "{}",
    "validation_split": "0.0",
    "network_multiplier": "1.0",
}
ACTING = NEUTRAL | {
    "custom_attributes": "{a = 1}",
    "validation_split": "0.1",
    "network_multiplier": "0.5",
}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_is_not_supported_is_refused_unless_it_changes_nothing(tmp_path: Path, name: str) -> None:
    dataset_level = name not in Subset.model_fields
    text = '[[datasets]]\n{}\n[[datasets.subsets]]\nimage_dir = "a"\n{}'

    def with_value(value: str) -> str:
        line = f"{name} = {value}"
        return text.format(line, "") if dataset_level else text.format("", line)

    assert "Remove it" in problems(tmp_path, with_value(ACTING[name]))[0]
    if name in NEUTRAL:
        assert plan(tmp_path, with_value(NEUTRAL[name])).subsets


def test_keys_that_do_nothing_alone_are_accepted_with_a_word(tmp_path: Path) -> None:
    read = plan(tmp_path, '[general]\ncache_info = true\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"')
    assert [(key.name, key.table) for key in read.idle_keys] == [("cache_info", "[general]")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[datasets", "not valid TOML"),
        ('image_dir = "C:\\pictures"', "'single quotes'"),
        ("datasets = 3", "[[datasets]]"),
        ("", "no [[datasets.subsets]]"),
        ("[[datasets]]\nresolution = 512", "no [[datasets.subsets]]"),
        ('[[datasets]]\nsubsets = "a"', "[[datasets.subsets]]"),
        ('[[datasets]]\n[[datasets.subsets]]\nimage_dir = ""', "not empty"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in line for line in problems(tmp_path, text))


def test_json_is_read_like_toml(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"datasets": [{"subsets": [{"image_dir": "a", "num_repeats": 2}]}]}))
    assert plan_of_toml(path).subsets[0].num_repeats == 2


def test_relative_folders_count_from_the_working_folder_else_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    captioned(there / "pics", 1)
    here.mkdir()
    monkeypatch.chdir(here)
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "pics"'
    assert plan(there, text).subsets[0].path == there / "pics"
    captioned(here / "pics", 1)
    read = plan(there, text)
    assert read.subsets[0].path.resolve() == here / "pics"
    (two,) = read.two_places
    assert (two.given, two.other) == ("pics", there / "pics")


def toml_for(tmp_path: Path, folder: Path, more: str = "") -> Path:
    path = tmp_path / "dataset.toml"
    path.write_text(f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{folder}"\n{more}\n')
    return path


def test_txt_captions_are_not_read_by_default_and_the_error_says_which_setting_reads_them(
    tmp_path: Path,
) -> None:
    captioned(tmp_path / "10_dog", 3)
    with pytest.raises(
        DatasetError, match=r'3 \.txt files there are not read: set caption_extension = "\.txt"'
    ):
        dataset_at(toml_for(tmp_path, tmp_path / "10_dog"))
    dataset = dataset_at(toml_for(tmp_path, tmp_path / "10_dog", 'class_tokens = "sks dog"'))
    assert {p.caption for p in dataset.pictures} == {"sks dog"}
    said = said_of(toml_for(tmp_path, tmp_path / "10_dog", 'class_tokens = "sks dog"'))
    assert 'Use caption_extension = ".txt" in dataset.toml' in said["CAP029"]
    assert "10_dog asks for 10 repeats by its name and gets 1" in said["STP001"]


def test_caption_files_are_read_by_default(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 2, ending=".caption")
    assert dataset_at(toml_for(tmp_path, tmp_path / "d")).pictures[1].caption == "sks dog, number 1, outdoors"


def test_class_tokens_caption_the_pictures_without_one(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 2)
    picture(tmp_path / "d" / "z.png")
    toml = toml_for(tmp_path, tmp_path / "d", 'caption_extension = ".txt"\nclass_tokens = "dog"')
    assert [p.caption for p in dataset_at(toml).pictures][2] == "dog"
    assert "z.png. Maquette trains on 'dog' alone." in said_of(toml)["CAP001"]


def test_a_missing_folder_is_an_error_with_the_likely_name(tmp_path: Path) -> None:
    captioned(tmp_path / "pictures", 1)
    with pytest.raises(DatasetError, match=r"Did you mean '.*pictures'"):
        dataset_at(toml_for(tmp_path, tmp_path / "picturse"))
