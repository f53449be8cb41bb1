"""Which files are masks, and of which pictures: by their names beside them, below them, or in a folder of their own.

    fox-masklabel.png   OneTrainer's name             fox_mask.png, fox-mask.png   as people write
    fox.mask.png        the name before the ending    masks/fox.png                a folder beside the pictures

A mask is no picture of the dataset: whoever lists pictures asks here first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from maquette.dataset.config import CAPTION_EXTENSIONS, PICTURE_EXTENSIONS, SubsetOptions

SURE_ENDINGS = ("-masklabel", ".mask")
"""Of names that nobody gives to anything else."""
LIKELY_ENDINGS = ("_mask", "-mask")
"""Of names that a picture of a mask may have as well: one with a caption of its own is a picture."""
ENDINGS = ("", *SURE_ENDINGS, *LIKELY_ENDINGS)
"""What a mask's name has behind its picture's, in a folder of its own."""
MASK_FOLDER = "masks"


def masks_beside(pictures: Sequence[Path], files: Iterable[Path]) -> Mapping[Path, Path]:
    """Return the masks among one folder's `pictures`, each with the picture that it belongs to; `files` are all its files."""
    named = {path.stem: path for path in reversed(pictures)}
    captioned = {path.stem for path in files if path.suffix.lower() in CAPTION_EXTENSIONS}
    found = {}
    for path in pictures:
        for ending in ENDINGS[1:]:
            picture = named.get(path.stem.removesuffix(ending)) if path.stem.endswith(ending) else None
            if picture is not None and (ending in SURE_ENDINGS or path.stem not in captioned):
                found[path] = picture
                break
    return found


def without_masks(files: Iterable[Path]) -> list[Path]:
    """Return `files` of any folders without the masks of pictures among them."""
    every = list(files)
    by_folder: dict[str, list[Path]] = {}  # by text: a path takes long to hash, and there may be 100,000
    for path in every:
        by_folder.setdefault(os.path.split(path)[0], []).append(path)
    pictures = {
        folder: [path for path in inside if path.suffix.lower() in PICTURE_EXTENSIONS]
        for folder, inside in by_folder.items()
    }
    masks: set[Path] = set()
    for folder, inside in by_folder.items():
        masks |= masks_beside(pictures[folder], inside).keys()
        above, name = os.path.split(folder)
        if name.lower() == MASK_FOLDER:
            stems = {path.stem for path in pictures.get(above, ())}
            masks |= {path for path in pictures[folder] if _bare(path.stem) in stems}
    return [path for path in every if path not in masks] if masks else every


class MaskFinder:
    """Finds the files of masks; each folder is listed once, by `files_in`."""

    def __init__(self, files_in: Callable[[Path], Iterable[Path]]) -> None:
        self._files_in = files_in
        self._named: dict[Path, dict[str, Path]] = {}
        self._own: dict[Path, dict[str, Path]] = {}

    def mask_of(self, picture: Path, options: SubsetOptions) -> Path | None:
        """Return the file that holds a picture's mask, where `options` ask for one and it is there.

        A folder of masks counts before masks beside the pictures. Transparency is no file of its own: it is not asked for here.
        """
        if (folder := options.mask_folder) is not None:
            return self._first(folder / picture.parent.name, picture.stem) or self._first(
                folder, picture.stem
            )
        if options.masks_beside:
            own = self._beside(picture.parent).get(picture.stem)
            return own or self._first(picture.parent / MASK_FOLDER, picture.stem)
        return None

    def _beside(self, folder: Path) -> Mapping[str, Path]:
        if folder not in self._own:
            files = list(self._files_in(folder))
            pictures = [path for path in files if path.suffix.lower() in PICTURE_EXTENSIONS]
            found = masks_beside(pictures, files)
            self._own[folder] = {found[mask].stem: mask for mask in sorted(found, reverse=True)}
        return self._own[folder]

    def _first(self, folder: Path, stem: str) -> Path | None:
        if folder not in self._named:
            files = [path for path in self._files_in(folder) if path.suffix.lower() in PICTURE_EXTENSIONS]
            self._named[folder] = {path.stem: path for path in sorted(files, reverse=True)}
        named = self._named[folder]
        return next((named[stem + ending] for ending in ENDINGS if stem + ending in named), None)


def asks_for_masks(options: SubsetOptions) -> bool:
    """Return whether pictures of a subset are to have masks of any kind."""
    return options.alpha_mask or options.masks_beside or options.mask_folder is not None


def holds_masks(folder: Path, options: SubsetOptions | None = None) -> bool:
    """Return whether a folder below pictures is one of their masks: by its name, or as `options` name it."""
    named = options.mask_folder if options is not None else None
    return folder.name.lower() == MASK_FOLDER or (named is not None and folder.resolve() == named.resolve())


def _bare(stem: str) -> str:
    for ending in ENDINGS[1:]:
        if stem.endswith(ending):
            return stem.removesuffix(ending)
    return stem
