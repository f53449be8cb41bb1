"""What a released file says of itself (ModelSpec 1.0.1), beside what its trainer wrote: how it is drawn, and a small picture."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

from maquette.deploying.recipe import Recipe, pattern_of
from maquette.deploying.sidecars import Preview
from maquette.errors import DatasetError
from maquette.families.common.header import read_header
from maquette.lora.files import MAX_HEADER_BYTES
from maquette.lora.metadata import MODEL_HASH
from maquette.toolbox.streaming import rewrite
from maquette.words.prompts import escaped

_THUMBNAIL = "modelspec.thumbnail"
_THUMBNAIL_PX = 256
_QUALITY = 85
_BLOCK_BYTES = 8 << 20


def told_by(
    recipe: Recipe, name: str, own: Mapping[str, str], preview: Preview | None = None
) -> dict[str, str]:
    """Return the keys that a release adds: the trigger as it is deployed, and what the file (`own`) does not say yet.

    The strength is no part of it: one file is drawn at any.
    """
    scene = recipe.scene
    missing = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": scene.family.modelspec_architecture,
        "modelspec.title": name,
        "modelspec.usage_hint": usage_hint(recipe),
        "modelspec.description": recipe.origin[:1].upper() + recipe.origin[1:],
        _THUMBNAIL: "" if preview is None else _thumbnail(preview.path),
    }
    told = {key: value for key, value in missing.items() if value and not own.get(key)}
    if recipe.trigger:
        told["modelspec.trigger_phrase"] = recipe.trigger
    return told


def stamped(source: Path, target: Path, told: Mapping[str, str]) -> Path:
    """Write `source` to `target` with `told` over its metadata, and the hash of its tensors where it has none.

    The tensors are the same to the bit. A thumbnail is left out where the header would become longer than programs read.
    """
    header = read_header(source)
    metadata = {**header.metadata, **told}
    metadata[MODEL_HASH] = metadata.get(MODEL_HASH) or _hash_of(source)
    if sum(len(key) + len(value.encode()) for key, value in metadata.items()) > MAX_HEADER_BYTES // 2:
        metadata.pop(_THUMBNAIL, None)
    for _ in rewrite(target, header.tensors, metadata):
        pass
    return target


def _hash_of(path: Path) -> str:
    """Return the SHA-256 of the bytes after a file's header."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def usage_hint(recipe: Recipe) -> str:
    """Return how the LoRA is drawn, in one line."""
    scene = recipe.scene
    there = scene.elsewhere
    sampler = scene.sampler if there is None else " ".join(there.comfyui)
    parts = {
        "Prompt": escaped(pattern_of(recipe)),
        "Negative": escaped(scene.request.negative),
        "Sampler": f"{sampler}, {scene.request.steps} steps, CFG {scene.request.guidance:g}",
        "Clip skip": str(scene.clip_skip),
    }
    return ". ".join(f"{name}: {value}" for name, value in parts.items() if value)


def _thumbnail(path: Path) -> str:
    """Return a small picture as a data URL; empty for what is no picture."""
    from maquette.dataset.opening import on_white, opened, upright

    try:
        with opened(path) as image:
            picture = on_white(upright(image))
    except DatasetError:
        return ""
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
