"""The numbers of a small tensor, read without torch."""

from __future__ import annotations

import struct

from maquette.families.common.header import TensorEntry

NUMBERS = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i"}
"""How a number lies in a file; bfloat16 is the upper half of a float32."""
MOST_BYTES = 1 << 20


def numbers_of(entry: TensorEntry) -> tuple[float, ...] | None:
    """Return what a small tensor holds; None where it cannot be read, is large, or holds no numbers that weights have."""
    if entry.num_bytes > MOST_BYTES:
        return None
    try:
        with entry.path.open("rb") as file:
            file.seek(entry.start)
            raw = file.read(entry.num_bytes)
        if entry.dtype == "BF16":
            raw = b"".join(b"\0\0" + raw[place : place + 2] for place in range(0, len(raw), 2))
        letter = "f" if entry.dtype == "BF16" else NUMBERS[entry.dtype]
        found = struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw)
    except (OSError, KeyError, struct.error):
        return None
    return tuple(float(value) for value in found)
