"""What a shell script would run: its commands with variables filled in, as far as they can be known.

Reads the parts of sh, Windows batch and PowerShell that training scripts are made of: quotes, line continuations,
comments, variables, arrays, exports, `cd`, here-documents. Nothing is ever executed. What cannot be known (`$1`,
`$(nproc)`) stays as it is written, and a branch whose condition cannot be known is read as if it were taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from maquette.kohya.powershell import Names, assign, carry_out, filled, value_of
from maquette.kohya.shell_flow import PowerShellFlow, ShFlow
from maquette.kohya.shell_words import Piece, RawCommand, RawWord, Syntax, raw_commands

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{(\w+)(?::?[-=]([^}]*))?\}|\$env:(\w+)|\$(\w+)")
BATCH_VARIABLE = re.compile(r"%(\w+)%|!(\w+)!")
WHOLE_ARRAY = re.compile(r"\$\{(\w+)\[[@*]\]\}|\$\((\w+)\)")
WHOLE_LIST = re.compile(r"[$@]\{?(\w+)\}?")
"""A list of PowerShell's as words of a command: `$ext_args`, or splatted `@ext_args`."""
SCRIPT_FOLDER = re.compile(r"(\$\{?0\}?|BASH_SOURCE|%~dp0)")


@dataclass(frozen=True)
class Word:
    """One word of a command as the program receives it."""

    text: str
    line: int
    """Counted from 1."""
    has_literal_tilde: bool = False
    """A ~ that the shell leaves alone, because it stands in quotes or after an =."""


@dataclass(frozen=True)
class Command:
    """One command with the environment that its script has set up for it."""

    words: tuple[Word, ...]
    environment: Mapping[str, str]
    folder: Path
    """Where it runs: the script's own folder until a `cd`."""
    follows_stray_space: bool = False
    """The line before it ends in a continuation mark with a space behind, which continues nothing."""
    foreign_marks: tuple[tuple[int, str], ...] = ()
    """(line, mark) of its lines that end in another shell's continuation mark, over which it was read on."""

    @property
    def line(self) -> int:
        return self.words[0].line


@dataclass
class _Shell:
    """Variables as they stand at one line."""

    folder: Path
    script_folder: Path
    syntax: Syntax
    variables: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    """PowerShell's variables, whose names know no capitals."""


def shell_commands(text: str, folder: Path, syntax: Syntax = "sh") -> Iterator[Command]:
    """Yield the commands of a script that lies in `folder`, in order."""
    home = str(Path.home())
    shell = _Shell(folder, folder, syntax, {"HOME": home, "USERPROFILE": home, "PWD": str(folder)})
    for raw in _carried_out(text, shell):
        words = [word for each in raw.words for word in _filled(each, shell)]
        words = _set_variables(words, raw.words, shell)
        if not words:
            continue
        name = words[0].text
        if name in ("cd", "pushd", "chdir", "Set-Location"):
            _change_folder([word.text for word in words[1:] if word.text.lower() != "/d"], shell)
        else:
            yield Command(
                tuple(words), dict(shell.exported), shell.folder, raw.follows_stray_space, raw.foreign_marks
            )


def _carried_out(text: str, shell: _Shell) -> Iterator[RawCommand]:
    """Yield the commands of the branches that are taken; PowerShell's assignments are carried out on the way."""
    if shell.syntax == "powershell":
        yield from _powershell_commands(text, shell)
        return
    flow = ShFlow()
    for raw in raw_commands(text, shell.syntax):
        takes = flow.takes(raw, partial(_texts, raw, shell))
        if raw.words and (shell.syntax == "bat" or takes):
            yield raw


def _texts(raw: RawCommand, shell: _Shell) -> list[str]:
    return [word.text for each in raw.words for word in _filled(each, shell)]


def _powershell_commands(text: str, shell: _Shell) -> Iterator[RawCommand]:
    flow = PowerShellFlow()
    for raw in raw_commands(text, "powershell"):
        target = flow.target
        if not flow.takes(raw, shell.names) or not raw.source.strip():
            continue
        if target and (value := value_of(raw.source, shell.names)) is not None:
            assign(target, value, shell.names)
            continue
        changed = carry_out(raw.source, shell.names)
        if changed is None and raw.words:
            yield raw
        elif changed is not None and changed.lower().startswith("env:"):
            name = changed[4:]
            value = shell.names.texts.pop(changed.lower(), "")
            shell.exported[name] = shell.variables[name] = str(value)
            shell.names.texts[name.lower()] = str(value)


def syntax_of(path: Path, text: str) -> Syntax:
    """Return the language of a script by its ending, or for a saved command line by its continuation marks."""
    by_suffix: dict[str, Syntax] = {
        ".bat": "bat", ".cmd": "bat", ".ps1": "powershell", ".sh": "sh", ".bash": "sh", ".zsh": "sh"
    }  # fmt: skip
    if path.suffix.lower() in by_suffix:
        return by_suffix[path.suffix.lower()]
    if text.startswith("#!"):
        return "sh"
    if re.search(r"\\[ \t]*\r?\n", text):
        return "sh"
    if re.search(r"\^[ \t]*\r?\n", text):
        return "bat"
    if re.search(r"`[ \t]*\r?\n", text):
        return "powershell"
    return "bat" if re.search(r"(?<!\w)[A-Za-z]:\\\w", text) else "sh"


def with_home(text: str) -> Path:
    """Return a path with ~ at its head filled in; another user's ~name stays as it is, whether there is one or not."""
    return Path(f"{Path.home()}{text[1:]}") if text == "~" or text.startswith("~/") else Path(text)


# --- variables -------------------------------------------------------------------------------------------


def _set_variables(words: list[Word], raw: tuple[RawWord, ...], shell: _Shell) -> list[Word]:
    """Carry out assignments and exports at the head of a command; return what is left to run."""
    if words and words[0].text.lower() in (
        "export",
        "declare",
        "typeset",
        "local",
        "readonly",
        "set",
        "setx",
    ):
        _export(words, shell)
        return []
    head = 0
    while head < len(words) and ASSIGNMENT.fullmatch(words[head].text) and shell.syntax == "sh":
        head += 1
    if head == len(words):
        for word, written in zip(words, raw, strict=False):
            _assign(word.text, written, shell)
        return []
    if raw and raw[0].array is not None:
        return []
    return words


def _assign(text: str, raw: RawWord, shell: _Shell) -> None:
    match = ASSIGNMENT.fullmatch(text)
    if match is None:
        return
    name, adds, value = match.groups()
    if raw.array is not None:
        before = shell.arrays.get(name, []) if adds else []
        shell.arrays[name] = before + [word.text for each in raw.array for word in _filled(each, shell)]
        return
    shell.variables[name] = shell.variables.get(name, "") + value if adds else value
    if name in shell.exported:
        shell.exported[name] = shell.variables[name]


def _export(words: list[Word], shell: _Shell) -> None:
    """`export A=b C`, `declare -x A=b`, `set A=b c` (batch), `setx A b`."""
    command = words[0].text.lower()
    if command in ("set", "setx") and shell.syntax != "bat":
        return
    rest = [word.text for word in words[1:] if not word.text.startswith("-")]
    if command == "setx" and len(rest) >= 2:
        rest = [f"{rest[0]}={rest[1]}"]
    if command == "set":
        rest = [" ".join(rest)]
    for text in rest:
        name, _, value = text.partition("=")
        if "=" in text:
            shell.variables[name] = value
        if command in ("export", "set", "setx") or any(word.text.startswith("-x") for word in words):
            shell.exported[name] = shell.variables.get(name, "")


def _change_folder(words: list[str], shell: _Shell) -> None:
    if words and "$" not in words[0] and "%" not in words[0]:
        shell.folder = Path(os.path.normpath(shell.folder / with_home(words[0].replace("\\", "/"))))
        shell.variables["PWD"] = str(shell.folder)


# --- words -----------------------------------------------------------------------------------------------


def _filled(raw: RawWord, shell: _Shell) -> list[Word]:
    """Return the words that one written word becomes: none, one, or several where an unquoted variable has spaces."""
    whole = WHOLE_ARRAY.fullmatch(raw.text) if len(raw.pieces) == 1 else None
    if whole is not None and (whole[1] or whole[2]) in shell.arrays:
        texts = shell.arrays[whole[1] or whole[2]]
        if raw.pieces[0].kind == "plain":  # without quotes the shell takes each value apart at its spaces
            texts = [part for text in texts for part in text.split()]
        return [Word(text, raw.line) for text in texts]
    listed = WHOLE_LIST.fullmatch(raw.text) if shell.syntax == "powershell" else None
    if listed is not None and listed[1].lower() in shell.names.lists:
        return [Word(text, raw.line) for text in shell.names.lists[listed[1].lower()]]
    texts = [""]
    for index, piece in enumerate(raw.pieces):
        filled = _fill(piece, shell)
        if index == 0 and piece.kind == "plain" and re.match(r"~(/|$)", filled) and shell.syntax != "bat":
            filled = str(Path.home()) + filled[1:]
        if piece.kind == "plain" and filled != piece.text and re.search(r"\s", filled):
            first, *more = re.split(r"\s+", filled)
            texts[-1] += first
            texts += more
        else:
            texts[-1] += filled
    was_quoted = any(piece.kind != "plain" for piece in raw.pieces)
    literal = shell.syntax == "sh" and _has_literal_tilde(raw)
    return [Word(text, raw.line, literal) for text in texts if text or was_quoted]


def _has_literal_tilde(raw: RawWord) -> bool:
    """Whether the word hands a path like ~/models to the program unexpanded: "~/x", --flag=~/x, --flag="~/x"."""
    text = raw.text
    value = text.partition("=")[2] if text.startswith("-") else text
    in_quotes = bool(raw.pieces) and raw.pieces[0].kind != "plain"
    return value.startswith("~/") and (text.startswith("-") or in_quotes)


def _fill(piece: Piece, shell: _Shell) -> str:
    if piece.kind == "literal":
        return piece.text
    if piece.kind == "command":
        return _known_output(piece.text, shell)
    if shell.syntax == "bat":
        text = piece.text.replace("%~dp0", f"{shell.script_folder}/")
        return BATCH_VARIABLE.sub(lambda match: _batch_value(match, shell), text)
    if shell.syntax == "powershell":
        text = filled(piece.text, shell.names)
        return VARIABLE.sub(lambda match: _value(match, shell), text)
    return VARIABLE.sub(lambda match: _value(match, shell), piece.text)


def _value(match: re.Match[str], shell: _Shell) -> str:
    name = match[1] or match[3] or match[4]
    if name in shell.variables:
        return shell.variables[name]
    if name in ("0", "BASH_SOURCE"):
        return str(shell.script_folder / "script")
    return match[2] if match[2] is not None else match[0]


def _batch_value(match: re.Match[str], shell: _Shell) -> str:
    known = {name.lower(): value for name, value in shell.variables.items()}
    return known.get((match[1] or match[2]).lower(), match[0])


def _known_output(text: str, shell: _Shell) -> str:
    """Return what `$(dirname "$0")`, `$(cd "$(dirname "$0")/.." && pwd)` and `$(pwd)` print; others stay as written."""
    if "dirname" in text and SCRIPT_FOLDER.search(text):
        ups = re.search(r"\)\"?((?:/\.\.)+)", text)
        return os.path.normpath(f"{shell.script_folder}{ups[1] if ups else ''}")
    if re.fullmatch(r"\$\(\s*pwd\s*\)|`\s*pwd\s*`", text):
        return str(shell.folder)
    return text
