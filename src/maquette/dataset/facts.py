"""What is known of a dataset when nothing may stop at the first problem: rules read this, training reads records.

Folders, pictures and captions are listed as they lie; what cannot be read is a `Problem` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from maquette.dataset.config import DatasetPlan, SubsetSource
from maquette.dataset.measures import Measured
from maquette.errors import Problem
from maquette.project.request import Trainer


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

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the caption's parts, stripped, empty ones left out."""
        parts = (part.strip() for part in self.text.split(self.subset.options.caption_separator or ","))
        return tuple(part for part in parts if part)


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


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """Everything found at one dataset. A picture that several tables of a TOML share is listed once."""

    root: Path
    """The folder or dataset TOML."""
    plan: DatasetPlan
    """As the trainer takes it: folders dropped for having no repeats or being listed twice are not in it."""
    folders: tuple[FolderFact, ...]
    pictures: tuple[Measured, ...]
    """Pictures of the subject, in the order of their folders; empty when nothing was measured."""
    regularization: tuple[Measured, ...]
    captions: tuple[CaptionFact, ...]
    """Of the subject's pictures; orphans with picture None."""
    regularization_captions: tuple[CaptionFact, ...] = ()
    without_caption: tuple[Path, ...] = ()
    """Pictures of the subject that have no caption file of the ending that is read."""
    other_captions: tuple[tuple[str, int], ...] = ()
    """(ending, count) of caption files of an ending that is not read; most frequent first."""
    problems: tuple[Problem, ...] = ()
    """What kept parts of it from being read at all. Folders without pictures are in `folders` instead."""
    has_captions_by_design: bool = True
    """False where a fallback caption stands for all, so that missing files are meant."""
    trainer: Trainer = "maquette"
    """Whose meaning of folders and captions this is."""
    regularization_root: Path | None = None
    """The folder of regularization pictures that was given beside `root`."""
    sizes_wh: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    """Width and height in pixels of every picture that can be read, regularization included."""
    fallback_caption: str | None = None
    """The caption that stands in for missing ones, where one was given."""

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

    @cached_property
    def _captions_by_picture(self) -> dict[Path, CaptionFact]:
        return {
            caption.picture: caption
            for caption in reversed(self.captions + self.regularization_captions)
            if caption.picture is not None
        }

    def caption_of(self, picture: Path) -> CaptionFact | None:
        """Return the caption of a picture, or None."""
        return self._captions_by_picture.get(picture)
