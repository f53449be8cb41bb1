"""A network that says where a picture has lettering: PP-OCR's detectors and their like (DB) as ONNX, by path (extra `masks`).

Input [1, 3, height, width], sides multiples of 32; output [1, 1, height, width], the probability of *shrunken* lines of text: so
each stands apart from the next, and is as much wider than what is marked as it was shrunk for training (Liao et al. 2020,
https://arxiv.org/abs/1911.08947). Thresholds and scaling are those of PaddleOCR, which the published files were trained with.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.encoders.onnx_pictures import IMAGENET, open_network
from maquette.errors import ModelError, Problem

LONGER_SIDE_PX = 960
STEP_PX = 32
LEAST_PROBABILITY = 0.3
LEAST_SCORE = 0.5
"""Mean probability within a line; less is texture."""
UNSHRUNK = 1.8
"""A line of area A and circumference L is widened by A · this / L on each side."""
LEAST_LINE_PX = 3
TALL_SHARE, TALL_RATIO = 0.12, 2.5
"""A line taller than this share of the picture's shorter side and not so many times as long as tall is no line: these networks
take round bodies before a wall (a dog's head, a rubber duck) for letters, and a mask over a subject's face costs more than a
word."""


class LetteringFinder:
    """One such network. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises MissingExtra without onnxruntime, ModelError for a file that is no such network."""
        self._path = path
        self._network = open_network(path, "finding lettering", _wrong)

    def lettering_of(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a mask of the picture's size, 255 on every line of text."""
        height, width = pixels_HWC.shape[:2]
        small = cv2.resize(pixels_HWC, self._size_wh(height, width), interpolation=cv2.INTER_AREA)
        # The detectors were trained on BGR with ImageNet's figures in their RGB order.
        scaled = (small[:, :, ::-1].astype(np.float32) / 255 - IMAGENET[0]) / IMAGENET[1]
        answer = self._network.answer(scaled)
        if (
            answer.ndim != 4
            or answer.shape[1] != 1
            or not 0 <= float(answer.min()) <= float(answer.max()) <= 1
        ):
            raise _wrong(
                self._path, f"it answers {list(answer.shape)}, {answer.min():.2f} to {answer.max():.2f}"
            )
        mask = np.zeros((height, width), np.uint8)
        scale = np.array([width, height]) / answer.shape[:1:-1]
        for line in _lines(answer[0, 0]):
            cv2.fillPoly(mask, [np.round(line * scale).astype(np.int32)], 255)
        return mask

    def _size_wh(self, height: int, width: int) -> tuple[int, int]:
        own_h, own_w = self._network.size_hw
        factor = min(1.0, LONGER_SIDE_PX / max(height, width))
        tall, wide = (max(STEP_PX, round(side * factor / STEP_PX) * STEP_PX) for side in (height, width))
        return own_w or wide, own_h or tall


def _lines(probability_HW: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return each line of text as the corners of a turned rectangle, in the answer's own pixels."""
    marked = (probability_HW > LEAST_PROBABILITY).astype(np.uint8)
    outlines, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline in outlines:
        middle, sides, angle = cv2.minAreaRect(outline)
        long, short = max(sides), min(sides)
        is_body = short > TALL_SHARE * min(marked.shape) and long < TALL_RATIO * short
        if short < LEAST_LINE_PX or is_body:
            continue
        within = np.zeros_like(marked)
        cv2.drawContours(within, [outline], -1, 1, cv2.FILLED)
        if float(probability_HW[within > 0].mean()) < LEAST_SCORE:
            continue
        wider = (
            long * short * UNSHRUNK / (long + short)
        )  # on both sides: 2 · A · r / L, L = 2 · (long + short)
        found.append(cv2.boxPoints((middle, (sides[0] + wider, sides[1] + wider), angle)))
    return found


def _wrong(path: Path, given: str) -> ModelError:
    required = "a text detector as ONNX: text_detection_en_ppocrv3_2023may.onnx, ch_PP-OCRv4_det_infer.onnx"
    remedy = "Get one, of github.com/opencv/opencv_zoo (models/text_detection_ppocr) for example."
    return ModelError(Problem(str(path), given, required, remedy))
