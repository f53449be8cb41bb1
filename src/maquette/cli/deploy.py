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
    click.argument("source", metavar="RUN|FILE", type=click.Path(path_type=Path)),
    *options_of(DeployOptions),
    click.option(
        "--verify",
        metavar="URL",
        multiple=True,
        help="Also ask the program running at URL whether it has these very weights under this name, and ComfyUI "
        "whether it takes the workflow. Once for each program; AUTOMATIC1111 and Forge need --api.",
    ),
    click.option(
        "--server",
        metavar="URL",
        help="Let the ComfyUI running at URL draw the workflow, fetch its picture and compare it with our own "
        "drawing. Usually http://127.0.0.1:8188.",
    ),
    name="deploy",
)
def command(source: Path, verify: tuple[str, ...], server: str | None, **given: Any) -> dict[str, Any]:
    """Install a LoRA where it is drawn with: under a new name, with sidecars, workflow and prompt template.

    RUN is the folder of a run, or a LoRA file.
    """
    from maquette.deploying.run import PartlyInstalled, deploy_events

    options = DeployOptions(**given)
    _require_place_of(server, verify, options)
    failed: Sequence[Any] = ()
    try:
        installed: Sequence[Installed] = follow(deploy_events(source, options))
    except PartlyInstalled as error:
        installed, failed = error.installed, error.problems
    result: dict[str, Any] = {**_of_first(installed), "installed": [entry.to_json() for entry in installed]}
    lines = [line for entry in installed for line in _told(entry)]
    if failed:
        result |= {"error": [vars(problem) for problem in failed], "exit_code": 2}
        lines += [f"error: not installed there: {problem}" for problem in failed]
    if verify:
        result = {**_verified(verify, installed, lines), **result}
    if server and (drawn := next((entry for entry in installed if entry.workflow), None)):
        told = _served(server, source, options, drawn, lines)
        problems = [*result.get("problems", ()), *told.pop("problems")]
        result = {**result, **told, "problems": problems}
        if problems:
            result = {"exit_code": 1, **result}
    return {**result, "lines": lines}


_BECOMES = {
    "new": "would be written",
    "again": "would be written anew (ours)",
    "same": "is there already",
    "kept": "would stay (yours)",
}


def _require_place_of(server: str | None, verify: Sequence[str], options: DeployOptions) -> None:
    """Raise ConfigError where a program is to be asked about what is not installed for it, or its address is none."""
    from maquette.deploying.servers import reached
    from maquette.errors import ConfigError, Problem

    if server is None and not verify:
        return
    if options.dry_run:
        given, required = "nothing is installed that a program could be asked about", "an installation"
        raise ConfigError(
            Problem("--dry-run", given, required, "Leave out --verify and --server, or --dry-run.")
        )
    if server is None:
        return
    if options.comfyui is None:
        given, required = "a ComfyUI is to draw, and nothing is installed for one", "the folder that it reads"
        raise ConfigError(Problem("--server", given, required, "Add --comfyui DIR."))
    reached(server, where="--server").close()


def _of_first(installed: Sequence[Installed]) -> dict[str, Any]:
    """Return where the LoRA and its workflows lie: ComfyUI's, where it went there too."""
    entry = next((each for each in installed if each.workflow), installed[0])
    return {
        "lora": str(entry.lora),
        "workflow_api": None if entry.workflow is None else str(entry.workflow),
        "workflow_ui": None if entry.editor_workflow is None else str(entry.editor_workflow),
        "sha256": entry.sha256,
    }


def _served(
    url: str, source: Path, options: DeployOptions, entry: Installed, lines: list[str]
) -> dict[str, Any]:
    """Let a running ComfyUI draw it, and say what came of it."""
    from maquette.deploying.serving import serve_events

    served = follow(serve_events(source, options, entry, url))
    if served.image is not None:
        lines.append(f"{served.url} drew {served.image} (workflow: {served.workflow})")
    if served.unmatched_keys:
        names = ", ".join(served.unmatched_keys[:3])
        lines.append(
            f"{len(served.unmatched_keys)} tensors have no place in its model and were left out: {names}"
        )
    if served.comparison is not None:
        lines.append(f"{served.comparison} Ours: {served.comparison.own}")
    lines += [f"not drawn: {problem}" for problem in served.problems]
    return served.to_json()


def _told(entry: Installed) -> Iterator[str]:
    would = "would go to " if entry.is_dry else ""
    yield f"{entry.program}: {would}{entry.lora}"
    why = f" ({entry.why})" if entry.why else ""
    yield f"  weights: {entry.weights}{why}; strength {entry.strength:g}"
    if entry.taken is not None:
        yield f"  another LoRA has the name: {entry.taken} stays as it is; --name gives this one its own"
    if entry.is_dry:
        yield from (f"  {_BECOMES[put.how]}: {put.path}" for put in entry.files)
        yield f"  SHA-256: {entry.sha256}; nothing was written"
        return
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
