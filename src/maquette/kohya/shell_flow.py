"""Which branches of a script are taken, as far as its own variables say. What cannot be known counts as taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maquette.kohya.powershell import Names, truth_of
from maquette.kohya.shell_words import RawCommand

SH_OPERATORS = {"==", "=", "!=", "-eq", "-ne", "-gt", "-ge", "-lt", "-le"}
SH_OPENERS = {"[[": "]]", "[": "]", "test": ""}
IF_HEAD = re.compile(r"\s*(else\s*if|elseif|if)\s*(\(.*\))\s*", re.DOTALL | re.IGNORECASE)
CHOSEN_VALUE = re.compile(r"\s*\$(\w+)\s*=\s*if\s*(\(.*\))\s*", re.DOTALL | re.IGNORECASE)


@dataclass
class _Branch:
    """One `if` with its branches, or another block."""

    is_taken: bool
    """Whether the branch that is being read is."""
    was_taken: bool = False
    """Whether an earlier branch is certainly taken, so that no later one is."""
    target: str = ""
    """The variable that `$x = if (…) { … } else { … }` gives a value."""

    def turn(self, truth: bool | None) -> None:
        """Go on to the next branch, whose condition has this truth."""
        self.is_taken = truth is not False and not self.was_taken
        self.was_taken = self.was_taken or (truth is True)


class ShFlow:
    """Follows if, elif, else and fi."""

    def __init__(self) -> None:
        self._open: list[_Branch] = []
        self._truth: bool | None = None

    def takes(self, raw: RawCommand, words: Callable[[], Sequence[str]]) -> bool:
        """Follow one command; return whether it is carried out. `words` are those of a condition, filled in."""
        for keyword in raw.keywords:
            if keyword == "if":
                self._open.append(_Branch(is_taken=False))
            if keyword in ("if", "elif"):
                self._truth = sh_truth(words()) if self._reaches_condition() else False
                return False
            if keyword == "then" and self._open:
                self._open[-1].turn(self._truth)
            elif keyword == "else" and self._open:
                self._open[-1].turn(True)
            elif keyword == "fi" and self._open:
                self._open.pop()
        return all(branch.is_taken for branch in self._open)

    def _reaches_condition(self) -> bool:
        return all(branch.is_taken for branch in self._open[:-1])


def sh_truth(words: Sequence[str]) -> bool | None:
    """Return whether `[[ … ]]`, `[ … ]` or `test …` holds; None where that cannot be known."""
    if not words or words[0] not in SH_OPENERS:
        return None
    end = SH_OPENERS[words[0]]
    inner = list(words[1:])
    if end:
        if not inner or inner[-1] != end:
            return None
        inner.pop()
    if any("$" in word or "*" in word or "`" in word for word in inner):
        return None
    if len(inner) == 2 and inner[0] in SH_OPERATORS:
        inner.insert(0, "")  # an empty variable without quotes is no word at all
    if len(inner) == 2 and inner[1] in SH_OPERATORS:
        inner.append("")
    if len(inner) <= 1:
        return bool(inner and inner[0])
    if len(inner) == 2 and inner[0] in ("-n", "-z"):
        return bool(inner[1]) == (inner[0] == "-n")
    return _sh_compared(*inner) if len(inner) == 3 else None


def _sh_compared(left: str, operator: str, right: str) -> bool | None:
    if operator in ("==", "=", "!="):
        return (left == right) == (operator != "!=")
    try:
        one, two = float(left or 0), float(right or 0)
    except ValueError:
        return None
    found = {
        "-eq": one == two,
        "-ne": one != two,
        "-gt": one > two,
        "-ge": one >= two,
        "-lt": one < two,
        "-le": one <= two,
    }
    return found.get(operator)


class PowerShellFlow:
    """Follows if, elseif, else and braces."""

    def __init__(self) -> None:
        self._open: list[_Branch] = []
        self._last: _Branch | None = None
        """The `if` whose block was closed last, for the `else` behind it."""

    @property
    def target(self) -> str:
        """The variable that a value standing alone is given, in `$x = if (…) { value }`."""
        return self._open[-1].target if self._open else ""

    def takes(self, raw: RawCommand, names: Names) -> bool:
        """Follow one command; return whether it is carried out."""
        is_head = raw.end == "{"
        carried_out = all(branch.is_taken for branch in self._open) and not is_head
        if is_head:
            self._open.append(self._block(raw, names))
        elif raw.end == "}" and self._open:
            self._last = self._open.pop()
        return carried_out

    def _block(self, raw: RawCommand, names: Names) -> _Branch:
        source = raw.source.strip()
        chosen, head = CHOSEN_VALUE.fullmatch(source), IF_HEAD.fullmatch(source)
        if chosen is not None:
            branch = _Branch(is_taken=False, target=chosen[1])
            branch.turn(truth_of(chosen[2], names))
            return branch
        if head is not None and head[1].lower() == "if":
            branch = _Branch(is_taken=False)
            branch.turn(truth_of(head[2], names))
            return branch
        if head is not None and self._last is not None:
            self._last.turn(truth_of(head[2], names))
            return self._last
        if source.lower() == "else" and self._last is not None:
            self._last.turn(True)
            return self._last
        return _Branch(is_taken=True)
