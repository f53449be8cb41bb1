"""The stage that makes masks: for every picture of a folder one in `masks` below it, never over one that somebody drew.

Each mask is written as soon as it is made and noted in the folder's journal first, so that an ended run goes on and
`maquette undo` takes all back. Which masks are this stage's own the journal says too: those that are still as it wrote them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maquette.captioning.targets import find_place
from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import DatasetInput
from maquette.dataset.mask_files import MASK_FOLDER, MaskFinder
from maquette.dataset.opening import has_alpha, opened, picture_rgb, upright
from maquette.dataset.reading import read_dataset
from maquette.encoders.faces import FaceFinder
from maquette.encoders.lettering import LetteringFinder
from maquette.encoders.segmenter import Segmenter
from maquette.errors import ConfigError, DatasetError, Problem
from maquette.events import Artifact, Finished, Message, Progress, Stage, Started
from maquette.locking import holding
from maquette.masking.options import MasksOptions
from maquette.masking.sheet import Shown, grid_for, spread, write_mask_sheet
from maquette.masking.subject import LEAST_SHARE, MOST_SHARE, Found, enlarged, grown, subject_of
from maquette.project.journal import Journal, Recorder, hash_of
from maquette.spoken import counted

KIND = "masks"
STAGE = "masks"
SHEET_NAME = Path(".maquette") / "masks.png"
FACE_REACH = 0.35
"""By how much of its height a face's ellipse reaches beyond the box that is found: hair and chin."""

Maker = Callable[[Path, NDArray[np.uint8]], Found]
"""From a picture's file and its pixels to its mask."""


@dataclass
class MasksResult:
    """What became of every picture. `doubtful` says why no mask was written, by the picture's name."""

    folder: Path
    pictures: int = 0
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    """Masks that were there and stay: drawn by somebody, or made before."""
    doubtful: dict[str, str] = field(default_factory=dict)
    plain: list[str] = field(default_factory=list)
    """Names of pictures that show no lettering, of which no mask is needed."""
    how: dict[str, int] = field(default_factory=dict)
    sheet: Path | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "folder": str(self.folder),
            "pictures": self.pictures,
            "made": [str(path) for path in self.made],
            "kept": [str(path) for path in self.kept],
            "doubtful": self.doubtful,
            "plain": self.plain,
            "how": self.how,
            "sheet": str(self.sheet) if self.sheet else None,
            "seconds": round(self.seconds, 2),
        }


def masks_events(directory: Path, options: MasksOptions) -> Stage[MasksResult]:
    """Make masks for the pictures of `directory`: a folder, a kohya folder, or a project. Raises MaquetteError."""
    _refuse_idle(options)
    root = find_place(directory).root
    facts = read_dataset(
        DatasetInput(images=root, options=SubsetOptions(caption_extension=".txt")), "listing"
    )
    pictures = list(facts.files)
    if facts.problems or not pictures:
        none = Problem(str(root), "no pictures", "a folder of pictures", "Check the path.")
        raise DatasetError(facts.problems or [none])
    make = _maker(options)
    return (yield from holding(root, KIND, lambda: _made(root, pictures, make, options)))


def _refuse_idle(options: MasksOptions) -> None:
    for name, needed in (("segmenter", "subject"), ("face_models", "face"), ("text_model", "text")):
        if getattr(options, name) is not None and options.source != needed:
            flag = f"--{name.replace('_', '-')}"
            remedy = "Leave it out."
            raise ConfigError(
                Problem(flag, f"given together with --from {options.source}", f"--from {needed}", remedy)
            )
    if options.source == "text" and options.text_model is None:
        remedy = "Get one, of github.com/opencv/opencv_zoo (models/text_detection_ppocr) for example."
        raise ConfigError(
            Problem(
                "--from text",
                "given without --text-model",
                "--text-model FILE: a text detector as ONNX",
                remedy,
            )
        )


def _made(root: Path, pictures: list[Path], make: Maker, options: MasksOptions) -> Stage[MasksResult]:
    began = time.perf_counter()
    result = MasksResult(folder=root, pictures=len(pictures))
    own = _own_masks(root)
    finder = MaskFinder(lambda folder: sorted(folder.iterdir()) if folder.is_dir() else ())
    recorder = Journal(root).begin(KIND, f"masks of {options.source} in {root.name}")
    yield Started(STAGE, len(pictures), "picture")
    for done, picture in enumerate(pictures, start=1):
        known = finder.mask_of(picture, SubsetOptions(masks_beside=True))
        is_ours = known is not None and own.get(known.absolute()) == hash_of(known)
        if known is not None and not (is_ours and options.overwrite):
            result.kept.append(known)
        else:
            _make_one(picture, make, options, recorder, result)
        yield Progress(STAGE, done, len(pictures), "picture")
    yield Finished(STAGE)
    result.sheet = _sheet(root, pictures, result)
    if result.sheet is not None:
        yield Artifact("masks over pictures", result.sheet)
    if result.plain:
        yield Message(
            f"{counted(len(result.plain), 'picture')} without lettering: trained whole, without a mask."
        )
    for name, doubt in sorted(result.doubtful.items()):
        yield Message(f"{name}: no mask was written: {doubt}.", "warning")
    result.seconds = time.perf_counter() - began
    return result


def _make_one(
    picture: Path, make: Maker, options: MasksOptions, recorder: Recorder, result: MasksResult
) -> None:
    """Write the mask of one picture, or note why there is none."""
    try:
        pixels = np.asarray(picture_rgb(picture), np.uint8)
        found = make(picture, pixels)
    except DatasetError as error:
        result.doubtful[picture.name] = error.problems[0].given
        return
    if found.doubt:
        result.doubtful[picture.name] = found.doubt
        return
    if options.source == "text" and not found.mask_HW.any():
        result.plain.append(picture.name)
        return
    mask = found.mask_HW if options.source == "alpha" else grown(found.mask_HW, options.grow / 100)
    path = picture.parent / MASK_FOLDER / f"{picture.stem}.png"
    path.parent.mkdir(exist_ok=True)
    # Lettering is what is left out: the one thing that is found in order not to be learned.
    recorder.write(path, _png(255 - mask if options.invert != (options.source == "text") else mask))
    result.made.append(path)
    result.how[found.how] = result.how.get(found.how, 0) + 1


def _own_masks(root: Path) -> dict[Path, str | None]:
    """Return the masks that this stage wrote, with what it wrote last."""
    found: dict[Path, str | None] = {}
    for change in Journal(root).changes((KIND,)):
        found |= {(root / entry.path).absolute(): entry.after for entry in change.entries}
    return found


def _png(mask_HW: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask_HW).save(buffer, "PNG")
    return buffer.getvalue()


# --- who says where it is --------------------------------------------------------------------------------


def _maker(options: MasksOptions) -> Maker:
    if options.source == "alpha":
        return lambda picture, pixels: _of_alpha(picture)
    if options.source == "face":
        faces = FaceFinder("detect", options.face_models)
        return lambda picture, pixels: _of_faces(pixels, faces)
    if options.text_model is not None:
        lettering = LetteringFinder(options.text_model)
        return lambda picture, pixels: Found(lettering.lettering_of(pixels), "lettering")
    if options.segmenter is not None:
        segmenter = Segmenter(options.segmenter)
        return lambda picture, pixels: _of_network(pixels, segmenter)
    return lambda picture, pixels: subject_of(pixels)


def _of_network(pixels_HWC: NDArray[np.uint8], segmenter: Segmenter) -> Found:
    share = segmenter.subject_of(pixels_HWC)
    covered = float((share > 0.5).mean())
    doubt = "the network finds no subject" if covered <= LEAST_SHARE else ""
    doubt = doubt or ("nearly all of it would be the subject" if covered >= MOST_SHARE else "")
    return Found(enlarged(share, pixels_HWC.shape[:2]), "network", doubt)


def _of_faces(pixels_HWC: NDArray[np.uint8], faces: FaceFinder) -> Found:
    """Return ellipses around all faces, wide enough for hair and chin."""
    mask = Image.new("L", (pixels_HWC.shape[1], pixels_HWC.shape[0]))
    boxes = faces.boxes(pixels_HWC)
    for left, top, width, height in boxes:
        reach = FACE_REACH * height
        box = (left - reach, top - 1.3 * reach, left + width + reach, top + height + 0.7 * reach)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
    return Found(np.array(mask, np.uint8), "faces", "" if boxes else "no face is found")


def _of_alpha(picture: Path) -> Found:
    with opened(picture) as image:
        shown = upright(image)
        if not has_alpha(shown):
            return Found(np.zeros((1, 1), np.uint8), "alpha", "it has no transparency")
        layer = shown if "A" in shown.getbands() else shown.convert("RGBA")
        mask = np.array(layer.getchannel("A"), np.uint8)
    return Found(mask, "alpha", "it has no transparent part" if mask.min() == 255 else "")


# --- shown -----------------------------------------------------------------------------------------------


def _sheet(root: Path, pictures: list[Path], result: MasksResult) -> Path | None:
    """Show all masks that lie there over their pictures; None where there is none."""
    masks = {path.stem: path for path in (*result.kept, *result.made)}
    pairs = [(picture, masks[picture.stem]) for picture in pictures if picture.stem in masks]
    shown = []
    for place in spread(len(pairs)):
        picture, file = pairs[place]
        try:
            pixels = np.asarray(picture_rgb(picture, least_px=512), np.uint8)
            mask = np.asarray(picture_rgb(file).convert("L"), np.uint8)
        except DatasetError:
            continue  # what is wrong with a mask that somebody drew is for the rules to say
        size = (pixels.shape[1], pixels.shape[0])
        resized = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BOX), np.uint8)
        shown.append(Shown(picture.name, pixels, resized, grid_for(resized)))
    return write_mask_sheet(shown, root / SHEET_NAME) if shown else None
