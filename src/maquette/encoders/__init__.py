"""Encoders: what turns a picture into numbers whose nearness means likeness. One name each, one line in the table.

    photo                  photographs of animals and objects: offline, its weights are shipped
    clip, siglip, dinov2   a transformers model by hub name or local folder: `clip=openai/clip-vit-large-patch14`
    csd                    styles, whoever is shown: `csd=/models/csd`
    ccip                   anime characters, through onnxruntime: `ccip=/models/ccip-caformer-24-randaug-pruned`
    face                   people by their faces, the largest of each picture: `face=/models/opencv_zoo`
    style                  how a picture is drawn, not who is on it: offline; for evaluating, not for identity
    world                  the small world's judge: offline, and only for pictures of the small world

Shapes: N pictures, R references, D numbers a picture.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from maquette.errors import ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

TABLE: dict[str, str] = {
    "photo": "photo",
    "clip": "transformers_vision",
    "siglip": "transformers_vision",
    "dinov2": "transformers_vision",
    "csd": "csd",
    "ccip": "ccip",
    "face": "face",
    "world": "world",
    "style": "style",
}
"""Name → the module in this package that makes it, by its function `load(name, source, device)`."""


UNMEASURED_BAND = 0.03
"""Of encoders for which nobody has measured how far below their threshold the subject is still met."""


class Encoder(Protocol):
    """Pictures in, rows of numbers out."""

    name: str
    """As it was asked for: `clip=/models/clip`."""
    fingerprint: str
    """Hex; equal for equal weights and preprocessing. Cached embeddings are kept under it."""
    dims: int
    identity_dims: int
    """The first so many numbers say who it is; all of them together also how it is shown."""
    threshold: float
    """The similarity from which two pictures show the same subject, unless a person says otherwise."""
    band: float
    """How far below it they may still: between, a person looks."""
    slack: float | None
    """How much less like the references a picture of the subject may be than the odd one among three or more references is;
    None where that was not measured."""
    blind_to: str
    """What it cannot tell, in words."""
    batch: int
    """Pictures that are encoded at once."""

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        """Return what `encode` takes of one RGB picture. Called on several threads."""

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return float32 [N, D]; the identity part and the whole have comparable lengths from row to row."""

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        """Return float32 [N, R], at most 1: how alike each picture and each reference are in who they show."""


def load_encoder(name: str, device: str | None = None) -> Encoder:
    """Return the encoder `name` (`clip`, or `clip=HUB_NAME_OR_FOLDER`), its weights in memory.

    Raises ConfigError for an unknown name, ModelError when its model is neither here nor to be had, MissingExtra.
    """
    kind, _, source = name.partition("=")
    if kind not in TABLE:
        raise ConfigError(Problem("--encoder", repr(name), "a known encoder", did_you_mean(kind, TABLE)))
    module = importlib.import_module(f"{__name__}.{TABLE[kind]}")
    encoder: Encoder = module.load(kind, source, device)
    return encoder


def cosine(left_ND: NDArray[Any], right_RD: NDArray[Any]) -> NDArray[Any]:
    """Return the cosine of every pair, float32 [N, R]; rows of zeros are like nothing."""
    import numpy as np

    def unit(rows: NDArray[Any]) -> NDArray[Any]:
        rows = rows.astype(np.float32, copy=False)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    result: NDArray[Any] = unit(left_ND) @ unit(right_RD).T
    return result
