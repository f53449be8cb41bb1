"""The base by itself, under an adapter: what it predicts with no LoRA, as a target that an adapter is held to.

It reads the caption by its own text encoders too: where those are trained, the adapter's reading of the same words is
another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel, Conditioning, PictureSize
    from maquette.lora.adapter import LoraAdapter


class BasePrediction:
    """What the base says under an adapter that stands aside; never part of a gradient's graph.

    Call it before the pass that is differentiated or after it, not while that pass is recomputed: a checkpointed block
    computes again in the backward pass, and must find the adapter as it was.
    """

    def __init__(
        self, model: BaseModel, adapter: LoraAdapter, encode: Callable[[Sequence[str]], Conditioning]
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._encode = encode
        self._texts: dict[str, Conditioning] = {}

    @torch.no_grad()
    def conditioning(self, captions: Sequence[str]) -> Conditioning:
        """Return what the base's own text encoders make of `captions`: each distinct one is encoded once a run."""
        with self._adapter.disabled():
            for caption in dict.fromkeys(captions):
                if caption not in self._texts:
                    self._texts[caption] = self._encode([caption])
        encoded = [self._texts[caption] for caption in captions]
        return encoded[0].cat(encoded)

    @torch.no_grad()
    def predict(
        self,
        noisy_RCHW: torch.Tensor,
        timesteps_R: torch.Tensor,
        captions: Sequence[str],
        sizes: Sequence[PictureSize],
    ) -> torch.Tensor:
        """Return the base's prediction for R rows, each told its own of `captions`."""
        conditioning = self.conditioning(captions)
        with self._adapter.disabled():
            return self._model.predict(noisy_RCHW, timesteps_R, conditioning, sizes)
