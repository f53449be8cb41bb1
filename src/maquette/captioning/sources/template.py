"""Captions from a pattern: `{trigger}, {framing}, {view}, {pose}, {background}`, filled from names and a CSV table.

Fields come, first hit first, from the table's row for the picture, from what the file's and folder's names say
(`spyke_full-body_front_standing.png`), and from the profile. A part whose fields are all empty is left out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from maquette.captioning.records import Answer, Target
from maquette.captioning.sources.source import Ask, Context, Source, no_argument
from maquette.dataset.folders import prefix_of
from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.profile import Profile
from maquette.words.phrases import slot_of
from maquette.words.reading import asymmetric_phrases, framing_of, view_of
from maquette.words.text import plain, word_set

DEFAULTS = {
    "character": "{trigger}, {framing}, {view}, {pose}, {expression}, {details}, {background}",
    "object": "{trigger}, {class}, {framing}, {view}, {pose}, {details}, {background}",
    "style": "{style}, {trigger}, {framing}, {view}, {pose}, {expression}, {background}",
    "detailed": (
        "{trigger}, {class}, {framing}, {view}, {pose}, {expression}, {appearance}, {details}, {background}"
    ),
}
FROM_NAMES = ("framing", "view", "pose", "expression", "background")
FROM_PROFILE = ("trigger", "class", "style", "appearance", "details")
OTHERS = ("name", "folder", "words")
GO_ON = word_set(
    "body face head view shot angle background expression stance pose lighting quarter crossed raised up"
)
"""Words of a name that belong to the word before them."""
GOES_ON = word_set("from holding looking facing arms hands hand arm in on at full upper close three")
"""Words of a name that belong to the word after them."""
FILE_COLUMNS = ("file", "file_name", "filename", "picture", "image", "path")


class Template:
    """Fills the pattern for each picture."""

    name = "template"
    batch_size = 64
    is_parallel = False
    is_model = False
    is_literal = True
    from_existing = False
    learns_from_refusal = False
    sees_pictures = False

    def __init__(self, pattern: str, profile: Profile, rows: Mapping[str, Mapping[str, str]]) -> None:
        self._pattern = pattern
        self._profile = profile
        self._rows = rows

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        return [self._answer(ask.target) for ask in asks]

    def _answer(self, target: Target) -> Answer:
        row = self._row(target)
        if self._rows and row is None:
            return Answer(refused=f"the table has no row for {target.name}")
        return Answer(text=fill(self._pattern, self._values(target, row or {})))

    def _row(self, target: Target) -> Mapping[str, str] | None:
        names = (target.name, target.picture.name, target.picture.stem)
        return next((self._rows[name] for name in names if name in self._rows), None)

    def _values(self, target: Target, row: Mapping[str, str]) -> dict[str, str]:
        profile = self._profile
        values = from_names(target, profile)
        values |= {
            "trigger": profile.trigger,
            "class": profile.class_word,
            "style": ", ".join(profile.style),
            "appearance": ", ".join(profile.appearance),
            "name": target.picture.stem,
            "folder": target.subset.path.name,
        }
        values |= {column: text for column, text in row.items() if text}
        said = ", ".join(values.get(field, "") for field in ("framing", "view", "pose"))
        seen = asymmetric_phrases(profile, view_of(said), framing_of(said))
        return {"details": ", ".join(seen), **values}

    def describe(self) -> Mapping[str, Any]:
        return {"source": self.name, "template": self._pattern, "rows": len(self._rows)}

    def close(self) -> None:
        pass


def open_source(argument: str, context: Context) -> Source:
    """Return the source. Raises ConfigError for an unknown field or an unusable table."""
    no_argument("template", argument)
    pattern = context.options.template or DEFAULTS[context.strategy.name]
    rows, columns = read_table(context.options.table) if context.options.table else ({}, ())
    known = (*columns, *FROM_NAMES, *FROM_PROFILE, *OTHERS)
    problems = [
        Problem(
            "--template",
            f"the field {{{field}}}",
            "a field that names, table or profile can fill",
            did_you_mean(field, known),
        )
        for field in fields_of(pattern)
        if field not in known
    ]
    if problems:
        raise ConfigError(problems)
    return Template(pattern, context.profile, rows)


def fields_of(pattern: str) -> list[str]:
    """Return the fields of a pattern. Raises ConfigError for braces that do not close."""
    try:
        parsed = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigError(
            Problem(
                "--template", f"'{pattern}' ({error})", "fields in braces", "Write {{ for a brace itself."
            )
        ) from error
    return [field for _, field, _, _ in parsed if field is not None]


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """Return the pattern with its fields filled in; a part that has fields, all of them empty, is left out."""
    filled = []
    for part in pattern.split(","):
        fields = fields_of(part)
        if fields and not any(values.get(field, "").strip() for field in fields):
            continue
        pieces = [
            text + (values.get(field, "").strip() if field is not None else "")
            for text, field, _, _ in Formatter().parse(part)
        ]
        filled.append(" ".join("".join(pieces).split()))
    return ", ".join(part for part in filled if part)


def from_names(target: Target, profile: Profile) -> dict[str, str]:
    """Return what the names of a picture and its folder say, by field; the rest of the file's name as `words`."""
    folder = target.subset.path.name
    prefix = prefix_of(folder)
    found: dict[str, str] = {}
    rest: list[str] = []
    for phrase in _phrases(target.picture.stem, profile):
        slot = slot_of(phrase)
        if slot in FROM_NAMES:
            found[slot] = f"{found[slot]} {phrase}" if slot in found else _spoken(slot, phrase)
        else:
            rest.append(phrase)
    for phrase in _phrases(prefix[1] if prefix else folder, profile):
        slot = slot_of(phrase)
        if slot in FROM_NAMES:
            found.setdefault(slot, _spoken(slot, phrase))
    return {**found, "words": " ".join(rest)}


def _spoken(slot: str, phrase: str) -> str:
    return (
        f"{phrase} view"
        if slot == "view" and phrase in ("front", "back", "side", "three quarter")
        else phrase
    )


def _phrases(name: str, profile: Profile) -> Iterator[str]:
    """Yield the words of a name, those that belong together (`full-body`, `front view`) as one; no numbers, no trigger."""
    for trigger in sorted(profile.triggers, key=len, reverse=True):
        if trigger:
            name = re.sub(re.escape(trigger), " ", name, flags=re.IGNORECASE)
    words = [plain(group) for group in re.split(r"_+|\s{2,}|--+|\+", name)]
    words = [" ".join(re.sub(r"\b\d+\b", " ", word).split()) for word in words]
    phrase: list[str] = []
    for word in filter(None, words):
        if phrase and not _belongs(phrase[-1], word):
            yield " ".join(phrase)
            phrase = []
        phrase.append(word)
    if phrase:
        yield " ".join(phrase)


def _belongs(before: str, word: str) -> bool:
    """Say whether a word of a name goes on with the one before it: `full` and `body`, `side` and `profile`."""
    if word == "profile":
        return before in ("side", "left", "right", "face", "in")
    return word in GO_ON or before in GOES_ON


def read_table(path: Path) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Return a CSV's rows by the picture they are about, and its columns. Raises ConfigError.

    The first column named file, file_name, picture, image or path says which picture, with or without ending.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            Problem(
                str(path),
                f"cannot be read ({error})",
                "a CSV file in UTF-8",
                "Check the path, save it as UTF-8.",
            )
        ) from error
    lines = text.splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.DictReader(lines, delimiter=delimiter)
    columns = tuple(column.strip() for column in reader.fieldnames or ())
    key = next((column for column in FILE_COLUMNS if column in columns), None)
    if key is None:
        raise ConfigError(
            Problem(
                str(path),
                f"columns {', '.join(columns) or 'none'}",
                f"a column {FILE_COLUMNS[0]} that names the picture",
                "Call the first column 'file'.",
            )
        )
    rows: dict[str, dict[str, str]] = {}
    for row in reader:
        values = {
            (name or "").strip(): (value or "").strip()
            for name, value in row.items()
            if isinstance(value, str)
        }
        if values.get(key):
            rows[values[key].replace("\\", "/")] = {k: v for k, v in values.items() if k != key}
    return rows, tuple(column for column in columns if column != key)
