"""Settings from `maquette.toml`, from flags, or from both; every problem is reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.fields import flag_of, problem_of
from maquette.project.settings import PATHS, SECTION_OF, SECTIONS, Settings, SubjectSettings
from maquette.reading import FileKind, read_table, shown

CONFIG_NAME = "maquette.toml"
FILE = FileKind("settings as TOML", "Repair it, or make a project anew with maquette init.")
FAMILY = "family"
"""The table whose keys belong to the base model's family."""
LONGEST_NAME = 100
"""Letters of a name that a message shows."""
RIVALS = {"steps": "epochs", "epochs": "steps"}
"""Of two settings that answer the same question, naming one takes the other out."""


def load_settings(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of `config` (a project folder or a TOML file, or None) with flat `overrides` on top.

    Relative paths in a file are relative to that file; relative paths in `overrides` to the working folder.
    Raises ConfigError with every problem found.
    """
    path = config_path(config) if config is not None else None
    return settings_of(read_table(path, FILE) if path else {}, path, overrides)


def settings_of(
    tables: Mapping[str, Any], path: Path | None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings that `tables` mean as the content of the file at `path`, which need not hold them yet.

    Raises ConfigError with every problem found.
    """
    where = str(path) if path else "command line"
    problems = _unknown_names(tables, where)
    tables = {
        section: dict(table)
        for section, table in tables.items()
        if (section in SECTIONS or section == FAMILY) and isinstance(table, dict)
    }
    if path:
        _resolve_paths(tables, path.parent)
    flags = {name: value for name, value in (overrides or {}).items() if value is not None}
    problems += [
        Problem(
            "command line", f"unknown setting '{name}'", "a known setting", did_you_mean(name, SECTION_OF)
        )
        for name in flags
        if name not in SECTION_OF and name != FAMILY
    ]
    _drop_rivals(tables, flags)
    for name, value in flags.items():
        if name == FAMILY:
            tables.setdefault(FAMILY, {}).update(value)
        elif name in SECTION_OF:
            tables.setdefault(SECTION_OF[name], {})[name] = value
    settings, invalid = _validate(_known_only(tables), where, flags)
    if problems or invalid or settings is None:
        raise ConfigError(problems + invalid)
    return with_subject(settings, path.parent if path else None)


def with_subject(settings: Settings, project: Path | None = None) -> Settings:
    """Return `settings` with the trigger and class word of the subject's profile where they name none themselves.

    A style without a trigger is meant by its words: they stand for it, in samples as in prompts.

    The profile is their home: it is looked for in the project's folder, then by the pictures. One that cannot be read gives
    nothing here; the rules say what is wrong with it.
    """
    from maquette.project.profile_file import profile_near

    if settings.subject.trigger and settings.subject.class_word:
        return settings
    try:
        profile = profile_near(project) if project is not None else None
        profile = profile or profile_near(settings.dataset.images)
    except ConfigError:
        return settings
    if profile is None:
        return settings
    subject = SubjectSettings(
        trigger=settings.subject.trigger or profile.opening,
        class_word=settings.subject.class_word or profile.class_word,
    )
    return settings.model_copy(update={"subject": subject})


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return `settings` with other values, by their names; another length takes the place of the one before.

    Raises ConfigError.
    """
    tables = settings.model_dump()
    _drop_rivals(tables, changes)
    for name, value in changes.items():
        tables[SECTION_OF[name]][name] = value
    changed, invalid = _validate(tables, "command line", changes)
    if invalid or changed is None:
        raise ConfigError(invalid)
    return changed


def config_path(config: Path) -> Path:
    """Return the TOML file that `config` (a project folder or the file itself) means."""
    path = config / CONFIG_NAME if config.is_dir() else config
    if not path.is_file():
        raise ConfigError(
            Problem(
                str(path),
                "no such file",
                f"a project folder with a {CONFIG_NAME}",
                "Make one: maquette init PROJECT --images DIR --base FILE --trigger WORD",
            )
        )
    return path


def dump_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return `settings` as plain JSON values, section by section."""
    dumped = settings.model_dump(mode="json")
    if not dumped[FAMILY]:
        del dumped[FAMILY]
    return dumped


def _unknown_names(tables: Mapping[str, Any], where: str) -> list[Problem]:
    problems = []
    for section, table in tables.items():
        if section == FAMILY and isinstance(table, Mapping):
            continue  # its keys are the family's own: who knows the base knows them
        if section not in SECTIONS:
            problems.append(_misplaced(section, where) or _unknown(f"[{section}]", section, SECTIONS, where))
        elif not isinstance(table, Mapping):
            problems.append(
                Problem(
                    f"{where} [{section[:LONGEST_NAME]}]",
                    shown(table),
                    "a table",
                    f"Write [{section}] on a line of its own, keys below.",
                )
            )
        else:
            known = SECTIONS[section].model_fields
            problems += [
                _misplaced(key, where, section) or _unknown(f"[{section}] {key}", key, known, where)
                for key in table
                if key not in known
            ]
    return problems


def _misplaced(key: str, where: str, section: str = "") -> Problem | None:
    """A known key in the wrong table is worth a better hint than 'unknown'."""
    home = SECTION_OF.get(key)
    if home is None:
        return None
    place = f"[{section}]" if section else "the top of the file"
    return Problem(
        f"{where} {key}", f"stands in {place}", f"it belongs to [{home}]", f"Move it below [{home}]."
    )


def _unknown(place: str, name: str, choices: Any, where: str) -> Problem:
    place, shortened = place[:LONGEST_NAME], name[:LONGEST_NAME]
    return Problem(
        f"{where} {place}", f"unknown key '{shortened}'", "a known key", did_you_mean(name, choices)
    )


def _known_only(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Unknown keys are reported already, with better words than the validator has."""
    return {
        section: {
            key: value
            for key, value in table.items()
            if section == FAMILY or key in SECTIONS[section].model_fields
        }
        for section, table in tables.items()
        if isinstance(table, Mapping)
    }


def _resolve_paths(tables: dict[str, dict[str, Any]], folder: Path) -> None:
    for table in tables.values():
        for name in PATHS & table.keys():
            if isinstance(table[name], str):
                table[name] = str(folder / Path(table[name]).expanduser())
            elif isinstance(table[name], list):
                table[name] = [
                    str(folder / Path(each).expanduser()) if isinstance(each, str) else each
                    for each in table[name]
                ]
    for name in ("base", "vae"):
        given = tables.get("model", {}).get(name)
        if isinstance(given, str) and given and (folder / Path(given).expanduser()).exists():
            tables["model"][name] = str(folder / Path(given).expanduser())
    tables.setdefault("dataset", {}).setdefault("images", str(folder / "images"))
    tables.setdefault("saving", {}).setdefault("output", str(folder / "runs"))


def _drop_rivals(tables: dict[str, dict[str, Any]], flags: Mapping[str, Any]) -> None:
    """`--steps` wins over a file's `epochs`, and the reverse: they answer the same question. Both as flags is an error."""
    for name, rival in RIVALS.items():
        if name in flags:
            tables.get("training", {}).pop(rival, None)


def _validate(
    tables: Mapping[str, Any], where: str, flags: Mapping[str, Any]
) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(tables), []
    except ValidationError as error:
        return None, [_problem(detail, where, flags) for detail in error.errors()]


def _problem(detail: Any, where: str, flags: Mapping[str, Any]) -> Problem:
    section, *rest = [str(part) for part in detail["loc"]]
    name = rest[0] if rest else section
    place = flag_of(name) if name in flags or where == "command line" else f"{where} [{section}] {name}"
    if detail["type"] == "missing":
        key = "base" if name == "model" else name
        place = flag_of(key) if where == "command line" else f"{where} [model] {key}"
        return problem_of(detail, place, SECTIONS["model"].model_fields["base"])
    field = SECTIONS[section].model_fields.get(name) if rest and section in SECTIONS else None
    return problem_of(detail, place, field)
