"""PEFT's patterns over module names (`alpha_pattern`), matched without running a stranger's expression.

PEFT takes each key as a regular expression. One that stands in a downloaded file can hang any engine that backtracks, or make
it ask for gigabytes while it is compiled. Here a pattern is walked as a set of states, a step a letter, and the work is
counted. Letters, `.`, classes, groups, alternatives, `* + ?` and anchors are understood, which is all that names need;
anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

LONGEST = 1000
DEEPEST = 20
MOST_STEPS = 3_000_000
"""Of all patterns over all names: a second or two."""
CLASSES = {"d": str.isdigit, "w": lambda letter: letter.isalnum() or letter == "_", "s": str.isspace}
SPECIAL = frozenset(".*+?()[]{}|^$\\")

Test = Callable[[str], bool]


class BadPattern(ValueError):
    """A pattern that names do not need, or that costs too much."""


class Patterns:
    """The keys of `alpha_pattern`: one matches where PEFT's `re.match(rf"(.*\\.)?({key})$", path)` does."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._work = _Work()
        self._plain: dict[int, list[tuple[int, str]]] = {}
        """Length → (place among the keys, key) of those without any sign but the dot, which stands for every letter."""
        self._machines: list[tuple[int, _Machine]] = []
        for place, key in enumerate(keys):
            if SPECIAL & set(key.replace(".", "")):
                self._machines.append((place, _Machine(key, self._work)))
            else:
                self._plain.setdefault(len(key), []).append((place, key))

    def first(self, path: str) -> int | None:
        """Return the place of the first key that is the whole `path` or what follows one of its dots; None for none."""
        starts = [0, *(place + 1 for place, letter in enumerate(path) if letter == ".")]
        found = [place for start in starts for place in self._plain_at(path, start)]
        for place, machine in self._machines:
            if found and min(found) < place:
                break
            if any(machine.takes(path, start) for start in starts):
                found.append(place)
        return min(found, default=None)

    def _plain_at(self, path: str, start: int) -> Iterator[int]:
        keys = self._plain.get(len(path) - start, ())
        self._work.count(len(keys))
        for place, key in keys:
            if all(one in (".", other) for one, other in zip(key, path[start:], strict=True)):
                yield place


class _Work:
    """What was done for all patterns of a file together."""

    def __init__(self) -> None:
        self.steps = 0

    def count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise BadPattern("patterns that cost too much")


@dataclass
class _State:
    """A state takes one letter (`test`, then `to`) or none (`free`)."""

    test: Test | None = None
    to: int = -1
    free: list[int] = field(default_factory=list)
    at_start: bool = False
    """Passed only before the first letter of the path."""


class _Machine:
    """The states of one pattern; the last one accepts."""

    def __init__(self, pattern: str, work: _Work) -> None:
        if len(pattern) > LONGEST:
            raise BadPattern(f"a pattern of {len(pattern)} letters")
        self._states: list[_State] = []
        self._work = work
        reader = _Reader(pattern, self._states)
        first, last = reader.alternatives()
        if reader.at < len(pattern):
            raise BadPattern(f"'{pattern[reader.at]}' stands alone")
        self._first, self._last = first, last
        self._known: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def takes(self, path: str, start: int) -> bool:
        """Tell whether the pattern is exactly what stands in `path` from `start` on."""
        at = self._with_free({self._first}, at_start=start == 0)
        for number, letter in enumerate(path[start:], 1):
            if not at:
                self._work.count(number)
                return False
            key = (at, letter)
            if key not in self._known:
                self._known[key] = self._step(at, letter)
            at = self._known[key]
        self._work.count(len(path) - start)
        return self._last in at

    def _step(self, at: frozenset[int], letter: str) -> frozenset[int]:
        reached = set()
        for number in at:
            state = self._states[number]
            if state.test is not None and state.test(letter):
                reached.add(state.to)
        self._work.count(len(at))
        return self._with_free(reached, at_start=False)

    def _with_free(self, states: set[int], *, at_start: bool) -> frozenset[int]:
        found, todo = set(states), list(states)
        while todo:
            state = self._states[todo.pop()]
            if state.at_start and not at_start:
                continue
            for number in state.free:
                if number not in found:
                    found.add(number)
                    todo.append(number)
        self._work.count(len(found))
        return frozenset(found)


class _Reader:
    """Reads a pattern into states; every part is (first state, last state)."""

    def __init__(self, pattern: str, states: list[_State]) -> None:
        self.pattern, self.at, self._states, self._depth = pattern, 0, states, 0

    def alternatives(self) -> tuple[int, int]:
        first, last = self._new(), self._new()
        while True:
            begin, end = self._sequence()
            self._states[first].free.append(begin)
            self._states[end].free.append(last)
            if self._next() != "|":
                return first, last
            self.at += 1

    def _sequence(self) -> tuple[int, int]:
        first = last = self._new()
        while self._next() not in ("", "|", ")"):
            begin, end = self._repeated(*self._one())
            self._states[last].free.append(begin)
            last = end
        return first, last

    def _repeated(self, begin: int, end: int) -> tuple[int, int]:
        sign = self._next()
        if sign not in ("*", "+", "?"):
            return begin, end
        self.at += 1
        if self._next() == "?":  # the shortest match first: the same names match
            self.at += 1
        if self._next() in ("*", "+", "?", "{"):
            raise BadPattern(f"'{sign}{self._next()}'")
        first, last = self._new(), self._new()
        self._states[first].free.append(begin)
        self._states[end].free.append(last)
        if sign != "+":
            self._states[first].free.append(last)
        if sign != "?":
            self._states[end].free.append(begin)
        return first, last

    def _one(self) -> tuple[int, int]:
        letter = self._next()
        self.at += 1
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._taking(self._class())
        if letter == "\\":
            return self._taking(self._escape())
        if letter == ".":
            return self._taking(lambda other: other != "\n")
        if letter == "^":
            if self._next() in ("*", "+", "?", "{"):
                raise BadPattern(f"'^{self._next()}'")
            number = self._new()
            self._states[number].at_start = True
            last = self._new()
            self._states[number].free.append(last)
            return number, last
        if letter == "$" and self._next() in ("", "|") and not self._depth:
            number = self._new()
            return number, number
        if letter in SPECIAL:
            raise BadPattern(f"'{letter}'")
        return self._taking(lambda other: other == letter)

    def _group(self) -> tuple[int, int]:
        if self._next() == "?":
            if self.pattern[self.at : self.at + 2] != "?:":
                raise BadPattern(f"'({self.pattern[self.at : self.at + 2]}'")
            self.at += 2
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadPattern("groups in groups without end")
        inner = self.alternatives()
        if self._next() != ")":
            raise BadPattern("a group that is not closed")
        self.at += 1
        self._depth -= 1
        return inner

    def _class(self) -> Test:
        end = self.pattern.find("]", self.at + 1)
        if end < 0:
            raise BadPattern("a class that is not closed")
        inside, self.at = self.pattern[self.at : end], end + 1
        negated = inside.startswith("^")
        if "\\" in inside or "[" in inside or inside == "^":
            raise BadPattern(f"'[{inside}]'")
        letters = inside.removeprefix("^")
        ranges, at = [], 0
        while at < len(letters):
            is_range = at + 2 < len(letters) and letters[at + 1] == "-"
            ranges.append((letters[at], letters[at + 2] if is_range else letters[at]))
            at += 3 if is_range else 1
        if any(low > high for low, high in ranges):
            raise BadPattern(f"'[{inside}]'")
        return lambda letter: negated != any(low <= letter <= high for low, high in ranges)

    def _escape(self) -> Test:
        letter = self._next()
        self.at += 1
        if letter in CLASSES:
            return CLASSES[letter]
        if not letter or letter.isalnum():
            raise BadPattern(f"'\\{letter}'")
        return lambda other: other == letter

    def _taking(self, test: Test) -> tuple[int, int]:
        first, last = self._new(), self._new()
        self._states[first].test, self._states[first].to = test, last
        return first, last

    def _new(self) -> int:
        self._states.append(_State())
        return len(self._states) - 1

    def _next(self) -> str:
        return self.pattern[self.at] if self.at < len(self.pattern) else ""
