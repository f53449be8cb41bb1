"""Pictures and captions that stand in one file: sd-scripts' metadata, JSON or JSON lines, and the lists of Hugging Face folders.

{"a.png": {"caption": "…", "tags": "…"}}                    JSON of sd-scripts
{"image_path": "a.png", "caption": "…", "tags": "…"}        a line of its JSONL
{"file_name": "a.png", "text": "…"}                         a line of metadata.jsonl, a row of metadata.csv
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.dataset.config import PICTURE_EXTENSIONS, SubsetSource
from maquette.errors import Problem, nearest
from maquette.reading import Unreadable, json_of, parse_json, shown, text_of

LISTS = ("metadata.jsonl", "metadata.csv")
"""Names of a Hugging Face folder's own list, first choice first."""
ENDINGS = (".json", ".jsonl", ".csv")
PATH_COLUMNS = ("image_path", "file_name")
CAPTION_COLUMNS = ("caption", "text")
MANY = 20
"""Problems of one file that are told one by one."""


@dataclass(frozen=True)
class Metadata:
    """What one list of pictures comes to."""

    captions: Mapping[Path, str]
    """Picture → its caption with its tags, all lines; "" where the list gives it none. In the list's order."""
    problems: tuple[Problem, ...] = ()


def list_in(folder: Path) -> Path | None:
    """Return the list that a Hugging Face folder carries, or None."""
    return next((folder / name for name in LISTS if (folder / name).is_file()), None)


def read_metadata(subset: SubsetSource) -> Metadata:
    """Return the pictures that a subset's list names, as sd-scripts composes their captions. Never raises.

    A relative path counts from the subset's folder. The last mention of a picture counts, as in sd-scripts.
    """
    file = subset.metadata_file
    assert file is not None, "the subset has a list"
    captions: dict[Path, str] = {}
    problems: list[Problem] = []
    try:
        for where, path, values in _rows(file, problems):
            picture = _picture(path, subset.path)
            if (problem := _unusable(f"{file}{where}", picture)) is not None:
                problems.append(problem)
                continue
            caption, tags = (_text(values.get(name)) for name in ("caption", "tags"))
            captions.pop(picture, None)
            captions[picture] = composed(caption, tags, subset) if tags is not None else caption or ""
    except Unreadable as error:
        return Metadata({}, (error.problem(file, "a list of pictures with captions", "Check the file."),))
    if not captions and not problems:
        needed, remedy = "at least one picture", "List pictures in it, or leave metadata_file out."
        problems.append(Problem(str(file), "no pictures", needed, remedy))
    return Metadata(captions, _few(problems, file))


def composed(caption: str | None, tags: str, subset: SubsetSource) -> str:
    """Return a caption with its tags behind it, as sd-scripts joins them; with wildcards behind each of its lines."""
    caption, separator = caption or "", subset.options.caption_separator
    if subset.options.enable_wildcard:
        tags = tags.replace("\n", separator)
        return "\n".join(f"{line}{separator}{tags}" for line in caption.split("\n") if line.strip())
    return f"{caption}{separator}{tags}" if caption and tags else caption or tags


def _rows(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (place, path, values) of each row; what is wrong with one goes to `problems`. Raises Unreadable."""
    ending = file.suffix.lower()
    if ending == ".json":
        yield from _rows_of_table(file, problems)
        return
    for number, row in _lines_of_jsonl(file, problems) if ending == ".jsonl" else _lines_of_csv(file):
        where = f" line {number}"
        column = next((name for name in PATH_COLUMNS if isinstance(row.get(name), str) and row[name]), None)
        if column is None:
            remedy = _meant(row, PATH_COLUMNS, "file_name")
            problems.append(
                Problem(
                    f"{file}{where}", f"no file_name: {shown(list(row))}", "file_name or image_path", remedy
                )
            )
            continue
        caption = next((name for name in CAPTION_COLUMNS if row.get(name)), None)
        others = [name for name in row if name not in (column, "image_size", "tags", *CAPTION_COLUMNS)]
        if caption is None and others and row.get("tags") is None and not row.keys() & set(CAPTION_COLUMNS):
            remedy = _meant(row, CAPTION_COLUMNS, "text")
            problems.append(
                Problem(f"{file}{where}", f"no text: {shown(list(row))}", "text or caption", remedy)
            )
            continue
        yield where, row[column], {"caption": row.get(caption or ""), "tags": row.get("tags")}


def _rows_of_table(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    table = json_of(file)
    if not isinstance(table, dict):
        raise Unreadable(f"{shown(table)}, where a table of pictures belongs")
    for path, values in table.items():
        if isinstance(values, dict):
            yield f" {path}", path, values
        else:
            example = 'Write "NAME.png": {"caption": "…"}.'
            problems.append(Problem(f"{file} {path}", shown(values), "a table with its caption", example))


def _lines_of_jsonl(file: Path, problems: list[Problem]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text_of(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            if not isinstance(row, dict):
                raise Unreadable(f"{shown(row)}, where a table belongs")
        except Unreadable as error:
            required = "one table a line, in JSON"
            problems.append(
                Problem(f"{file} line {number}", error.given, required, "Repair or remove the line.")
            )
            continue
        yield number, row


def _lines_of_csv(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text_of(file), newline=""))
    if "file_name" not in (reader.fieldnames or ()):
        given = f"its columns are {shown(list(reader.fieldnames or ()))}"
        raise Unreadable(given, " line 1", "Name the column of files file_name, that of captions text.")
    try:
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise Unreadable(f"no CSV ({error})", f" line {reader.line_num}") from None


def _meant(row: Mapping[str, Any], wanted: tuple[str, ...], name: str) -> str:
    similar = next((each for each in row if nearest(each, wanted)), None)
    return f"Is '{similar}' meant? Name it {name}." if similar else f"Add it under the name {name}."


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else str(value)


def _picture(path: str, folder: Path) -> Path:
    """Return the picture that a list means; sd-scripts' older lists leave endings away."""
    picture = folder / path
    if picture.suffix.lower() in PICTURE_EXTENSIONS or picture.is_file():
        return picture
    named = (picture.with_name(picture.name + ending) for ending in sorted(PICTURE_EXTENSIONS))
    return next((each for each in named if each.is_file()), picture)


def _unusable(where: str, picture: Path) -> Problem | None:
    if picture.suffix.lower() not in PICTURE_EXTENSIONS:
        kinds = ", ".join(sorted(PICTURE_EXTENSIONS))
        return Problem(
            where, f"{picture.name} is no picture that is read", f"one of {kinds}", "Convert it to PNG."
        )
    if not picture.is_file():
        remedy = "Correct the path, or take the line out. A relative path counts from the pictures' folder."
        return Problem(where, f"{picture} is not there", "a picture", remedy)
    return None


def _few(problems: list[Problem], file: Path) -> tuple[Problem, ...]:
    if len(problems) <= MANY:
        return tuple(problems)
    more = f"{len(problems) - MANY:,} more lines are wrong in these ways"
    return (*problems[:MANY], Problem(str(file), more, "sound lines", "Repair them likewise."))
