"""What choosing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from maquette.evaluating.options import seeds_of, strengths_of
from maquette.evaluating.suites import SuiteName
from maquette.project.fields import Flag, Options

Judges = Literal["auto", "measures", "votes"]


class SelectOptions(Options):
    """Who decides, and on which pictures."""

    seeds: Annotated[tuple[int, ...], BeforeValidator(seeds_of), Flag(metavar="N", single=True)] = Field(
        tuple(range(1, 9)),
        min_length=1,
        description="Most pictures per prompt, seeds 1 to N; from Python a list of seeds too. Default: 8.",
    )
    suite: SuiteName | None = Field(
        None, description="Prompts to draw, as for `evaluate`. Default: what `evaluate` draws."
    )
    strengths: Annotated[
        tuple[float, ...], BeforeValidator(strengths_of), Flag(metavar="A,B,…", single=True)
    ] = Field((1.0,), min_length=1, description="Strengths to draw each checkpoint at: 0.6,0.8,1.")
    race: bool = Field(
        True,
        description="Draw a few pictures of every checkpoint first, and more only of those that are still in the race.",
    )
    probe: bool = Field(
        True,
        description="Where the trigger alone does not draw the subject, draw it with the captions' words one by one, to find "
        "those at fault.",
    )
    references: tuple[Path, ...] = Field(
        (),
        description="Pictures or folders that show the subject and were not trained on. Default: the project's references/.",
    )
    encoder: str = Field(
        "",
        description="What looks at the pictures: NAME or NAME=FOLDER, as for `curate`. Default: what suits the references.",
    )

    checkpoint: str | None = Field(
        None,
        description="Choose this checkpoint yourself, by its file's name; what the measures say is kept beside it.",
    )
    strength: float | None = Field(
        None,
        ge=-2,
        le=2,
        description="With --checkpoint: the strength it is to be used at. Default: its best.",
    )
    reason: str = Field("", description="With --checkpoint: why, for the record.")
    by: Judges = Field(
        "auto",
        description="Who decides: the measures, a person's votes (maquette vote), or auto: the measures, unless the votes "
        "clearly prefer another.",
    )
    redraw: bool = Field(
        False, description="Evaluate anew, even where these checkpoints were evaluated before."
    )


class VoteOptions(Options):
    """Which pairs a person is shown, or the votes that came back."""

    pairs: Annotated[int, Flag(metavar="N")] = Field(
        60, ge=1, le=1000, description="Most pairs on the page; every two checkpoints come about as often."
    )
    seed: int = Field(0, ge=0, description="Seed of which pairs are shown, in which order and on which side.")
    votes: Path | None = Field(
        None, description="File that the page saved: its votes are stored and counted."
    )
    voter: str = Field("", description="Whose votes they are, where several people vote.")
    terminal: bool = Field(
        False,
        description="Ask in the terminal, pair by pair: each is written as one picture, left and right. Keys 1, 2, 0; u takes "
        "the last back, q ends.",
    )
    open_pictures: Annotated[bool, Flag("--open")] = Field(
        False, description="With --terminal: open each pair in the system's own viewer."
    )


class CompareRunsOptions(Options):
    """What a comparison of runs writes."""

    html: Path | None = Field(
        None, description="File to write the comparison into as a page that loads nothing."
    )
