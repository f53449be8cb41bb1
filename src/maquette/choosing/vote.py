"""Blind votes: a page of pairs that says nothing of who drew what, and what comes back from it.

    RUN/vote.html      pairs of one prompt and seed, two checkpoints each, in random order and on random sides
    RUN/votes.jsonl    the votes that came back

Pictures go by the hash of their file: the page holds no other name of them, and a vote is matched to the pictures of the
evaluation, so that votes on pictures that were drawn anew since are noticed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from maquette.choosing.bradley_terry import Pair, Strengths, strengths_of
from maquette.choosing.options import VoteOptions
from maquette.errors import ConfigError, OutputError, Problem
from maquette.evaluating.page import Pictures, json_markup, own_asset, render
from maquette.events import Artifact, Stage
from maquette.files import sha256_file, write_atomic
from maquette.measuring.looks import FLOOR, LOOK, Column, FirstLook, read_first_look
from maquette.project.validation import read_as
from maquette.reading import FileKind
from maquette.runs.folder import RunFolder
from maquette.runs.record import now
from maquette.runs.votes import Vote, add_votes, read_votes

PAGE = "vote.html"
ROOM = "maquette.choosing"
_KIND = FileKind(
    "a file of votes",
    "Give the file that the voting page saved.",
    ConfigError,
    damaged="Save it again from the page.",
)
_SIDES = {"left": "first", "right": "second", "none": "neither"}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One picture of a pair."""

    voice: str
    """What votes are counted for: the file and strength that drew it."""
    path: Path
    key: str


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """A page of pairs that was written."""

    page: Path
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All votes of a run, as strengths."""

    votes: int
    new: int
    strengths: Strengths
    labels: dict[str, str]
    """Columns by voice."""

    def ranking(self) -> list[dict[str, Any]]:
        """Return every checkpoint with the chance that it is preferred, its interval and its pairs; the most liked first."""
        rows = []
        for voice in self.strengths.ranking():
            chance = self.strengths.against_all(voice)
            rows.append(
                {
                    "checkpoint": voice,
                    "label": self.labels[voice],
                    "preferred": chance.mean,
                    "low": chance.low,
                    "high": chance.high,
                    "pairs": chance.count,
                }
            )
        return rows


def vote_events(target: Path, options: VoteOptions) -> Stage[Ballot | Counted]:
    """Write the page of pairs of the run (or evaluation) `target`, or take in the votes that came back from it.

    Raises OutputError where nothing was drawn yet, ConfigError for votes of other pictures.
    """
    folder, look = evaluation_of(target)
    if options.votes is not None:
        votes = votes_in(options.votes, look, options.voter)
        new = add_votes(folder, votes)
        return counted(folder, look, new=new)
    pairs = pairs_of(look, options.pairs, options.seed)
    page = write_atomic(folder / PAGE, ballot_html(pairs, target.resolve().name))
    yield Artifact("voting page", page)
    return Ballot(page=page, pairs=len(pairs))


def count_votes(target: Path) -> Counted:
    """Return what all votes of `target` say. Raises OutputError where nothing was drawn."""
    folder, look = evaluation_of(target)
    return counted(folder, look)


def evaluation_of(target: Path) -> tuple[Path, FirstLook]:
    """Return where a run's (or an evaluation's) votes are kept, and what was drawn. Raises OutputError where nothing was."""
    folder = RunFolder(target)
    for place in (folder.evaluation, target):
        if (place / LOOK).is_file():
            return target, read_first_look(place / LOOK)
    raise OutputError(
        Problem(str(target), "nothing was drawn yet", "an evaluation", f"maquette evaluate {target}")
    )


def voice_of(column: Column) -> str:
    """Return what a column's votes are counted for."""
    name = column.file or column.label
    return name if column.strength == 1 else f"{name} at {column.strength:g}"


def pairs_of(look: FirstLook, count: int, seed: int) -> list[tuple[Drawn, Drawn]]:
    """Return at most `count` pairs: every two checkpoints about as often, every picture as seldom as can be.

    Pairs whose pictures are the same to the byte are left out. Raises OutputError where there are no two checkpoints.
    """
    chance = random.Random(seed)
    columns = [name for name in look.checkpoints() if name != FLOOR]
    rivals = list(combinations(columns, 2))
    if not rivals:
        raise OutputError(
            Problem(str(look.folder), f"{len(columns)} checkpoints", "at least two", "Evaluate more of them.")
        )
    chance.shuffle(rivals)
    cells = [(prompt, number) for prompt in look.prompts() for number in look.seeds_of_all(prompt)]
    order = [(one, other, cell) for cell in _shuffled(cells, chance) for one, other in rivals]
    # Turned by one rival a cell, so that a short ballot has every two checkpoints and many cells.
    turned = [order[(place * (len(rivals) + 1)) % len(order)] for place in range(len(order))]
    found: dict[tuple[str, str, tuple[str, int]], tuple[Drawn, Drawn]] = {}
    for one, other, cell in [*turned, *order]:
        if len(found) >= count:
            break
        pair = [_drawn(look, name, cell) for name in (one, other)]
        if pair[0].key != pair[1].key and (one, other, cell) not in found:
            chance.shuffle(pair)
            found[one, other, cell] = (pair[0], pair[1])
    pairs = list(found.values())
    chance.shuffle(pairs)
    return pairs


def _shuffled(cells: list[tuple[str, int]], chance: random.Random) -> list[tuple[str, int]]:
    chance.shuffle(cells)
    return cells


def _drawn(look: FirstLook, label: str, cell: tuple[str, int]) -> Drawn:
    path = look.folder / look.find(label, *cell).path
    return Drawn(voice=voice_of(look.column(label)), path=path, key=key_of(path))


def key_of(path: Path) -> str:
    """Return a picture's name on a ballot."""
    told = path.stat()
    return _key_of(path, told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=20_000)
def _key_of(path: Path, changed_ns: int, size: int) -> str:
    return sha256_file(path)[:16]


def ballot_html(pairs: Sequence[tuple[Drawn, Drawn]], name: str) -> str:
    """Return the voting page: complete in itself, with no word of who drew what."""
    show = Pictures()
    pictures = {
        each.key: found.uri for pair in pairs for each in pair if (found := show(each.path)) is not None
    }
    block = {
        "run": name,
        "pictures": pictures,
        "pairs": [[one.key, other.key] for one, other in pairs if {one.key, other.key} <= pictures.keys()],
    }
    return render(
        "vote.html.jinja",
        room=ROOM,
        name=name,
        style=own_asset("vote.css", room=ROOM),
        script=own_asset("vote.js", room=ROOM),
        block=json_markup(block),
    )


# --- what comes back -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Mark:
    left: str
    right: str
    winner: Literal["left", "right", "none"]


@dataclass(frozen=True, kw_only=True)
class _File:
    maquette_votes: Literal[1]
    run: str
    votes: tuple[_Mark, ...]


def votes_in(path: Path, look: FirstLook, voter: str) -> list[Vote]:
    """Return the votes of a file, each for who drew its pictures. Raises ConfigError where it votes on other pictures."""
    marks = read_as(_File, path, _KIND).votes
    drawn = {
        key_of(look.folder / entry.path): voice_of(look.column(entry.checkpoint))
        for entry in look.looks
        if (look.folder / entry.path).is_file()
    }
    strange = [mark for mark in marks if not {mark.left, mark.right} <= drawn.keys()]
    if strange:
        raise ConfigError(
            Problem(
                str(path),
                f"{len(strange)} of {len(marks)} pairs are of other pictures",
                f"votes on the pictures in {look.folder}",
                "They were drawn anew since, or it is another run's file: vote again on a new page.",
            )
        )
    if not marks:
        raise ConfigError(
            Problem(str(path), "no vote", "at least one judged pair", "Judge some pairs first.")
        )
    stamp = now()
    return [
        Vote(
            first=drawn[mark.left],
            second=drawn[mark.right],
            winner=_SIDES[mark.winner],
            pictures="-".join(sorted((mark.left, mark.right))),
            voter=voter,
            time=stamp,
        )
        for mark in marks
    ]


def counted(folder: Path, look: FirstLook, *, new: int = 0) -> Counted:
    """Return what all votes of a run say of the checkpoints that were drawn."""
    labels = {voice_of(look.column(name)): name for name in look.checkpoints() if name != FLOOR}
    votes = [vote for vote in read_votes(folder) if {vote.first, vote.second} <= labels.keys()]
    pairs = [
        Pair(
            first=vote.first,
            second=vote.second,
            winner={"first": vote.first, "second": vote.second}.get(vote.winner),
        )
        for vote in votes
    ]
    return Counted(votes=len(votes), new=new, strengths=strengths_of(pairs, list(labels)), labels=labels)
