"""Faults and close calls of the rules about repeats, steps and folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from PIL import Image, ImageOps

from maquette.world.attributes import Character
from maquette.world.renderer import render
from tests.planted.case import Case, close_call, fault
from tests.planted.clean import SIZE_PX, scenes

EPOCHS = "--max_train_epochs=5"


def more_pictures(case: Case, folder: str, numbers: range) -> None:
    """Copy some of the subject's pictures and captions into another folder of the case."""
    target = case.folder / folder
    target.mkdir(parents=True, exist_ok=True)
    for index in numbers:
        picture = case.pictures[index]
        shutil.copy(picture, target)
        shutil.copy(picture.with_suffix(".txt"), target)


def moved(case: Case, folder: str, numbers: range) -> None:
    """Move some of the subject's pictures and captions into another folder of the case."""
    more_pictures(case, folder, numbers)
    for index in numbers:
        case.pictures[index].unlink()
        case.pictures[index].with_suffix(".txt").unlink()


def of_class(case: Case, folder: str, count: int) -> None:
    """Write regularization pictures, none like another and none of the subject."""
    import numpy as np
    from PIL import Image

    target = case.folder / "dataset" / "reg" / folder
    target.mkdir(parents=True)
    for index in range(count):
        coarse = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((512, 512), Image.Resampling.NEAREST)
        picture.save(target / f"animal_{index:03}.png")
        (target / f"animal_{index:03}.txt").write_text(f"anime character, pose {index}", encoding="utf-8")
    case.edit(
        case.script,
        '--train_data_dir="dataset/train"',
        '--train_data_dir="dataset/train" --reg_data_dir="dataset/reg"',
    )


def rename_folder(case: Case, name: str) -> None:
    """Rename the folder of the TOML's pictures, there and in the TOML."""
    folder = case.pictures[0].parent
    folder.rename(folder.with_name(name))
    case.edit(case.toml, str(folder), str(folder.with_name(name)))


def subset(case: Case, folder: str, repeats: int) -> None:
    """Add a subset to the TOML."""
    with case.toml.open("a", encoding="utf-8") as file:
        file.write(
            f'\n  [[datasets.subsets]]\n  image_dir = "{case.folder / folder}"\n  num_repeats = {repeats}\n'
        )


# --- STP001 ----------------------------------------------------------------------------------------------


@fault("STP001", "the folder is named 10_ and the TOML says num_repeats = 10", start="toml")
def prefix_and_repeats(case: Case) -> None:
    rename_folder(case, "10_zkw_fox")


@fault("STP001", "the folder is named 5_ and the TOML says num_repeats = 10", start="toml")
def prefix_and_other_repeats(case: Case) -> None:
    rename_folder(case, "5_zkw_fox")


@close_call("STP001", "a folder name with a number that is no prefix", start="toml")
def number_in_name(case: Case) -> None:
    rename_folder(case, "zkw_fox_10")


@close_call("STP001", "a prefix of 1, which multiplies nothing under any belief", start="toml")
def prefix_of_one(case: Case) -> None:
    rename_folder(case, "1_zkw_fox")


# --- STP002 ----------------------------------------------------------------------------------------------


@fault("STP002", "1,840 steps are written for 20 pictures")
def twice_as_long(case: Case) -> None:
    case.edit(case.script, EPOCHS, "--max_train_steps=1840")


@fault("STP002", "one zero too few: 100 steps", start="project")
def too_short(case: Case) -> None:
    case.edit(case.config, "steps = 1000", "steps = 100")
    case.edit(case.config, "save_every_steps = 200", "save_every_steps = 20")


@close_call("STP002", "1,200 steps, the upper end of the target")
def upper_end(case: Case) -> None:
    case.edit(case.script, EPOCHS, "--max_train_epochs=6")


@close_call("STP002", "800 steps, the lower end of the target", start="project")
def lower_end(case: Case) -> None:
    case.edit(case.config, "steps = 1000", "steps = 800")
    case.edit(case.config, "save_every_steps = 200", "save_every_steps = 150")


# --- STP003, STP004 --------------------------------------------------------------------------------------


@fault("STP003", "regularization pictures double the epochs")
def doubled_by_regularization(case: Case) -> None:
    of_class(case, "1_anime_character", 40)


@fault("STP003", "regularization pictures double a run that was planned for it: a hint")
def doubled_as_planned(case: Case) -> None:
    of_class(case, "1_anime_character", 40)
    case.edit(case.script, EPOCHS, "--max_train_epochs=3")


@close_call("STP003", "regularization pictures in a run whose length is given in steps")
def length_in_steps(case: Case) -> None:
    of_class(case, "1_anime_character", 40)
    case.edit(case.script, EPOCHS, "--max_train_steps=1000")


def _beside_of_class(case: Case, index: int, change: Callable[[Image.Image], Image.Image]) -> None:
    """Put a changed picture of the subject among forty regularization pictures of a run whose length is given in steps."""
    of_class(case, "1_animal", 40)
    case.edit(case.script, EPOCHS, "--max_train_steps=1000")
    with Image.open(case.pictures[index]) as picture:
        change(picture.convert("RGB")).save(case.folder / "dataset" / "reg" / "1_animal" / "one_more.png")
    caption = case.folder / "dataset" / "reg" / "1_animal" / "one_more.txt"
    caption.write_text("anime character, laughing", encoding="utf-8")


@fault("PIC022", "one of the subject's pictures lies among regularization pictures, at another size")
def subject_of_class(case: Case) -> None:
    _beside_of_class(case, 3, lambda picture: picture.resize((640, 640), Image.Resampling.LANCZOS))


@fault("PIC022", "the mirror image of one of the subject's pictures lies among regularization pictures")
def subject_of_class_mirrored(case: Case) -> None:
    _beside_of_class(case, 3, ImageOps.mirror)


@close_call("PIC022", "another character in one of the subject's poses lies among regularization pictures")
def other_of_class(case: Case) -> None:
    other = Character(
        hair_style="long",
        hair_color="blue",
        skin="tan",
        top_color="yellow",
        bottom_kind="skirt",
        bottom_color="red",
    )
    _beside_of_class(case, 3, lambda _: render(other, list(scenes())[3], SIZE_PX))


@fault("PIC005", "a black frame lies among regularization pictures")
def black_of_class(case: Case) -> None:
    _beside_of_class(case, 3, lambda picture: Image.new("RGB", picture.size))


@fault("STP004", "260 regularization items for 200 training items: a quarter is never shown")
def regularization_left_out(case: Case) -> None:
    of_class(case, "10_anime_character", 26)
    case.edit(case.script, EPOCHS, "--max_train_steps=1000")


@close_call("STP004", "just as many regularization items as training items")
def regularization_even(case: Case) -> None:
    of_class(case, "10_anime_character", 20)
    case.edit(case.script, EPOCHS, "--max_train_steps=1000")


# --- STP005 ----------------------------------------------------------------------------------------------


@fault("STP005", "a second folder holds half of the pictures again", also=("PIC016",))
def two_folders(case: Case) -> None:
    more_pictures(case, "dataset/train/5_fox_old_name", range(10))
    case.edit(case.script, EPOCHS, "--max_train_epochs=4")


@close_call("STP005", "the pictures are split over two folders, none in both")
def split_folders(case: Case) -> None:
    moved(case, "dataset/train/10_zkw_fox_back", range(12, 20))


# --- STP006 to STP009 ------------------------------------------------------------------------------------


@fault("STP006", "the folder with the pictures is given instead of its parent")
def folder_itself(case: Case) -> None:
    case.edit(case.script, '--train_data_dir="dataset/train"', '--train_data_dir="dataset/train/10_zkw_fox"')


@fault("STP006", "a flat folder", start="folder")
def flat_folder(case: Case) -> None:
    moved(case, "train", range(20))
    case.pictures[0].parent.rmdir()


@close_call("STP006", "a flat folder with Maquette, which takes it", start="folder")
def flat_folder_for_maquette(case: Case) -> None:
    flat_folder(case)
    case.trainer = "maquette"


@fault("STP007", "the TOML names the parent of the pictures", start="toml")
def parent_folder(case: Case) -> None:
    case.edit(case.toml, str(case.folder / "dataset" / "fox"), str(case.folder / "dataset"))


@fault("STP007", "two pictures lie in a folder without repeats")
def unnamed_folder(case: Case) -> None:
    moved(case, "dataset/train/zkw_fox_new", range(18, 20))


@close_call("STP007", "an empty folder and one of notes beside the pictures")
def folder_of_notes(case: Case) -> None:
    (case.folder / "dataset" / "train" / "empty").mkdir()
    notes = case.folder / "dataset" / "train" / "notes"
    notes.mkdir()
    (notes / "todo.txt").write_text("more back views", encoding="utf-8")


@fault("STP008", "the same folder twice in the TOML", start="toml")
def listed_twice(case: Case) -> None:
    subset(case, "dataset/fox", 5)


@close_call("STP008", "two different folders in the TOML", start="toml")
def two_subsets(case: Case) -> None:
    moved(case, "dataset/fox_back", range(12, 20))
    subset(case, "dataset/fox_back", 10)


@fault("STP009", "num_repeats = 0 for some of the pictures", start="toml")
def zero_repeats(case: Case) -> None:
    moved(case, "dataset/fox_back", range(18, 20))
    subset(case, "dataset/fox_back", 0)


@close_call("STP009", "num_repeats = 1 for some of the pictures", start="toml")
def one_repeat(case: Case) -> None:
    moved(case, "dataset/fox_back", range(18, 20))
    subset(case, "dataset/fox_back", 1)


# --- STP010 to STP013 ------------------------------------------------------------------------------------


@fault("STP010", "--dataset_repeats beside a folder that is named 10_")
def repeats_in_vain(case: Case) -> None:
    case.edit(case.script, EPOCHS, f"{EPOCHS} --dataset_repeats=4")


@close_call("STP010", "--dataset_repeats for a TOML that says nothing of repeats", start="toml")
def repeats_in_force(case: Case) -> None:
    case.edit(case.toml, "  num_repeats = 10\n", "")
    case.edit(case.script, EPOCHS, f"{EPOCHS} --dataset_repeats=10")


@fault("STP011", "--train_data_dir beside --dataset_config", start="toml")
def folder_and_config(case: Case) -> None:
    case.edit(case.script, EPOCHS, f"{EPOCHS} --train_data_dir=dataset")


@close_call("STP011", "--dataset_config with an empty --train_data_dir, as programs write it", start="toml")
def empty_folder_and_config(case: Case) -> None:
    case.edit(case.script, EPOCHS, f'{EPOCHS} --train_data_dir=""')


@fault("STP012", "steps and epochs both")
def steps_and_epochs(case: Case) -> None:
    case.edit(case.script, EPOCHS, f"{EPOCHS} --max_train_steps=900")


@close_call("STP012", "steps alone")
def steps_alone(case: Case) -> None:
    case.edit(case.script, EPOCHS, "--max_train_steps=900")


@fault("STP013", "34 batches make steps of 11 and one of a single batch")
def nearly_empty_group(case: Case) -> None:
    moved(case, "dataset/train/1_zkw_fox_few", range(7, 20))
    old = case.pictures[0].parent
    old.rename(old.with_name("3_zkw_fox"))
    case.pictures = sorted((case.folder / "dataset" / "train").rglob("*.png"))
    case.edit(case.script, EPOCHS, "--max_train_epochs=60 --gradient_accumulation_steps=11")
    case.edit(case.script, "--save_every_n_steps=200", "--save_every_n_steps=40")


@close_call("STP013", "accumulation that divides an epoch's batches")
def whole_groups(case: Case) -> None:
    case.edit(case.script, EPOCHS, f"{EPOCHS} --gradient_accumulation_steps=2")
    case.edit(case.script, "--save_every_n_steps=200", "--save_every_n_steps=100")


# --- STP014 to STP018 ------------------------------------------------------------------------------------


@fault("STP014", "a photograph in the format of a telephone among the pictures")
def telephone_format(case: Case) -> None:
    (case.pictures[0].parent / "IMG_0042.HEIC").write_bytes(b"not read by any trainer")


@close_call("STP014", "pictures whose endings are in capitals")
def capital_endings(case: Case) -> None:
    for picture in case.pictures[:2]:
        picture.rename(picture.with_suffix(".PNG"))


@fault("STP015", "a second folder was named and never filled")
def folder_never_filled(case: Case) -> None:
    (case.folder / "dataset" / "train" / "10_zkw_fox_new").mkdir()


@close_call("STP015", "a second folder with a single picture")
def folder_of_one(case: Case) -> None:
    moved(case, "dataset/train/10_zkw_fox_new", range(19, 20))


@fault("STP016", "a folder is named after a year", start="folder")
def named_after_a_year(case: Case) -> None:
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("2023_zkw_fox"))


@fault("STP016", "a folder's number that no memory holds", start="folder")
def endless_repeats(case: Case) -> None:
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("99999999999_zkw_fox"))


@close_call("STP016", "a folder that asks for 400 repeats", start="folder")
def many_repeats(case: Case) -> None:
    folder = case.pictures[0].parent
    folder.rename(folder.with_name("400_zkw_fox"))


def _of_maquette(case: Case, key: str) -> None:
    """Let Maquette train from the dataset TOML, with a key more."""
    case.edit(case.toml, "keep_tokens = 1\n", f"keep_tokens = 1\n{key}\n")
    case.paths, case.trainer = [case.toml], "maquette"


@fault("STP017", "a key that only speeds up sd-scripts' own start", start="toml")
def key_without_effect(case: Case) -> None:
    _of_maquette(case, "cache_info = true")


@close_call("STP017", "the same key, switched off", start="toml")
def key_switched_off(case: Case) -> None:
    _of_maquette(case, "cache_info = false")


def _relative(case: Case) -> None:
    """Move the dataset TOML beside its pictures, which it names relative to itself."""
    moved_toml = case.folder / "dataset" / "dataset.toml"
    text = case.toml.read_text(encoding="utf-8").replace(str(case.folder / "dataset" / "fox"), "fox")
    moved_toml.write_text(text, encoding="utf-8")
    case.toml.unlink()
    case.edit(case.script, "--dataset_config=dataset.toml", "--dataset_config=dataset/dataset.toml")


@fault("STP018", "a folder of the same name lies in the working folder", start="toml")
def two_places(case: Case) -> None:
    _relative(case)
    shutil.copytree(case.folder / "dataset" / "fox", case.folder / "fox")


@close_call("STP018", "only one folder has that name", start="toml")
def one_place(case: Case) -> None:
    _relative(case)
