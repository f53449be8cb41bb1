"""The one reader of a dataset: everything that can be known of it, as one trainer takes it; nothing stops the looking.

Two trainers read folders differently. sd-scripts takes N_name children of the folder it is given and nothing else;
Maquette also takes a folder that is itself called N_name, and a flat one. Both read the same dataset TOML.
What training takes of the facts, or why it cannot, is said by `dataset/strict.py`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maquette.dataset.below import PicturesBelow, pictures_below
from maquette.dataset.captions import CaptionMatches, decode_caption, guess_encoding, match_captions
from maquette.dataset.config import (
    CAPTION_EXTENSIONS,
    FOLDER_CAPTION_EXTENSION,
    DatasetPlan,
    DatasetSource,
    SubsetOptions,
    SubsetSource,
)
from maquette.dataset.facts import (
    CaptionFact,
    DatasetFacts,
    DatasetInput,
    Depth,
    FolderFact,
    HeldOut,
    WhyUnused,
)
from maquette.dataset.folders import (
    Listing,
    kohya_subsets,
    list_folder,
    maquette_subsets,
    missing_folder,
    prefix_of,
    unusable_root,
)
from maquette.dataset.held_out import hold_out
from maquette.dataset.kohya import plan_of_toml
from maquette.dataset.mask_files import MaskFinder, asks_for_masks, holds_masks
from maquette.dataset.masks import MaskFact, look_at_masks
from maquette.dataset.measures import Look, PictureFacts
from maquette.dataset.metadata import Metadata, list_in, read_metadata
from maquette.errors import Problem

if TYPE_CHECKING:
    from maquette.dataset.measure_cache import MeasureCache

OnProgress = Callable[[int, int], None]


def read_dataset(
    given: DatasetInput | Path,
    depth: Depth = "hashes",
    *,
    captions: bool = True,
    cache: MeasureCache | Literal["default"] | None = "default",
    on_progress: OnProgress | None = None,
) -> DatasetFacts:
    """Return what lies at `given`, as its trainer takes it. Each folder is listed once, each file opened once.

    depth: how closely pictures are looked at. captions: whether caption files are read; else they are only counted.
    cache: where earlier measures are recalled from, as in `measure_pictures`. on_progress: called with (done, total)
    pictures. Never raises for what a dataset contains: problems become facts.
    """
    given = DatasetInput(images=given) if isinstance(given, Path) else given
    found = _Found(given)
    plan = _plan(given, found)
    folders = [fact for fact in found.folders if fact.subset is not None]
    subject, of_class = (
        [fact for fact in folders if fact.is_regularization is kind] for kind in (False, True)
    )
    paths = list(dict.fromkeys(path for fact in folders for path in fact.files))
    looks = _look_at(paths, depth, cache, on_progress)
    facts = DatasetFacts(
        given=given,
        plan=plan,
        folders=tuple(_with_masks(fact, found, looks, depth) for fact in found.folders),
        captions=found.captions_of(subject) if captions else (),
        regularization_captions=found.captions_of(of_class) if captions else (),
        problems=(*plan.problems, *found.problems),
        looks=looks,
        below=() if any(fact.files for fact in subject) else _below(given.images),
    )
    return hold_out(facts, wanted) if (wanted := given.held_out or _held_by_toml(plan)) else facts


def _held_by_toml(plan: DatasetPlan) -> HeldOut | None:
    """Return the wish of a dataset TOML that holds pictures out by itself."""
    return HeldOut() if any(source.validation_split for source in plan.datasets) else None


# --- folders ---------------------------------------------------------------------------------------------


def _below(root: Path) -> tuple[PicturesBelow, ...]:
    return pictures_below(root) if unusable_root(root) is None and root.is_dir() else ()


def _plan(given: DatasetInput, found: _Found) -> DatasetPlan:
    """Look into all folders; return the tables they stand in, with the subsets that are used."""
    plan = DatasetPlan(datasets=(DatasetSource(),))
    problem = unusable_root(given.images)
    is_toml = problem is None and given.images.is_file()
    if problem is not None:
        plan = DatasetPlan(problems=(problem,))
    elif is_toml:
        plan = plan_of_toml(given.images, given.options, trainer=given.trainer)
        if given.more_resolutions_wh:
            plan = replace(plan, problems=(*plan.problems, _sizes_of_toml(given.images)))
        for subset in plan.subsets:
            found.take(subset)
    elif given.metadata_file is not None:
        found.take(_listed_subset(given.images, given.metadata_file, given.options or SubsetOptions()))
    else:
        _look_into(given.images, found, is_regularization=False)
    extra = given.regularization
    if extra is not None and not (is_toml and given.trainer == "sd-scripts"):
        problem = unusable_root(extra, is_regularization=True) or _without_dataset(extra, plan)
        if problem is None:
            _look_into(extra, found, is_regularization=True)
        else:
            plan = replace(plan, problems=(*plan.problems, problem))
    if not is_toml:
        plan = replace(plan, datasets=(*plan.datasets, *found.at_more_sizes(given.more_resolutions_wh)))
    used = tuple(fact.subset for fact in found.folders if fact.subset is not None)
    return replace(plan, subsets=used)


def _sizes_of_toml(path: Path) -> Problem:
    given = f"a dataset TOML, {path.name}, whose [[datasets]] say at which sizes pictures are shown"
    remedy = "List the folder under a [[datasets]] for each size, and leave more_resolutions out."
    return Problem("more_resolutions", given, "a folder of pictures", remedy)


def _without_dataset(regularization: Path, plan: DatasetPlan) -> Problem | None:
    count = len(plan.datasets)
    given = f"a regularization folder for a TOML of {count} datasets"
    remedy = "List it in the TOML with is_reg = true."
    return Problem(str(regularization), given, "a dataset that it belongs to", remedy) if count > 1 else None


def _look_into(root: Path, found: _Found, *, is_regularization: bool) -> None:
    """Add the folders at `root`: those that the trainer takes, then those beside them."""
    listing = found.opened(root)
    of_kohya = found.given.trainer == "sd-scripts"
    options = found.given.options or SubsetOptions(caption_extension=FOLDER_CAPTION_EXTENSION)
    asked = (kohya_subsets if of_kohya else maquette_subsets)(
        listing, options, is_regularization=is_regularization
    )
    for subset in asked:
        found.take(subset)
    named = {subset.path for subset in asked}
    if root not in named:
        is_own = of_kohya and not named and prefix_of(root.resolve().name) is not None
        why: WhyUnused = "itself" if is_own else "beside" if named else "no prefix"
        found.leave(root, why, is_regularization=is_regularization)
        for folder in listing.folders:
            if folder not in named:
                found.leave(folder, "no prefix", is_regularization=is_regularization)


def _listed_subset(folder: Path, file: Path, options: SubsetOptions) -> SubsetSource:
    """Return a folder whose pictures a list names."""
    return SubsetSource(path=folder, num_repeats=options.num_repeats, options=options, metadata_file=file)


@dataclass
class _Found:
    """What the looking has turned up so far."""

    given: DatasetInput
    folders: list[FolderFact] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    listings: dict[Path, Listing] = field(default_factory=dict)
    texts: dict[Path, bytes | OSError] = field(default_factory=dict)
    taken: set[tuple[int, Path]] = field(default_factory=set)
    lists: dict[tuple[object, ...], Metadata] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.masks = MaskFinder(self._files_in)

    def _files_in(self, folder: Path) -> tuple[Path, ...]:
        """Return the files of a folder that may not be there."""
        above = self.listings.get(folder.parent)
        is_there = folder in above.folders if above is not None else folder.is_dir()
        return self.listing(folder).files if is_there or folder in self.listings else ()

    def listing(self, folder: Path) -> Listing:
        """Return what `folder` holds, read once."""
        if folder not in self.listings:
            self.listings[folder] = list_folder(folder)
        return self.listings[folder]

    def opened(self, folder: Path) -> Listing:
        """Return the same of a folder that is asked for, so that what is wrong with it counts."""
        listing = self.listing(folder)
        self.problems += [problem for problem in listing.problems if problem not in self.problems]
        return listing

    def take(self, subset: SubsetSource) -> None:
        """Use a folder as both trainers do: not below one repeat, not twice in a dataset, and only if it is there."""
        key = (subset.dataset, (subset.metadata_file or subset.path).resolve())
        why: WhyUnused = ""
        if subset.num_repeats < 1:
            why = "no repeats"
        elif key in self.taken:
            why = "listed twice"
        elif not subset.path.is_dir():
            why = "missing"
            self.problems.append(missing_folder(subset.path))
        if why:
            self.leave(
                subset.path,
                why,
                is_regularization=subset.is_regularization,
                asked_repeats=subset.num_repeats,
                even_if_empty=self.given.images.is_file() or why == "listed twice",
            )
        else:
            self.taken.add(key)
            self._use(subset)

    def at_more_sizes(self, sizes_wh: Iterable[tuple[int, int]]) -> Iterator[DatasetSource]:
        """Use every folder that is used once more for each size, as a dataset of its own; yield those datasets."""
        subsets = [fact.subset for fact in self.folders if fact.subset is not None]
        for number, size_wh in enumerate(sizes_wh, start=1):
            for subset in subsets:
                self.take(replace(subset, dataset=number))
            yield DatasetSource(resolution_wh=size_wh)

    def _use(self, subset: SubsetSource) -> None:
        """Add a folder that the trainer takes pictures from, and those below it that it does not search."""
        listing = self.opened(subset.path)
        idle_list = list_in(subset.path) if self._may_carry_a_list(subset) else None
        if idle_list is not None and not listing.with_endings(frozenset({subset.caption_extension})):
            subset, idle_list = replace(subset, metadata_file=idle_list), None
        pictures, without = self._shown(subset)
        nobody_has_one = len(without) == len(pictures)
        stand_in = _stand_in(subset, self.given, nobody_has_one)
        by_name = self.given.trainer == "sd-scripts" and not self.given.images.is_file()
        self.folders.append(
            FolderFact(
                path=subset.path,
                num_pictures=len(pictures),
                prefix_repeats=_prefix(subset.path),
                subset=subset,
                files=pictures,
                is_regularization=subset.is_regularization,
                others=listing.unread_by(self.given.trainer) if subset.metadata_file is None else (),
                without_caption=without,
                stand_in=stand_in,
                is_meant_without=nobody_has_one and bool(stand_in) and not by_name,
                other_captions=_other_endings(subset, listing) if subset.metadata_file is None else (),
                unlisted=tuple(path for path in listing.pictures if path not in {*pictures})
                if subset.metadata_file is not None
                else (),
                idle_list=idle_list,
            )
        )
        for below in listing.folders if subset.metadata_file is None else ():
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
        if why in ("no prefix", "below") and holds_masks(folder, self.given.options):
            return
        known = any(fact.path == folder for fact in self.folders)
        count = len(self.listing(folder).pictures_for(self.given.trainer)) if folder.is_dir() else 0
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

    def captions_of(self, folders: Sequence[FolderFact]) -> tuple[CaptionFact, ...]:
        """Return the folders' captions, each folder's orphans behind its pictures'."""
        captions: list[CaptionFact] = []
        for subset in _readings(folders):
            if subset.metadata_file is not None:
                captions += [
                    caption_of_list(text, picture, subset)
                    for picture, text in self.listed(subset).captions.items()
                    if text.strip()
                ]
                continue
            matches = self._matches(subset)
            of_pictures = [(path, picture) for picture, path in matches.sources.items() if path is not None]
            captions += [self._caption(path, picture, subset) for path, picture in of_pictures]
            captions += [self._caption(path, None, subset) for path in matches.orphans]
        return tuple(captions)

    def _may_carry_a_list(self, subset: SubsetSource) -> bool:
        return self.given.trainer == "maquette" and subset.metadata_file is None

    def listed(self, subset: SubsetSource) -> Metadata:
        """Return what a subset's list names, read once."""
        if subset.reading not in self.lists:
            self.lists[subset.reading] = read_metadata(subset)
            self.problems += self.lists[subset.reading].problems
        return self.lists[subset.reading]

    def _shown(self, subset: SubsetSource) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Return the pictures of a subset, and those of them that have no caption."""
        if subset.metadata_file is not None:
            captions = self.listed(subset).captions
            return tuple(captions), tuple(path for path, text in captions.items() if not text.strip())
        sources = self._matches(subset).sources
        return tuple(sources), tuple(picture for picture, path in sources.items() if path is None)

    def _matches(self, subset: SubsetSource) -> CaptionMatches:
        listing, trainer = self.listing(subset.path), self.given.trainer
        pictures, others = listing.pictures_for(trainer), listing.unread_by(trainer)
        return match_captions(pictures, listing.files, subset.caption_extension, waiting=others)

    def _caption(self, path: Path, picture: Path | None, subset: SubsetSource) -> CaptionFact:
        if path not in self.texts:
            self.texts[path] = _read(path)
        return caption_fact(self.texts[path], path, picture, subset)


def _readings(folders: Iterable[FolderFact]) -> list[SubsetSource]:
    """Return the subsets that read captions differently: a folder in two datasets of a TOML is mostly read alike."""
    subsets = [fact.subset for fact in folders if fact.subset is not None]
    readings = {subset.reading: subset for subset in reversed(subsets)}
    return [subset for subset in subsets if subset in readings.values()]


def _prefix(folder: Path) -> int | None:
    prefix = prefix_of(folder.name)
    return prefix[0] if prefix and "_" in folder.name else None


# --- captions --------------------------------------------------------------------------------------------


def _stand_in(subset: SubsetSource, given: DatasetInput, nobody_has_one: bool) -> str | None:
    """Return the caption of pictures that have none; one for all only where not a single picture has its own."""
    fallback = given.regularization_caption if subset.is_regularization else given.fallback_caption
    if nobody_has_one and fallback and (subset.class_tokens is None or subset.is_regularization):
        return fallback
    return subset.class_tokens


def _other_endings(subset: SubsetSource, listing: Listing) -> tuple[tuple[str, int], ...]:
    """Return how many caption files of each ending that is not read lie beside the pictures, most frequent first."""
    stems = {picture.stem for picture in listing.pictures}
    others = (path for path in listing.with_endings(CAPTION_EXTENSIONS) if path.stem in stems)
    return tuple(
        Counter(path.suffix for path in others if path.suffix != subset.caption_extension).most_common()
    )


def _read(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def caption_fact(
    data: bytes | OSError, path: Path, picture: Path | None, subset: SubsetSource
) -> CaptionFact:
    """Return what a caption file's bytes say, or why they say nothing."""
    fact = CaptionFact(path=path, text="", picture=picture, subset=subset)
    if isinstance(data, OSError):
        given = f"cannot be read ({data.strerror})"
        problem = Problem(str(path), given, "a readable caption", "Check its permissions.")
        return replace(fact, problem=problem)
    fact = replace(fact, sha256=hashlib.sha256(data).hexdigest())
    try:
        read = decode_caption(data, all_lines=subset.options.enable_wildcard)
    except UnicodeDecodeError:
        guessed = guess_encoding(data)
        given = f"not UTF-8; it looks like {guessed}"
        problem = Problem(str(path), given, "a caption in UTF-8", "Save it again as UTF-8.")
        return replace(fact, problem=problem, guessed_encoding=guessed)
    return replace(fact, text=read.text, lines_left_out=read.lines_left_out, had_mark=read.had_mark)


def caption_of_list(text: str, picture: Path, subset: SubsetSource) -> CaptionFact:
    """Return what a list says of a picture: its first line, or all where wildcards choose among them."""
    lines = text.split("\n")
    is_whole = subset.options.enable_wildcard
    return CaptionFact(
        path=picture,
        text=text if is_whole else lines[0],
        picture=picture,
        subset=subset,
        lines_left_out=0 if is_whole else sum(bool(line.strip()) for line in lines[1:]),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        listed_in=subset.metadata_file,
    )


# --- masks -----------------------------------------------------------------------------------------------


def _with_masks(folder: FolderFact, found: _Found, looks: Mapping[Path, Look], depth: Depth) -> FolderFact:
    """Return a folder with what is known of its pictures' masks: read where pictures are decoded, else only found."""
    if folder.subset is None:
        return folder
    options = folder.subset.options
    if not asks_for_masks(options):
        beside = replace(options, masks_beside=True)
        named = (found.masks.mask_of(picture, beside) for picture in folder.files)
        return replace(folder, idle_masks=tuple(dict.fromkeys(path for path in named if path is not None)))
    masks = {}
    for picture in folder.files:
        file = found.masks.mask_of(picture, options)
        look = looks.get(picture)
        if file is None and options.alpha_mask and isinstance(look, PictureFacts) and look.is_transparent:
            file = picture
        if file is not None:
            masks[picture] = MaskFact(picture=picture, path=file)
    if depth in ("hashes", "measures"):
        sound = [each for each in masks.values() if not isinstance(looks.get(each.picture), Problem)]
        masks = {each.picture: each for each in look_at_masks(sound)}
    is_known = depth in ("hashes", "measures") or not options.alpha_mask
    unreadable = {path for path in folder.files if isinstance(looks.get(path), Problem)}
    without = tuple(path for path in folder.files if path not in masks and path not in unreadable)
    return replace(folder, masks=masks, without_mask=without if is_known else ())


# --- pictures --------------------------------------------------------------------------------------------


def _look_at(
    paths: Sequence[Path],
    depth: Depth,
    cache: MeasureCache | Literal["default"] | None,
    on_progress: OnProgress | None,
) -> dict[Path, Look]:
    looks: dict[Path, Look] = {}
    for path, look in zip(paths, _looks(paths, depth, cache), strict=False):
        looks[path] = look
        if on_progress is not None:
            on_progress(len(looks), len(paths))
    return looks


def _looks(
    paths: Sequence[Path], depth: Depth, cache: MeasureCache | Literal["default"] | None
) -> Iterator[Look]:
    """Yield what a look of this depth tells of each picture, in order; nothing for a mere listing."""
    if depth == "measures":
        from maquette.dataset.measuring import measure_pictures

        yield from (each.result for each in measure_pictures(paths, cache=cache))
    elif depth != "listing":
        from maquette.dataset.pictures import check_pictures, read_sizes

        yield from (read_sizes if depth == "headers" else check_pictures)(paths)
