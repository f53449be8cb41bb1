"""The trigger that nobody names: what folders and captions show of it, and what is no trigger."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maquette import families
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.reading import read_dataset
from maquette.dataset.subject_guess import guess_subject, is_invented, subject_of
from maquette.project.profile import Profile
from maquette.project.subject import Subject
from maquette.words.reading import TokenCounter


def counter() -> TokenCounter:
    tokenizer = families.tokenizer(None)
    return TokenCounter(count=lambda text: len(tokenizer.encode(text)), pieces=tokenizer.pieces)


def dataset(folder: Path, captions: list[str]) -> DatasetFacts:
    folder.mkdir(parents=True)
    for index, caption in enumerate(captions):
        Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(caption, encoding="utf-8")
    return read_dataset(folder, "listing")


@pytest.mark.parametrize(
    "word", ["mkvi", "zkw_fox", "spyke_plasma_v1", "sks", "ohwx", "vx9", "tzuyu", "zwx01", "mkvi2"]
)
def test_invented_words(word: str) -> None:
    assert is_invented(word, counter())


@pytest.mark.parametrize(
    "word",
    ["dog", "1girl", "2boys", "score_9", "score_8_up", "rating_safe", "masterpiece", "photorealistic", "absurdres", "anthro",
     "long_hair", "looking_at_viewer", "golden_retriever", "24x24", "8bit", "bioluminescent", "lineart", "closeup", "a", "人"],
)  # fmt: skip
def test_words_that_mean_something(word: str) -> None:
    assert not is_invented(word, counter())


@pytest.mark.parametrize(
    ("folder", "captions", "trigger"),
    [
        ("10_mkvi dog", ["mkvi dog, standing", "sitting", "mkvi, running", "a dog"], "mkvi"),
        ("5_bespoke_punk", ["bespoke_punk, hat", "bespoke_punk, cap", "bespoke_punk", "hat"], "bespoke_punk"),
        ("5_bespoke_punk", ["bespoke punk, hat", "bespoke punk, cap", "bespoke punk", "hat"], "bespoke punk"),
        ("5_mkvi_dog", ["mkvi dog, hat", "mkvi dog, cap", "mkvi dog", "hat"], "mkvi"),
        ("10_zkw_fox", ["standing", "sitting", "running", "jumping"], "zkw_fox"),
        ("pictures", ["mkvi dog, a", "a photo of mkvi dog, b", "mkvi dog, c", "standing"], "mkvi"),
    ],
)
def test_folder_and_captions_show_the_trigger(
    folder: str, captions: list[str], trigger: str, tmp_path: Path
) -> None:
    guessed = guess_subject(dataset(tmp_path / folder, captions), counter())
    assert guessed is not None and guessed.is_guess
    assert guessed.triggers == (trigger,)


@pytest.mark.parametrize(
    ("folder", "captions"),
    [
        ("10_dog", ["dog, standing", "a dog sits", "running", "dog"]),
        ("10_images", ["1girl, solo", "1girl, smile", "1girl, red", "1boy"]),
        ("pictures", ["score_9, score_8_up, cat"] * 5),
        ("pictures", ["mkvi, a", "b", "c", "d"]),
        ("pictures", ["mkvi, a", "mkvi, b", "c"]),
    ],
)
def test_what_is_no_trigger_is_not_guessed(folder: str, captions: list[str], tmp_path: Path) -> None:
    """Words of tag sites lead most captions too, and few captions tell nothing."""
    assert guess_subject(dataset(tmp_path / folder, captions), counter()) is None


def test_what_is_named_counts_before_what_is_guessed(tmp_path: Path) -> None:
    facts = dataset(tmp_path / "10_mkvi dog", ["mkvi dog"] * 4)
    profile = Profile(kind="character", trigger="zkw")
    style = Profile(kind="style", trigger="", style=("pixel art",))

    def found(profile: Profile | None, flag: str | None) -> Subject | None:
        return subject_of(profile, None, facts, counter(), flag)

    by_flag, by_profile, by_folder = found(profile, "other"), found(profile, None), found(None, None)
    assert by_flag is not None and (by_flag.trigger, by_flag.origin) == ("other", "flag")
    assert by_profile is not None and (by_profile.trigger, by_profile.origin) == ("zkw", "profile")
    assert by_folder is not None and (by_folder.trigger, by_folder.origin) == ("mkvi", "guess")
    assert found(style, None) is None, "a style that is meant by its own words needs no trigger"
