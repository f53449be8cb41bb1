"""From a path to a dataset: every picture decoded and hashed, every caption read, every problem reported at
once.

A dataset is a folder with N_name/ children, a folder that is itself called N_name, a flat folder, or a kohya
dataset TOML; regularization pictures come from a second folder or from the TOML's `is_reg` subsets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.dataset.captions import decode_caption, guess_encoding, match_captions
from maquette.dataset.config import (
    PICTURE_EXTENSIONS,
    DatasetPlan,
    DatasetSource,
    SubsetOptions,
    SubsetSource,
)
from maquette.dataset.folders import (
    Listing,
    Notes,
    folder_subsets,
    keep_first,
    list_folder,
    missing_folder,
    prefix_of,
    warn_of_folders_below,
)
from maquette.dataset.kohya import CONFIG_SUFFIXES, read_dataset_toml
from maquette.dataset.pictures import OTHER_PICTURE_EXTENSIONS, PictureFacts, check_pictures
from maquette.dataset.records import Dataset, Picture
from maquette.errors import DatasetError, Problem, nearest

CAPTION_EXTENSIONS = frozenset({".txt", ".caption", ".cap", ".tags"})


@dataclass(frozen=True)
class CaptionFile:
    """The caption that a picture trains on, and where it came from."""

    text: str
    path: Path | None = None
    sha256: str | None = None


def scan_dataset(
    images: Path,
    *,
    regularization: Path | None = None,
    options: SubsetOptions | None = None,
    fallback_caption: str | None = None,
    regularization_caption: str | None = None,
    folder_name_captions: bool = False,
) -> Dataset:
    """Return the dataset at `images`, with `regularization` pictures beside it.

    `options` holds what the caller wants where names and TOML say nothing. A folder in which no picture has a
    caption takes `fallback_caption` (regularization: `regularization_caption`, else the name of its N_name
    folder). `folder_name_captions` gives every uncaptioned picture its N_name folder's name, as sd-scripts
    does unasked. Raises DatasetError with every problem of every folder, picture and caption.
    """
    plan = plan_folders(
        images, regularization=regularization, options=options, folder_name_captions=folder_name_captions
    )
    notes = Notes(warnings=list(plan.warnings))
    subsets = keep_first(plan.subsets, notes)
    pictures: list[Picture] = []
    fallbacks = {False: fallback_caption or None, True: regularization_caption or None}
    listings = {subset: list_folder(subset.path, notes) for subset in subsets if _is_there(subset, notes)}
    _check_presence(images, listings, notes)
    checked = _checked(listing.pictures for listing in listings.values())
    for subset, listing in listings.items():
        pictures += _subset_pictures(subset, listing, checked, fallbacks[subset.is_regularization], notes)
    if notes.problems:
        raise DatasetError(notes.problems)
    _warn_of_pictures(pictures, checked, notes)
    _warn_of_idle_settings(pictures, notes)
    used = {picture.subset for picture in pictures}
    return Dataset(
        pictures=tuple(pictures),
        datasets=plan.datasets,
        subsets=tuple(subset for subset in subsets if subset in used),
        warnings=tuple(notes.warnings),
    )


def plan_folders(
    images: Path,
    *,
    regularization: Path | None = None,
    options: SubsetOptions | None = None,
    folder_name_captions: bool = False,
) -> DatasetPlan:
    """Return where pictures will be looked for, without opening any. Raises DatasetError."""
    options = options or SubsetOptions()
    notes = Notes()
    problems = [unusable_root(root) for root in (images, regularization) if root is not None]
    if regularization is not None and regularization.is_file():
        problems.append(
            Problem(
                str(regularization),
                "a file given as regularization folder",
                "a folder",
                "List regularization folders in the dataset TOML with is_reg = true.",
            )
        )
    found = [problem for problem in problems if problem is not None]
    if found:
        raise DatasetError(found)
    if images.is_file():
        plan = read_dataset_toml(images, options)
    else:
        subsets = folder_subsets(images, options, notes, folder_name_captions=folder_name_captions)
        plan = DatasetPlan(datasets=(DatasetSource(),), subsets=tuple(subsets))
    extra = folder_subsets(regularization, options, notes, is_regularization=True) if regularization else []
    if extra and len(plan.datasets) > 1:
        notes.problem(
            regularization,
            f"a regularization folder for a TOML of {len(plan.datasets)} datasets",
            "a dataset that it belongs to",
            "List it in the TOML with is_reg = true.",
        )
    if notes.problems:
        raise DatasetError(notes.problems)
    return replace(plan, subsets=(*plan.subsets, *extra), warnings=(*plan.warnings, *notes.warnings))


def unusable_root(root: Path) -> Problem | None:
    """Return why nothing can be looked for at `root`, or None for a folder or a kohya dataset TOML."""
    try:
        if root.is_dir():
            return None
        if not root.exists():
            return missing_folder(root)
    except OSError as error:
        return Problem(
            str(root), f"cannot be opened ({error.strerror})", "a readable folder", "Check its permissions."
        )
    if root.suffix.lower() in CONFIG_SUFFIXES:
        return None
    remedy = (
        f"Give its folder: {root.parent}" if root.suffix.lower() in PICTURE_EXTENSIONS else "Give a folder."
    )
    return Problem(str(root), "a file", "a folder of pictures or a kohya dataset TOML", remedy)


def _is_there(subset: SubsetSource, notes: Notes) -> bool:
    if subset.path.is_dir():
        return True
    notes.problems.append(missing_folder(subset.path))
    return False


def _check_presence(root: Path, listings: dict[SubsetSource, Listing], notes: Notes) -> None:
    """Say which folders are empty, and make it a problem when nothing is left to train on."""
    for subset, listing in listings.items():
        others = [path for path in listing.files if path.suffix.lower() in OTHER_PICTURE_EXTENSIONS]
        if others:
            notes.warn(
                f"{subset.path}: {_names(others)} cannot be read. Convert to PNG what should be trained on."
            )
        if listing.pictures:
            warn_of_folders_below(listing.folders, notes)
    empty = [subset for subset, listing in listings.items() if not listing.pictures]
    hints = {subset: _hint_below(listings[subset]) for subset in empty}
    if any(subset not in empty and not subset.is_regularization for subset in listings):
        for subset in empty:
            notes.warn(f"{subset.path} holds no pictures and is not used.{hints[subset]}")
    elif notes.problems:
        return
    elif len(empty) < len(listings):
        notes.problem(
            root, "only regularization pictures", "pictures of the subject", "Add a training folder."
        )
    else:
        kinds = ", ".join(sorted(PICTURE_EXTENSIONS))
        said = "".join(hints.values()) or "".join(f" {message.text}" for message in notes.warnings)
        notes.problem(
            root, "no pictures", f"at least one ({kinds})", f"Add pictures or correct the path.{said}"
        )


def _hint_below(listing: Listing) -> str:
    """Return advice when the pictures lie one folder deeper, where nobody looks."""
    below = [path for path in listing.folders if list_folder(path, Notes()).pictures]
    return f" Folders below are not searched: give {below[0]} itself." if below else ""


def _checked(groups: Iterable[Sequence[Path]]) -> dict[Path, PictureFacts | Problem]:
    paths = list(dict.fromkeys(path for group in groups for path in group))
    return dict(zip(paths, check_pictures(paths), strict=True))


def _subset_pictures(
    subset: SubsetSource,
    listing: Listing,
    checked: dict[Path, PictureFacts | Problem],
    fallback: str | None,
    notes: Notes,
) -> list[Picture]:
    """Return the sound pictures of one folder with their captions; what is wrong goes to `notes`."""
    if not listing.pictures:
        return []
    facts = {path: checked[path] for path in listing.pictures}
    notes.problems += [problem for problem in facts.values() if isinstance(problem, Problem)]
    captions = _captions(subset, listing, fallback, notes)
    return [
        Picture(
            path=path,
            width_px=fact.width_px,
            height_px=fact.height_px,
            caption=captions[path].text,
            caption_path=captions[path].path,
            subset=subset,
            sha256=fact.sha256,
            caption_sha256=captions[path].sha256,
        )
        for path, fact in facts.items()
        if isinstance(fact, PictureFacts) and path in captions
    ]


def _captions(
    subset: SubsetSource, listing: Listing, fallback: str | None, notes: Notes
) -> dict[Path, CaptionFile]:
    """Return each picture's caption; missing, orphaned and unreadable ones become problems."""
    matches = match_captions(listing.pictures, listing.files, subset.caption_extension)
    sources = matches.sources
    read = _read_captions({path for path in sources.values() if path is not None}, subset, notes)
    _report_orphans(matches.orphans, listing.pictures, notes)
    _warn_of_shared(subset, sources, notes)
    without = [picture for picture, path in sources.items() if path is None]
    stand_in = _stand_in(subset, without, len(listing.pictures), fallback, listing, notes)
    captions = {picture: read[path] for picture, path in sources.items() if path in read}
    if stand_in is not None:
        captions |= {picture: CaptionFile(stand_in) for picture in without}
    return captions


def _stand_in(
    subset: SubsetSource,
    without: list[Path],
    num_pictures: int,
    fallback: str | None,
    listing: Listing,
    notes: Notes,
) -> str | None:
    """Return the caption of pictures that have none, or make their lack a problem."""
    if not without:
        return None
    nobody_has_one = len(without) == num_pictures
    caption = subset.class_tokens
    if nobody_has_one and fallback is not None and (caption is None or subset.is_regularization):
        caption = fallback
    if caption is not None:
        notes.warn(
            f'{subset.path}: {_pictures(without)} without caption trained on "{caption}".'
            f"{_other_endings(subset, listing)}"
        )
        return caption
    ending = subset.caption_extension
    if nobody_has_one:
        notes.problem(
            subset.path,
            f"no captions: {len(without)} pictures and no {ending} file",
            "a caption beside each picture, or one for all",
            _other_endings(subset, listing).strip()
            or f"Write NAME{ending} beside each picture, or set caption_fallback to one caption for all.",
        )
        return None
    for picture in without:
        notes.problem(
            picture,
            "a picture without caption, while others have one",
            f"{picture.stem}{ending} beside it",
            "Write its caption, or remove the picture.",
        )
    return None


def _other_endings(subset: SubsetSource, listing: Listing) -> str:
    """Return a sentence about caption files of another ending, which are not read."""
    for ending, count in other_endings(subset, listing).most_common(1):
        return f' {count} {ending} files there are not read: set caption_extension = "{ending}" to use them.'
    return ""


def other_endings(subset: SubsetSource, listing: Listing) -> Counter[str]:
    """Return how many caption files of each ending that is not read lie beside the pictures."""
    stems = {picture.stem for picture in listing.pictures}
    return Counter(
        path.suffix
        for path in listing.files
        if path.suffix != subset.caption_extension
        and path.suffix.lower() in CAPTION_EXTENSIONS
        and path.stem in stems
    )


def _read_captions(paths: set[Path], subset: SubsetSource, notes: Notes) -> dict[Path, CaptionFile]:
    captions: dict[Path, CaptionFile] = {}
    shortened: list[Path] = []
    marked: list[Path] = []
    for path in sorted(paths):
        try:
            data = path.read_bytes()
            read = decode_caption(data, all_lines=subset.options.enable_wildcard)
        except UnicodeDecodeError:
            encoding = guess_encoding(data)
            notes.problem(
                path, f"not UTF-8; it looks like {encoding}", "a caption in UTF-8", "Save it again as UTF-8."
            )
            continue
        except OSError as error:
            notes.problem(
                path, f"cannot be read ({error.strerror})", "a readable caption", "Check its permissions."
            )
            continue
        if not read.text:
            given = (
                "its first line is blank, and only that one is read"
                if read.lines_left_out
                else "an empty caption"
            )
            notes.problem(
                path, given, "a caption in the first line", "Write the caption, or remove file and picture."
            )
            continue
        shortened += [path] if read.lines_left_out else []
        marked += [path] if read.had_mark else []
        captions[path] = CaptionFile(read.text, path, hashlib.sha256(data).hexdigest())
    if shortened:
        notes.warn(f"{subset.path}: only the first line of {_names(shortened)} is read.")
    if marked:
        notes.warn(
            f"{subset.path}: the byte order mark of {_names(marked)} is left out; sd-scripts trains on it."
        )
    return captions


def _report_orphans(orphans: Sequence[Path], pictures: Sequence[Path], notes: Notes) -> None:
    stems = [picture.stem for picture in pictures]
    for caption in orphans:
        guess = nearest(caption.stem, stems)
        remedy = f"Is it meant for '{guess}'? " if guess else ""
        notes.problem(
            caption,
            "a caption without picture",
            f"a picture named {caption.stem}",
            f"{remedy}Add or rename the picture, or move this file elsewhere.",
        )


def _warn_of_shared(subset: SubsetSource, sources: Mapping[Path, Path | None], notes: Notes) -> None:
    """Say which pictures share one caption file, since two of them may be the same picture saved twice."""
    users: dict[Path, list[Path]] = {}
    for picture, caption in sources.items():
        if caption is not None:
            users.setdefault(caption, []).append(picture)
    for caption, pictures in users.items():
        if len(pictures) > 1:
            notes.warn(f"{subset.path}: {_names(pictures)} share the caption {caption.name}.")


def _warn_of_pictures(
    pictures: Sequence[Picture], checked: dict[Path, PictureFacts | Problem], notes: Notes
) -> None:
    facts = {path: fact for path, fact in checked.items() if isinstance(fact, PictureFacts)}
    used = {picture.path for picture in pictures}
    rotated = [path for path, fact in facts.items() if fact.is_rotated and path in used]
    transparent = [path for path, fact in facts.items() if fact.is_transparent and path in used]
    if rotated:
        notes.warn(
            f"{_names(rotated)}: EXIF data ask viewers to turn or mirror, but training takes pixels as "
            "stored, so it will see them lying or mirrored. Save them turned."
        )
    if transparent:
        notes.warn(
            f"{_names(transparent)}: transparent parts are trained in the colour stored behind them, "
            "often black. Flatten them onto a background if that is not wanted."
        )
    prefixes = {subset: prefix_of(subset.path.name) for subset in dict.fromkeys(p.subset for p in pictures)}
    for subset, prefix in prefixes.items():
        if prefix and prefix[1] and prefix[0] not in (0, subset.num_repeats):
            notes.warn(
                f"{subset.path}: each picture is shown {subset.num_repeats} times an epoch by the TOML; "
                f"the {prefix[0]} in the folder's name does not count there."
            )


def _warn_of_idle_settings(pictures: Sequence[Picture], notes: Notes) -> None:
    """Say which settings do nothing because another one that they need is off."""
    for subset in dict.fromkeys(picture.subset for picture in pictures):
        options = subset.options
        moves = options.shuffle_caption or options.caption_tag_dropout_rate > 0
        if not moves and (options.keep_tokens or options.keep_tokens_separator):
            notes.warn(f"{subset.path}: keep_tokens has no effect, since shuffle_caption is off.")


def _pictures(paths: Sequence[Path]) -> str:
    return f"{len(paths)} pictures" if len(paths) != 1 else paths[0].name


def _names(paths: Sequence[Path]) -> str:
    """Return up to three names and how many more."""
    shown = ", ".join(path.name for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
