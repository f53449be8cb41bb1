"""The one way in for JSON, TOML and YAML: within limits of size, depth, digits and entries, and every failure in words.

    read_table(path, KIND)       a JSON (by its ending) or TOML file that is to hold a table
    read_yaml(path, KIND)        the same of a YAML file
    read_lines(path)             the objects of a JSON-lines file, one line at a time
    parse_json(text)             JSON that stands in another file, a LoRA's metadata for one; raises Unreadable

All give plain values; `project.validation.checked` turns them into a record. Texts hold no NUL and no half of a surrogate pair,
whole numbers fit into 64 bits, and what was read may be walked, copied and printed without a further thought. `bytes_of` and
`text_of` are the way to other files that a stranger may have written: bounded, and no pipe or device is opened.
"""

from maquette.reading.files import (
    FileKind,
    bytes_of,
    json_of,
    read_lines,
    read_table,
    read_yaml,
    text_of,
)
from maquette.reading.limits import Unreadable, is_finite, is_writable, shown
from maquette.reading.texts import parse_json, parse_toml

__all__ = [
    "FileKind",
    "Unreadable",
    "bytes_of",
    "is_finite",
    "is_writable",
    "json_of",
    "parse_json",
    "parse_toml",
    "read_lines",
    "read_table",
    "read_yaml",
    "shown",
    "text_of",
]
