"""`maquette init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import result_command
from maquette.planning.init_options import InitOptions
from maquette.planning.new_project import make_project


def _next_commands(project: Path, has_captions: bool) -> list[tuple[str, str]]:
    """Return what to run next, each with what it is for."""
    folder = str(project)
    caption = shlex.join(["maquette", "caption", folder, "--source", "wd"])
    return [
        *([] if has_captions else [(caption, "captions; --help lists other sources than this tagger")]),
        (shlex.join(["maquette", "check", folder]), "known mistakes, before anything runs"),
        (shlex.join(["maquette", "train", folder, "--smoke"]), "a few steps: proves device, memory, speed"),
        (shlex.join(["maquette", "train", folder]), ""),
    ]


def _next_lines(commands: list[tuple[str, str]]) -> list[str]:
    """Return commands below one another, what each is for behind it."""
    return [
        f"{'      ' if number else 'Next: '}{command}" + (f"   ({purpose})" if purpose else "")
        for number, (command, purpose) in enumerate(commands)
    ]


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    *options_of(InitOptions),
    name="init",
)
def command(project: Path, **given: Any) -> dict[str, Any]:
    """Make a project folder PROJECT with a maquette.toml and a profile.toml to read and change.

    Pictures stay where they are. The base model's family decides resolution and sampling; the number of pictures, steps.
    The profile, which says what the subject looks like, is proposed from captions and pictures; one that is there is kept.

    \b
      maquette init fox --images pictures/ --base model.safetensors --trigger zkw_fox
      maquette init fox --from train.sh
      maquette init fox --from kohya_gui.json --images pictures/ --base model.safetensors
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
        "taken": list(made.taken),
        "left": list(made.left),
        "lines": [
            *(f"warning: {text}" for text in made.warnings),
            f"{made.config}: {made.pictures} pictures, {made.family} base, {made.steps} steps"
            + ("" if made.taken else " proposed"),
            *(
                [f"Taken over: {len(made.taken)} settings, each with the name it had behind it"]
                if made.taken
                else []
            ),
            *(["Not taken over, and listed in it:"] if made.left else []),
            *(f"  {text}" for text in made.left),
            f"{made.profile}: "
            + ("the subject as guessed, to correct" if made.profile_is_new else "kept as it is"),
            *(f"  {text}" for text in made.guesses),
            *_next_lines(_next_commands(project, made.has_captions)),
        ],
    }
