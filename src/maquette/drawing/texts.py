"""What the prompts of a drawing say to the denoiser: each text is encoded once, however many pictures and steps ask for it.

Where no LoRA stands on a text encoder, one encoding serves all trials; else each trial has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from maquette.families.protocol import BaseModel, Conditioning

if TYPE_CHECKING:
    from maquette.lora.adapter import LoraAdapter


class EncodedTexts:
    """The texts that one model and adapter have been asked for. Weights must not change while it is used."""

    def __init__(
        self, model: BaseModel, adapter: LoraAdapter | None, options: Mapping[str, Any], max_tokens: int
    ) -> None:
        self._model, self._max_tokens = model, max_tokens
        self._options = model.spec.of_stage("text", options)
        self._trials = adapter.num_trials if adapter is not None and adapter.adapts("text_encoder") else 1
        self._known: dict[str, Conditioning] = {}

    @torch.no_grad()
    def rows(self, texts: Sequence[str], trials: Sequence[int]) -> Conditioning:
        """Return a row for each of `texts` under the trial beside it."""
        self._encode([text for text in dict.fromkeys(texts) if text not in self._known])
        own = trials if self._trials > 1 else [0] * len(texts)
        parts = [self._known[text].rows([trial]) for text, trial in zip(texts, own, strict=True)]
        return self._model.text_type.cat(parts)

    def _encode(self, texts: Sequence[str]) -> None:
        if not texts:
            return
        # The rows of a batch are the trials' equal groups, one after the other.
        tokens = self._model.tokenize([*texts] * self._trials, max_tokens=self._max_tokens)
        encoded = self._model.encode_text(tokens, **self._options)
        for index, text in enumerate(texts):
            self._known[text] = encoded.rows([index + len(texts) * trial for trial in range(self._trials)])
