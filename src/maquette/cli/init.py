"""`maquette init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    click.option(
        "--images",
        type=click.Path(path_type=Path),
        required=True,
        help="Folder of pictures with captions beside them, or a kohya folder.",
    ),
    click.option("--base", required=True, help="The base model: .safetensors, diffusers folder or hub name."),
    click.option("--trigger", required=True, help="The invented word that will mean the subject."),
    click.option("--class-word", default="", help="The ordinary word for it: man, dog, anime character."),
    click.option("--regularization", type=click.Path(path_type=Path), help="Folder of class pictures."),
    name="init",
)
def command(
    project: Path, images: Path, base: str, trigger: str, class_word: str, regularization: Path | None
) -> dict[str, Any]:
    """Make a project folder PROJECT with a maquette.toml and a profile.toml to read and change.

    Pictures stay where they are. The base model's family decides resolution and sampling; the number of pictures, steps.
    The profile, which says what the subject looks like, is proposed from captions and pictures; one that is there is kept.
    """
    from maquette.api import init

    made = init(
        project,
        images=images,
        base=base,
        trigger=trigger,
        class_word=class_word,
        regularization=regularization,
    )
    return {
        "project": str(project),
        "config": str(made.config),
        "pictures": made.pictures,
        "family": made.family,
        "steps": made.steps,
        "profile": str(made.profile),
        "profile_is_new": made.profile_is_new,
        "guesses": list(made.guesses),
        "warnings": list(made.warnings),
        "lines": [
            *(f"warning: {text}" for text in made.warnings),
            f"{made.config}: {made.pictures} pictures, {made.family} base, {made.steps} steps proposed",
            f"{made.profile}: "
            + ("the subject as guessed, to correct" if made.profile_is_new else "kept as it is"),
            *(f"  {text}" for text in made.guesses),
            f"Next: maquette check {project}   (known mistakes, before anything runs)",
            f"      maquette train {project} --smoke   (a few steps: proves device, memory, speed)",
            f"      maquette train {project}",
        ],
    }
