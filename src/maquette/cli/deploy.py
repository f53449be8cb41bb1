"""`maquette deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import result_command
from maquette.deploying.options import DeployOptions
from maquette.reading import json_of


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    *options_of(DeployOptions),
    click.option(
        "--verify",
        metavar="URL",
        help="Also ask the ComfyUI running at URL whether it lists the LoRA and takes the workflow.",
    ),
    name="deploy",
)
def command(run: Path, verify: str | None, **given: Any) -> dict[str, Any]:
    """Install a LoRA of RUN where it is drawn with: under a new name, with sidecars, workflow and prompt template."""
    from maquette.deploying.run import deploy

    installed = deploy(run, DeployOptions(**given))
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
            checked = verify(url, json_of(Path(entry.workflow)))
            problems += [str(problem) for problem in checked.problems]
    said = [f"  problem: {problem}" for problem in problems] or [
        f"{url} lists the LoRA and takes the workflow."
    ]
    return {"verified": url, "problems": problems, "exit_code": 1 if problems else 0, "lines": lines + said}
