"""CCIP: tells anime characters apart (deepghs/ccip_onnx, OpenRAIL), through onnxruntime (the extra `anime`).

Two networks: one makes a row of numbers of a picture with one character in it, the other says how far apart
rows are. The similarity is 1 minus that difference, so the published threshold 0.178 becomes 0.822.
Preprocessing: 384 × 384 bilinear, CLIP's mean and deviation, as the models' publisher does.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.encoders import UNMEASURED_BAND
from maquette.encoders.source import MODEL_FILE, fingerprint, model_folder
from maquette.errors import MissingExtra, ModelError, Problem
from maquette.reading import is_finite, read_table, shown

HUB_NAME = "deepghs/ccip_onnx"
MODEL = "ccip-caformer-24-randaug-pruned"
FILES = ("model_feat.onnx", "model_metrics.onnx", "metrics.json")
SIZE_PX = 384
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
BLOCK = 64
"""Pictures compared with the references at once; the network compares every row with every other."""


class Ccip:
    """The pair of networks in one folder."""

    batch = 8
    band = UNMEASURED_BAND
    slack = None
    blind_to = "pictures of several characters, photographs, styles; it hardly sees the colour of hair"

    def __init__(self, name: str, folder: Path) -> None:
        import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self.name = name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = onnxruntime.get_available_providers()
        self._features, self._metrics = (
            onnxruntime.InferenceSession(str(folder / file), options, providers=providers)
            for file in FILES[:2]
        )
        self.dims = int(self._features.get_outputs()[0].shape[-1])
        self.identity_dims = self.dims
        self.threshold = round(1.0 - _published_threshold(folder / FILES[2]), 3)
        self.fingerprint = f"ccip-{fingerprint(folder / file for file in FILES)}"

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        pixels_HWC = np.asarray(image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR), np.float32)
        return ((pixels_HWC / 255.0 - MEAN) / STD).transpose(2, 0, 1)

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        batch = np.stack(prepared).astype(np.float32)
        rows: NDArray[Any] = self._features.run(None, {self._features.get_inputs()[0].name: batch})[0]
        return rows.astype(np.float32)

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        references = references_RD.astype(np.float32)
        blocks = []
        for start in range(0, len(pictures_ND), BLOCK):
            rows = pictures_ND[start : start + BLOCK].astype(np.float32)
            stacked = np.concatenate([rows, references])
            table = self._metrics.run(None, {self._metrics.get_inputs()[0].name: stacked})[0]
            blocks.append(1.0 - table[: len(rows), len(rows) :])
        empty = np.zeros((0, len(references_RD)), np.float32)
        return np.concatenate(blocks).astype(np.float32) if blocks else empty


def load(name: str, source: str, device: str | None) -> Ccip:
    """Return CCIP from a local folder, or the hub's default model. Raises MissingExtra, ModelError."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("the encoder ccip", "anime")
    if source:
        return Ccip(f"{name}={source}", model_folder(source, FILES, FILES))
    wanted = [f"{MODEL}/{file}" for file in FILES]
    return Ccip(f"{name}={HUB_NAME}/{MODEL}", model_folder(HUB_NAME, wanted, wanted) / MODEL)


def _published_threshold(path: Path) -> float:
    threshold = read_table(path, MODEL_FILE).get("threshold")
    if not is_finite(threshold):
        raise ModelError(Problem(f"{path} threshold", shown(threshold), "a finite number", MODEL_FILE.remedy))
    return float(threshold)
