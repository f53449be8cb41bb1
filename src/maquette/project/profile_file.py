"""`profile.toml` read and written; another program's character file (YAML, JSON) read as far as it can be understood.

In a profile.toml every key must be known. A character file of another program has no fixed form: what is understood
is taken, and the profile's notes say what was not.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.profile import KINDS, PROFILE_NAME, SIDES, VIEWS, Detail, Form, Profile
from maquette.project.profile_import import profile_from_sheet, view_named
from maquette.project.profile_text import profile_toml

__all__ = ["profile_from_table", "profile_toml", "read_profile"]

TEXTS = ("kind", "trigger", "class_word")
LISTS = ("appearance", "references", "palette", "varies", "style")
PROFILE_KEYS = (*TEXTS, *LISTS, "details", "forms")
DETAIL_KEYS = tuple(each.name for each in fields(Detail))
FORM_KEYS = tuple(each.name for each in fields(Form))
COLOUR = re.compile(r"#[0-9a-f]{6}")
SHEET_ENDINGS = (".yaml", ".yml", ".json")


def read_profile(path: Path) -> Profile:
    """Return the profile in `path`: a profile.toml, a folder that holds one, or a character file (YAML, JSON).

    References are relative to the file. Raises ConfigError with every problem found.
    """
    path = Path(path)
    path = path / PROFILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(
            Problem(
                str(path),
                "no such file",
                f"a {PROFILE_NAME}, or a character file (YAML, JSON)",
                "maquette init writes one to fill in.",
            )
        )
    ending = path.suffix.lower()
    if ending in SHEET_ENDINGS:
        return profile_from_sheet(_read_sheet(path, ending), path)
    return profile_from_table(_read_toml(path), path)


def profile_from_table(table: Mapping[str, Any], path: Path) -> Profile:
    """Return the profile that a TOML table means; `path` is its file, for messages and relative references."""
    reader = _Reader(str(path))
    reader.known(table, PROFILE_KEYS, "")
    kind = reader.choice(table, "kind", KINDS, "")
    style = reader.texts(table, "style", "")
    trigger = reader.text(table, "trigger", "")
    if not trigger and not (kind == "style" and style):
        reader.missing("trigger", "the invented word that means the subject", 'trigger = "zkw_fox"')
    details = tuple(reader.detail(each, place) for each, place in reader.tables(table, "details", ""))
    profile = Profile(
        kind=kind or "character",
        trigger=trigger,
        class_word=reader.text(table, "class_word", ""),
        appearance=reader.texts(table, "appearance", ""),
        details=details,
        references=reader.references(table, path.parent),
        palette=reader.colours(table),
        varies=reader.texts(table, "varies", ""),
        style=style,
        forms=tuple(reader.form(each, place) for each, place in reader.tables(table, "forms", "")),
        source=path,
    )
    reader.same_trigger_twice(profile)
    if reader.problems:
        raise ConfigError(reader.problems)
    return profile


@dataclass
class _Reader:
    """Takes values out of tables and collects what is wrong with them."""

    where: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: str, given: str, required: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self.where} {place}".strip(), given, required, remedy))

    def missing(self, key: str, required: str, example: str) -> None:
        self.add(key, "not given", required, f"Write for example: {example}")

    def known(self, table: Mapping[str, Any], keys: Sequence[str], place: str) -> None:
        for name in table:
            if name not in keys:
                self.add(place, f"unknown key '{name}'", "a known key", did_you_mean(name, keys))

    def text(self, table: Mapping[str, Any], key: str, place: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            self.add(_at(place, key), f"{value!r}", "a text", f'Write it in quotes: {key} = "…"')
            return ""
        return " ".join(value.split())

    def texts(self, table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.add(_at(place, key), f"{value!r}", "a list of texts", f'Write: {key} = ["…", "…"]')
            return ()
        stripped = (" ".join(each.split()) for each in value)
        return tuple(each for each in stripped if each)

    def choice(self, table: Mapping[str, Any], key: str, choices: Sequence[Any], place: str) -> Any:
        value = self.text(table, key, place)
        if value in choices:
            return value
        if not isinstance(table.get(key, ""), str):
            return None
        if not value:
            self.missing(_at(place, key), f"one of {', '.join(choices)}", f'{key} = "{choices[0]}"')
        else:
            required = f"one of {', '.join(choices)}"
            self.add(_at(place, key), f"'{value}'", required, did_you_mean(value, choices))
        return None

    def tables(self, table: Mapping[str, Any], key: str, place: str) -> list[tuple[Mapping[str, Any], str]]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            self.add(_at(place, key), f"{value!r}", "tables", f"Write each below a line [[{key}]].")
            return []
        return [(each, _at(place, f"{key} {number}")) for number, each in enumerate(value, 1)]

    def detail(self, table: Mapping[str, Any], place: str) -> Detail:
        self.known(table, DETAIL_KEYS, place)
        name = self.text(table, "name", place)
        if not name:
            self.missing(
                _at(place, "name"), "what it is, as captions write it", 'name = "red fingerless glove"'
            )
        side = self.choice(table, "side", SIDES, place)
        return Detail(
            name=name,
            side=side or "left",
            part=self.text(table, "part", place),
            views=self.views(table, place),
        )

    def views(self, table: Mapping[str, Any], place: str) -> tuple[str, ...]:
        views = []
        for written in self.texts(table, "views", place):
            view = view_named(written)
            if view is None:
                required = f"one of {', '.join(VIEWS)}"
                self.add(_at(place, "views"), f"'{written}'", required, did_you_mean(written, VIEWS))
            else:
                views.append(view)
        return tuple(dict.fromkeys(views))

    def form(self, table: Mapping[str, Any], place: str) -> Form:
        self.known(table, FORM_KEYS, place)
        for key, example in (("name", "sea monster"), ("trigger", "zkw_sea")):
            if not table.get(key):
                self.missing(_at(place, key), "required of a form", f'{key} = "{example}"')
        details = (self.detail(each, inner) for each, inner in self.tables(table, "details", place))
        return Form(
            name=self.text(table, "name", place),
            trigger=self.text(table, "trigger", place),
            appearance=self.texts(table, "appearance", place),
            details=tuple(details),
        )

    def references(self, table: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
        found = []
        for written in self.texts(table, "references", ""):
            path = (folder / Path(written).expanduser()).resolve()
            if path.exists():
                found.append(path)
            else:
                remedy = "Paths are relative to this file. Correct it or take it out."
                self.add(
                    "references", f"'{written}' is not there", "a picture or a folder of pictures", remedy
                )
        return tuple(found)

    def colours(self, table: Mapping[str, Any]) -> tuple[str, ...]:
        found = []
        for written in self.texts(table, "palette", ""):
            colour = written.lower() if written.startswith("#") else f"#{written.lower()}"
            if COLOUR.fullmatch(colour):
                found.append(colour)
            else:
                self.add("palette", f"'{written}'", "a colour as #rrggbb", 'Write it like "#a0b1a6".')
        return tuple(found)

    def same_trigger_twice(self, profile: Profile) -> None:
        lowered = [trigger.lower() for trigger in profile.triggers]
        for trigger in sorted({each for each in lowered if lowered.count(each) > 1}):
            self.add(
                "forms", f"trigger '{trigger}' is given twice", "one trigger for each form", "Change one."
            )


def _at(place: str, key: str) -> str:
    return f"{place} {key}".strip()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text_of(path))
    except tomllib.TOMLDecodeError as error:
        given, remedy = f"not valid TOML ({error})", "Repair the line it names; texts need quotes."
        raise ConfigError(Problem(str(path), given, "a TOML file", remedy)) from error


def _read_sheet(path: Path, ending: str) -> Any:
    text = _text_of(path)
    if ending == ".json":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            problem = Problem(
                str(path), f"not valid JSON ({error})", "a JSON file", "Repair the place it names."
            )
            raise ConfigError(problem) from error
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        given = f"not valid YAML ({' '.join(str(error).split())})"
        problem = Problem(
            str(path), given, "a YAML file without tags of a program", "Repair the place it names."
        )
        raise ConfigError(problem) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(str(path), "not UTF-8 text", "a UTF-8 text file", "Save it as UTF-8.")
        raise ConfigError(problem) from error
    except OSError as error:
        problem = Problem(
            str(path), f"cannot be read ({error.strerror})", "a readable file", "Check its permissions."
        )
        raise ConfigError(problem) from error
