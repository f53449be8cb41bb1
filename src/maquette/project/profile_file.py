"""`profile.toml` read; another program's character file (YAML, JSON) read as far as it can be understood.

In a profile.toml every key must be known. A character file of another program has no fixed form: what is understood
is taken, and the profile's notes say what was not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.profile import PROFILE_NAME, VIEWS, Detail, Form, Kind, Profile, Side
from maquette.project.profile_import import profile_from_sheet, view_named
from maquette.project.profile_text import profile_toml
from maquette.project.validation import Unfit, check
from maquette.reading import FileKind, read_table, read_yaml

__all__ = ["profile_from_table", "profile_toml", "read_profile"]

COLOUR = re.compile(r"#[0-9a-f]{6}")
FILE = FileKind("the subject's profile as TOML", "maquette init writes one to fill in.")
SHEET = FileKind("keys and values that describe a character", "Repair the place it names.")


LEVELS_ABOVE = 3
"""How far above the pictures a profile is looked for."""


def profile_path_near(path: Path) -> Path | None:
    """Return the profile.toml beside what is at `path`, or in one of the folders above it; None where there is none."""
    folder = (path if path.is_dir() else path.parent).absolute()
    for candidate in (folder, *folder.parents[:LEVELS_ABOVE]):
        if (candidate / PROFILE_NAME).is_file():
            return candidate / PROFILE_NAME
    return None


def profile_near(path: Path) -> Profile | None:
    """Return the profile that `profile_path_near` finds. Raises ConfigError for a bad one."""
    found = profile_path_near(path)
    return read_profile(found) if found is not None else None


def read_profile(path: Path) -> Profile:
    """Return the profile in `path`: a profile.toml, a folder that holds one, or a character file (YAML, JSON).

    References are relative to the file. Raises ConfigError with every problem found.
    """
    path = Path(path)
    path = path / PROFILE_NAME if path.is_dir() else path
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        return profile_from_sheet(read_yaml(path, SHEET), path)
    if ending == ".json":
        return profile_from_sheet(read_table(path, SHEET), path)
    return profile_from_table(read_table(path, FILE), path)


def profile_from_table(table: Mapping[str, Any], path: Path) -> Profile:
    """Return the profile that a TOML table means; `path` is its file, for messages and relative references."""
    where = str(path)
    found, problems = check(_Profile, table, where)
    problems += [*_without_trigger(table, where), *_lost_references(table, path)]
    if found is not None:
        problems += _triggers_given_twice(found, where)
    if found is None or problems:
        raise ConfigError(problems)
    return Profile(
        **{name: getattr(found, name) for name in _Profile.model_fields}
        | {
            "details": tuple(each.detail() for each in found.details),
            "references": tuple(_below(path.parent, written) for written in found.references),
            "forms": tuple(each.form() for each in found.forms),
            "source": path,
        }
    )


# --- what the tables may hold ----------------------------------------------------------------------------


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _named(text: str) -> str:
    if not _spaced(text):
        raise Unfit("required: a text", "Write one, or take its table out.", "not given")
    return _spaced(text)


def _view(written: str) -> str:
    view = view_named(written)
    if view is None:
        raise Unfit(f"one of {', '.join(VIEWS)}", did_you_mean(written, VIEWS))
    return view


def _colour(written: str) -> str:
    colour = written.lower() if written.startswith("#") else f"#{written.lower()}"
    if not COLOUR.fullmatch(colour):
        raise Unfit("a colour as #rrggbb", 'Write it like "#a0b1a6".')
    return colour


def _filled(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


def _each_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


Text = Annotated[str, AfterValidator(_spaced)]
Name = Annotated[str, AfterValidator(_named)]
Texts = Annotated[tuple[Text, ...], AfterValidator(_filled)]
Views = Annotated[tuple[Annotated[str, AfterValidator(_view)], ...], AfterValidator(_each_once)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Detail(_Table):
    name: Name = Field(description='Write what it is, as captions do: name = "red fingerless glove"')
    side: Side
    part: Text = ""
    views: Views = ()

    def detail(self) -> Detail:
        return Detail(name=self.name, side=self.side, part=self.part, views=self.views)


class _Form(_Table):
    name: Name = Field(description='Write for example: name = "sea monster"')
    trigger: Name = Field(description='Write for example: trigger = "zkw_sea"')
    appearance: Texts = ()
    details: tuple[_Detail, ...] = ()

    def form(self) -> Form:
        details = tuple(each.detail() for each in self.details)
        return Form(name=self.name, trigger=self.trigger, appearance=self.appearance, details=details)


class _Profile(_Table):
    kind: Kind
    trigger: Text = ""
    class_word: Text = ""
    appearance: Texts = ()
    details: tuple[_Detail, ...] = ()
    references: Texts = ()
    palette: tuple[Annotated[str, AfterValidator(_colour)], ...] = ()
    varies: Texts = ()
    style: Texts = ()
    forms: tuple[_Form, ...] = ()


# --- what tables alone do not show -----------------------------------------------------------------------


def _without_trigger(table: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """A style may be meant by its own words; every other subject needs a trigger."""
    trigger = table.get("trigger", "")
    if (
        isinstance(trigger, str)
        and not trigger.strip()
        and not (table.get("kind") == "style" and table.get("style"))
    ):
        required, remedy = "required: the invented word that means the subject", 'trigger = "zkw_fox"'
        yield Problem(f"{where} trigger", "not given", required, f"Write for example: {remedy}")


def _lost_references(table: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    written = table.get("references")
    for text in written if isinstance(written, list) else ():
        if isinstance(text, str) and text.strip() and not _below(path.parent, text).exists():
            yield Problem(
                f"{path} references",
                f"'{text}' is not there",
                "a picture or a folder of pictures",
                "Paths are relative to this file. Correct it or take it out.",
            )


def _below(folder: Path, written: str) -> Path:
    return (folder / Path(_spaced(written)).expanduser()).resolve()


def _triggers_given_twice(profile: _Profile, where: str) -> Iterator[Problem]:
    triggers = [each.lower() for each in (profile.trigger, *(form.trigger for form in profile.forms)) if each]
    for trigger in sorted({each for each in triggers if triggers.count(each) > 1}):
        given, required = f"trigger '{trigger}' is given twice", "one trigger for each form"
        yield Problem(f"{where} forms", given, required, "Change one.")
