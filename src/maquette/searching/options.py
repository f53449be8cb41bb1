"""What a search is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from maquette.project.fields import Flag, Options
from maquette.searching.records import Objective

DEFAULT_TRIALS, DEFAULT_PACK = 20, 4
STARTS = 5
"""Trials drawn at random before TPE has anything to learn from; refused ones do not count."""
GOOD_SHARE = "the best tenth of the trials, rounded up, 25 at most"
"""What Optuna's TPE takes for good: its own default, since choosing another share is being taken out of it."""

FILES = Field(
    None,
    description="Folder that all workers reach, where they share no disk: trials' states and results are handed on there.",
)


class SearchOptions(Options):
    """What is tried, how much of it, and how it is judged."""

    trials: int | None = Field(
        None,
        ge=1,
        description="Settings to try, the project's own first. Refused proposals and further seeds of the best come on top. "
        "Default: 20; with --resume as many as were asked for.",
    )
    pack: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Trials that are trained at once over one base; fewer where the device is full. 1: one after another. "
        "Default: 4.",
    )
    storage: Annotated[str | None, Flag(metavar="URL")] = Field(
        None,
        description="Database of the study, for several workers: postgresql://USER@HOST/NAME, sqlite:///FILE. Default: a file in "
        "the study's folder.",
    )
    files: Annotated[Path | None, Flag(metavar="DIR")] = FILES
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the proposals.")
    space: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="What is searched, as TOML; --print-space writes one. Default: the usual settings of a LoRA.",
    )
    study: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None,
        pattern=r"^\w[\w.+-]*$",
        json_schema_extra={"form": "letters, digits and . + - _, a letter or digit first"},
        description="Name of the study, and of its folder below PROJECT/search. Default: study-001, the next free number.",
    )
    objective: Objective = Field(
        "loss",
        description="What is optimized: loss, of held-out pictures at fixed noise; score, of pictures that each trial which "
        "reaches its end draws.",
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="Who proposes: tpe learns from what was tried; random does not."
    )
    halving: int = Field(
        3,
        ge=1,
        le=10,
        description="At a ninth and a third of their length one trial in so many goes on, by the loss of held-out pictures; "
        "1 prunes nothing.",
    )
    paired_level: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        description="With --objective score: a trial is drawn no further once its pictures are worse than the best's at this "
        "level, by Wilcoxon's test paired over prompts and seeds; 0 draws all.",
    )
    finalists: int | None = Field(
        None,
        ge=0,
        le=20,
        description="Best settings that are trained again with further seeds, the baseline too, before any are called best. "
        "Default: 2, or 1 below 10 trials.",
    )
    finalist_seeds: int = Field(3, ge=1, le=50, description="Further seeds for each of them.")
    budget: Annotated[float | None, Flag(metavar="HOURS")] = Field(
        None, gt=0, description="After so long nothing new is begun but the finalists."
    )


class WorkerOptions(Options):
    """In which search a worker takes part."""

    storage: Annotated[str | None, Flag(metavar="URL")] = Field(
        None,
        description="Database of the study, as it was begun with. Default: the one of PROJECT's own study.",
    )
    study: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="Name of the study. Default: the only one in the database, else PROJECT's last."
    )
    pack: int | None = Field(
        None, ge=1, le=64, description="Trials that this worker trains at once. Default: the study's own."
    )
    files: Annotated[Path | None, Flag(metavar="DIR")] = FILES
