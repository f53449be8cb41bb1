"""What was worked out from a layout once is kept: shipped for the well-known layouts, in the user's cache for others.

A table only saves time (building networks means loading torch, diffusers and transformers): where none can be read or
written, it is worked out again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.families.protocol import Layout
from maquette.files import cache_folder, replacing
from maquette.reading import parse_json

SHIPPED = Path(__file__).parent / "tables"
VERSION = 2
"""Raise it when what is worked out changes: older tables are then made anew."""


def layout_key(layout: Layout) -> str:
    """Return a short name for a layout, the same for equal layouts."""
    described = json.dumps(asdict(layout), sort_keys=True)  # type: ignore[call-overload]
    return f"{layout.family}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def stored(name: str, make: Callable[[], dict[str, Any]], *, shipped: Path = SHIPPED) -> dict[str, Any]:
    """Return the table `name`: the shipped one, the user's, or what `make` gives, which is then kept."""
    own = cache_folder() / "layouts" / f"{name}.json.gz"
    for path in (shipped / own.name, own):
        table = read_table(path)
        if table is not None:
            return table
    table = make()
    with suppress(MaquetteError, OSError):  # a cache that cannot be written costs the same time again
        write_table(own, table)
    return table


def write_table(path: Path, table: dict[str, Any]) -> None:
    """Write `table` to `path`, equal bytes for equal tables."""
    raw = json.dumps({"version": VERSION, **table}, separators=(",", ":")).encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(raw, mtime=0))


def read_table(path: Path) -> dict[str, Any] | None:
    """Return the table at `path`, None where there is none of this version."""
    try:
        table = parse_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError):
        return None
    return table if isinstance(table, dict) and table.get("version") == VERSION else None
