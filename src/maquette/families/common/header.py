"""The safetensors header, read as JSON without torch, with every check that a damaged file needs.

Layout of the format: 8 bytes little-endian header length N, N bytes of JSON
{name: {dtype, shape, data_offsets}}, then the tensors' bytes. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from maquette.errors import ModelError, Problem
from maquette.reading import Unreadable, parse_json, shown

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8,
    "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
}  # fmt: skip
MAX_HEADER_BYTES = 32 * 2**20
"""The library itself allows 100 MB, whose JSON would take gigabytes; no model comes near a tenth of this."""
MAX_DIMENSIONS = 8
MAX_NAME_CHARS = 1000

FOREIGN_STARTS: tuple[tuple[bytes, str], ...] = (
    (
        b"PK\x03\x04",
        "a zip archive such as .ckpt and .pt files are: a pickle that could run any program when opened",
    ),
    (b"\x80", "a Python pickle that could run any program when opened"),
    (b"GGUF", "a GGUF file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer of a few bytes, not the model itself"),
    (b"<", "a web page, so the download did not reach the file"),
)


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor's bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int
    """First byte, counted from the beginning of the file."""
    num_bytes: int


@dataclass(frozen=True)
class Header:
    """The tensors and metadata of one safetensors file."""

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Return the header of the safetensors file at `path`.

    Raises ModelError when it is missing, empty, truncated, damaged or another format.
    """
    size_bytes, start = _peek(path)
    foreign = next((words for magic, words in FOREIGN_STARTS if start.startswith(magic)), None)
    if foreign is not None and not _length_fits(start, size_bytes):
        raise _unusable(
            path, f"it is {foreign}", "Get or convert it to the .safetensors version of the model."
        )
    if not _length_fits(start, size_bytes):
        raise _unusable(
            path, "it does not begin like a safetensors file, or is cut off in its header", _AGAIN
        )
    header_bytes = int.from_bytes(start[:8], "little")
    with path.open("rb") as file:
        file.seek(8)
        raw = file.read(header_bytes)
    header = _understood(path, raw)
    _check_extent(path, header.tensors, size_bytes, 8 + header_bytes)
    return Header(path, dict(header.tensors), dict(header.metadata))


@lru_cache(maxsize=4)
def _understood(path: Path, raw: bytes) -> Header:
    """Return what the bytes of a header say; a start asks several times, and thousands of tensors take a while."""
    table = _parse(path, raw)
    metadata = table.pop("__metadata__", None) or {}
    tensors = {name: _entry(path, name, value, 8 + len(raw)) for name, value in table.items()}
    return Header(path, tensors, {str(key): str(value) for key, value in metadata.items()})


_AGAIN = "Download or copy the file again and compare its size with the original."


def _peek(path: Path) -> tuple[int, bytes]:
    try:
        about = path.stat()
        if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
            raise _unusable(path, "it is no ordinary file", "Check the path.")
        size_bytes = about.st_size
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise _unusable(path, "there is no such file", "Check the path.") from None
    except ValueError:  # a NUL in the path
        raise _unusable(path, "this is no name of a file", "Check the path.") from None
    except OSError as error:
        raise _unusable(
            path, f"it cannot be read ({error.strerror or error})", "Check the path and its permissions."
        ) from None
    if size_bytes == 0:
        raise _unusable(path, "the file is empty (0 bytes)", _AGAIN)
    return size_bytes, start


def _length_fits(start: bytes, size_bytes: int) -> bool:
    """Whether the first eight bytes can be a header length, followed by JSON."""
    length = int.from_bytes(start[:8], "little")
    return len(start) >= 9 and 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - 8) and start[8:9] == b"{"


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        table = parse_json(raw)
    except Unreadable:
        raise _unusable(path, "its header is not valid JSON, so the file is damaged", _AGAIN) from None
    if not isinstance(table, dict) or not isinstance(table.get("__metadata__", {}), dict | None):
        raise _unusable(path, "its header is not a table of tensors, so the file is damaged", _AGAIN)
    return table


def _entry(path: Path, name: str, value: Any, data_start: int) -> TensorEntry:
    described = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (described.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (
        isinstance(dtype, str)
        and _are_counts(shape)
        and len(shape) <= MAX_DIMENSIONS
        and _are_counts(offsets)
        and len(offsets) == 2
        and len(name) <= MAX_NAME_CHARS
    ):
        raise _unusable(
            path, f"its header describes the tensor {shown(name)} wrongly, so the file is damaged", _AGAIN
        )
    begin, end = offsets
    expected = ITEM_BYTES.get(dtype, 0) * math.prod(shape)
    if end < begin or (dtype in ITEM_BYTES and end - begin != expected):
        raise _unusable(
            path, f"size and place of the tensor {shown(name)} do not agree, so the file is damaged", _AGAIN
        )
    return TensorEntry(name, dtype, tuple(shape), path, data_start + begin, end - begin)


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    """Tell whether these are whole numbers from 0, each written as one: neither 2.0, nor "2", nor true."""
    return isinstance(values, list) and all(type(each) is int and each >= 0 for each in values)


def _check_extent(path: Path, tensors: Mapping[str, TensorEntry], size_bytes: int, data_start: int) -> None:
    needed = max((entry.start + entry.num_bytes for entry in tensors.values()), default=data_start)
    if needed > size_bytes:
        raise _unusable(path, f"it is truncated: {size_bytes:,} bytes of {needed:,}", _AGAIN)


def _unusable(path: Path, found: str, remedy: str) -> ModelError:
    return ModelError(
        Problem(str(path), found, "a base model as a .safetensors file or a diffusers folder", remedy)
    )
