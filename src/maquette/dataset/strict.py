"""From facts to the dataset that is trained on, or to one error with everything that keeps it from being trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.dataset.below import advice, places
from maquette.dataset.config import PICTURE_EXTENSIONS, SubsetSource
from maquette.dataset.facts import CaptionFact, DatasetFacts, FolderFact
from maquette.dataset.folders import names_of
from maquette.dataset.measures import PictureFacts
from maquette.dataset.records import Dataset, Picture
from maquette.dataset.unread import said_of_unread
from maquette.errors import DatasetError, Problem, nearest

GUESSED, GUESSED_AMONG = 8, 2000
"""For how many captions without picture, and among how many pictures, a picture is guessed: each guess reads all names."""


def dataset_of(facts: DatasetFacts, *, captions_follow: bool = False) -> Dataset:
    """Return the dataset that training takes of `facts`, read to depth `hashes` or `measures` with captions.

    captions_follow: pictures whose captions are still to be written are no problem yet. Raises DatasetError with every problem
    of every folder, picture and caption. What is merely odd is left to rules.
    """
    problems = facts.plan.problems or tuple(dict.fromkeys(_problems(facts, captions_follow)))
    if problems:
        raise DatasetError(problems)
    pictures = [
        _picture(path, look, folder, facts)
        for path, folder in _shown(facts)
        if isinstance(look := facts.looks[path], PictureFacts)
    ]
    return _dataset(facts, pictures)


def sized_dataset(facts: DatasetFacts) -> Dataset:
    """Return the same without captions and hashes, of `facts` read to depth `headers`.

    Pictures that cannot be opened are left out. Raises DatasetError when a folder is missing or no picture of the
    subject is left.
    """
    problems = facts.problems or tuple(_absence(facts))
    shown = [(path, folder) for path, folder in _shown(facts) if path in facts.sizes_wh]
    if not problems and all(folder.is_regularization for _, folder in shown):
        problems = (_no_pictures(facts),)
    if problems:
        raise DatasetError(problems)
    return _dataset(facts, [_sized(path, folder, facts) for path, folder in shown])


def _dataset(facts: DatasetFacts, pictures: Sequence[Picture]) -> Dataset:
    used = {picture.subset for picture in pictures}
    return Dataset(
        pictures=tuple(pictures),
        datasets=facts.plan.datasets,
        subsets=tuple(subset for subset in facts.plan.subsets if subset in used),
    )


def _shown(facts: DatasetFacts) -> Iterator[tuple[Path, FolderFact]]:
    """Yield every picture with the folder that shows it; in two datasets of a TOML it comes twice."""
    return ((path, folder) for folder in facts.used_folders for path in folder.files)


def _picture(path: Path, look: PictureFacts, folder: FolderFact, facts: DatasetFacts) -> Picture:
    subset = _subset_of(folder)
    caption, mask = facts.caption_of(path, subset), folder.masks.get(path)
    return Picture(
        path=path,
        width_px=look.width_px,
        height_px=look.height_px,
        caption=caption.text if caption is not None else folder.stand_in or "",
        caption_path=(caption.listed_in or caption.path) if caption is not None else None,
        subset=subset,
        sha256=look.sha256,
        caption_sha256=caption.sha256 if caption is not None else None,
        mask_path=mask.path if mask is not None else None,
        mask_sha256=mask.sha256 if mask is not None else None,
    )


def _sized(path: Path, folder: FolderFact, facts: DatasetFacts) -> Picture:
    width, height = facts.sizes_wh[path]
    return Picture(
        path=path,
        width_px=width,
        height_px=height,
        caption="",
        caption_path=None,
        subset=_subset_of(folder),
        sha256="",
        caption_sha256=None,
    )


def _subset_of(folder: FolderFact) -> SubsetSource:
    assert folder.subset is not None, "only folders in use are trained on"
    return folder.subset


# --- what keeps it from being trained on -----------------------------------------------------------------


def _problems(facts: DatasetFacts, captions_follow: bool) -> Iterator[Problem]:
    """Yield every problem, folder by folder: pictures, captions, captions without picture, pictures without caption."""
    yield from facts.problems
    yield from () if facts.problems else _absence(facts)
    captions = (*facts.captions, *facts.regularization_captions)
    for folder in facts.used_folders:
        looks = (facts.looks.get(path) for path in folder.files)
        yield from (look for look in looks if isinstance(look, Problem))
        yield from (mask.problem for mask in folder.masks.values() if mask.problem is not None)
        yield from _unmasked(folder)
        own = [each for each in captions if each.subset == folder.subset]
        of_pictures = {each.path: each for each in own if each.picture is not None}
        yield from (problem for _, each in sorted(of_pictures.items()) if (problem := _unusable(each)))
        stems = [picture.stem for picture in folder.files]
        orphans = [each.path for each in own if each.picture is None]
        for place, path in enumerate(orphans):
            yield _orphan(path, stems if place < GUESSED and len(stems) <= GUESSED_AMONG else ())
        yield from () if captions_follow else _uncaptioned(folder)


def _absence(facts: DatasetFacts) -> Iterator[Problem]:
    """Yield the problem of a dataset without a single picture of the subject."""
    if facts.files:
        return
    if facts.regularization_files:
        needed, remedy = "pictures of the subject", "Add a training folder."
        yield Problem(str(facts.root), "only regularization pictures", needed, remedy)
    else:
        yield _no_pictures(facts)


def _no_pictures(facts: DatasetFacts) -> Problem:
    """Return the problem, with what lies there instead of pictures that are used."""
    kinds = ", ".join(sorted(PICTURE_EXTENSIONS))
    said = "".join(dict.fromkeys(_instead(facts)))
    remedy = f"Add pictures or correct the path.{said}"
    return Problem(str(facts.root), "no pictures", f"at least one ({kinds})", remedy)


PARQUET = ("*.parquet", "data/*.parquet")
"""Where datasets of the Hugging Face hub keep pictures packed into tables."""


def _instead(facts: DatasetFacts) -> Iterator[str]:
    packed = next((path for pattern in PARQUET for path in sorted(facts.root.glob(pattern))), None)
    if packed is not None:
        yield (
            f" {packed.relative_to(facts.root)} keeps pictures packed in a table, which is not read: write them out as files, "
            "with a metadata.jsonl of file_name and text."
        )
    if facts.below:
        yield f" Pictures lie in {places(facts.below)}. {advice(facts.below)}"
    for folder in facts.folders:
        if folder.others:
            said = said_of_unread(folder.path, folder.others, facts.trainer)
            yield f" {names_of(folder.others)} cannot be read. Convert to PNG what should be trained on. {said}"
    for folder in facts.folders:
        if folder.why_unused == "no repeats":
            yield f" {folder.path} is not used: it asks for {folder.asked_repeats} repeats."
        elif folder.why_unused in ("beside", "no prefix") and not facts.below:
            yield f" {folder.path}: its {folder.num_pictures} pictures are not used. Give {folder.path} itself."


def _unusable(caption: CaptionFact) -> Problem | None:
    if caption.problem is not None or caption.text:
        return caption.problem
    given = (
        "its first line is blank, and only that one is read" if caption.lines_left_out else "an empty caption"
    )
    remedy = "Write the caption, or remove file and picture."
    return Problem(str(caption.path), given, "a caption in the first line", remedy)


def _orphan(caption: Path, stems: Sequence[str]) -> Problem:
    guess = nearest(caption.stem, stems)
    remedy = "Add or rename the picture, or move this file elsewhere."
    remedy = f"Is it meant for '{guess}'? {remedy}" if guess else remedy
    return Problem(str(caption), "a caption without picture", f"a picture named {caption.stem}", remedy)


def _uncaptioned(folder: FolderFact) -> Iterator[Problem]:
    """Yield the lack of captions where nothing stands in: of the folder once, or of each picture that lacks one."""
    without, ending = folder.without_caption, _subset_of(folder).caption_extension
    if folder.stand_in is not None:
        return
    listed_in = _subset_of(folder).metadata_file
    if listed_in is not None:
        for picture in without:
            remedy = f"Write it in {listed_in.name}, or take the picture out of the list."
            yield Problem(str(picture), f"no caption in {listed_in}", "a caption for each picture", remedy)
        return
    if without and len(without) == len(folder.files):
        remedy = f"Write NAME{ending} beside each picture, or set caption_fallback to one caption for all."
        for other, count in folder.other_captions[:1]:
            remedy = (
                f'{count} {other} files there are not read: set caption_extension = "{other}" to use them.'
            )
        given = f"no captions: {len(without)} pictures and no {ending} file"
        yield Problem(str(folder.path), given, "a caption beside each picture, or one for all", remedy)
        return
    for picture in without:
        required, remedy = f"{picture.stem}{ending} beside it", "Write its caption, or remove the picture."
        yield Problem(str(picture), "a picture without caption, while others have one", required, remedy)


def _unmasked(folder: FolderFact) -> Iterator[Problem]:
    """Yield the lack of masks where a folder's pictures are to have some and not one has."""
    options = _subset_of(folder).options
    if not folder.without_mask or folder.masks or folder.is_regularization:
        return
    if options.mask_folder is not None:
        required, remedy = f"{options.mask_folder / 'NAME.png'} for each picture", "Correct mask_folder."
    elif options.masks_beside:
        required, remedy = "masks/NAME.png or NAME-masklabel.png by each picture", "Correct mask_source."
    else:
        required, remedy = "pictures with transparent parts", "Use masks in files, or take alpha masks out."
    given = f"masks asked for, and none of its {len(folder.without_mask)} pictures has one"
    yield Problem(str(folder.path), given, required, f"{remedy} maquette masks {folder.path} makes some.")
