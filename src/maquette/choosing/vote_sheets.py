"""Blind votes without a page: each pair as one picture, left and right, and the vote on it stored at once.

RUN/vote/pair.png   the pair that is asked about now; it carries nothing but its pixels
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from maquette.choosing.options import VoteOptions
from maquette.choosing.vote import Drawn, evaluation_of, pairs_of
from maquette.dataset.opening import picture_rgb
from maquette.runs.record import now
from maquette.runs.votes import Vote, add_votes, read_votes, withdraw_vote

FOLDER, NAME = "vote", "pair.png"
KEYS = {"1": "first", "2": "second", "0": "neither"}
"""Keys of the terminal, and the page's: left, right, neither."""
ANSWERS = {"left": "1", "right": "2", "neither": "0"}
"""What a page says, as keys of the terminal."""
_GAP_PX = 16


def open_pairs(target: Path, options: VoteOptions) -> list[tuple[Drawn, Drawn]]:
    """Return the pairs of `target` that this voter did not judge yet. Raises OutputError where nothing was drawn."""
    folder, look = evaluation_of(target)
    known = {vote.pictures for vote in read_votes(folder) if vote.voter == options.voter}
    return [pair for pair in pairs_of(look, options.pairs, options.seed) if _pictures(pair) not in known]


def write_sheet(target: Path, pair: Sequence[Drawn]) -> Path:
    """Write the pair as one picture and return its path; neither name nor metadata says who drew what."""
    from PIL import Image

    left, right = (picture_rgb(each.path) for each in pair)
    size = (left.width + _GAP_PX + right.width, max(left.height, right.height))
    sheet = Image.new("RGB", size, "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + _GAP_PX, 0))
    path = evaluation_of(target)[0] / FOLDER / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def pixels_of(path: Path) -> bytes:
    """Return a drawing as PNG with nothing but its pixels: what it carries otherwise would say who drew it."""
    buffer = io.BytesIO()
    picture_rgb(path).save(buffer, format="PNG")
    return buffer.getvalue()


def store(target: Path, pair: tuple[Drawn, Drawn], key: str, voter: str) -> int:
    """Keep the vote that `key` (of KEYS) gives on a pair; return how many are new."""
    one, other = pair
    vote = Vote(
        first=one.voice,
        second=other.voice,
        winner=KEYS[key],
        pictures=_pictures(pair),
        voter=voter,
        time=now(),
    )
    return add_votes(evaluation_of(target)[0], [vote])


def withdraw(target: Path, pair: tuple[Drawn, Drawn], voter: str) -> bool:
    """Take the vote on a pair back; return whether there was one."""
    return withdraw_vote(evaluation_of(target)[0], _pictures(pair), voter)


def _pictures(pair: Sequence[Drawn]) -> str:
    return "-".join(sorted(each.key for each in pair))
