"""A project's `maquette.toml` changed value by value: comments, order and everything else stay, and one undo takes it back.

What is to be changed is tried on the text first: nothing is written that could not be read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, MissingExtra, OutputError, Problem
from maquette.locking import held
from maquette.project.config_file import CONFIG_NAME, FILE, RIVALS, settings_of
from maquette.project.journal import Journal, Undone
from maquette.project.settings import PATHS, SECTION_OF, SECTIONS, Settings
from maquette.project.undoing import changes_at, undo
from maquette.reading import parse_toml, read_table, text_of

KIND = "settings"
MARK_LETTERS = 16


class ChangedSince(OutputError):
    """The file is no longer what it was when a person began to change it."""


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A file of settings with some values changed."""

    path: Path
    text: str
    settings: Settings
    """What the changed text means."""
    changed: tuple[str, ...]
    """Names of the settings that read otherwise now."""

    @property
    def mark(self) -> str:
        return _mark(self.text)


def mark_of(project: Path) -> str:
    """Return what tells this content of a project's settings from every other."""
    return _mark(_text(project / CONFIG_NAME))


def written_in(project: Path) -> dict[str, tuple[Any, str]]:
    """Return the settings that the file names: name → (value as it is written, the comment beside it)."""
    found = {}
    for section, table in _document(_text(project / CONFIG_NAME)).items():
        if section not in SECTIONS or not hasattr(table, "unwrap"):
            continue
        plain = table.unwrap()
        for name in plain if isinstance(plain, dict) else ():
            if SECTION_OF.get(name) == section:
                comment = str(table.item(name).trivia.comment) if hasattr(table, "item") else ""
                found[name] = (plain[name], comment.lstrip("# "))
    return found


def tried(project: Path, changes: Mapping[str, Any], reasons: Mapping[str, str] | None = None) -> Edited:
    """Return a project's settings with `changes` (None: take it out), without writing anything.

    Values may be texts as a person types them; paths are kept as they are typed. `reasons` become the comments beside the values.
    Raises ConfigError in the words of the command line.
    """
    path = project / CONFIG_NAME
    before = _text(path)
    wanted = _with_rivals(changes)
    # What a person typed is read by the records before it is spelled as TOML.
    tables = {
        name: dict(table) if isinstance(table, dict) else table for name, table in parse_toml(before).items()
    }
    for name, value in wanted.items():
        table = tables.setdefault(SECTION_OF[name], {})
        if not isinstance(table, dict):
            continue  # what stands there instead is said when the whole is read
        table.pop(name, None)
        if value is not None:
            table[name] = value
    settings = settings_of(tables, path)
    read = {
        name: None
        if value is None
        else value
        if name in PATHS
        else _plain(getattr(getattr(settings, SECTION_OF[name]), name))
        for name, value in wanted.items()
    }
    text = _changed(path, before, {**read, **_as_typed(wanted)}, reasons or {})
    now = parse_toml(text)
    if settings_of(now, path) != settings:
        raise _by_hand(path, "the changed text would not mean what it should")
    then = parse_toml(before)
    changed = tuple(
        name
        for name, section in SECTION_OF.items()
        if (now.get(section) or {}).get(name) != (then.get(section) or {}).get(name)
    )
    return Edited(path=path, text=text, settings=settings, changed=changed)


def edit_settings(
    project: Path,
    changes: Mapping[str, Any],
    *,
    expected: str | None = None,
    what: str = "",
    reasons: Mapping[str, str] | None = None,
) -> Edited:
    """Write `changes` into a project's settings. Raises ConfigError, and ChangedSince where `expected` is not the file's mark.

    what: the change in words, for the history; by default it names the settings.
    """
    with held(project, what="settings"):
        if expected is not None and mark_of(project) != expected:
            raise ChangedSince(
                Problem(
                    str(project / CONFIG_NAME),
                    "changed since this page read it",
                    "the settings as they were",
                    "Look at what is there now, then save again.",
                )
            )
        edited = tried(project, changes, reasons)
        if edited.changed:
            told = (
                what or f"settings: {', '.join(edited.changed[:4])}{' …' if len(edited.changed) > 4 else ''}"
            )
            Journal(project).begin(KIND, told).write(edited.path, edited.text.encode("utf-8"))
    return edited


def undo_settings(project: Path) -> Undone:
    """Take the last change of a project's settings back. Raises OutputError where there is none, or the file is newer."""
    return undo(project, kinds=(KIND,))


def undoable(project: Path) -> str:
    """Return in words what undoing would take back; empty where there is nothing."""
    changes = changes_at(project, kinds=(KIND,))
    return changes[0].what if changes else ""


def _with_rivals(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in changes if name not in SECTION_OF]
    if unknown:
        raise ConfigError(
            [
                Problem("settings", f"'{name[:80]}'", "a known setting", "maquette plan --help lists them.")
                for name in unknown
            ]
        )
    rivals = {RIVALS[name]: None for name, value in changes.items() if name in RIVALS and value is not None}
    return {**{name: None for name in rivals if changes.get(name) is None}, **changes}


def _as_typed(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that stay as they are typed: names of models, which may be paths or names of a hub."""
    return {name: wanted[name] for name in ("base", "vae") if wanted.get(name) is not None}


def _plain(value: Any) -> Any:
    """Return a value as TOML has it."""
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, tuple | list):
        each = [_plain(item) for item in value]
        is_square = len(each) == 2 and each[0] == each[1] and isinstance(each[0], int)
        return each[0] if is_square else each
    return value


def _changed(path: Path, text: str, values: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    import tomlkit
    from tomlkit.items import InlineTable, Table

    document = _document(text)
    for name, value in values.items():
        section = SECTION_OF[name]
        if section not in document:
            if value is None:
                continue
            if document.body and not text.endswith("\n\n"):
                document.add(tomlkit.nl())
            document.add(section, tomlkit.table())
        table = document[section]
        if not isinstance(table, Table | InlineTable):
            raise _by_hand(path, f"[{section}] is written in several pieces")
        if value is None:
            table.pop(name, None)
        elif name not in table:
            _put(table, name, value)
        elif table[name] != value or isinstance(value, bool) != isinstance(table[name], bool):
            table[name] = value
        if value is not None and name in reasons and isinstance(table, Table):
            written: Any = table.item(name)
            written.comment(" ".join(reasons[name].split()))
    return tomlkit.dumps(document)


def _by_hand(path: Path, given: str) -> ConfigError:
    required = "tables that can be changed value by value"
    return ConfigError(Problem(str(path), given, required, "Change this value in the file itself."))


def _put(table: Any, name: str, value: Any) -> None:
    """Put a new key below the table's last one, above what stands between it and the next table."""
    import tomlkit
    from tomlkit.items import Comment, Null, Whitespace

    body = table.value.body
    after = [item for _, item in body]
    while after and isinstance(after[-1], Whitespace | Comment | Null):
        after.pop()
    if after and len(after) < len(body):
        key = body[len(after) - 1][0]
        table.value._insert_after(key, name, tomlkit.item(value))
    else:
        table.add(name, value)


def _document(text: str) -> Any:
    try:
        import tomlkit
    except ModuleNotFoundError as error:
        raise MissingExtra("changing settings", "studio") from error
    return tomlkit.parse(text)


def _text(path: Path) -> str:
    read_table(path, FILE)  # says where it is no TOML
    return text_of(path)


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:MARK_LETTERS]
