"""Everything that can be known of a dataset, as one trainer takes it; nothing in it stops the looking.

Two trainers read folders differently. sd-scripts takes N_name children of the folder it is given and nothing else;
Maquette also takes a folder that is itself called N_name, and a flat one. Both read the same dataset TOML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maquette.dataset.captions import decode_caption, guess_encoding, match_captions
from maquette.dataset.config import (
    FOLDER_CAPTION_EXTENSION,
    TOML_CAPTION_EXTENSION,
    DatasetPlan,
    DatasetSource,
    SubsetOptions,
    SubsetSource,
)
from maquette.dataset.facts import CaptionFact, DatasetFacts, FolderFact, WhyUnused
from maquette.dataset.folders import (
    Listing,
    Notes,
    folder_subsets,
    list_folder,
    missing_folder,
    prefix_of,
    with_dot,
)
from maquette.dataset.kohya import toml_plan
from maquette.dataset.measures import Measured, Measures
from maquette.dataset.planned import options_of, schedule_of
from maquette.dataset.scan import other_endings, unusable_root
from maquette.errors import DatasetError, Problem
from maquette.project.request import Trainer

if TYPE_CHECKING:
    from maquette.dataset.measure_cache import MeasureCache

__all__ = ["gather_dataset", "options_of", "schedule_of"]

OnProgress = Callable[[int, int], None]


@dataclass
class _Found:
    """What the looking has turned up so far."""

    notes: Notes = field(default_factory=Notes)
    folders: list[FolderFact] = field(default_factory=list)
    listings: dict[Path, Listing] = field(default_factory=dict)

    def listing(self, folder: Path) -> Listing:
        """Return what `folder` holds, read once."""
        if folder not in self.listings:
            self.listings[folder] = list_folder(folder, self.notes)
        return self.listings[folder]

    def use(self, subset: SubsetSource) -> None:
        """Add a folder that the trainer takes pictures from, and those below it that it does not search."""
        listing = self.listing(subset.path)
        self.folders.append(
            FolderFact(
                path=subset.path,
                num_pictures=len(listing.pictures),
                prefix_repeats=_prefix(subset.path),
                subset=subset,
                files=listing.pictures,
                is_regularization=subset.is_regularization,
            )
        )
        for below in listing.folders:
            self.leave(below, "below", is_regularization=subset.is_regularization)

    def leave(
        self,
        folder: Path,
        why: WhyUnused,
        *,
        is_regularization: bool = False,
        asked_repeats: int | None = None,
        even_if_empty: bool = False,
    ) -> None:
        """Add a folder that the trainer takes nothing from; an empty one is worth no word unless it was asked for."""
        known = any(fact.path == folder for fact in self.folders)
        count = len(self.listing(folder).pictures) if folder.is_dir() else 0
        if (count and not known) or even_if_empty:
            self.folders.append(
                FolderFact(
                    path=folder,
                    num_pictures=count,
                    prefix_repeats=_prefix(folder),
                    subset=None,
                    why_unused=why,
                    is_regularization=is_regularization,
                    asked_repeats=asked_repeats,
                )
            )


def gather_dataset(
    images: Path,
    *,
    regularization: Path | None = None,
    options: SubsetOptions | None = None,
    fallback_caption: str | None = None,
    trainer: Trainer = "maquette",
    measure: bool = True,
    cache: MeasureCache | Literal["default"] | None = "default",
    on_progress: OnProgress | None = None,
) -> DatasetFacts:
    """Return what lies at `images` (a folder or a kohya dataset TOML), as `trainer` takes it.

    options: what the run says beside it; None where only the folder is known (then captions end in `.txt`).
    regularization: a second folder; sd-scripts takes no notice of it beside a TOML. measure: take every picture's
    measures, which decodes it; without, only sizes are read. cache: where earlier measures are recalled from, as in
    `measure_pictures`. on_progress: called with (done, total) pictures.
    Never raises for what a dataset contains: problems become facts.
    """
    found = _Found()
    plan = _plan(images, options, trainer, found)
    if regularization is not None and not (trainer == "sd-scripts" and images.is_file()):
        _look_into(regularization, options, trainer, found, is_regularization=True)
    used = [fact for fact in found.folders if fact.subset is not None]
    captions, missing, other = _captions([fact for fact in used if not fact.is_regularization], found)
    of_class, _, _ = _captions([fact for fact in used if fact.is_regularization], found)
    facts = DatasetFacts(
        root=images,
        plan=replace(plan, subsets=tuple(fact.subset for fact in used if fact.subset is not None)),
        folders=tuple(found.folders),
        pictures=(),
        regularization=(),
        captions=captions,
        regularization_captions=of_class,
        without_caption=missing,
        other_captions=tuple(other.most_common()),
        problems=tuple(found.notes.problems),
        has_captions_by_design=not _is_meant_without(used, captions, fallback_caption, images.is_file()),
        trainer=trainer,
        regularization_root=regularization,
        fallback_caption=fallback_caption,
    )
    return _with_pictures(facts, measure, cache, on_progress)


# --- folders ---------------------------------------------------------------------------------------------


def _plan(images: Path, options: SubsetOptions | None, trainer: Trainer, found: _Found) -> DatasetPlan:
    """Look into the folder or TOML; return its tables."""
    if not images.is_file():
        _look_into(images, options, trainer, found, is_regularization=False)
        return DatasetPlan(datasets=(DatasetSource(),), subsets=())
    problem = unusable_root(images)
    if problem is not None:
        found.notes.problems.append(problem)
        return DatasetPlan(datasets=(), subsets=())
    try:
        plan = toml_plan(images, options or SubsetOptions(), found.notes, trainer=trainer)
    except DatasetError as error:
        found.notes.problems += error.problems
        return DatasetPlan(datasets=(), subsets=())
    _sort_out(plan.subsets, found)
    return plan


def _sort_out(subsets: Iterable[SubsetSource], found: _Found) -> None:
    """Take a TOML's subsets as sd-scripts does: none below one repeat, no folder twice in a dataset, no missing one."""
    kept: set[tuple[int, Path]] = set()
    for subset in subsets:
        key = (subset.dataset, subset.path.resolve())
        why: WhyUnused = ""
        if subset.num_repeats < 1:
            why = "no repeats"
        elif key in kept:
            why = "listed twice"
        elif not subset.path.is_dir():
            why = "missing"
            found.notes.problems.append(missing_folder(subset.path))
        if why:
            found.leave(
                subset.path,
                why,
                is_regularization=subset.is_regularization,
                asked_repeats=subset.num_repeats,
                even_if_empty=True,
            )
        else:
            kept.add(key)
            found.use(subset)


def _look_into(
    root: Path, options: SubsetOptions | None, trainer: Trainer, found: _Found, *, is_regularization: bool
) -> None:
    """Add the folders at `root`: those that the trainer takes, then those beside them."""
    problem = unusable_root(root)
    if problem is not None:
        found.notes.problems.append(problem)
        return
    listing = found.listing(root)
    asked = options or SubsetOptions(caption_extension=FOLDER_CAPTION_EXTENSION)
    if trainer == "sd-scripts":
        subsets = _kohya_subsets(listing, asked, is_regularization)
    else:
        subsets = folder_subsets(root, asked, Notes(), is_regularization=is_regularization)
    for subset in subsets:
        found.use(subset)
    used = {subset.path for subset in subsets}
    if root not in used:
        is_own = trainer == "sd-scripts" and not used and prefix_of(root.resolve().name) is not None
        why: WhyUnused = "itself" if is_own else "beside" if used else "no prefix"
        found.leave(root, why, is_regularization=is_regularization)
        for folder in listing.folders:
            prefix = prefix_of(folder.name)
            if prefix is not None and prefix[0] < 1:
                found.leave(
                    folder, "no repeats", is_regularization=is_regularization, asked_repeats=prefix[0]
                )
            elif folder not in used:
                found.leave(folder, "no prefix", is_regularization=is_regularization)


def _kohya_subsets(listing: Listing, options: SubsetOptions, is_regularization: bool) -> list[SubsetSource]:
    """Return what sd-scripts takes from --train_data_dir: N_name children, whose names also caption the uncaptioned."""
    extension = with_dot(options.caption_extension or TOML_CAPTION_EXTENSION)
    prefixed = [(folder, prefix_of(folder.name)) for folder in listing.folders]
    return [
        SubsetSource(
            path=folder,
            num_repeats=prefix[0],
            is_regularization=is_regularization,
            class_tokens=prefix[1],
            caption_extension=extension,
            options=replace(options, num_repeats=prefix[0]),
        )
        for folder, prefix in prefixed
        if prefix is not None and prefix[0] >= 1
    ]


def _prefix(folder: Path) -> int | None:
    prefix = prefix_of(folder.name)
    return prefix[0] if prefix and "_" in folder.name else None


# --- captions --------------------------------------------------------------------------------------------


def _captions(
    folders: Sequence[FolderFact], found: _Found
) -> tuple[tuple[CaptionFact, ...], tuple[Path, ...], Counter[str]]:
    """Return the folders' captions, the pictures without one, and how many files of other endings lie beside them."""
    captions: list[CaptionFact] = []
    without: list[Path] = []
    other: Counter[str] = Counter()
    seen: set[tuple[Path, str]] = set()
    for folder in folders:
        subset = folder.subset
        assert subset is not None, "only folders in use have captions"
        if (folder.path, subset.caption_extension) in seen:
            continue
        seen.add((folder.path, subset.caption_extension))
        listing = found.listing(folder.path)
        matches = match_captions(listing.pictures, listing.files, subset.caption_extension)
        other += other_endings(subset, listing)
        for picture, path in matches.sources.items():
            if path is None:
                without.append(picture)
            else:
                captions.append(_caption(path, picture, subset))
        captions += [_caption(path, None, subset) for path in matches.orphans]
    return tuple(captions), tuple(dict.fromkeys(without)), other


def _caption(path: Path, picture: Path | None, subset: SubsetSource) -> CaptionFact:
    try:
        data = path.read_bytes()
    except OSError as error:
        given = f"cannot be read ({error.strerror})"
        problem = Problem(str(path), given, "a readable caption", "Check its permissions.")
        return CaptionFact(path=path, text="", picture=picture, subset=subset, problem=problem)
    try:
        read = decode_caption(data, all_lines=subset.options.enable_wildcard)
    except UnicodeDecodeError:
        guessed = guess_encoding(data)
        given = f"not UTF-8; it looks like {guessed}"
        problem = Problem(str(path), given, "a caption in UTF-8", "Save it again as UTF-8.")
        return CaptionFact(
            path=path, text="", picture=picture, subset=subset, problem=problem, guessed_encoding=guessed
        )
    return CaptionFact(
        path=path,
        text=read.text,
        picture=picture,
        subset=subset,
        lines_left_out=read.lines_left_out,
        had_mark=read.had_mark,
    )


def _is_meant_without(
    used: Sequence[FolderFact], captions: Sequence[CaptionFact], fallback: str | None, is_toml: bool
) -> bool:
    """Whether no picture has a caption file, and one caption for all was given: then none is missing."""
    if any(caption.picture is not None for caption in captions):
        return False
    subsets = [fact.subset for fact in used if fact.subset is not None and not fact.is_regularization]
    named = is_toml and bool(subsets) and all(subset.class_tokens for subset in subsets)
    return bool(fallback) or named


# --- pictures --------------------------------------------------------------------------------------------


def _with_pictures(
    facts: DatasetFacts,
    measure: bool,
    cache: MeasureCache | Literal["default"] | None,
    on_progress: OnProgress | None,
) -> DatasetFacts:
    subject, of_class = facts.files, facts.regularization_files
    paths = list(dict.fromkeys((*subject, *of_class)))
    if not measure:
        sizes = {path: size for path in paths if (size := _header_size(path)) is not None}
        return replace(facts, sizes_wh=sizes)
    measured = _measured(paths, cache, on_progress)
    return replace(
        facts,
        pictures=tuple(measured[path] for path in subject),
        regularization=tuple(measured[path] for path in of_class),
        sizes_wh={
            path: (each.result.width_px, each.result.height_px)
            for path, each in measured.items()
            if isinstance(each.result, Measures)
        },
    )


def _measured(
    paths: Sequence[Path],
    cache: MeasureCache | Literal["default"] | None,
    on_progress: OnProgress | None,
) -> dict[Path, Measured]:
    from maquette.dataset.measuring import measure_pictures

    measured: dict[Path, Measured] = {}
    for done, each in enumerate(measure_pictures(paths, cache=cache), start=1):
        measured[each.path] = each
        if on_progress is not None:
            on_progress(done, len(paths))
    return measured


def _header_size(path: Path) -> tuple[int, int] | None:
    """Return width and height from a picture's header, or None for what is no picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
