"""What is known of a dataset when nothing may stop at the first problem: rules read this, training reads records.

Folders, pictures and captions are listed as they lie; what cannot be read is a `Problem` in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from maquette.dataset.below import PicturesBelow
from maquette.dataset.config import DatasetPlan, SubsetOptions, SubsetSource
from maquette.dataset.masks import MaskFact
from maquette.dataset.measures import Look, Measured, Measures, PictureFacts
from maquette.errors import Problem
from maquette.project.request import Trainer

Depth = Literal["listing", "headers", "hashes", "measures"]
"""How closely pictures are looked at: their names; their sizes; every one decoded and hashed; all that is measured."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Which pictures are kept out of training to measure with: a share of each folder, a number, or named ones."""

    share: float = 0.0
    count: int | None = None
    paths: tuple[Path, ...] = ()
    """Pictures and folders; what does not belong to the dataset is measured all the same."""
    fold: int = 1
    """Which part of a folder a share takes, from 1."""


@dataclass(frozen=True, kw_only=True)
class DatasetInput:
    """Which dataset is meant, and what is said beside it: it holds where folder names and a dataset TOML are silent."""

    images: Path
    """A folder, or a kohya dataset TOML."""
    regularization: Path | None = None
    """A second folder; sd-scripts takes no notice of it beside a TOML."""
    options: SubsetOptions | None = None
    """None where only the folder is known: then captions end in `.txt`."""
    fallback_caption: str | None = None
    """Stands in where no picture of a folder has a caption."""
    regularization_caption: str | None = None
    """The same for regularization; else the name of its N_name folder."""
    metadata_file: Path | None = None
    """A list of pictures with captions, whose relative paths count from `images`."""
    more_resolutions_wh: tuple[tuple[int, int], ...] = ()
    """Further sizes that every picture of a folder is shown at."""
    trainer: Trainer = "maquette"
    """Whose meaning of folders and captions is asked for."""
    held_out: HeldOut | None = None
    """None: every picture is trained on."""


@dataclass(frozen=True, kw_only=True)
class CaptionFact:
    """One caption file."""

    path: Path
    text: str
    """As the trainer reads it; empty when `problem` says why there is none."""
    picture: Path | None
    """The picture it belongs to; None for an orphan."""
    subset: SubsetSource
    problem: Problem | None = None
    """Unreadable or not UTF-8."""
    guessed_encoding: str = ""
    """For a file that is not UTF-8."""
    lines_left_out: int = 0
    """Lines after the first, which no trainer reads."""
    had_mark: bool = False
    """Began with a byte order mark."""
    sha256: str | None = None
    """Of the file's bytes; None where they could not be read."""
    listed_in: Path | None = None
    """The list of pictures that it stands in, where it is no file of its own; `path` is the picture's then."""

    @property
    def lines(self) -> list[str]:
        """The texts that it may become in training: with prefix and suffix, one for each line of a wildcard."""
        options = self.subset.options
        lines = self.text.split("\n") if options.enable_wildcard else [self.text]
        return [
            " ".join(part for part in (options.caption_prefix, line, options.caption_suffix) if part)
            for line in lines
        ]

    @property
    def tags(self) -> tuple[str, ...]:
        """The parts of its first line with prefix and suffix, stripped, empty ones left out."""
        options, line = self.subset.options, self.lines[0]
        separator = options.caption_separator or ","
        if options.keep_tokens_separator:
            line = line.replace(options.keep_tokens_separator, separator)
        return tuple(part for each in line.split(separator) if (part := each.strip()))


WhyUnused = Literal["", "no prefix", "no repeats", "listed twice", "below", "beside", "itself", "missing"]
"""Why a trainer takes nothing from a folder: its name has no N_; it asks for fewer than one repeat; the first mention
counts; it lies below a folder that is not searched; loose pictures beside N_name folders; the folder given is the one
with the pictures, not its parent; it is not there."""


@dataclass(frozen=True, kw_only=True)
class FolderFact:
    """One folder that the trainer would look into, or that lies beside those."""

    path: Path
    num_pictures: int
    """Pictures directly in it."""
    prefix_repeats: int | None
    """N of a name like N_name; None without."""
    subset: SubsetSource | None
    """None when the trainer does not look into it."""
    files: tuple[Path, ...] = ()
    """Its pictures; empty for folders that are not looked into."""
    why_unused: WhyUnused = ""
    is_regularization: bool = False
    asked_repeats: int | None = None
    """Repeats that an unused mention of it asks for."""
    others: tuple[Path, ...] = ()
    """Pictures and films of kinds that no trainer reads, in a folder that is looked into."""
    without_caption: tuple[Path, ...] = ()
    """Its pictures that have no caption file of the ending that is read."""
    stand_in: str | None = None
    """What those are trained on instead: class_tokens, or one caption for all. None: nothing is meant to."""
    is_meant_without: bool = False
    """None of its pictures has a caption, and what stands in was chosen for that."""
    other_captions: tuple[tuple[str, int], ...] = ()
    """(ending, count) of caption files beside its pictures whose ending is not read; most frequent first."""
    masks: Mapping[Path, MaskFact] = field(default_factory=dict)
    """The masks of its pictures, where they are asked for."""
    without_mask: tuple[Path, ...] = ()
    """Its pictures that have none of those that are asked for: all of such a picture counts."""
    idle_masks: tuple[Path, ...] = ()
    """Files in it that are named like masks of its pictures, where none are asked for."""
    unlisted: tuple[Path, ...] = ()
    """Pictures that lie in it and that its list of pictures does not name."""
    idle_list: Path | None = None
    """A list of pictures beside caption files, which count."""


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """Everything found at one dataset. A picture that several tables of a TOML share is listed once."""

    given: DatasetInput
    plan: DatasetPlan
    """As the trainer takes it: folders dropped for having no repeats or being listed twice are not in it."""
    folders: tuple[FolderFact, ...]
    looks: Mapping[Path, Look] = field(default_factory=dict)
    """What is known of each picture file in use, regularization included, as far as it was looked at."""
    captions: tuple[CaptionFact, ...] = ()
    """Of the subject's pictures; orphans with picture None. Empty when captions were not read."""
    regularization_captions: tuple[CaptionFact, ...] = ()
    problems: tuple[Problem, ...] = ()
    """What kept parts of it from being read at all. Folders without pictures are in `folders` instead."""
    below: tuple[PicturesBelow, ...] = ()
    """Where no picture of the subject is taken: the folders below that hold some, each of which could be given instead."""
    held_folders: tuple[FolderFact, ...] = ()
    """Folders with those of their pictures that are not trained on but measured; neither `folders` nor `captions` hold them."""
    held_captions: tuple[CaptionFact, ...] = ()
    held_elsewhere: tuple[Path, ...] = ()
    """Pictures that are measured and lie outside the dataset."""

    @property
    def root(self) -> Path:
        """The folder or dataset TOML."""
        return self.given.images

    @property
    def trainer(self) -> Trainer:
        """Whose meaning of folders and captions this is."""
        return self.given.trainer

    @property
    def regularization_root(self) -> Path | None:
        """The folder of regularization pictures that was given beside `root`."""
        return self.given.regularization

    @property
    def is_toml(self) -> bool:
        return self.root.is_file()

    @property
    def used_folders(self) -> tuple[FolderFact, ...]:
        """Folders that the trainer takes pictures from, of the subject and of regularization."""
        return tuple(folder for folder in self.folders if folder.subset is not None and folder.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """The subject's picture files, each once."""
        return tuple(
            dict.fromkeys(
                path for folder in self.used_folders if not folder.is_regularization for path in folder.files
            )
        )

    @property
    def regularization_files(self) -> tuple[Path, ...]:
        """The regularization pictures' files, each once."""
        return tuple(
            dict.fromkeys(
                path for folder in self.used_folders if folder.is_regularization for path in folder.files
            )
        )

    @property
    def held_out(self) -> tuple[Path, ...]:
        """The subject's pictures that are measured and not trained on, each once."""
        return tuple(dict.fromkeys(path for folder in self.held_folders for path in folder.files))

    @property
    def without_caption(self) -> tuple[Path, ...]:
        """Pictures of the subject that have no caption file of the ending that is read, each once."""
        used = [folder for folder in self.used_folders if not folder.is_regularization]
        return tuple(dict.fromkeys(path for folder in used for path in folder.without_caption))

    @property
    def uncaptioned(self) -> Mapping[str | None, tuple[Path, ...]]:
        """The subject's pictures that lack a caption which is meant to be there, by what stands in for it (or None)."""
        found: dict[str | None, list[Path]] = {}
        for folder in self.used_folders:
            if folder.without_caption and not folder.is_regularization and not folder.is_meant_without:
                found.setdefault(folder.stand_in, []).extend(folder.without_caption)
        return {stand_in: tuple(dict.fromkeys(paths)) for stand_in, paths in found.items()}

    @property
    def other_captions(self) -> tuple[tuple[str, int], ...]:
        """(ending, count) of caption files beside the subject's pictures that are not read; most frequent first."""
        own = (folder for folder in self.used_folders if not folder.is_regularization)
        readings = {
            (f.path, f.subset.caption_extension): f.other_captions for f in own if f.subset is not None
        }
        counts: Counter[str] = Counter()
        for others in readings.values():
            counts.update(dict(others))
        return tuple(counts.most_common())

    @cached_property
    def pictures(self) -> tuple[Measured, ...]:
        """The subject's pictures that were measured, or cannot be read, in the order of their folders."""
        return self._measured(self.files)

    @cached_property
    def regularization(self) -> tuple[Measured, ...]:
        """The same for regularization pictures."""
        return self._measured(self.regularization_files)

    @cached_property
    def held(self) -> tuple[Measured, ...]:
        """The same for the subject's pictures that are held out."""
        return self._measured(self.held_out)

    @cached_property
    def decoded(self) -> Mapping[Path, PictureFacts]:
        """What is known of every picture that was decoded whole, regularization included."""
        return {path: look for path, look in self.looks.items() if isinstance(look, PictureFacts)}

    @cached_property
    def sizes_wh(self) -> Mapping[Path, tuple[int, int]]:
        """Width and height in pixels of every picture that can be read, regularization included."""
        return {path: look.size_wh for path, look in self.looks.items() if not isinstance(look, Problem)}

    def caption_of(self, picture: Path, subset: SubsetSource | None = None) -> CaptionFact | None:
        """Return the caption of a picture (as `subset` reads it, where several do), or None."""
        found = self._captions_by_picture.get(picture, {})
        if subset is None:
            return next(iter(found.values()), None)
        return found.get(subset.reading)

    @cached_property
    def _captions_by_picture(self) -> dict[Path, dict[tuple[object, ...], CaptionFact]]:
        found: dict[Path, dict[tuple[object, ...], CaptionFact]] = {}
        for caption in self.captions + self.regularization_captions:
            if caption.picture is not None:
                found.setdefault(caption.picture, {}).setdefault(caption.subset.reading, caption)
        return found

    def _measured(self, paths: tuple[Path, ...]) -> tuple[Measured, ...]:
        looks = [(path, self.looks.get(path)) for path in paths]
        return tuple(Measured(path, look) for path, look in looks if isinstance(look, Measures | Problem))
