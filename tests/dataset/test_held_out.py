"""Laws of holding pictures out: by content alone, everywhere, never all, and never trained on."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import DatasetFacts, DatasetInput, HeldOut
from maquette.dataset.held_out import held_of
from maquette.dataset.held_pictures import held_pictures, items_of, plainly
from maquette.dataset.planned import epoch_items
from maquette.dataset.reading import read_dataset
from maquette.dataset.strict import dataset_of
from maquette.errors import DatasetError
from tests.conftest import make_pictures


def _read(images: Path, depth: str = "hashes", **wanted: object) -> DatasetFacts:
    return read_dataset(DatasetInput(images=images, held_out=HeldOut(**wanted)), depth)  # type: ignore[arg-type]


def _names(facts: DatasetFacts) -> set[str]:
    return {path.name for path in facts.held_out}


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "ten", [(32, 32)] * 10)


def test_each_picture_is_either_trained_on_or_held_out(ten: Path) -> None:
    facts = _read(ten, share=0.3)
    trained = {picture.path for picture in dataset_of(facts).pictures}
    held = held_pictures(facts)
    assert len(trained) == 7 and {picture.path for picture in held} == set(ten.glob("*.png")) - trained
    assert all(picture.caption == picture.path.with_suffix(".txt").read_text() for picture in held)
    assert {item.picture.path for item in epoch_items(facts)} == trained


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.33, 0.5, 0.9])
@pytest.mark.parametrize("pictures", [1, 3, 8, 10, 23])
def test_a_share_leaves_as_many_to_train_on_as_sd_scripts_does(pictures: int, share: float) -> None:
    assert pictures - held_of(pictures, share) == math.ceil(pictures * (1 - share))


def test_the_choice_follows_from_content_and_not_from_names_or_depth(ten: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for index, path in enumerate(sorted(ten.glob("*.png"))):
        shutil.copy(path, renamed / f"z{9 - index}.png")
        shutil.copy(path.with_suffix(".txt"), renamed / f"z{9 - index}.txt")
    facts, others = _read(ten, share=0.3), _read(renamed, share=0.3)
    assert {path.read_bytes() for path in facts.held_out} == {path.read_bytes() for path in others.held_out}
    assert facts.held_out == _read(ten, "headers", share=0.3).held_out


def test_a_picture_that_joins_moves_at_most_one_other(ten: Path, tmp_path: Path) -> None:
    before = _names(_read(ten, share=0.3))
    more = make_pictures(tmp_path / "more", [(40, 40)] * 10)
    for index, path in enumerate(sorted(more.glob("*.png"))):
        joined = ten / f"new{index}.png"
        shutil.copy(path, joined)
        joined.with_suffix(".txt").write_text("zkw, new")
        after = _names(_read(ten, share=0.3))
        assert len((before ^ after) - {joined.name}) <= 1
        before = after


def test_copies_are_held_out_with_their_original(ten: Path) -> None:
    original = next(iter(_read(ten, share=0.3).held_out))
    copy = ten / "copy.png"
    shutil.copy(original, copy)
    copy.with_suffix(".txt").write_text("zkw, a copy")
    facts = _read(ten, count=3)
    assert {original, copy} <= set(facts.held_out)
    assert len(held_pictures(facts)) == 3


def test_folds_hold_out_every_picture_once(ten: Path) -> None:
    folds = [_names(_read(ten, share=0.2, fold=fold)) for fold in range(1, 6)]
    assert sorted(name for fold in folds for name in fold) == sorted(path.name for path in ten.glob("*.png"))


def test_a_share_counts_in_each_folder_and_spares_regularization(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_pictures(root / "2_zkw", [(32, 32)] * 4)
    make_pictures(root / "1_other", [(40, 40)] * 2)
    of_class = make_pictures(tmp_path / "class", [(48, 48)] * 4)
    wanted = HeldOut(share=0.5)
    facts = read_dataset(DatasetInput(images=root, regularization=of_class, held_out=wanted))
    assert [len(folder.files) for folder in facts.used_folders] == [1, 2, 4]
    assert {len(folder.files) for folder in facts.held_folders} == {2, 1}


def test_named_pictures_and_folders_elsewhere(ten: Path, tmp_path: Path) -> None:
    elsewhere = make_pictures(tmp_path / "elsewhere", [(64, 64)] * 2)
    shutil.copy(ten / "p5.png", elsewhere / "same.png")
    (elsewhere / "same.txt").write_text("zkw, the same picture")
    facts = _read(ten, paths=(ten / "p2.png", elsewhere))
    assert _names(facts) == {"p2.png", "p5.png"}
    assert {picture.path.name for picture in held_pictures(facts)} == {"p2.png", "p5.png", "p0.png", "p1.png"}
    missing = _read(ten, paths=(tmp_path / "nowhere",))
    with pytest.raises(DatasetError, match="no such file or folder"):
        dataset_of(missing)


def test_none_left_and_none_held_are_refused_in_words(ten: Path) -> None:
    with pytest.raises(DatasetError, match="all 10 pictures are held out"):
        dataset_of(_read(ten, count=10))
    with pytest.raises(DatasetError, match="none of 10 pictures is held out"):
        dataset_of(_read(ten, share=0.05))


def test_a_held_out_picture_without_its_caption_is_refused_as_any_other(ten: Path) -> None:
    held = next(iter(_read(ten, share=0.3).held_out))
    held.with_suffix(".txt").write_text("")
    with pytest.raises(DatasetError, match="empty caption"):
        held_pictures(_read(ten, share=0.3))


def test_nothing_is_left_to_chance_in_what_is_measured(ten: Path) -> None:
    facts = _read(ten, share=0.3)
    items = items_of(held_pictures(facts))
    (ten / "a_first.png").write_bytes((ten / "p0.png").read_bytes())
    (ten / "a_first.txt").write_text("zkw, again")
    again = {item.picture.sha256: item.index for item in items_of(held_pictures(_read(ten, share=0.3)))}
    assert all(again.get(item.picture.sha256, item.index) == item.index for item in items)
    options = [item.picture.subset.options for item in items]
    assert not any(o.shuffle_caption or o.caption_dropout_rate or o.flip_aug for o in options)
    by_chance = SubsetOptions(color_aug=True, random_crop=True, flip_aug=True, token_warmup_step=0.5)
    picture = items[0].picture
    (still,) = plainly([replace(picture, subset=replace(picture.subset, options=by_chance))])
    assert still.subset.options == SubsetOptions()


def test_a_dataset_toml_holds_out_by_its_own_share(ten: Path, tmp_path: Path) -> None:
    toml = tmp_path / "data.toml"
    toml.write_text(
        f'[[datasets]]\nresolution = 64\nvalidation_split = 0.2\n[[datasets.subsets]]\nimage_dir = "{ten}"\n'
        'caption_extension = ".txt"\n'
    )
    facts = read_dataset(DatasetInput(images=toml))
    assert not facts.problems and len(facts.held_out) == 2 and len(facts.files) == 8
