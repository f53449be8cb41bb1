"""What an evaluation is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from maquette.project.fields import Flag, Options

MOST_SEEDS = 64


def seeds_of(value: Any) -> Any:
    """Return the seeds 1 to N for a number N, as the command line says it; a list stays."""
    if not isinstance(value, int | str):
        return value
    count = int(value) if str(value).isdigit() else 0
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(f"a number of pictures from 1 to {MOST_SEEDS}, or a list of seeds")
    return tuple(range(1, count + 1))


class EvaluateOptions(Options):
    """What is drawn with every checkpoint."""

    prompts: Annotated[tuple[str, ...], Flag("--prompt")] = Field(
        (), description="Prompt to draw; {trigger} stands for the trigger. Default: the run's samples."
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(seeds_of), Flag(metavar="N", single=True)] = Field(
        (1, 2, 3, 4),
        min_length=1,
        description="Pictures per prompt, seeds 1 to N; from Python a list of seeds too. Default: 4.",
    )
    references: tuple[Path, ...] = Field(
        (),
        description="Pictures or folders that show the subject and were not trained on. Default: the project's references/.",
    )
    encoder: str = Field(
        "",
        description="What looks at the pictures: NAME or NAME=FOLDER, as for `curate`. Default: what suits the references.",
    )
