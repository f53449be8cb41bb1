"""Repeats, regularization and steps give the numbers that the reference was measured to give."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.config import BucketSettings, SubsetOptions, SubsetSource
from maquette.dataset.records import Picture
from maquette.dataset.repeats import Schedule, make_schedule, plan_items
from maquette.errors import ConfigError, DatasetError
from tests.conftest import GOLDEN, shared_data
from tests.dataset.making import captioned, dataset_at

CASES = json.loads((GOLDEN / "repeats.json").read_text())
TOML_BODIES = {
    "TOML image_dir=.../10_sks_dog, no num_repeats": "[[datasets]]\n{dog}",
    "TOML image_dir=.../10_sks_dog, num_repeats=3": "[[datasets]]\n{dog}num_repeats=3",
    "TOML image_dir=parent of 10_sks_dog, num_repeats=3": "[[datasets]]\n{parent}num_repeats=3",
    "TOML 10_sks_dog, [general] num_repeats=4": "[general]\nnum_repeats=4\n[[datasets]]\n{dog}",
    "TOML 10_sks_dog, general=4 dataset=5": "[general]\nnum_repeats=4\n[[datasets]]\nnum_repeats=5\n{dog}",
    "TOML 10_sks_dog, general=4 dataset=5 subset=6": (
        "[general]\nnum_repeats=4\n[[datasets]]\nnum_repeats=5\n{dog}num_repeats=6"
    ),
    "TOML 10_sks_dog, no num_repeats, --dataset_repeats 7": "[[datasets]]\n{dog}",
    "TOML 10_sks_dog num_repeats=3 + --dataset_repeats 7": "[[datasets]]\n{dog}num_repeats=3",
    "TOML num_repeats=0": "[[datasets]]\n{dog}num_repeats=0",
    "TOML two subsets same dir": "[[datasets]]\n{dog}num_repeats=2\n{dog}num_repeats=5",
    "TOML two subsets 2x8 + 3x4": "[[datasets]]\n{dog}num_repeats=2\n{plain}num_repeats=3",
    "TOML train 1x4, reg 2x3 (reg>train)": "[[datasets]]\n{plain}num_repeats=1\n{reg}num_repeats=2",
    "TOML train 1x4, reg 3x3": "[[datasets]]\n{plain}num_repeats=1\n{reg}num_repeats=3",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repeats")
    captioned(root / "train" / "10_sks_dog", 8)
    captioned(root / "plain", 4)
    captioned(root / "reg" / "2_dog", 3)
    return {"train": root / "train", "plain": root / "plain", "reg": root / "reg"}


def schedule_of(name: str, case: dict, folders: dict[str, Path], tmp_path: Path) -> Schedule:
    """Return the schedule of a case of repeats.json, from real folders or a real TOML."""
    repeats = 7 if "--dataset_repeats 7" in name else 3 if "--dataset_repeats 3" in name else 1
    options = SubsetOptions(num_repeats=repeats)
    if name.startswith("CLI"):
        dataset = dataset_at(
            folders["train"],
            regularization=folders["reg"] if "reg" in name.split("_dog")[0] else None,
            options=options,
        )
    else:
        table = '[[datasets.subsets]]\nimage_dir="{}"\ncaption_extension=".txt"\n'
        places = {
            "dog": table.format(folders["train"] / "10_sks_dog"),
            "parent": table.format(folders["train"]),
            "plain": table.format(folders["plain"]),
            "reg": table.format(folders["reg"] / "2_dog") + "is_reg=true\n",
        }
        toml = tmp_path / "dataset.toml"
        toml.write_text(TOML_BODIES[name].format(**places))
        dataset = dataset_at(toml, options=options)
    assert [(s.path.name, s.num_repeats, s.is_regularization) for s in dataset.subsets] == [
        (s["dir"], s["num_repeats"], s["is_reg"]) for s in case["subsets"]
    ]
    items = assign_buckets(plan_items(dataset.pictures), BucketSettings())
    ((epochs, _),) = case["steps_for_epochs"].items()
    return make_schedule(items, batch_size=case["batch"], accumulation=case["acc"], epochs=int(epochs))


@pytest.mark.parametrize("name", CASES)
def test_items_and_steps_are_the_measured_ones(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    case = CASES[name]
    if not case["total_items_after_reg_balance"]:  # the reference goes on with nothing; here it is an error
        with pytest.raises(DatasetError, match="no pictures"):
            schedule_of(name, case, folders, tmp_path)
        return
    schedule = schedule_of(name, case, folders, tmp_path)
    assert schedule.train_items == case["num_train_images"]
    assert schedule.regularization_items == case["reg_items"]
    assert schedule.items_per_epoch == case["total_items_after_reg_balance"]
    assert schedule.batches_per_epoch == case["batches_per_epoch"]
    assert schedule.steps == next(iter(case["steps_for_epochs"].values()))


def on_paper(count: int, repeats: int, *, regularization: bool = False, dataset: int = 0) -> list[Picture]:
    folder = Path(f"{dataset}{'reg' if regularization else 'train'}")
    subset = SubsetSource(path=folder, num_repeats=repeats, is_regularization=regularization, dataset=dataset)
    return [
        Picture(
            path=folder / f"{index}.png",
            width_px=512,
            height_px=512,
            caption="x",
            caption_path=None,
            subset=subset,
            sha256="",
            caption_sha256=None,
        )
        for index in range(count)
    ]


def schedule(pictures: list[Picture], **options: int) -> Schedule:
    return make_schedule(assign_buckets(plan_items(pictures), BucketSettings()), **options)


@pytest.mark.parametrize(
    ("pictures", "regularization", "options", "steps", "text"),
    [
        (
            (23, 10),
            (40, 1),
            {"epochs": 4},
            1840,
            "(23 × 10 + 230 regularization) / batch 1 = 460 steps × 4 epochs = 1,840 steps",
        ),
        (
            (15, 10),
            (10, 1),
            {"epochs": 4},
            1200,
            "(15 × 10 + 150 regularization) / batch 1 = 300 steps × 4 epochs = 1,200 steps",
        ),
        (
            (203, 10),
            None,
            {"epochs": 10, "batch_size": 2},
            10150,
            "203 × 10 / batch 2 = 1,015 steps × 10 epochs = 10,150 steps",
        ),
        (
            (8, 10),
            None,
            {"epochs": 3, "batch_size": 3, "accumulation": 4},
            21,
            "8 × 10 / batch 3 = 27 batches / accumulation 4 = 7 steps × 3 epochs = 21 steps",
        ),
        ((8, 1), None, {"steps": 12}, 12, "8 × 1 / batch 1 = 8 steps an epoch; 12 steps = 1.5 epochs"),
        ((1, 1), None, {"epochs": 1}, 1, "1 × 1 / batch 1 = 1 step × 1 epoch = 1 step"),
    ],
)
def test_the_sum_is_written_out(
    pictures: tuple[int, int], regularization: tuple[int, int] | None, options: dict, steps: int, text: str
) -> None:
    members = on_paper(*pictures) + (on_paper(*regularization, regularization=True) if regularization else [])
    made = schedule(members, **options)
    assert made.steps == steps
    assert made.explain() == text


def test_processes_share_each_batch_or_are_dealt_whole_ones() -> None:
    """Of 5 + 5 pictures in two buckets, 2 for each of 2 processes: two batches of each bucket, or three dealt to both."""
    wide = [replace(picture, width_px=768, height_px=384) for picture in on_paper(5, 1)]
    pictures = [*on_paper(5, 1), *wide]
    shared = schedule(pictures, epochs=1, batch_size=2, processes=2)
    assert (shared.steps, shared.batch_sizes) == (4, (4,))
    assert "batch 4 (2 processes × 2)" in shared.explain()
    assert schedule(pictures, epochs=1, batch_size=2, processes=2, deals_whole=True).steps == 3
    assert schedule(pictures, epochs=1, batch_size=4).steps == 4
    assert [shared.batch_of_one(0, count) for count in (1, 2, 3, 9)] == [1, 1, 2, 2]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 30), st.integers(1, 12))
def test_regularization_balances_training_and_overshoots_by_less_than_one_pictures_repeats(
    count: int, repeats: int, reg_count: int, reg_repeats: int
) -> None:
    items = plan_items(on_paper(count, repeats) + on_paper(reg_count, reg_repeats, regularization=True))
    training = [item for item in items if not item.is_regularization]
    regularization = [item for item in items if item.is_regularization]
    assert len(training) == count * repeats
    if reg_count:
        assert len(training) <= len(regularization) < len(training) + reg_repeats
    assert [item.index for item in items] == list(range(len(items)))


def test_datasets_of_one_toml_are_balanced_and_batched_apart() -> None:
    pictures = (
        on_paper(4, 1)
        + on_paper(9, 1, regularization=True)
        + on_paper(6, 1, dataset=1)
        + on_paper(2, 1, regularization=True, dataset=1)
    )
    settings = [BucketSettings(), BucketSettings(resolution_wh=(768, 768))]
    items = assign_buckets(plan_items(pictures), settings)
    made = make_schedule(items, batch_size=(4, 3), epochs=1)
    assert (made.train_items, made.regularization_items) == (10, 10)
    assert made.batches_per_epoch == math.ceil(8 / 4) + math.ceil(12 / 3)


def test_bad_numbers_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        make_schedule([], batch_size=0, accumulation=0, epochs=1, steps=1)
    assert [p.where for p in caught.value.problems] == ["steps and epochs", "batch_size", "accumulation"]


def test_the_real_portraits_take_the_steps_their_project_counted() -> None:
    dataset = dataset_at(shared_data("pixel_portraits"))
    items = assign_buckets(plan_items(dataset.pictures), BucketSettings())
    assert make_schedule(items, batch_size=2, epochs=10).steps == 10150


@pytest.mark.parametrize("repeats", [10**7, 10**15])
def test_repeats_that_no_memory_holds_are_refused_before_they_are_laid_out(
    tmp_path: Path, repeats: int
) -> None:
    captioned(tmp_path / "img", 2)
    captioned(tmp_path / "reg", 1)
    toml = tmp_path / "set.toml"
    toml.write_text(
        f'[general]\ncaption_extension = ".txt"\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img"\nnum_repeats = {repeats}\n'
        '[[datasets.subsets]]\nimage_dir = "reg"\nis_reg = true\n',
        encoding="utf-8",
    )
    with pytest.raises(DatasetError, match=f"{repeats:,} times an epoch"):
        plan_items(dataset_at(toml).pictures)
