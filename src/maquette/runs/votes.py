"""A person's votes between pictures of a run's checkpoints: RUN/votes.jsonl, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from maquette.files import append_line
from maquette.reading import Unreadable, read_lines

NAME = "votes.jsonl"
WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Vote:
    """Two pictures of one prompt and seed; `winner` is "first", "second", "neither", or "withdrawn" for one taken back."""

    first: str
    """The LoRA file that drew it, at its strength: `checkpoints/a.safetensors` or `checkpoints/a.safetensors at 0.8`."""
    second: str
    winner: str
    pictures: str
    """Of the pair, whichever stood left: both pictures' hashes."""
    voter: str = ""
    time: str = ""


def add_votes(folder: Path, votes: Sequence[Vote]) -> int:
    """Append the votes that are not there yet; return how many that were. A pair that is judged again counts as judged last."""
    known = {(vote.voter, vote.pictures): vote.winner for vote in read_votes(folder)}
    new = [vote for vote in votes if known.get((vote.voter, vote.pictures)) != vote.winner]
    for vote in new:
        append_line(folder / NAME, asdict(vote))
    return len(new)


def withdraw_vote(folder: Path, pictures: str, voter: str) -> bool:
    """Take back what a voter said of a pair: it is as if it was never asked about. Return whether there was anything."""
    for vote in read_votes(folder):
        if (vote.voter, vote.pictures) == (voter, pictures):
            append_line(folder / NAME, asdict(replace(vote, winner=WITHDRAWN)))
            return True
    return False


def read_votes(folder: Path) -> list[Vote]:
    """Return the votes of a run, the last of each voter on each pair; lines that say something else are passed over."""
    names = {each.name for each in fields(Vote)}
    found: dict[tuple[str, str], Vote] = {}
    for line in _lines(folder / NAME):
        if line.keys() == names and all(isinstance(value, str) for value in line.values()):
            vote = Vote(**line)
            found[vote.voter, vote.pictures] = vote
    return [vote for vote in found.values() if vote.winner != WITHDRAWN]


def _lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    if path.is_file():
        with suppress(Unreadable):
            lines += read_lines(path)
    return lines
