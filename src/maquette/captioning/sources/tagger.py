"""WD taggers: a picture's booru tags from an ONNX model (SmilingWolf's wd-*-tagger-v3 and models of the same layout).

A model is a folder, or a hub name, with `model.onnx` and `selected_tags.csv` (columns tag_id, name, category, count).
Input [N, side, side, 3], float32 0–255, channels blue, green, red, the picture padded with white to a square.
Output [N, tags], probabilities. Categories: 0 general, 4 named characters, 9 ratings.
https://huggingface.co/SmilingWolf/wd-eva02-large-tagger-v3
"""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.looking import load_rgb
from maquette.captioning.sources.source import Ask, Context, Source
from maquette.encoders.source import from_hub
from maquette.errors import MissingExtra, ModelError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

DEFAULT_MODEL = "SmilingWolf/wd-eva02-large-tagger-v3"
MODEL_FILE, TAGS_FILE = "model.onnx", "selected_tags.csv"
GENERAL, CHARACTER = 0, 4
THRESHOLD, CHARACTER_THRESHOLD = 0.35, 0.85
TWO_LETTERS = re.compile(r"[^\W_]*[^\W\d_]{2}")
"""A tag without two letters in a row is a drawn face, like ^_^ or o_o, whose underscores stay."""


@dataclass(frozen=True)
class Tag:
    """One output of the model."""

    text: str
    category: int


class Tagger:
    """Tags pictures in batches."""

    name = "wd"
    is_parallel = False
    is_model = True
    is_literal = False
    from_existing = False
    learns_from_refusal = False
    sees_pictures = True

    def __init__(self, folder: Path, context: Context) -> None:
        options = context.options
        self._session = _session(folder / MODEL_FILE)
        self._tags = read_tags(folder / TAGS_FILE)
        self._input = self._session.get_inputs()[0]
        self._folder = folder
        shape = self._input.shape
        if len(shape) != 4 or shape[3] != 3 or not isinstance(shape[1], int):
            raise _wrong_model(folder, f"its input has the shape {shape}")
        self._side_px = int(shape[1])
        outputs = self._session.get_outputs()[0].shape
        if isinstance(outputs[-1], int) and outputs[-1] != len(self._tags):
            raise _wrong_model(folder, f"{outputs[-1]} outputs and {len(self._tags)} tags")
        self.batch_size = shape[0] if isinstance(shape[0], int) else options.batch_size or 8
        self._threshold = _given(options.threshold, THRESHOLD)
        # The trigger stands for the character, so that a character that the tagger thinks it knows only misleads.
        named = context.strategy.name in ("style", "detailed")
        self._character_threshold = _given(options.character_threshold, CHARACTER_THRESHOLD) if named else 2.0

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        import numpy as np

        images = [load_rgb(ask.target.picture) for ask in asks]
        sound = [image for image in images if not isinstance(image, Problem)]
        if not sound:
            return [
                Answer(refused=f"the picture is {image.given}")
                for image in images
                if isinstance(image, Problem)
            ]
        batch_NHWC = np.stack([pixels_for(image, self._side_px) for image in sound])
        rows = iter(self._run(batch_NHWC))
        return [
            Answer(refused=f"the picture is {image.given}")
            if isinstance(image, Problem)
            else Answer(text=", ".join(self._chosen(next(rows))))
            for image in images
        ]

    def _run(self, batch_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities [N, tags]; a model with a fixed batch gets its batch filled up with white pictures."""
        import numpy as np

        count, fixed = len(batch_NHWC), self._input.shape[0]
        if isinstance(fixed, int) and count < fixed:
            white = np.full((fixed - count, *batch_NHWC.shape[1:]), 255, np.float32)
            batch_NHWC = np.concatenate([batch_NHWC, white])
        (scores,) = self._session.run([self._session.get_outputs()[0].name], {self._input.name: batch_NHWC})
        scores = np.asarray(scores, np.float32)[:count]
        if scores.min() < 0 or scores.max() > 1:  # exported without its last sigmoid
            scores = 1 / (1 + np.exp(-scores))
        return scores

    def _chosen(self, scores: NDArray[np.float32]) -> list[str]:
        """Return the tags that are probable enough, characters first, then the most probable first."""
        least = {GENERAL: self._threshold, CHARACTER: self._character_threshold}
        found = [
            (tag.category != CHARACTER, -float(score), tag.text)
            for tag, score in zip(self._tags, scores, strict=True)
            if score >= least.get(tag.category, 2.0)
        ]
        return [text for _, _, text in sorted(found)]

    def describe(self) -> Mapping[str, Any]:
        return {
            "source": self.name,
            "model": str(self._folder),
            "thresholds": [self._threshold, self._character_threshold],
        }

    def close(self) -> None:
        pass


def open_source(argument: str, context: Context) -> Source:
    """Return the source for the model `argument` (else --model, else the default). Raises ModelError, MissingExtra.

    The runtime is asked for before the model, whose download takes long (1.2 GB).
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("--source wd", "tagger")
    return Tagger(_model_folder(argument or context.options.model or DEFAULT_MODEL), context)


def pixels_for(image: Image.Image, side_px: int) -> NDArray[np.float32]:
    """Return [side, side, 3] blue, green, red 0–255: the picture centred on a white square, resized bicubically."""
    import numpy as np
    from PIL import Image as Pillow

    side = max(image.size)
    square = Pillow.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    if side != side_px:
        square = square.resize((side_px, side_px), Pillow.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square, np.float32)[:, :, ::-1])


def read_tags(path: Path) -> list[Tag]:
    """Return the tags of a selected_tags.csv in the order of the model's outputs. Raises ModelError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [Tag(spoken(row["name"]), int(row["category"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            Problem(
                str(path),
                f"cannot be read ({type(error).__name__}: {error})",
                "a CSV with the columns name and category, one row an output",
                "Download it again together with its model.",
            )
        ) from error


def spoken(tag: str) -> str:
    """Return a tag as captions write it: `long_hair` → `long hair`; drawn faces like ^_^ stay."""
    return tag.replace("_", " ") if TWO_LETTERS.search(tag) else tag


def _session(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise _wrong_model(path.parent, f"no {MODEL_FILE} in it")
    preferred = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
    here = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(str(path), providers=[name for name in preferred if name in here])
    except Exception as error:  # the runtime's errors have no common class
        raise _wrong_model(path, f"cannot be opened ({str(error).splitlines()[0][:200]})") from error


def _model_folder(name: str) -> Path:
    """Return the local folder of a model: the folder given, or the hub's copy in the cache, downloaded when missing."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.name == MODEL_FILE and folder.is_file():
        return folder.parent
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise _wrong_model(folder, "no such folder")
    remedy = f"Download it once while online, or name its folder: --model FOLDER (with {MODEL_FILE} and {TAGS_FILE})."
    return from_hub(name, [MODEL_FILE, TAGS_FILE], [MODEL_FILE, TAGS_FILE], remedy)


def _wrong_model(path: Path, given: str) -> ModelError:
    return ModelError(
        Problem(
            str(path),
            given,
            f"a folder with a WD tagger's {MODEL_FILE} and {TAGS_FILE}, or the hub name of one",
            f"For example --source wd --model {DEFAULT_MODEL}; wd-swinv2-tagger-v3 is smaller.",
        )
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
