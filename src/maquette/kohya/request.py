"""sd-scripts' runs as records: its `--config_file` TOML, and the commands of a saved script.

Options have the meaning of sd-scripts 48d368fa. On the command line a unique beginning of a name is enough and an
unknown one stops the trainer; in a --config_file sections mean nothing and unknown keys are ignored in silence.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem, nearest
from maquette.kohya.options import (
    FIELDS_OF_SEVERAL,
    MEANT,
    OPTIONS,
    SCRIPTS,
    Option,
    option_named,
)
from maquette.kohya.shell_commands import Command, Word, shell_commands, syntax_of, with_home
from maquette.kohya.values import (
    BadValue,
    fields_of,
    from_toml,
    from_words,
    path_problem,
    simple_field,
)
from maquette.project.request import TrainingRequest
from maquette.project.settings import SECTION_OF

TRAINING_SCRIPT = re.compile(r"(?:^|[/\\])(\w*(?:train|fine_tune)\w*\.py)$")
COMMAND_IN_TEXT = re.compile(r"\w*(?:train|fine_tune)\w*\.py[\"']?(?:\s|\\|\^|`)+[\"$%]*(?:--\w|\{?\w+\[)")
ENVIRONMENT_WORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
LAUNCHERS = {"accelerate": "accelerate", "torchrun": "torchrun", "deepspeed": "deepspeed"}
MODULES = {"accelerate": "accelerate", "torch": "torchrun"}
LARGEST_SCRIPT_BYTES = 1_000_000


@dataclass
class _Reading:
    """Options as they are found, from one or two places."""

    values: dict[str, Any] = field(default_factory=dict)
    """Option → value, in the forms of `kohya_values`."""
    written: dict[str, str] = field(default_factory=dict)
    """Option → its value as text, as the file has it."""
    places: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def under(self, other: _Reading) -> _Reading:
        """Return both readings as one, where `other` (the command line) wins."""
        return _Reading(
            self.values | other.values,
            self.written | other.written,
            self.places | other.places,
            self.unknown + other.unknown,
            self.repeated + other.repeated,
            self.problems + other.problems,
        )


# --- what a file is --------------------------------------------------------------------------------------


DATASET_TABLES = ("general", "datasets")


def is_dataset_toml(path: Path) -> bool:
    """Return whether a TOML or JSON file has the tables of a kohya dataset. Never raises."""
    tables = _tables_or_none(path)
    if tables is None or "datasets" not in tables:
        return False
    # [general] shares its keys with the options of a --config_file, so only what stands outside can tell.
    return not _own_options({name: table for name, table in tables.items() if name not in DATASET_TABLES})


def is_config_file(path: Path) -> bool:
    """Return whether a TOML file sets options of sd-scripts that no other settings file has. Never raises."""
    tables = _tables_or_none(path) if path.suffix.lower() == ".toml" else None
    return tables is not None and bool(_own_options(tables))


def has_training_command(path: Path) -> bool:
    """Return whether a text file starts one of sd-scripts' trainers. Never raises."""
    try:
        if path.stat().st_size > LARGEST_SCRIPT_BYTES:
            return False
        return COMMAND_IN_TEXT.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def _tables_or_none(path: Path) -> Mapping[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
        tables = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError):
        return None
    return tables if isinstance(tables, dict) else None


def _own_options(tables: Mapping[str, Any]) -> set[str]:
    """Return the options of sd-scripts' trainers in it that are not names of Maquette's settings as well."""
    return {name for _, name, _ in _flat(tables) if name in OPTIONS and name not in SECTION_OF}


# --- --config_file ---------------------------------------------------------------------------------------


def read_config_file(path: Path) -> TrainingRequest:
    """Return the run that a --config_file TOML describes. Raises ConfigError when it cannot be parsed.

    Values of the wrong kind and `resolution = 512` become `problems`; keys that the trainer ignores become
    `unknown_options`, each with the nearest name where there is one.
    """
    return _request(_read_table(path, None), path)


def _read_table(path: Path, script: str | None) -> _Reading:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        remedy = "Repair the line it names; write folders with / or in 'single quotes'."
        raise ConfigError(Problem(str(path), f"not valid TOML ({error})", "a TOML file", remedy)) from error
    except OSError as error:
        given = f"cannot be read ({error.strerror})"
        raise ConfigError(
            Problem(str(path), given, "a --config_file of sd-scripts", "Check the path.")
        ) from error
    reading = _Reading()
    known = SCRIPTS.get(script or "", frozenset(OPTIONS))
    for section, name, value in _flat(tables):
        place = f"[{section}] {name}" if section else name
        if name not in known:
            reading.unknown.append(_with_guess(name, known))
            continue
        if name in reading.values:
            reading.repeated.append(name)
        reading.places[name] = place
        reading.written[name] = json.dumps(value, default=str)
        try:
            reading.values[name] = from_toml(OPTIONS[name], value)
        except BadValue as error:
            reading.values.pop(name, None)
            reading.problems.append(_bad_toml_value(place, name, value, error))
    return reading


def _flat(tables: Mapping[str, Any]) -> Iterable[tuple[str, str, Any]]:
    """Yield (section, name, value) of all keys; sections are one level deep, as sd-scripts flattens them."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from ((name, inner, inner_value) for inner, inner_value in value.items())
        else:
            yield "", name, value


def _bad_toml_value(place: str, name: str, value: Any, error: BadValue) -> Problem:
    given = f"{name} = {json.dumps(value, default=str)}"
    remedy = "Write it so."
    if name == "resolution" and isinstance(value, int) and not isinstance(value, bool):
        given += ", which stops sd-scripts with \"AttributeError: 'int' object has no attribute 'split'\""
        remedy = (
            f'Write resolution = "{value},{value}", in quotes. (A dataset TOML is the other way round: '
            f"resolution = {value}, without.)"
        )
    elif name == "resolution" and isinstance(value, list):
        given += ", which stops sd-scripts with \"AttributeError: 'list' object has no attribute 'split'\""
        remedy = f'Write resolution = "{",".join(str(part) for part in value)}", in quotes.'
    elif isinstance(value, str) and OPTIONS[name].kind in ("int", "number", "share", "switch", "numbers"):
        remedy = "Remove the quotes: a --config_file's values are taken as they are, never converted."
    elif OPTIONS[name].kind == "texts":
        remedy = f'Write {name} = ["name=value"], a list.'
    return Problem(place, given, str(error), remedy)


# --- scripts ---------------------------------------------------------------------------------------------


def read_commands(path: Path) -> list[TrainingRequest]:
    """Return every training run that a script or a saved command line starts, in order.

    Reads sh, Windows batch and PowerShell. A --config_file on the command line is read along, and the command line
    wins over it. Raises ConfigError when the file cannot be read or starts no training.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        given = f"cannot be read ({error.strerror})"
        raise ConfigError(Problem(str(path), given, "a readable script", "Check the path.")) from error
    requests: list[TrainingRequest] = []
    commands = list(shell_commands(text, path.parent.absolute(), syntax_of(path, text)))
    for index, command in enumerate(commands):
        position = _script_position(command.words)
        if position is not None:
            cut_off = _cut_off(commands[index + 1 :])
            requests.append(_request_of_command(command, position, path, cut_off))
    if not requests:
        required = (
            "a command that starts train_network.py, sdxl_train_network.py or another of sd-scripts' trainers"
        )
        raise ConfigError(Problem(str(path), "no training command", required, "Check which file was meant."))
    return requests


def _script_position(words: tuple[Word, ...]) -> int | None:
    """Return where the trainer's script stands in a command that runs it, None for echo, ls and the like."""
    if words[0].text in (
        "echo",
        "printf",
        "ls",
        "cat",
        "test",
        "[",
        "[[",
        "cp",
        "mv",
        "rm",
        "grep",
        "tee",
        "git",
    ):
        return None
    for index, word in enumerate(words):
        if TRAINING_SCRIPT.search(word.text) and not word.text.startswith("-"):
            return index
    return None


def _cut_off(following: Iterable[Command]) -> list[Problem]:
    """Return the lines behind a command that were meant to belong to it: their first word is an option."""
    problems = []
    for command in following:
        if not command.words[0].text.startswith("--"):
            break
        line = command.line
        why = (
            f"a space stands behind the mark at the end of line {line - 1}"
            if command.follows_stray_space
            else f"line {line - 1} does not end in a continuation mark, or is a comment"
        )
        problems.append(
            Problem(
                f"line {line}",
                f"{command.words[0].text} stands alone: {why}, so this line and those after it never reach the trainer",
                "one command without a gap",
                f"Repair the end of line {line - 1}; a comment cannot stand within a command.",
            )
        )
        break
    return problems


def _request_of_command(
    command: Command, position: int, path: Path, cut_off: list[Problem]
) -> TrainingRequest:
    before, script_word = command.words[:position], command.words[position].text
    match = TRAINING_SCRIPT.search(script_word)
    assert match is not None, "the position was found by this pattern"
    script = match[1]
    reading = _read_words(command.words[position + 1 :], script)
    config = reading.values.get("config_file")
    if config:
        reading = _with_config(reading, config, script, command, path)
    reading.problems += cut_off
    environment = dict(command.environment)
    environment |= {m[1]: m[2] for word in before if (m := ENVIRONMENT_WORD.fullmatch(word.text))}
    launcher, told = _launcher([word.text for word in before])
    if command.folder != path.parent.absolute():
        _count_from(command.folder, reading)
    return _request(
        reading,
        path,
        line=command.words[position].line,
        script=script,
        script_path=_located(script_word, command.folder, path),
        launcher=launcher,
        launcher_options=told,
        environment=environment,
    )


def _count_from(folder: Path, reading: _Reading) -> None:
    """Make relative paths absolute that lie in the folder a script has changed to."""
    for name, value in reading.values.items():
        if OPTIONS[name].kind == "path" or name in ("pretrained_model_name_or_path", "vae", "sample_prompts"):
            given = Path(value)
            if value and not given.is_absolute() and (folder / given).exists():
                reading.values[name] = str(folder / given)


def _with_config(reading: _Reading, config: str, script: str, command: Command, path: Path) -> _Reading:
    """Return the reading over that of its --config_file, whose name may lack `.toml`."""
    name = config if config.endswith(".toml") else f"{config}.toml"
    file = _located(name, command.folder, path)
    try:
        below = _read_table(file, script)
    except ConfigError as error:
        reading.problems += error.problems
        return reading
    below.places = {option: f"{file.name} {place}" for option, place in below.places.items()}
    below.problems = [
        Problem(f"{file.name} {problem.where}", problem.given, problem.required, problem.remedy)
        for problem in below.problems
    ]
    return below.under(reading)


def _located(text: str, folder: Path, file: Path) -> Path:
    """Return where a path of a command lies: from its working folder, else beside the script, else from here."""
    given = with_home(text)
    if "\\" in text and not given.exists():
        given = with_home(text.replace("\\", "/"))
    if given.is_absolute():
        return given
    candidates = (folder / given, file.parent.absolute() / given, Path.cwd() / given)
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])


def _launcher(words: list[str]) -> tuple[str | None, dict[str, str]]:
    """Return what starts the script, and what it is told itself."""
    names = [re.split(r"[/\\]", word)[-1].removesuffix(".exe") for word in words]
    for index, name in enumerate(names):
        if name in LAUNCHERS:
            return LAUNCHERS[name], _launcher_options(words[index + 1 :])
        if re.fullmatch(r"(python|py)[\d.]*w?", name):
            module = (
                names[index + 2] if names[index + 1 : index + 2] == ["-m"] and len(names) > index + 2 else ""
            )
            found = MODULES.get(module.partition(".")[0])
            return (found, _launcher_options(words[index + 3 :])) if found else ("python", {})
    return None, {}


def _launcher_options(words: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for index, word in enumerate(words):
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            follows = words[index + 1] if index + 1 < len(words) else ""
            told[name] = value if has_value else ("" if follows.startswith("-") else follows)
    return told


# --- a command line's options ----------------------------------------------------------------------------


def _read_words(words: tuple[Word, ...], script: str) -> _Reading:
    """Return the options of a command line, read as Python's argparse does."""
    reading = _Reading()
    known = SCRIPTS.get(script)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.text.startswith("--"):
            reading.problems.append(_stray(word, reading))
            continue
        given, has_value, value = word.text[2:].partition("=")
        name = option_named(given, script)
        option = OPTIONS[name] if name is not None else None
        taken = 0 if has_value else _count_values(words[position:], option)
        behind = [value] if has_value else [each.text for each in words[position : position + taken]]
        values = [*words[position : position + taken]] if not has_value else [word]
        position += taken
        if name is None or option is None:
            if known is not None:
                reading.unknown.append(_with_guess(given, known, "--"))
            continue
        _keep(reading, name, option, word, behind, bool(has_value), values)
    return reading


def _count_values(words: tuple[Word, ...], option: Option | None) -> int:
    """Return how many of the words behind an option are its values."""
    free = 0
    while free < len(words) and not re.match(r"-+[A-Za-z_]", words[free].text):
        free += 1
    if option is None:
        return free
    if option.kind == "switch":
        return 0
    return free if option.kind in ("texts", "numbers") else min(free, 1)


def _keep(
    reading: _Reading,
    name: str,
    option: Option,
    word: Word,
    behind: list[str],
    has_value: bool,
    values: list[Word],
) -> None:
    """Add one option to the reading, or what is wrong with it."""
    place = f"line {word.line}: --{name}"
    if name in reading.places:
        reading.repeated.append(f"--{name}")
    reading.places[name] = place
    reading.values.pop(name, None)
    reading.written[name] = " ".join(behind)
    if option.kind == "switch" and has_value:
        given = f"{word.text} gives a value to a switch"
        remedy = f"Write --{name} alone to turn it on; leave it out to keep it off."
        reading.problems.append(Problem(place, given, "no value: sd-scripts stops at one", remedy))
        return
    if option.kind not in ("switch", "texts", "numbers") and not behind:
        reading.problems.append(Problem(place, "no value", "a value behind it", f"Write --{name}=VALUE."))
        return
    try:
        reading.values[name] = from_words(option, behind)
    except BadValue as error:
        given = f"{' '.join(behind)!r}"
        reading.problems.append(Problem(place, given, str(error), f"Correct --{name}."))
    if any(each.has_literal_tilde for each in values):
        reading.problems.append(path_problem(place, behind[0]))


def _stray(word: Word, reading: _Reading) -> Problem:
    last = list(reading.places)[-1] if reading.places else ""
    remedy = (
        f"Remove it: --{last} is a switch and takes no value."
        if last and OPTIONS[last].kind == "switch"
        else ("Remove it, or put the value that it belongs to in quotes.")
    )
    given = f"{word.text!r} belongs to no option" if word.text.strip() else "a lone space after a backslash"
    return Problem(f"line {word.line}", given, "options and their values only: sd-scripts stops here", remedy)


def _with_guess(name: str, known: Iterable[str], dashes: str = "") -> str:
    plain = name.replace("-", "_")
    guess = MEANT.get(plain) or nearest(plain, sorted(known))
    return f"{dashes}{name} (did you mean {dashes}{guess}?)" if guess else f"{dashes}{name}"


# --- the record ------------------------------------------------------------------------------------------


def _request(reading: _Reading, file: Path, **start: Any) -> TrainingRequest:
    """Return the record of what was read."""
    fields: dict[str, Any] = {}
    spelling: dict[str, str] = {}
    other: dict[str, Any] = {}
    for name, value in reading.values.items():
        option = OPTIONS[name]
        if value == "":
            continue  # as good as not said, and written so by programs that save every option
        if option.field is not None:
            fields[option.field] = simple_field(option, value)
        else:
            other[name] = value
    for name, place in reading.places.items():
        filled = OPTIONS[name].field or FIELDS_OF_SEVERAL.get(name)
        if filled is not None:
            spelling[filled] = place
    fields |= {name: value for name, value in fields_of(reading.values).items() if value is not None}
    return TrainingRequest(
        file=file,
        trainer="sd-scripts",
        spelling=spelling,
        resolution_as_written=reading.written.get("resolution"),
        unknown_options=tuple(reading.unknown),
        repeated_options=tuple(reading.repeated),
        problems=tuple(reading.problems),
        other=other,
        **fields,
        **start,
    )
