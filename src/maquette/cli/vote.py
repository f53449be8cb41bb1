"""`maquette vote`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.choosing.options import VoteOptions
from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command


@result_command(click.argument("run", type=click.Path(path_type=Path)), *options_of(VoteOptions), name="vote")
def command(run: Path, **given: Any) -> dict[str, Any]:
    """Judge pairs of pictures of RUN blindly: write RUN/vote.html, a page to vote on (keys 1, 2, 0), then take its votes in.

    \b
      maquette vote my-project/runs/myword
      maquette vote my-project/runs/myword --votes ~/Downloads/votes.json
      maquette select my-project/runs/myword
    """
    from maquette.choosing.vote import Ballot, vote_events

    found = follow(vote_events(run, VoteOptions(**given)))
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
    strengths = found.strengths
    ranking = []
    for voice in strengths.ranking():
        chance = strengths.against_all(voice)
        ranking.append(
            {
                "checkpoint": voice,
                "label": found.labels[voice],
                "preferred": chance.mean,
                "low": chance.low,
                "high": chance.high,
                "pairs": chance.count,
            }
        )
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
