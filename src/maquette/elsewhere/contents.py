"""What stands in a file, whatever program wrote it, as plain values; never an error."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError
from maquette.reading import FileKind, Unreadable, json_of, read_lines, read_table, read_yaml

FEW_ROWS = 3
ANY = FileKind("keys and values", "")


def contents_of(path: Path) -> Any:
    """Return the values in a JSON, JSON Lines, TOML or YAML file (of JSON Lines the first rows); None where there are none."""
    suffix = path.suffix.lower()
    try:
        if suffix in (".yaml", ".yml"):
            return read_yaml(path, ANY)
        if suffix == ".toml":
            return read_table(path, ANY)
        if suffix == ".jsonl":
            return list(islice(read_lines(path), FEW_ROWS))
        return json_of(path) if suffix in (".json", ".ipynb") else None
    except (OSError, Unreadable, ConfigError):
        return None
