"""Datasets as each trainer takes them: nothing raises, everything is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.planned import options_of, schedule_of
from maquette.dataset.reading import read_dataset
from maquette.dataset.repeats import make_schedule, plan_items
from maquette.project.request import Trainer, TrainingRequest
from tests.conftest import shared_data
from tests.dataset.making import captioned, dataset_at, facts_of, picture, problems_of


def gathered(images: Path, **given: Any) -> DatasetFacts:
    return facts_of(images, "headers", **given)


def run_of(trainer: Trainer = "sd-scripts", **values: object) -> TrainingRequest:
    return TrainingRequest(file=Path("train.sh"), trainer=trainer, **{"resolution_wh": (64, 64), **values})  # type: ignore[arg-type]


def toml(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def unused(facts: DatasetFacts) -> list[tuple[str, int, str]]:
    return [(f.path.name, f.num_pictures, f.why_unused) for f in facts.folders if f.subset is None]


# --- folders ---------------------------------------------------------------------------------------------


def test_every_folder_is_shown_at_more_sizes_as_a_dataset_of_its_own(tmp_path: Path) -> None:
    captioned(tmp_path / "train" / "2_fox", 3, (96, 64))
    captioned(tmp_path / "reg" / "1_animal", 2, (64, 64))
    more = ((32, 32), (48, 64))
    dataset = dataset_at(tmp_path / "train", regularization=tmp_path / "reg", more_resolutions_wh=more)
    assert [source.resolution_wh for source in dataset.datasets] == [None, *more]
    shown = Counter(
        (picture.subset.dataset, picture.subset.is_regularization) for picture in dataset.pictures
    )
    assert shown == {(number, kind): 2 if kind else 3 for number in range(3) for kind in (False, True)}
    items = plan_items(dataset.pictures)
    assert len(items) == 3 * (2 * 3 + 6), "each size balances its regularization for itself"
    alone = dataset_at(tmp_path / "train", regularization=tmp_path / "reg")
    assert [p.path for p in dataset.pictures if p.subset.dataset == 1] == [p.path for p in alone.pictures]


def test_sizes_of_a_toml_are_its_own(tmp_path: Path) -> None:
    captioned(tmp_path / "fox", 1)
    path = toml(tmp_path / "d.toml", f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/fox"\n')
    (said,) = problems_of(path, more_resolutions_wh=((32, 32),))
    assert "List the folder under a [[datasets]] for each size" in said


def test_only_named_children_count_for_sd_scripts(tmp_path: Path) -> None:
    captioned(tmp_path / "10_fox", 3)
    captioned(tmp_path / "extra", 2)
    captioned(tmp_path / "0_off", 1)
    captioned(tmp_path / "10_fox" / "deeper", 4)
    picture(tmp_path / "loose.png")
    facts = gathered(tmp_path, trainer="sd-scripts")
    (used,) = facts.used_folders
    assert (used.path.name, used.num_pictures, used.prefix_repeats) == ("10_fox", 3, 10)
    assert used.subset is not None
    assert used.subset.class_tokens == "fox", "the folder's name captions what has none"
    assert sorted(unused(facts)) == [
        ("0_off", 1, "no repeats"),
        ("deeper", 4, "below"),
        ("extra", 2, "no prefix"),
        (tmp_path.name, 1, "beside"),
    ]
    assert not facts.problems


def test_a_flat_folder_is_a_dataset_for_maquette_only(tmp_path: Path) -> None:
    captioned(tmp_path, 3)
    assert len(gathered(tmp_path).files) == 3
    facts = gathered(tmp_path, trainer="sd-scripts")
    assert not facts.files
    assert unused(facts) == [(tmp_path.name, 3, "no prefix")]


def test_a_folder_named_with_repeats_is_a_dataset_for_maquette_only(tmp_path: Path) -> None:
    captioned(tmp_path / "10_fox", 3)
    assert gathered(tmp_path / "10_fox").used_folders[0].subset.num_repeats == 10  # type: ignore[union-attr]
    assert unused(gathered(tmp_path / "10_fox", trainer="sd-scripts")) == [("10_fox", 3, "itself")]


def test_regularization_folders_are_read_alike(tmp_path: Path) -> None:
    captioned(tmp_path / "train" / "10_fox", 2)
    captioned(tmp_path / "reg" / "1_animal", 3)
    facts = gathered(tmp_path / "train", regularization=tmp_path / "reg", trainer="sd-scripts")
    assert (len(facts.files), len(facts.regularization_files)) == (2, 3)
    assert len(facts.regularization_captions) == 3


def test_nothing_and_nonsense_become_problems(tmp_path: Path) -> None:
    assert gathered(tmp_path / "nowhere").problems
    assert gathered(toml(tmp_path / "broken.toml", "[[datasets\n")).problems
    assert gathered(toml(tmp_path / "notes.md", "hello")).problems
    assert not gathered(tmp_path).problems, "an empty folder can be looked at"


# --- kohya TOML ------------------------------------------------------------------------------------------


def test_a_toml_drops_repeats_doubles_and_what_is_not_there(tmp_path: Path) -> None:
    captioned(tmp_path / "10_fox", 3)
    captioned(tmp_path / "10_fox" / "deeper", 2)
    captioned(tmp_path / "off", 1)
    path = toml(
        tmp_path / "d.toml",
        f"""
[[datasets]]
resolution = 64
  [[datasets.subsets]]
  image_dir = "{tmp_path}/10_fox"
  num_repeats = 3
  caption_extension = ".txt"
  [[datasets.subsets]]
  image_dir = "{tmp_path}/10_fox/"
  num_repeats = 7
  [[datasets.subsets]]
  image_dir = "{tmp_path}/off"
  num_repeats = 0
  [[datasets.subsets]]
  image_dir = "{tmp_path}/gone"
""",
    )
    facts = gathered(path, trainer="sd-scripts")
    assert [(f.path.name, f.subset.num_repeats) for f in facts.used_folders if f.subset] == [("10_fox", 3)]
    assert unused(facts) == [
        ("deeper", 2, "below"),
        ("10_fox", 3, "listed twice"),
        ("off", 1, "no repeats"),
        ("gone", 0, "missing"),
    ]
    assert len(facts.problems) == 1
    assert schedule_of(facts, run_of(epochs=1)).train_items == 9  # type: ignore[union-attr]


def test_sd_scripts_takes_keys_that_maquette_refuses_and_no_quoted_resolution(tmp_path: Path) -> None:
    captioned(tmp_path / "fox", 2)
    text = f'[[datasets]]\nresolution = 64\nnetwork_multiplier = 0.5\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/fox"\n'
    path = toml(tmp_path / "d.toml", text)
    assert gathered(path).problems
    assert not gathered(path, trainer="sd-scripts").problems
    quoted = toml(tmp_path / "q.toml", text.replace("resolution = 64", 'resolution = "64,64"'))
    (problem,) = gathered(quoted, trainer="sd-scripts").problems
    assert "resolution = [64, 64]" in problem.remedy


def test_a_regularization_folder_beside_a_toml_is_nothing_to_sd_scripts(tmp_path: Path) -> None:
    captioned(tmp_path / "fox", 2)
    captioned(tmp_path / "reg" / "1_animal", 2)
    path = toml(
        tmp_path / "d.toml",
        f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/fox"\n',
    )
    assert not gathered(path, regularization=tmp_path / "reg", trainer="sd-scripts").regularization_files
    assert gathered(path, regularization=tmp_path / "reg").regularization_files


# --- captions --------------------------------------------------------------------------------------------


def test_captions_orphans_and_what_is_missing(tmp_path: Path) -> None:
    captioned(tmp_path, 4)
    (tmp_path / "p000.txt").unlink()
    (tmp_path / "p001.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "p002.txt").write_bytes(b"\xef\xbb\xbfzkw, standing\nsecond line\n")
    (tmp_path / "lost.txt").write_text("zkw", encoding="utf-8")
    (tmp_path / "p003.caption").write_text("zkw", encoding="utf-8")
    facts = gathered(tmp_path)
    assert [path.name for path in facts.without_caption] == ["p000.png"]
    assert facts.other_captions == ((".caption", 1),)
    strange = facts.caption_of(tmp_path / "p001.png")
    assert strange is not None and strange.problem is not None
    assert strange.guessed_encoding == "Windows-1252"
    marked = facts.caption_of(tmp_path / "p002.png")
    assert marked is not None
    assert (marked.text, marked.had_mark, marked.lines_left_out) == ("zkw, standing", True, 1)
    assert marked.tags == ("zkw", "standing")
    assert [c.path.name for c in facts.captions if c.picture is None] == ["lost.txt"]
    assert facts.caption_of(tmp_path / "p000.png") is None


def test_the_default_ending_of_sd_scripts_passes_over_txt(tmp_path: Path) -> None:
    """[M] default caption_extension is .caption, so .txt captions are silently ignored."""
    captioned(tmp_path / "10_fox", 3)
    silent = gathered(tmp_path, trainer="sd-scripts", options=options_of(run_of()))
    assert (len(silent.captions), len(silent.without_caption), silent.other_captions) == (
        0,
        3,
        ((".txt", 3),),
    )
    said = gathered(tmp_path, trainer="sd-scripts", options=options_of(run_of(caption_extension=".txt")))
    assert (len(said.captions), said.without_caption) == (3, ())
    assert len(gathered(tmp_path, trainer="sd-scripts").captions) == 3, "a folder alone says nothing of a run"


def test_a_fallback_means_that_nothing_is_missing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert gathered(tmp_path).uncaptioned == {None: (tmp_path / "a.png",)}
    assert not gathered(tmp_path, fallback_caption="zkw").uncaptioned
    picture(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("zkw", encoding="utf-8")
    assert gathered(tmp_path, fallback_caption="zkw").uncaptioned == {None: (tmp_path / "a.png",)}


# --- sums: the numbers of field notes --------------------------------------------------------------------


def steps(facts: DatasetFacts, **run: object) -> int:
    schedule = schedule_of(facts, run_of(**run))
    assert schedule is not None
    return schedule.steps


def test_repeats_never_multiply(tmp_path: Path) -> None:
    """[M] 8 pictures in 10_sks_dog: command line 80 items, TOML without num_repeats 8, with 3: 24, never 240."""
    captioned(tmp_path / "10_sks_dog", 8)
    assert steps(gathered(tmp_path, trainer="sd-scripts"), epochs=1) == 80
    base = f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/10_sks_dog"\n'
    for text, expected in ((base, 8), (f"{base}num_repeats = 3\n", 24)):
        facts = gathered(toml(tmp_path / "d.toml", text), trainer="sd-scripts")
        assert steps(facts, epochs=1) == expected
    asked = gathered(
        toml(tmp_path / "d.toml", base), trainer="sd-scripts", options=SubsetOptions(num_repeats=5)
    )
    assert steps(asked, epochs=1) == 40, "--dataset_repeats counts where the TOML is silent"
    ignored = gathered(tmp_path, trainer="sd-scripts", options=SubsetOptions(num_repeats=5))
    assert steps(ignored, epochs=1) == 80, "and nowhere else"


@pytest.mark.parametrize(
    ("train", "regularization", "epochs", "expected"),
    [
        ((23, 10), (100, 1), 4, 1840),
        ((23, 10), None, 4, 920),
        ((15, 10), (100, 1), 4, 1200),
        ((8, 10), (3, 2), 1, 160),
        ((4, 1), (3, 3), 1, 10),
    ],
)
def test_regularization_doubles_an_epoch(
    tmp_path: Path, train: tuple[int, int], regularization: tuple[int, int] | None, epochs: int, expected: int
) -> None:
    captioned(tmp_path / "train" / f"{train[1]}_fox", train[0])
    if regularization:
        captioned(tmp_path / "reg" / f"{regularization[1]}_animal", regularization[0])
    reg = tmp_path / "reg" if regularization else None
    facts = gathered(tmp_path / "train", regularization=reg, trainer="sd-scripts")
    assert steps(facts, epochs=epochs) == expected


def test_the_style_set_and_its_sum() -> None:
    folder = shared_data("pixel_portraits")
    facts = gathered(folder, trainer="sd-scripts")
    assert len(facts.files) == 203
    schedule = schedule_of(facts, run_of(epochs=10, batch_size=2, resolution_wh=(1024, 1024)))
    assert schedule is not None
    assert schedule.explain() == "203 × 10 / batch 2 = 1,015 steps × 10 epochs = 10,150 steps"


def test_the_sum_is_the_one_that_training_makes(tmp_path: Path) -> None:
    """Buckets and all: gathering agrees with scanning."""
    for index, size in enumerate([(96, 96), (144, 72), (72, 144), (96, 96), (144, 72)]):
        picture(tmp_path / f"{index}.png", size, seed=index)
        (tmp_path / f"{index}.txt").write_text("zkw", encoding="utf-8")
    request = run_of("maquette", epochs=3, batch_size=2, enable_bucket=True, bucket_step_px=16, repeats=3)
    facts = gathered(tmp_path, options=options_of(request))
    from maquette.dataset.buckets import assign_buckets
    from maquette.dataset.config import bucket_settings

    scanned = dataset_at(tmp_path, options=options_of(request))
    items = assign_buckets(plan_items(scanned.pictures), bucket_settings((64, 64), step_px=16)[0])
    assert schedule_of(facts, request) == make_schedule(items, batch_size=[2], epochs=3)


def test_epochs_win_over_steps_with_sd_scripts(tmp_path: Path) -> None:
    captioned(tmp_path / "10_fox", 2)
    facts = gathered(tmp_path, trainer="sd-scripts")
    assert steps(facts, epochs=3, steps=7) == 60
    assert steps(facts, steps=7) == 7
    assert steps(facts) == 1600
    assert schedule_of(facts, run_of(epochs=0)) is None
    assert schedule_of(gathered(tmp_path / "10_fox", trainer="sd-scripts"), run_of(epochs=1)) is None


# --- pictures --------------------------------------------------------------------------------------------


def test_pictures_are_measured_in_order_and_progress_is_told(tmp_path: Path) -> None:
    captioned(tmp_path / "10_fox", 3)
    (tmp_path / "10_fox" / "p001.png").write_bytes(b"no picture")
    told: list[tuple[int, int]] = []
    facts = read_dataset(
        tmp_path, "measures", cache=None, on_progress=lambda done, total: told.append((done, total))
    )
    assert [each.path.name for each in facts.pictures] == ["p000.png", "p001.png", "p002.png"]
    assert [each.is_sound for each in facts.pictures] == [True, False, True]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(facts.sizes_wh) == 2


def test_a_picture_of_two_resolutions_is_measured_once(tmp_path: Path) -> None:
    captioned(tmp_path / "fox", 2)
    table = f'[[datasets]]\nresolution = SIZE\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/fox"\ncaption_extension = ".txt"\n'
    path = toml(tmp_path / "d.toml", table.replace("SIZE", "64") + table.replace("SIZE", "128"))
    facts = facts_of(path, "measures", trainer="sd-scripts")
    assert (len(facts.pictures), len(facts.captions), len(facts.used_folders)) == (2, 2, 2)
    assert steps(facts, epochs=1) == 4
