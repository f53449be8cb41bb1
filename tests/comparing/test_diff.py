"""What changed between two runs: each changed item with both values, and nothing that did not change."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import maquette
from maquette.comparing.diff import compare
from maquette.comparing.sides import side_of_run
from maquette.errors import ConfigError
from maquette.runs.environment import processor_in
from maquette.runs.record import RunRecord
from tests.comparing.making import asked, run_over, shown
from tests.dataset.making import captioned, picture
from tests.runs.making import run_record, stored


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return captioned(tmp_path / "before" / "10_sks dog", 4)


@pytest.fixture
def after(tmp_path: Path, before: Path) -> Path:
    return Path(shutil.copytree(before, tmp_path / "after" / "10_sks dog"))


def test_the_same_trained_twice_has_no_difference_but_names(
    tmp_path: Path, before: Path, after: Path
) -> None:
    run_over(before, tmp_path / "one")
    run_over(after, tmp_path / "two")
    code, found = asked("diff", tmp_path / "one", tmp_path / "two")
    assert code == 0 and found["same"] is True
    assert not any(found[part] for part in ("settings", "captions", "pictures", "environment", "schedule"))
    assert found["places"]["saving.name"] == {"a": "one", "b": "two"}
    assert found["places"]["dataset.images"] == {"a": str(before), "b": str(after)}
    assert "The same: settings, captions" in shown("diff", tmp_path / "one", tmp_path / "two")


def test_every_kind_of_change_is_told_with_both_values(tmp_path: Path, before: Path, after: Path) -> None:
    (after / "p000.txt").write_text("sks dog, number 0, in the red snow")
    one = run_over(before, tmp_path / "one")
    picture(after / "p001.png", seed=77)
    (after / "p002.png").rename(after / "moved.png")
    (after / "p002.txt").rename(after / "moved.txt")
    (after / "p003.png").unlink()
    (after / "p003.txt").unlink()
    picture(after / "new.png", seed=99)
    (after / "new.txt").write_text("sks dog, sleeping")
    run_over(
        after,
        tmp_path / "two",
        {"lora": {"rank": 16}, "training": {"optimizer_args": ["eps=1e-6"]}},
        environment=replace(one.environment, packages={**one.environment.packages, "torch": "0.1"}),
        maquette_version="9.9.9",
        base_sha256="cd" * 32,
    )
    _, found = asked("diff", tmp_path / "one", tmp_path / "two")
    assert found["settings"] == {
        "lora.rank": {"a": 2, "b": 16},
        "training.optimizer_args": {"a": [], "b": ["eps=1e-6"]},
        "model.base": {"a": f"sha256:{'ab' * 32}", "b": f"sha256:{'cd' * 32}"},
    }
    assert found["captions"] == {
        "p000.png": {
            "a": "sks dog, number 0, outdoors",
            "b": "sks dog, number 0, in the red snow",
            "gone": ["outdoors"],
            "come": ["in the red snow"],
        }
    }
    changes = {name: each["change"] for name, each in found["pictures"].items()}
    assert changes == {
        "new.png": "added",
        "p001.png": "changed",
        "moved.png": "renamed",
        "p003.png": "removed",
    }
    pictures = {Path(each.path).name: each.sha256 for each in one.dataset.pictures}
    assert (
        found["pictures"]["p003.png"]["a"] == pictures["p003.png"] and not found["pictures"]["p003.png"]["b"]
    )
    assert found["pictures"]["p001.png"]["a"] == pictures["p001.png"] != found["pictures"]["p001.png"]["b"]
    assert found["pictures"]["moved.png"] == {"change": "renamed", "a": "p002.png", "b": "moved.png"}
    assert found["environment"]["packages.torch"]["b"] == "0.1"
    assert found["environment"]["maquette"]["b"] == "9.9.9" and len(found["environment"]) == 2
    text = shown("diff", tmp_path / "one", tmp_path / "two")
    assert "p000.png: sks dog, number 0, [-outdoors-]{+in the red snow+}" in text
    assert "renamed  p002.png → moved.png" in text


def test_the_difference_the_other_way_round_has_the_values_exchanged(tmp_path: Path, before: Path) -> None:
    run_over(before, tmp_path / "one")
    run_over(before, tmp_path / "two", {"lora": {"rank": 16, "alpha": 3.5}})
    there, back = (maquette.diff(*pair).settings for pair in _both_ways(tmp_path / "one", tmp_path / "two"))
    assert {name: (each.a, each.b) for name, each in there.items()} == {
        name: (each.b, each.a) for name, each in back.items()
    }


def _both_ways(a: Path, b: Path) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    return (a, b), (b, a)


def test_a_caption_is_compared_word_by_word_and_summed_over_pictures(
    tmp_path: Path, before: Path, after: Path
) -> None:
    for path in after.glob("*.txt"):
        path.write_text(path.read_text().replace("sks dog", "sks small dog"))
    run_over(before, tmp_path / "one")
    run_over(after, tmp_path / "two")
    found = maquette.diff(tmp_path / "one", tmp_path / "two")
    assert [each.come for each in found.captions] == [["small"]] * 4 and not any(
        each.gone for each in found.captions
    )
    assert {(each.words, each.gone, each.come) for each in found.words} == {
        ("sks dog", 4, 0),
        ("sks small dog", 0, 4),
    }
    for each in found.captions:
        assert "".join(text for kind, text in each.pieces if kind != "new") == each.a
        assert "".join(text for kind, text in each.pieces if kind != "gone") == each.b


def test_how_often_a_folder_is_shown_is_a_setting(tmp_path: Path, before: Path) -> None:
    run_over(before.parent, tmp_path / "one")
    before.rename(before.parent / "3_sks dog")
    run_over(before.parent, tmp_path / "two")
    found = maquette.diff(tmp_path / "one", tmp_path / "two")
    (name,) = found.settings
    assert "3_sks dog" in name and name.endswith("num_repeats")
    assert (found.settings[name].a, found.settings[name].b) == (10, 3)
    assert not found.pictures and not found.captions


def test_pictures_of_one_name_in_two_folders_keep_apart(tmp_path: Path) -> None:
    for folder in ("1_a", "1_b"):
        captioned(tmp_path / "set" / folder, 1)
    run_over(tmp_path / "set", tmp_path / "one")
    picture(tmp_path / "set" / "1_b" / "p000.png", seed=5)
    run_over(tmp_path / "set", tmp_path / "two")
    found = maquette.diff(tmp_path / "one", tmp_path / "two")
    assert [(each.name, each.change) for each in found.pictures] == [("1_b/p000.png", "changed")]


def test_a_run_is_compared_with_its_project_as_it_is_now(tmp_path: Path, before: Path) -> None:
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"weights")
    project = tmp_path / "maquette.toml"
    project.write_text(
        f'[subject]\ntrigger = "zkw"\n[model]\nbase = "{base}"\n[dataset]\nimages = "{before}"\n[lora]\nrank = 64\n'
    )
    record = run_over(before, tmp_path / "one", {"model": {"base": str(base)}})
    (before / "p002.txt").write_text("sks dog, number 2, indoors")
    code, found = asked("diff", tmp_path / "one", tmp_path)
    assert code == 0 and found["settings"]["lora.rank"] == {"a": record.settings.lora.rank, "b": 64}
    assert list(found["captions"]) == ["p002.png"] and not found["pictures"] and not found["environment"]
    assert found["settings"]["model.base"]["a"] == f"sha256:{'ab' * 32}"
    assert any("the device" in each for each in found["unknown"])


@pytest.mark.parametrize("version", (1, 2, 3))
def test_what_an_older_record_does_not_say_is_named_not_compared(
    version: int, tmp_path: Path, before: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "run.json").write_text(stored(version).read_text(encoding="utf-8"))
    run_over(before, tmp_path / "new")
    found = maquette.diff(old, tmp_path / "new")
    assert any("processor" in each and "zkw" in each for each in found.unknown)
    assert any("the content of the base" in each for each in found.unknown) or "model.base" in found.settings
    assert not any(name.startswith("variables") for name in found.environment)


def test_a_processor_is_known_by_what_decides_sums(tmp_path: Path) -> None:
    name, flags = processor_in(
        "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 amx_bf16\nmodel name\t: Other\n"
    )
    assert name == "Xeon" and {"avx2", "amx_bf16"} <= flags
    assert processor_in("processor : 0\nFeatures : asimd bf16\n") == ("", frozenset({"asimd", "bf16"}))
    assert processor_in("") == ("", frozenset())


def test_another_mask_alone_is_a_change_of_the_picture() -> None:
    one = run_record()
    first, *rest = one.dataset.pictures
    masked = replace(first, mask_path="/m.png", mask_sha256="aa")
    other = one.with_(dataset=replace(one.dataset, pictures=(masked, *rest)))
    found = _compared(one, other)
    assert [(each.change, each.a, each.b) for each in found.pictures] == [("mask", None, "aa")]


def _compared(a: RunRecord, b: RunRecord):  # type: ignore[no-untyped-def]
    return compare(side_of_run(Path("a"), a), side_of_run(Path("b"), b))


def test_what_is_neither_run_nor_project_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        maquette.diff(tmp_path / "nothing", tmp_path)
    code, found = asked("diff", tmp_path, tmp_path)
    assert code == 2 and "a run's folder" in found["error"][0]["required"]


def test_looking_at_runs_changes_none_of_their_bytes(tmp_path: Path, before: Path) -> None:
    run_over(before, tmp_path / "runs" / "one")
    run_over(before, tmp_path / "runs" / "two", {"lora": {"rank": 4}})
    was = {path: (path.read_bytes() if path.is_file() else None) for path in tmp_path.rglob("*")}
    shown("diff", tmp_path / "runs" / "one", tmp_path / "runs" / "two")
    assert was == {path: (path.read_bytes() if path.is_file() else None) for path in tmp_path.rglob("*")}
