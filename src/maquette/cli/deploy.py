"""`maquette deploy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    click.option(
        "--comfyui",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="ComfyUI's folder (the one with models/).",
    ),
    click.option(
        "--webui", type=click.Path(path_type=Path), metavar="DIR", help="AUTOMATIC1111's or Forge's folder."
    ),
    click.option("--checkpoint", metavar="NAME", help="Checkpoint to install. Default: the final one."),
    click.option("--name", help="Name of the release. Default: the run's."),
    click.option(
        "--base-name",
        metavar="FILE",
        help="The base model's name in the drawing program. Default: the base's file name.",
    ),
    click.option(
        "--strength",
        default=1.0,
        show_default=True,
        type=click.FloatRange(-2, 2),
        help="Strength in the workflow.",
    ),
    click.option(
        "--verify",
        metavar="URL",
        help="Also ask the ComfyUI running at URL whether it lists the LoRA and takes the workflow.",
    ),
    click.option("--create", is_flag=True, help="Make the folders where no such program is."),
    name="deploy",
)
def command(run: Path, verify: str | None, **options: Any) -> dict[str, Any]:
    """Install a LoRA of RUN where it is drawn with: under a new name, with sidecars, workflow and prompt template."""
    from maquette.api import deploy

    installed = deploy(run, **options)
    lines = []
    for entry in installed:
        lines += [f"{entry.program}: {entry.lora}", f"  prompts: {entry.prompts}"]
        lines += [f"  workflow: {entry.workflow}"] if entry.workflow else []
        lines += [f"  note: {note}" for note in entry.notes]
    if verify is not None:
        return {"installed": [entry.to_json() for entry in installed], **_verified(verify, installed, lines)}
    return {"installed": [entry.to_json() for entry in installed], "lines": lines}


def _verified(url: str, installed: list[Any], lines: list[str]) -> dict[str, Any]:
    """Ask a running ComfyUI; HTTP success alone proves nothing there. A problem makes the exit code 1."""
    from maquette.deploying.server import verify

    problems = []
    for entry in installed:
        if entry.workflow is not None:
            checked = verify(url, json.loads(Path(entry.workflow).read_text(encoding="utf-8")))
            problems += [str(problem) for problem in checked.problems]
    said = [f"  problem: {problem}" for problem in problems] or [
        f"{url} lists the LoRA and takes the workflow."
    ]
    return {"verified": url, "problems": problems, "exit_code": 1 if problems else 0, "lines": lines + said}
