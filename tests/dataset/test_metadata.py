"""Pictures and captions that one file lists mean what they mean to sd-scripts and to Hugging Face's loaders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maquette.dataset.config import SubsetOptions, SubsetSource
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.metadata import MANY, composed, read_metadata
from maquette.dataset.reading import read_dataset
from maquette.findings.registry import run_rules
from maquette.rules.catalogue import all_rules
from tests.dataset.making import captioned, dataset_at, facts_of, picture, problems_of, said_of


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(folder / name, (64, 64), seed=number)
    return folder


def rows(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(each)}\n" for each in values), encoding="utf-8")
    return path


def captions(images: Path, **given: Any) -> dict[str, str]:
    return {each.path.name: each.caption for each in dataset_at(images, **given).pictures}


# --- the two forms of sd-scripts ---------------------------------------------------------------------------


def reference_caption(caption: str | None, tags: str | None, separator: str, wildcard: bool) -> str:
    """A caption of sd-scripts 48d368fa's FineTuningDataset."""
    caption = "" if caption is None else caption
    if wildcard:
        if tags is None:
            return caption
        tags = tags.replace("\n", separator)
        return "\n".join(f"{line}{separator}{tags}" for line in caption.split("\n") if line.strip() != "")
    if tags is not None and len(tags) > 0:
        if len(caption) > 0:
            caption += separator
        caption += tags
    return caption


@pytest.mark.parametrize("wildcard", [False, True])
@pytest.mark.parametrize("caption", [None, "", "a dog", "a dog\n\na hound"])
@pytest.mark.parametrize("tags", [None, "", "big, brown", "big\nbrown"])
def test_captions_and_tags_are_joined_as_sd_scripts_joins_them(
    tmp_path: Path, caption: str | None, tags: str | None, wildcard: bool
) -> None:
    pictures(tmp_path, "a.png")
    file = tmp_path / "meta.json"
    values = {name: text for name, text in (("caption", caption), ("tags", tags)) if text is not None}
    file.write_text(json.dumps({"a.png": values}))
    options = SubsetOptions(enable_wildcard=wildcard, caption_separator=";")
    subset = SubsetSource(path=tmp_path, options=options, metadata_file=file)
    expected = reference_caption(caption, tags, ";", wildcard)
    assert read_metadata(subset).captions == {tmp_path / "a.png": expected}
    if tags is not None:
        assert composed(caption, tags, subset) == expected


def test_a_toml_takes_its_pictures_from_json_and_jsonl(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "fox", "a.png", "b.png", "c.png", "unlisted.png")
    (tmp_path / "meta.json").write_text(json.dumps({"a.png": {"caption": "one"}, "b": {"tags": "two"}}))
    rows(
        tmp_path / "more.jsonl",
        {"image_path": str(folder / "c.png"), "caption": "three", "image_size": [64, 64]},
    )
    toml = tmp_path / "d.toml"
    toml.write_text(
        f"""
        [[datasets]]
        resolution = 64
          [[datasets.subsets]]
          image_dir = "{folder}"
          metadata_file = "{tmp_path}/meta.json"
          num_repeats = 3
          [[datasets.subsets]]
          metadata_file = "{tmp_path}/more.jsonl"
        """
    )
    dataset = dataset_at(toml)
    assert {each.path.name: each.caption for each in dataset.pictures} == {
        "a.png": "one",
        "b.png": "two",
        "c.png": "three",
    }
    assert [each.subset.num_repeats for each in dataset.pictures] == [3, 3, 1]
    assert {each.caption_path for each in dataset.pictures} == {
        tmp_path / "meta.json",
        tmp_path / "more.jsonl",
    }


# --- folders of Hugging Face --------------------------------------------------------------------------------


def test_a_folder_carries_its_list_as_json_lines_or_csv(tmp_path: Path) -> None:
    for name in ("metadata.jsonl", "metadata.csv"):
        folder = pictures(tmp_path / name, "train/a.png", "train/b.png")
        if name.endswith("csv"):
            (folder / name).write_text('file_name,text\ntrain/a.png,"one, blue"\ntrain/b.png,two\n')
        else:
            rows(
                folder / name,
                *(
                    {"file_name": f"train/{x}.png", "text": t, "id": 1}
                    for x, t in (("a", "one, blue"), ("b", "two"))
                ),
            )
        assert captions(folder) == {"a.png": "one, blue", "b.png": "two"}


def test_caption_files_count_before_a_list_unless_it_is_named(tmp_path: Path) -> None:
    folder = captioned(tmp_path, 2)
    file = rows(
        folder / "metadata.jsonl", *({"file_name": f"p00{n}.png", "text": f"listed {n}"} for n in (0, 1))
    )
    assert captions(folder)["p000.png"] == "sks dog, number 0, outdoors"
    assert "Captions are read from .txt files" in said_of(folder)["CAP038"]
    assert captions(folder, metadata_file=file) == {"p000.png": "listed 0", "p001.png": "listed 1"}


def test_sd_scripts_reads_no_list_that_it_was_not_given(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "10_dog", "a.png")
    rows(folder / "metadata.jsonl", {"file_name": "a.png", "text": "listed"})
    assert [each.stand_in for each in facts_of(tmp_path, trainer="sd-scripts").used_folders] == ["dog"]


def test_what_is_added_to_a_folder_later_is_said_not_to_be_trained(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "a.png", "later.png")
    rows(folder / "metadata.jsonl", {"file_name": "a.png", "text": "one"})
    assert captions(folder) == {"a.png": "one"}
    assert "1 picture lies in" in said_of(folder)["CAP037"] and "later.png" in said_of(folder)["CAP037"]


def test_prefix_wildcards_and_rules_treat_a_listed_caption_as_any_other(tmp_path: Path) -> None:
    folder = pictures(tmp_path, *(f"p{n}.png" for n in range(3)))
    rows(
        folder / "metadata.jsonl",
        *({"file_name": f"p{n}.png", "text": f"tovaki,, pose {n}\nother"} for n in range(3)),
    )
    facts = facts_of(folder, options=SubsetOptions(caption_prefix="photo of"))
    assert [each.lines for each in facts.captions] == [[f"photo of tovaki,, pose {n}"] for n in range(3)]
    assert all(each.listed_in == folder / "metadata.jsonl" for each in facts.captions)
    whole = facts_of(folder, options=SubsetOptions(enable_wildcard=True))
    assert whole.captions[0].lines == ["tovaki,, pose 0", "other"]


def test_no_repair_touches_a_picture_of_a_list(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "fox", "a.png", "b.png")
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    texts = {"a.png": "tovaki,, smile", "b.png": "tovaki，sad", "c.png": "tovaki,, smile"}
    rows(folder / "metadata.jsonl", *({"file_name": name, "text": text} for name, text in texts.items()))
    found, _ = run_rules(all_rules().values(), {DatasetFacts: facts_of(folder, "measures")})
    repairable = {each.code for each in found if all_rules()[each.code].repair}
    assert len(repairable) >= 3, "copies, empty parts, full-width commas"
    assert not [each for each in found if each.fix is not None]


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"file_name": "gone.png", "text": "x"}', "gone.png is not there"),
        ('{"file_name": "a.gif", "text": "x"}', "Convert it to PNG"),
        ('{"file_name": "a.png", "txt": "x"}', "Is 'txt' meant? Name it text."),
        ('{"filename": "a.png", "text": "x"}', "Is 'filename' meant? Name it file_name."),
        ('{"file_name": "a.png", "text": ', "not valid JSON"),
        ("[1, 2]", "where a table belongs"),
        ('{"file_name": "a.png", "text": ""}', "no caption in"),
    ],
)
def test_each_wrong_line_is_told_with_its_number(tmp_path: Path, line: str, said: str) -> None:
    folder = pictures(tmp_path, "ok.png", "a.png")
    (folder / "a.gif").write_bytes(b"GIF89a")
    (folder / "metadata.jsonl").write_text(f'{{"file_name": "ok.png", "text": "fine"}}\n{line}\n')
    problems = problems_of(folder)
    assert any(said in each for each in problems), problems
    if '"text": ""' not in line:
        assert any("metadata.jsonl line 2" in each for each in problems), problems


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metadata.csv", "name,text\na.png,x\n", "Name the column of files file_name"),
        ("metadata.jsonl", "\n", "no pictures"),
        ("metadata.jsonl", b"\xff\xfe\x00", "UTF-16"),
        ("meta.json", "[]", "where a table of pictures belongs"),
        ("meta.json", '{"a.png": "caption"}', "a table with its caption"),
        ("gone.json", None, "no such file"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, name: str, text: Any, said: str) -> None:
    folder = pictures(tmp_path, "a.png")
    if text is not None:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = problems_of(folder, metadata_file=folder / name)
    assert any(said in each for each in problems), problems


def test_pictures_packed_into_parquet_are_named_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000.parquet").write_bytes(b"PAR1")
    (said,) = problems_of(tmp_path)
    assert "data/train-00000.parquet keeps pictures packed in a table, which is not read" in said


def test_a_thousand_wrong_lines_are_counted(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "a.png")
    rows(folder / "metadata.jsonl", *({"file_name": f"{n}.png", "text": "x"} for n in range(1000)))
    problems = read_dataset(folder, "listing", cache=None).problems
    assert len(problems) == MANY + 1 and "980 more lines" in problems[-1].given
