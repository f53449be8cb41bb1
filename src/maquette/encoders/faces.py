"""Faces by OpenCV's own detector and recogniser (YuNet, MIT; SFace, Apache-2.0): how many, and whether they match.

`detect` counts faces; `match` also compares them with the faces on the references. Their two files are no part of
OpenCV: they are read from a folder, or fetched from the hub once. Trained on photographs: faces of drawn people are
often found, those of animals and stylised cartoons seldom.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.opening import picture_rgb
from maquette.encoders.embeddings import LOOKED_AT
from maquette.encoders.source import fingerprint, from_hub
from maquette.errors import DatasetError, ModelError, Problem
from maquette.reading import parse_json

LONGEST_PX = 640
SCORE = 0.7
SAME_FACE = 0.363
"""Cosine from which SFace takes two faces for the same person (OpenCV's documentation)."""
BAND = 0.05
"""How far below it a person looks."""
ALIGNED_PX = 112
MOST_FACES = 5
BATCH = 64
FILES = {
    "detect": (
        "face_detection_yunet*.onnx",
        "opencv/face_detection_yunet",
        "face_detection_yunet_2023mar.onnx",
    ),
    "match": (
        "face_recognition_sface*.onnx",
        "opencv/face_recognition_sface",
        "face_recognition_sface_2021dec.onnx",
    ),
}


@dataclass(frozen=True)
class Faces:
    """The faces on one picture, the largest first."""

    count: int
    features_FD: NDArray[Any]
    """float16, one row a face; no rows under `detect`."""


class FaceFinder:
    """The detector, and the recogniser under `match`. One thread at a time."""

    def __init__(self, mode: str, folder: Path | None) -> None:
        import cv2

        paths = {
            part: _model_file(part, folder) for part in ("detect", *(["match"] if mode == "match" else []))
        }
        self.mode = mode
        self.fingerprint = f"faces-{mode}-{fingerprint(paths.values())}"
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._detector = cv2.FaceDetectorYN.create(str(paths["detect"]), "", (320, 320), SCORE)
            self._recogniser = (
                cv2.FaceRecognizerSF.create(str(paths["match"]), "") if mode == "match" else None
            )
        except cv2.error as error:
            raise ModelError(_broken(paths, error)) from None
        finally:
            cv2.utils.logging.setLogLevel(level)

    @property
    def dims(self) -> int:
        """How many numbers the recogniser gives of a face."""
        if self._recogniser is None:
            return 0
        return int(self._recogniser.feature(np.zeros((ALIGNED_PX, ALIGNED_PX, 3), np.uint8)).size)

    def find(self, pixels_HWC: NDArray[np.uint8]) -> Faces:
        """Return the faces on an RGB picture."""
        bgr = np.ascontiguousarray(pixels_HWC[:, :, ::-1])
        self._detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, found = self._detector.detect(bgr)
        faces = [] if found is None else sorted(found, key=lambda face: -float(face[2] * face[3]))
        if self._recogniser is None or not faces:
            return Faces(len(faces), np.zeros((0, 0), np.float16))
        rows = [
            self._recogniser.feature(self._recogniser.alignCrop(bgr, face)).reshape(-1).copy()
            for face in faces[:MOST_FACES]
        ]
        return Faces(len(faces), np.stack(rows).astype(np.float16))

    def boxes(self, pixels_HWC: NDArray[np.uint8]) -> list[tuple[float, float, float, float]]:
        """Return (left, top, width, height) of each face on an RGB picture, the largest first."""
        bgr = np.ascontiguousarray(pixels_HWC[:, :, ::-1])
        self._detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, found = self._detector.detect(bgr)
        faces = [] if found is None else sorted(found, key=lambda face: -float(face[2] * face[3]))
        return [(float(face[0]), float(face[1]), float(face[2]), float(face[3])) for face in faces]


class FaceStore:
    """Faces by content hash in DIR/.curation/faces/NAME.jsonl, one line a picture, appended."""

    def __init__(self, folder: Path, finder: FaceFinder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{finder.fingerprint}{LOOKED_AT}.jsonl"
        self._known: dict[str, Faces] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                sha, faces = _read_line(line)
                if sha:
                    self._known[sha] = faces

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known

    def __getitem__(self, sha256: str) -> Faces:
        return self._known[sha256]

    def add(self, some: Sequence[tuple[str, Faces]]) -> None:
        """Keep the faces of some pictures."""
        with self._path.open("a", encoding="utf-8") as file:
            for sha256, faces in some:
                rows = base64.b64encode(faces.features_FD.astype("<f2").tobytes()).decode()
                shape = list(faces.features_FD.shape)
                file.write(
                    json.dumps({"sha256": sha256, "count": faces.count, "shape": shape, "rows": rows}) + "\n"
                )
        self._known.update(some)


def find_faces(
    store: FaceStore, finder: FaceFinder, pictures: Iterable[tuple[str, Path]], *, workers: int
) -> Iterator[int]:
    """Look for faces on the (sha256, path) that the store lacks; after each batch yield how many."""
    todo = ((sha, path) for sha, path in dict(pictures).items() if sha not in store)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(todo, BATCH)):
            decoded = pool.map(_pixels, [path for _, path in batch])
            found = [
                (sha, finder.find(pixels))
                for (sha, _), pixels in zip(batch, decoded, strict=True)
                if pixels is not None
            ]
            store.add(found)
            yield len(batch)


def _pixels(path: Path) -> NDArray[np.uint8] | None:
    try:
        image = picture_rgb(path, least_px=LONGEST_PX)
    except DatasetError:  # changed or vanished since it was measured
        return None
    image.thumbnail((LONGEST_PX, LONGEST_PX))
    return np.asarray(image, np.uint8)


def _read_line(line: str) -> tuple[str, Faces]:
    """Return one picture's faces; an empty hash for a line that a crash cut short."""
    try:
        entry = parse_json(line)
        rows = np.frombuffer(base64.b64decode(entry["rows"]), "<f2").reshape(entry["shape"])
        return entry["sha256"], Faces(entry["count"], rows)
    except (ValueError, KeyError, TypeError):
        return "", Faces(0, np.zeros((0, 0), np.float16))


def _model_file(part: str, folder: Path | None) -> Path:
    pattern, hub_name, file = FILES[part]
    if folder is not None:
        found = sorted(folder.glob(pattern))
        if found:
            return found[-1]
        raise ModelError(
            Problem(
                str(folder),
                f"no {pattern}",
                "the file of OpenCV's model zoo",
                f"Put {file} of huggingface.co/{hub_name} there.",
            )
        )
    return _from_hub(hub_name, file)


def _from_hub(hub_name: str, file: str) -> Path:
    remedy = "Fetch it once while online, or put it into a folder and name that with --face-models."
    return from_hub(hub_name, [file], [file], remedy) / file


def _broken(paths: dict[str, Path], error: Exception) -> Problem:
    first_line = (str(error).strip().splitlines() or ["unknown"])[0][:160]
    shown = ", ".join(str(path) for path in paths.values())
    return Problem(
        shown, f"OpenCV cannot load it ({first_line})", "YuNet and SFace as ONNX", "Fetch it again."
    )
