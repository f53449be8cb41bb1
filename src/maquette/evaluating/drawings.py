"""Drawn pictures in a folder: which of them are there already, told by what they were drawn from.

    FOLDER/pictures/COLUMN/PROMPT-XXXXXX-SEED.png

Each picture carries a hash of everything it follows from: the LoRA's bytes and strength, the base as it is loaded, prompt, seed
and settings. One that carries another hash is drawn again, one that carries the right hash never, so that an evaluation that was
killed goes on with what is missing. Pictures of another suite have other names and are left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from maquette.dataset.opening import opened
from maquette.drawing.pictures import save_picture
from maquette.drawing.request import DrawRequest
from maquette.errors import DatasetError
from maquette.families.protocol import BaseModel

CHUNK = "maquette"
"""Where a PNG keeps the hash of what it was drawn from, beside what drawing programs read."""
VERSION = 1
"""Of how pictures are drawn: another one draws all of them again."""
_SAMPLED = 64
_SLUG_LETTERS = 40


def base_print(model: BaseModel) -> str:
    """Return a hash that tells a loaded base from every other: its parts' shapes and precisions, and samples of every weight."""
    import torch

    digest = hashlib.sha256(f"{model.info.prediction} {model.info.zero_terminal_snr}".encode())
    for part in (model.denoiser, *model.text_encoders, model.vae):
        for name, tensor in part.state_dict().items():
            values = tensor.detach().reshape(-1)
            sampled = values[:: max(1, len(values) // _SAMPLED)]
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(sampled.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def drawing_print(
    request: DrawRequest, options: Mapping[str, Any], *, base: str, lora: str, strength: float
) -> str:
    """Return a hash of everything that a picture follows from. `lora` is its file's, empty for the base alone."""
    facts = asdict(request)
    del facts["trial"]
    told = {"version": VERSION, "base": base, "lora": lora, "strength": strength if lora else None}
    return hashlib.sha256(
        json.dumps({**told, **facts, "options": dict(options)}, sort_keys=True).encode()
    ).hexdigest()


def place_of(column: str, request: DrawRequest) -> str:
    """Return where a column's picture lies, relative to the folder; settings other than the seed are in its letters."""
    facts = asdict(request)
    del facts["trial"], facts["seed"]
    letters = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:6]
    start = slug(request.prompt)[:_SLUG_LETTERS].rstrip("-.") or "prompt"
    return f"pictures/{column}/{start}-{letters}-{request.seed}.png"


def slug(text: str) -> str:
    """Return `text` as part of a file's name: letters, digits and hyphens."""
    return re.sub(r"[^\w.]+", "-", text).strip("-._")


def is_fresh(path: Path, wanted: str) -> bool:
    """Return whether a whole picture lies at `path` that was drawn from what `wanted` is the hash of."""
    try:
        with opened(path) as picture:
            if picture.info.get(CHUNK) != wanted:
                return False
            picture.load()
            return True
    except DatasetError:
        return False


def keep(path: Path, picture: Image.Image, chunks: Mapping[str, str], of: str) -> None:
    """Write a picture with what drawing programs read and the hash `of` what it was drawn from, whole or not at all."""
    # One that a power cut leaves in pieces is found when it is read, and drawn again.
    save_picture(path, picture, {**chunks, CHUNK: of}, durable=False)
