"""`maquette vote`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.choosing.options import VoteOptions
from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command, say
from maquette.errors import ConfigError, Problem

if TYPE_CHECKING:
    from maquette.choosing.vote import Counted


@result_command(click.argument("run", type=click.Path(path_type=Path)), *options_of(VoteOptions), name="vote")
def command(run: Path, **given: Any) -> dict[str, Any]:
    """Judge pairs of pictures of RUN blindly: write RUN/vote.html, a page to vote on (keys 1, 2, 0), then take its votes in.

    With --terminal the pairs are asked about here, one by one, and every vote is stored at once.

    \b
      maquette vote my-project/runs/myword
      maquette vote my-project/runs/myword --terminal --open
      maquette vote my-project/runs/myword --votes ~/Downloads/votes.json
      maquette select my-project/runs/myword
    """
    from maquette.choosing.vote import Ballot, vote_events

    options = VoteOptions(**given)
    found = _asked(run, options) if options.terminal else follow(vote_events(run, options))
    if isinstance(found, Ballot):
        return {
            "run": str(run),
            "page": str(found.page),
            "pairs": found.pairs,
            "lines": [
                f"{found.pairs} pairs to judge: open {found.page}",
                f"Then: maquette vote {run} --votes FILE",
            ],
        }
    ranking = found.ranking()
    lines = [
        f"{each['preferred']:4.0%} (95 % {each['low']:.0%}–{each['high']:.0%})  {each['label']}, in {each['pairs']} pairs"
        for each in ranking
    ]
    return {
        "run": str(run),
        "votes": found.votes,
        "new": found.new,
        "ranking": ranking,
        "lines": [
            f"{found.votes} votes, {found.new} of them new",
            *lines,
            f"Choose by them: maquette select {run}",
        ],
    }


def _asked(run: Path, options: VoteOptions) -> Counted:
    """Ask about each pair on the terminal, until the person ends it or none is left; return what all votes say."""
    from maquette.choosing.vote import count_votes
    from maquette.choosing.vote_sheets import open_pairs, store, withdraw, write_sheet

    if options.votes is not None:
        problem = Problem("--terminal", "given with --votes", "one of the two", "Leave one out.")
        raise ConfigError(problem)
    pairs = open_pairs(run, options)
    place = 0
    while place < len(pairs):
        sheet = write_sheet(run, pairs[place])
        if options.open_pictures:
            click.launch(str(sheet))
        say(f"{place + 1}/{len(pairs)}  {sheet}")
        key = _key()
        if key == "q":
            break
        if key == "u":
            place = max(0, place - 1)
            withdraw(run, pairs[place], options.voter)
            continue
        store(run, pairs[place], key, options.voter)
        place += 1
    return replace(count_votes(run), new=place)


def _key() -> str:
    """Return what the person answers: 1, 2, 0, u to take the last vote back, or q to end."""
    say("Which is better? 1 left, 2 right, 0 neither, u back, q end: ")
    while True:
        try:
            key = click.getchar()
        except (EOFError, KeyboardInterrupt):
            return "q"
        if key == "" or key in "120uq":
            return key or "q"
