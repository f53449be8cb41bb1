"""What PowerShell's assignments, lists and conditions come to, as far as a training script needs it. Nothing is executed.

$ext_args = [System.Collections.ArrayList]::new()
[void]$ext_args.Add("--optimizer_type=" + $optimizer_type)
$ext_args += @("--network_args", "conv_dim=4")
accelerate launch train_network.py @ext_args
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""\s*(?:
    (?P<double>"(?:`.|""|[^"])*") | (?P<single>'(?:''|[^'])*')
    | (?P<new>\[[\w.\[\],\s]+\]::new\(\)|New-Object\s+[\w.\[\]]+) | (?P<cast>\[[\w.]+(?:\[\])?\])
    | (?P<variable>\$\{?(?:env:)?\w+\}?) | (?P<open>@?\() | (?P<close>\)) | (?P<plus>\+) | (?P<comma>,)
    | (?P<word>[^\s"'(),+]+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
ASSIGNMENT = re.compile(
    r"\s*(?:\[[\w.\[\]]+\]\s*)?\$\{?((?:env:|script:|global:)?\w+)\}?\s*(\+?=)(?!=)\s*(.*)", re.S | re.I
)
ADDING = re.compile(
    r"\s*(?:\[void\]\s*\(?|\$null\s*=\s*)?\$\{?(\w+)\}?\.(Add|AddRange)\s*\((.*)\)\)?\s*", re.S | re.I
)
IN_TEXT = re.compile(r"\$\{(\w+)\}|\$env:(\w+)|\$\((\$\w+)\)|\$(\w+)", re.IGNORECASE)
COMPARISON = re.compile(r"(.+?)\s-(i?eq|i?ne|gt|ge|lt|le)\s(.+)", re.S | re.I)
TRUTHS = {"$true": True, "$false": False, "$null": False}


class Number(str):
    """A value that was written without quotes: its 0 counts as false."""


Value = str | list[str]


@dataclass
class Names:
    """Variables as they stand at one line: texts and lists, by their names in lower case."""

    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)


def carry_out(source: str, names: Names) -> str | None:
    """Carry out an assignment or an .Add; return the name that it changed, None where `source` is something else."""
    adding = ADDING.fullmatch(source)
    if adding is not None:
        value = value_of(adding[3], names)
        if value is not None:
            names.lists.setdefault(adding[1].lower(), []).extend(_listed(value))
        return adding[1]
    assignment = ASSIGNMENT.fullmatch(source)
    if assignment is None:
        return None
    assign(assignment[1], value_of(assignment[3], names), names, adds=assignment[2] == "+=")
    return assignment[1]


def assign(name: str, value: Value | None, names: Names, *, adds: bool = False) -> None:
    """Give a variable its value, or add to it; a value that cannot be known leaves it unknown."""
    key = name.lower().removeprefix("script:").removeprefix("global:")
    before: Value | None = names.lists.get(key, names.texts.get(key))
    if adds and isinstance(before, list) and value is not None:
        names.lists[key] = before + _listed(value)
        return
    if adds and isinstance(before, str) and value is not None:
        value = [before, *value] if isinstance(value, list) else before + value
    names.lists.pop(key, None)
    names.texts.pop(key, None)
    if isinstance(value, list):
        names.lists[key] = value
    elif value is not None:
        names.texts[key] = value


def value_of(source: str, names: Names) -> Value | None:
    """Return what an expression of texts, variables, `+` and lists comes to; None where it cannot be known."""
    reader = _Expression(source, names)
    value = reader.whole()
    return value if reader.is_done else None


def truth_of(condition: str, names: Names) -> bool | None:
    """Return whether a condition holds; None where that cannot be known."""
    text = _bare(condition)
    if re.search(r"\s-(and|or|x?or)\s", text, re.IGNORECASE):
        return None
    negated = re.fullmatch(r"(?:!|-not\b)\s*(.+)", text, re.S | re.I)
    if negated is not None:
        truth = truth_of(negated[1], names)
        return None if truth is None else not truth
    if text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    comparison = COMPARISON.fullmatch(text)
    if comparison is not None:
        return _compared(comparison, names)
    value = value_of(text, names)
    if value is None:
        return None
    return bool(value) and not (isinstance(value, Number) and _number(value) == 0)


def filled(text: str, names: Names) -> str:
    """Return a text in double quotes with its variables filled in; what is not known stays."""

    def known(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None).lstrip("$").lower()
        if name in names.lists:
            return " ".join(names.lists[name])
        return str(names.texts.get(name, match[0]))

    return IN_TEXT.sub(known, text)


def _bare(text: str) -> str:
    """Return a condition without the parentheses around all of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")") and _closes_at_end(text):
        text = text[1:-1].strip()
    return text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return index == len(text) - 1
    return False


def _compared(comparison: re.Match[str], names: Names) -> bool | None:
    left, right = value_of(comparison[1], names), value_of(comparison[3], names)
    if not isinstance(left, str) or not isinstance(right, str):
        return None
    operator = comparison[2].lower().removeprefix("i")
    numbers = _number(left), _number(right)
    both = numbers[0] is not None and numbers[1] is not None
    is_equal = numbers[0] == numbers[1] if both else left.lower() == right.lower()
    if operator in ("eq", "ne", "q", "e"):
        return is_equal if operator in ("eq", "q") else not is_equal
    if numbers[0] is None or numbers[1] is None:
        return None
    return {
        "gt": numbers[0] > numbers[1],
        "ge": numbers[0] >= numbers[1],
        "lt": numbers[0] < numbers[1],
        "le": numbers[0] <= numbers[1],
    }[operator]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _listed(value: Value) -> list[str]:
    return list(value) if isinstance(value, list) else [str(value)]


DEEPEST = 50
"""Parentheses within parentheses; what is deeper is no expression of a training script."""


class _Expression:
    """Reads one expression from the left."""

    def __init__(self, source: str, names: Names) -> None:
        self.names = names
        self.tokens = [
            (match.lastgroup or "", match[match.lastgroup or 0]) for match in TOKEN.finditer(source.strip())
        ]
        self.position = 0
        self.unknown = False
        self._depth = 0

    @property
    def is_done(self) -> bool:
        return self.position == len(self.tokens) and not self.unknown

    def whole(self) -> Value | None:
        """Return a value, or the list that commas make."""
        value = self._sum()
        parts = [value]
        while self._next() == "comma":
            self.position += 1
            parts.append(self._sum())
        return value if len(parts) == 1 else [text for part in parts for text in _listed(part or [])]

    def _sum(self) -> Value | None:
        value = self._term()
        while self._next() == "plus":
            self.position += 1
            other = self._term()
            if isinstance(value, str) and isinstance(other, str):
                value = value + other
            elif value is not None and other is not None:
                value = _listed(value) + _listed(other)
        return value

    def _next(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def _term(self) -> Value | None:
        while self._next() == "cast":
            self.position += 1
        if not self._next():
            return None
        kind, text = self.tokens[self.position]
        self.position += 1
        if kind == "double":
            return filled(re.sub(r"`(.)", r"\1", text[1:-1].replace('""', '"')), self.names)
        if kind == "single":
            return text[1:-1].replace("''", "'")
        if kind == "new":
            return []
        if kind == "variable":
            return self._variable(text)
        if kind == "open":
            return self._parenthesis(text)
        if kind == "word" and re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text, re.IGNORECASE):
            return Number(text)
        self.unknown = True
        return None

    def _variable(self, text: str) -> Value | None:
        name = text.strip("${}").lower().removeprefix("env:")
        if text.lower() in TRUTHS:
            return Number(int(TRUTHS[text.lower()]))
        if name in self.names.lists:
            return list(self.names.lists[name])
        if name in self.names.texts:
            return self.names.texts[name]
        self.unknown = True
        return None

    def _parenthesis(self, opening: str) -> Value | None:
        if self._next() == "close":
            self.position += 1
            return []
        if self._depth == DEEPEST:
            self.unknown = True
            return None
        self._depth += 1
        value = self.whole()
        self._depth -= 1
        if self._next() == "close":
            self.position += 1
        return _listed(value) if opening == "@(" and value is not None else value
