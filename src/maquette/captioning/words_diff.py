"""Two captions word by word: which were taken out, which were put in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Piece = tuple[Literal["same", "gone", "new"], str]
PART = re.compile(r"[^,]+,?\s*|,\s*")
TOKEN = re.compile(r"\s+|,|[^\s,]+")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One caption file before and after. None: there was, or is, no such file."""

    path: str
    """The caption file below the captioned folder, with forward slashes."""
    before: str | None
    after: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`, with its lines as `diff -u` would print them."""
        return {**asdict(self), "unified": unified(self)}


def word_pieces(before: str, after: str) -> Iterator[Piece]:
    """Yield the text in pieces; "same" and "gone" joined are `before`, "same" and "new" joined are `after`.

    Whole parts between commas are compared first, words only within parts that changed.
    """
    yield from _pieces(PART.findall(before), PART.findall(after), within=True)


def _pieces(old: list[str], new: list[str], *, within: bool) -> Iterator[Piece]:
    for kind, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        gone, come = "".join(old[i:j]), "".join(new[k:m])
        if kind == "equal":
            yield "same", gone
        elif kind == "replace" and within and j - i == m - k:
            yield from _pieces(TOKEN.findall(gone), TOKEN.findall(come), within=False)
        else:
            if gone:
                yield "gone", gone
            if come:
                yield "new", come


def unified(difference: Difference) -> str:
    """Return the difference as `diff -u` prints it; empty when there is none."""
    before = [] if difference.before is None else difference.before.splitlines()
    after = [] if difference.after is None else difference.after.splitlines()
    old = "/dev/null" if difference.before is None else f"a/{difference.path}"
    new = "/dev/null" if difference.after is None else f"b/{difference.path}"
    return "\n".join(difflib.unified_diff(before, after, old, new, lineterm="", n=0))
