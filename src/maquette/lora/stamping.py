"""A LoRA file with more said in its metadata: a copy whose tensors are the same to the bit, at the same places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.errors import LoraError, Problem
from maquette.files import replacing
from maquette.lora.files import MAX_HEADER_BYTES
from maquette.lora.metadata import MODEL_HASH
from maquette.reading import Unreadable, parse_json

_BLOCK_BYTES = 8 << 20
_WORDY = ("modelspec.thumbnail",)
"""What is left out first where the header would become longer than drawing programs read."""


def stamped(source: Path, target: Path, told: Mapping[str, str]) -> Path:
    """Write `source` to `target` with `told` over its metadata, and with the hash of its tensors where it has none.

    Raises LoraError for what is no safetensors file.
    """
    with source.open("rb") as file:
        table = _header(source, file.read(8), file)
        start = file.tell()
        metadata = {**(table.pop("__metadata__", None) or {}), **told}
        if not metadata.get(MODEL_HASH):
            metadata[MODEL_HASH] = _hash_of(file)
            file.seek(start)
        header = _fitting(table, metadata)
        with replacing(target) as temporary, temporary.open("wb") as output:
            output.write(header)
            while block := file.read(_BLOCK_BYTES):
                output.write(block)
    return target


def _header(source: Path, length: bytes, file: Any) -> dict[str, Any]:
    try:
        table = parse_json(file.read(int.from_bytes(length, "little")), any_text=True)
    except (Unreadable, OverflowError, MemoryError):
        table = None
    if not isinstance(table, dict):
        remedy = "Download or copy the file again."
        raise LoraError(Problem(str(source), "its header cannot be read", "a .safetensors file", remedy))
    return table


def _hash_of(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _fitting(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Return the header: its length, then JSON padded to a multiple of eight; without a thumbnail where that is too much."""
    header = _bytes_of(tensors, metadata)
    if len(header) > MAX_HEADER_BYTES:
        return _bytes_of(tensors, {key: value for key, value in metadata.items() if key not in _WORDY})
    return header


def _bytes_of(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    table = {"__metadata__": dict(sorted(metadata.items())), **tensors}
    raw = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw
