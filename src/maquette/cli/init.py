"""`maquette init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import result_command
from maquette.planning.new_project import InitOptions, make_project


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    *options_of(InitOptions),
    name="init",
)
def command(project: Path, **given: Any) -> dict[str, Any]:
    """Make a project folder PROJECT with a maquette.toml and a profile.toml to read and change.

    Pictures stay where they are. The base model's family decides resolution and sampling; the number of pictures, steps.
    The profile, which says what the subject looks like, is proposed from captions and pictures; one that is there is kept.
    """
    made = make_project(project, InitOptions(**given))
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
