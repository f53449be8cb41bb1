"""The runs that a saved script or command line of sd-scripts starts, as records."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from maquette.errors import ConfigError, Problem
from maquette.kohya.config_file import read_options
from maquette.kohya.given import Reading, request_of, with_guess
from maquette.kohya.options import (
    OPTIONS,
    SCRIPTS,
    Option,
    option_named,
)
from maquette.kohya.pasted import SCRIPT_IN_LINE, Rejoined, printed_lists, rejoined
from maquette.kohya.shell_commands import Command, Word, shell_commands, syntax_of, with_home
from maquette.kohya.shell_words import CONTINUATION, Syntax
from maquette.kohya.values import (
    BadValue,
    from_words,
    path_problem,
)
from maquette.project.places import is_of_another_computer
from maquette.project.request import TrainingRequest

TRAINING_SCRIPT = re.compile(r"(?:^|[/\\])(\w*(?:train|fine_tune)\w*\.py)$")
COMMAND_IN_TEXT = re.compile(r"\w*(?:train|fine_tune)\w*\.py[\"']?(?:\s|\\|\^|`)+[\"$%]*(?:--\w|\{?\w+\[)")
ENVIRONMENT_WORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
LAUNCHERS = {"accelerate": "accelerate", "torchrun": "torchrun", "deepspeed": "deepspeed"}
MODULES = {"accelerate": "accelerate", "torch": "torchrun"}
LARGEST_SCRIPT_BYTES = 1_000_000
SCRIPT_SUFFIXES = frozenset({".sh", ".bash", ".zsh", ".bat", ".cmd", ".ps1"})
LAUNCH = re.compile(r"\baccelerate\b.{0,200}\blaunch\b[^\n]*(?:--\w|[@$]\{?\w)")
LONGEST_COMMAND = 100_000
COMMAND_IN_LOG = re.compile(
    r"\S*(?:accelerate|python)[\w.]*\"? .{0,2000}?\w*(?:train|fine_tune)\w*\.py\"?'? +\"?--"
)
SYNTAX_OF_MARK: dict[str, Syntax] = {mark: syntax for syntax, mark in CONTINUATION.items()}
SHELLS: dict[Syntax, str] = {"sh": "bash", "bat": "cmd", "powershell": "PowerShell"}


def has_training_command(path: Path) -> bool:
    """Return whether a text file starts one of sd-scripts' trainers. Never raises."""
    try:
        if path.stat().st_size > LARGEST_SCRIPT_BYTES:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    named_elsewhere = (
        path.suffix.lower() in SCRIPT_SUFFIXES and SCRIPT_IN_LINE.search(text) and LAUNCH.search(text)
    )
    return bool(COMMAND_IN_TEXT.search(rejoined(text).text) or named_elsewhere or any(printed_lists(text)))


# --- scripts ---------------------------------------------------------------------------------------------


Reader = Callable[[str, Sequence[str], Path, int], TrainingRequest | None]
"""Reads the command of another program's script: its name, the words behind it, the file, the line. None: not its own."""


def read_commands(path: Path, others: Reader | None = None) -> list[TrainingRequest]:
    """Return every training run that a script or a saved command line starts, in order.

    Reads sh, Windows batch and PowerShell, and a command that is printed as a Python list. A --config_file on the command
    line is read along, and the command line wins over it. Raises ConfigError when the file cannot be read or starts no
    training.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        given = f"cannot be read ({error.strerror})"
        raise ConfigError(Problem(str(path), given, "a readable script", "Check the path.")) from error
    requests = [*_requests_of_text(text, path, others), *_requests_of_lists(text, path)]
    if not requests:
        required = (
            "a command that starts train_network.py, sdxl_train_network.py or another of sd-scripts' trainers"
        )
        raise ConfigError(Problem(str(path), "no training command", required, "Check which file was meant."))
    return requests


def commands_in_log(path: Path) -> list[TrainingRequest]:
    """Return the training runs whose commands a log shows, each once. Never raises."""
    try:
        text = _head_and_tail(path)
    except OSError:
        return []
    requests = _requests_of_lists(text, path)
    for number, line in enumerate(text.split("\n"), start=1):
        start = COMMAND_IN_LOG.search(line) if len(line) < LONGEST_COMMAND else None
        if start is not None and not any(printed_lists(line)):
            command = "\n" * (number - 1) + line[start.start() :]
            requests += _requests_of_text(command, path)
    distinct = {(request.script, tuple(sorted(request.spelling))): request for request in requests}
    return [replace(request, is_elsewhere=True) for request in distinct.values() if request.spelling]


def is_run_elsewhere(request: TrainingRequest) -> bool:
    """Return whether a run belongs to another computer: its paths are of one, or its script is for another system."""
    if request.is_elsewhere or request.trainer != "sd-scripts":
        return request.is_elsewhere
    if os.name != "nt" and request.file.suffix.lower() in (".bat", ".cmd", ".ps1"):
        return True
    paths = (
        request.base,
        request.images,
        request.dataset_config,
        request.output_dir,
        request.vae,
        request.script_path,
    )
    return any(path is not None and is_of_another_computer(str(path)) for path in paths)


def _head_and_tail(path: Path) -> str:
    """Return a log's beginning and end, where commands stand."""
    with path.open("rb") as file:
        head = file.read(LARGEST_SCRIPT_BYTES)
        file.seek(max(len(head), path.stat().st_size - LARGEST_SCRIPT_BYTES))
        data = head + file.read(LARGEST_SCRIPT_BYTES)
    return data.decode(
        encoding="utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace"
    )


def _requests_of_text(text: str, path: Path, others: Reader | None = None) -> list[TrainingRequest]:
    """Return the runs that a text's commands start."""
    whole = rejoined(text)
    commands = list(shell_commands(whole.text, path.parent.absolute(), syntax_of(path, whole.text)))
    requests = []
    for index, command in enumerate(commands):
        position = _script_position(command.words)
        if position is not None:
            command, gaps = _read_on(command, commands[index + 1 :])
            problems = [*_foreign_marks(command, path, text), *gaps, *_broken(command, whole)]
            found = _read_by(others, command, position, path)
            requests.append(found or _request_of_command(command, position, path, problems))
    return requests


def _read_by(others: Reader | None, command: Command, position: int, path: Path) -> TrainingRequest | None:
    """Return what another program's reader makes of a command."""
    match = TRAINING_SCRIPT.search(command.words[position].text)
    if others is None or match is None:
        return None
    return others(
        match[1], [word.text for word in command.words[position + 1 :]], path, command.words[position].line
    )


def _requests_of_lists(text: str, path: Path) -> list[TrainingRequest]:
    """Return the runs of commands that Python printed as lists, each once."""
    requests = []
    seen: list[list[str]] = []
    for line, words in printed_lists(text):
        command = Command(tuple(Word(word, line) for word in words), {}, path.parent.absolute())
        position = _script_position(command.words)
        if position is not None and words not in seen:
            seen.append(words)
            requests.append(_request_of_command(command, position, path, []))
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


def _read_on(command: Command, following: Iterable[Command]) -> tuple[Command, list[Problem]]:
    """Return the command with the lines behind it whose first word is an option, and the gaps before them.

    They were meant to belong to it; so what they say counts here, and only the gap is reported.
    """
    words, marks, problems = list(command.words), list(command.foreign_marks), []
    for other in following:
        if not other.words[0].text.startswith("--"):
            break
        words += other.words
        marks += other.foreign_marks
        line = other.line
        why = (
            f"a space stands behind the mark at the end of line {line - 1}"
            if other.follows_stray_space
            else f"line {line - 1} does not end in a continuation mark, or is a comment"
        )
        problems.append(
            Problem(
                f"line {line}",
                f"{other.words[0].text} stands alone: {why}, so this line and those after it never reach the trainer",
                "one command without a gap",
                f"Repair the end of line {line - 1}; a comment cannot stand within a command.",
            )
        )
    return replace(command, words=tuple(words), foreign_marks=tuple(marks)), problems[:1]


def _foreign_marks(command: Command, path: Path, text: str) -> Iterable[Problem]:
    """Return the problem of lines that end in another shell's continuation mark."""
    if not command.foreign_marks:
        return
    own = syntax_of(path, text)
    lines = [line for line, _ in command.foreign_marks]
    mark = command.foreign_marks[0][1]
    where = f"line {lines[0]}" if len(lines) == 1 else f"lines {lines[0]} to {lines[-1]}"
    yield Problem(
        where,
        f"{mark} at the end, {SHELLS[SYNTAX_OF_MARK[mark]]}'s continuation mark, which {SHELLS[own]} does not know: the "
        f"command ends with line {lines[0]}, and the next line is run for itself",
        f"{CONTINUATION[own]} at the end of each line but the last",
        f"Write {CONTINUATION[own]} for {mark}, with nothing behind it.",
    )


def _broken(command: Command, whole: Rejoined) -> Iterable[Problem]:
    for first, last in whole.broken:
        if first <= command.line <= last:
            yield Problem(
                f"lines {first} to {last}",
                f"the command is broken into {last - first + 1} lines without continuation marks: a shell runs the first alone",
                "one line, or a mark at the end of each line but the last",
                "Put it on one line, or end each line but the last in \\ (bash), ^ (cmd) or ` (PowerShell).",
            )


def _request_of_command(
    command: Command, position: int, path: Path, problems: list[Problem]
) -> TrainingRequest:
    before, script_word = command.words[:position], command.words[position].text
    match = TRAINING_SCRIPT.search(script_word)
    assert match is not None, "the position was found by this pattern"
    script = match[1]
    reading = _read_words(command.words[position + 1 :], script)
    config = reading.values.get("config_file")
    if config:
        reading = _with_config(reading, config, script, command, path)
    reading.problems += problems
    environment = dict(command.environment)
    environment |= {m[1]: m[2] for word in before if (m := ENVIRONMENT_WORD.fullmatch(word.text))}
    launcher, told = _launcher([word.text for word in before])
    if command.folder != path.parent.absolute():
        _count_from(command.folder, reading)
    return request_of(
        reading,
        path,
        line=command.words[position].line,
        script=script,
        script_path=_located(script_word, command.folder, path),
        launcher=launcher,
        launcher_options=told,
        environment=environment,
    )


def _count_from(folder: Path, reading: Reading) -> None:
    """Make relative paths absolute that lie in the folder a script has changed to."""
    for name, value in reading.values.items():
        if OPTIONS[name].kind == "path" or name in ("pretrained_model_name_or_path", "vae", "sample_prompts"):
            given = Path(value)
            if value and not given.is_absolute() and (folder / given).exists():
                reading.values[name] = str(folder / given)


def _with_config(reading: Reading, config: str, script: str, command: Command, path: Path) -> Reading:
    """Return the reading over that of its --config_file, whose name may lack `.toml`."""
    name = config if config.endswith(".toml") else f"{config}.toml"
    file = _located(name, command.folder, path)
    if not file.exists():
        reading.unread.append(config)
        if not is_of_another_computer(config):
            reading.problems.append(_missing_config(file))
        return reading
    try:
        below = read_options(file, script)
    except ConfigError as error:
        reading.problems += error.problems
        return reading
    below.places = {option: f"{file.name} {place}" for option, place in below.places.items()}
    below.problems = [
        Problem(f"{file.name} {problem.where}", problem.given, problem.required, problem.remedy)
        for problem in below.problems
    ]
    return below.under(reading)


def _missing_config(file: Path) -> Problem:
    given = "no such file: sd-scripts says so and ends before it reads anything else"
    return Problem(str(file), given, "the --config_file with the options", "Correct its path.")


def _located(text: str, folder: Path, file: Path) -> Path:
    """Return where a path of a command lies: from its working folder, else beside the script, else from here."""
    given = with_home(text)
    if is_of_another_computer(text):
        return Path(text.replace("\\", "/"))
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


def reading_of_words(words: Iterable[str], script: str) -> Reading:
    """Return the options that the words of a command line give, those behind the script's name."""
    return _read_words(tuple(Word(word, 1) for word in words), script)


def _read_words(words: tuple[Word, ...], script: str) -> Reading:
    """Return the options of a command line, read as Python's argparse does."""
    reading = Reading()
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
                reading.unknown.append(with_guess(given, known, "--"))
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
    reading: Reading,
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
        reading.problems.append(Problem(place, given, str(error), error.remedy or f"Correct --{name}."))
    if any(each.has_literal_tilde for each in values):
        reading.problems.append(path_problem(place, behind[0]))


def _stray(word: Word, reading: Reading) -> Problem:
    last = list(reading.places)[-1] if reading.places else ""
    remedy = (
        f"Remove it: --{last} is a switch and takes no value."
        if last and OPTIONS[last].kind == "switch"
        else ("Remove it, or put the value that it belongs to in quotes.")
    )
    given = f"{word.text!r} belongs to no option" if word.text.strip() else "a lone space after a backslash"
    return Problem(f"line {word.line}", given, "options and their values only: sd-scripts stops here", remedy)
