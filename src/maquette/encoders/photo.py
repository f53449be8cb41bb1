"""Photographs of animals and objects, without a download: EfficientNet-Lite0's features of ImageNet.

Its weights are shipped (assets/README.md). The whole picture is shown at 288 × 288, squeezed to a square: the network was trained
at 224, larger pictures tell two of a kind apart better, and a cut might take the subject away. The square roots of its features
are compared, so that a few loud ones do not drown the rest. Threshold, band and what it is blind to were measured
(docs/encoders.md, benchmarks/identity.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of

from maquette.devices import resolve_device
from maquette.encoders import cosine
from maquette.encoders.efficientnet import FEATURES, EfficientNetLite0
from maquette.errors import ModelError, Problem

WEIGHTS = Path(__file__).parent / "assets" / "efficientnet_lite0.safetensors"
SIDE_PX = 288
READING = "1"
"""Of what is done with a picture here; part of the fingerprint."""
MIDDLE, SCALE = 127.0, 128.0
"""How pictures were shown to it in training: bytes less the first, divided by the second."""


class Photo:
    """One network, its rows of length 1 and compared by their cosine."""

    name = "photo"
    threshold = 0.72
    band = 0.14
    slack = 0.08
    blind_to = (
        "drawings and pixel art (all of one style look alike to it), faces (it takes people by clothes and hair), "
        "styles; two animals of one breed may be left to a person"
    )
    batch = 16
    dims = FEATURES
    identity_dims = FEATURES

    def __init__(self, weights: bytes, device: str) -> None:
        self.device = device
        self.network = EfficientNetLite0().eval().requires_grad_(False)
        self.network.load_state_dict(tensors_of(weights), strict=True)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fingerprint = f"photo{READING}-{hashlib.sha256(weights).hexdigest()[:16]}"

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.uint8)

    @torch.no_grad()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        pixels_NCHW = torch.from_numpy(np.stack(prepared)).to(self.device).permute(0, 3, 1, 2)
        features_ND = self.network((pixels_NCHW.float() - MIDDLE) / SCALE)
        rows: NDArray[Any] = torch.nn.functional.normalize(features_ND.sqrt(), dim=1).cpu().numpy()
        return rows

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        return cosine(pictures_ND, references_RD)


def load(name: str, source: str, device: str | None) -> Photo:
    """Return the encoder. Raises ModelError where its weights are missing or damaged."""
    if source:
        given, remedy = f"photo={source}", "Say --encoder photo: it brings its own weights."
        raise ModelError(Problem("--encoder", given, "no model's name behind it", remedy))
    try:
        return Photo(WEIGHTS.read_bytes(), device or resolve_device("auto"))
    except (OSError, SafetensorError, RuntimeError) as error:
        given = f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0][:160]})"
        raise ModelError(Problem(str(WEIGHTS), given, "the shipped weights", "Reinstall Maquette.")) from None
