"""Prompt adherence where the pictures are looked at by CLIP: how well a picture and what was asked of it agree.

CLIPScore (Hessel et al. 2021): 2.5 × the cosine of picture and text, at least 0. The trigger means nothing to CLIP and is read as
the class word; the base alone, asked the same, is what a LoRA should not fall behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.encoders.clip_text import ClipText
from maquette.measuring.embedder import Embedder
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "adherence"
WEIGHT = 2.5


class AdherenceMeasurer(PictureMeasurer):
    """Each drawing against its own prompt; prompts that are the trigger alone ask for nothing."""

    def __init__(
        self, embedder: Embedder, text: ClipText, *, trigger: str = "", class_word: str = ""
    ) -> None:
        self._embedder = embedder
        self._text = text
        self._trigger = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE) if trigger else None
        self._class_word = class_word
        self._rows: dict[str, NDArray[Any]] = {}
        self.measures = (
            Measure(
                name=NAME,
                title="Prompt adherence",
                definition="how well a picture and its prompt agree, the trigger read as the class word.",
                formula="2.5 × the cosine of CLIP's rows of picture and prompt, at least 0 (CLIPScore)",
                encoder=embedder.encoder.name,
                blind_to="the order of words and who does what; lists of tags, which CLIP never read",
            ),
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return the agreement of each picture with its prompt."""
        rows_ND = self._embedder.rows(pictures, looks)
        return [self._score(row, look.prompt) for row, look in zip(rows_ND, looks, strict=True)]

    def asked(self, prompt: str) -> str:
        """Return a prompt as CLIP reads it; empty where nothing but the subject is asked for."""
        if self._trigger is None:
            return prompt
        known = re.escape(self._class_word)
        said = self._trigger.sub(self._class_word, prompt)
        once = re.sub(rf"\b{known}(?:\s+{known})+\b", self._class_word, said) if known else said
        text = re.sub(r"\s+", " ", once).strip(" ,")
        return "" if text == self._class_word else text

    def _score(self, row_D: NDArray[Any], prompt: str) -> dict[str, float]:
        text = self.asked(prompt)
        if not text:
            return {}
        if text not in self._rows:
            [self._rows[text]] = self._text.encode([text])
        return {NAME: float(np.clip(WEIGHT * float(row_D @ self._rows[text]), 0.0, 1.0))}
