"""`maquette deploy`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.deploying.options import DeployOptions

if TYPE_CHECKING:
    from maquette.deploying.program import Installed


@result_command(
    click.argument("source", metavar="RUN", type=click.Path(path_type=Path)),
    *options_of(DeployOptions),
    click.option(
        "--verify",
        metavar="URL",
        multiple=True,
        help="Also ask the program running at URL whether it has these very weights under this name, and ComfyUI "
        "whether it takes the workflow. Once for each program; AUTOMATIC1111 and Forge need --api.",
    ),
    name="deploy",
)
def command(source: Path, verify: tuple[str, ...], **given: Any) -> dict[str, Any]:
    """Install a LoRA where it is drawn with: under a new name, with sidecars, workflow and prompt template.

    RUN is the folder of a run, or a LoRA file.
    """
    from maquette.deploying.run import PartlyInstalled, deploy_events

    failed: Sequence[Any] = ()
    try:
        installed: Sequence[Installed] = follow(deploy_events(source, DeployOptions(**given)))
    except PartlyInstalled as error:
        installed, failed = error.installed, error.problems
    result: dict[str, Any] = {"installed": [entry.to_json() for entry in installed]}
    lines = [line for entry in installed for line in _told(entry)]
    if failed:
        result |= {"error": [vars(problem) for problem in failed], "exit_code": 2}
        lines += [f"error: not installed there: {problem}" for problem in failed]
    if verify:
        result = {**_verified(verify, installed, lines), **result}
    return {**result, "lines": lines}


def _told(entry: Installed) -> Iterator[str]:
    yield f"{entry.program}: {entry.lora}"
    yield f"  weights: {entry.weights}; strength {entry.strength:g}"
    yield f"  prompts: {entry.prompts}"
    if entry.workflow:
        yield f"  workflow: {entry.editor_workflow} (API format: {entry.workflow})"
    yield from (f"  note: {note}" for note in entry.notes)


def _verified(urls: Sequence[str], installed: Sequence[Installed], lines: list[str]) -> dict[str, Any]:
    """Ask running programs; that a server answers proves nothing. Anything wrong or unknown makes the exit code 1."""
    from maquette.deploying.verify import verify

    answers = verify(urls, installed)
    for answer in answers:
        if answer.ok:
            takes = " and takes the workflow" if answer.program == "ComfyUI" else ""
            lines.append(f"{answer.url} lists {answer.lora_name} with these very weights{takes}.")
    problems = list(dict.fromkeys(str(problem) for answer in answers for problem in answer.problems))
    lines += [f"not verified: {problem}" for problem in problems]
    told = {"verified": [answer.to_json() for answer in answers], "problems": problems}
    return {**told, "exit_code": 1} if problems else told
