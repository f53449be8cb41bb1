"""`maquette curate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import given_of, options_of
from maquette.cli.output import follow, result_command
from maquette.cli.tasks import Task, chosen_task, names_of
from maquette.curating.options import CurateOptions, DecideOptions, ReferenceOptions
from maquette.spoken import counted

CURATE = Task(heeds=names_of(CurateOptions))
DECIDE = Task(asked_by=names_of(DecideOptions))
REFER = Task(asked_by=names_of(ReferenceOptions))
UNDO = Task(asked_by=("undo",))


@result_command(
    click.argument("directory", type=click.Path(path_type=Path)),
    *options_of(CurateOptions),
    *options_of(DecideOptions),
    *options_of(ReferenceOptions),
    click.option("--undo", is_flag=True, help="Take back the last change made here."),
    name="curate",
    detachable=True,
)
def command(directory: Path, **given: Any) -> dict[str, Any]:
    """Sort the pictures in DIRECTORY into kept, rejected (with reasons) and to review. Nothing is moved or deleted.

    Decisions are written to DIRECTORY/curation.json, contact sheets to DIRECTORY/.curation/sheets. Your own decisions
    stand above every reason and survive every later run; a run takes what it is not told from the last one.

    \b
      maquette curate frames/ --references refs/ --target 400
      maquette curate frames/ --keep 00412.png --reject "blurry_*"
      maquette curate frames/ --apply dataset/10_myword
      maquette curate frames/ --video film.mp4 --every 2
      maquette curate my-project --to-references 00412.png
    """
    task = chosen_task((CURATE, DECIDE, REFER, UNDO), given)
    if task is UNDO:
        return _undo(directory)
    if task is REFER:
        return _refer(directory, ReferenceOptions(**given_of(ReferenceOptions, given)))
    if task is DECIDE:
        return _decide(directory, DecideOptions(**given_of(DecideOptions, given)).given())
    from maquette.curating.run import curate_events

    return report(follow(curate_events(directory, CurateOptions(**given_of(CurateOptions, given)))))


def report(result: Any) -> dict[str, Any]:
    """Return what `curate --json` prints, with the lines a person reads."""
    return {
        "directory": str(result.directory),
        "decisions": str(result.decisions),
        "kept": [str(path) for path in result.kept],
        "rejected": {str(path): list(reasons) for path, reasons in result.rejected.items()},
        "review": [str(path) for path in result.review],
        "review_reasons": {str(path): list(reasons) for path, reasons in result.review.items()},
        "counts": dict(result.counts),
        "reasons": dict(result.reasons),
        "references": [str(path) for path in result.references],
        "encoder": result.encoder,
        "threshold": result.threshold,
        "identity": result.identity,
        "clusters": result.clusters,
        "target": result.target,
        "sheets": [str(path) for path in result.sheets],
        "histogram": str(result.chart) if result.chart else None,
        "frames": result.frames,
        "applied": str(result.applied) if result.applied else None,
        "copied": result.copied,
        "new": result.measured_now,
        "embedded": result.embedded_now,
        "warnings": list(result.warnings),
        "lines": _lines(result),
    }


def _lines(result: Any) -> list[str]:
    counts = result.counts
    lines = [
        f"{counted(counts['pictures'], 'picture')} ({result.measured_now} new): {counts['kept']} kept, "
        f"{counts['rejected']} rejected, {counts['review']} to review"
    ]
    lines += [f"  {code:<11}{count:>6}" for code, count in result.reasons.items()]
    if result.identity:
        rates = {rate["threshold"]: rate["rate"] for rate in result.identity["histogram"]["pass_rates"]}
        lines.append(
            f"Identity by {result.encoder}: {rates[result.threshold]:.1%} pass {result.threshold:.2f} "
            f"({result.identity['histogram']['pictures']} measured); see {result.chart}"
        )
        lines.append(f"{result.encoder} cannot tell: {result.identity['blind_to']}.")
    if result.sheets:
        lines.append(f"{counted(len(result.sheets), 'contact sheet')} in {result.sheets[0].parent}")
    if result.applied:
        lines.append(f"{counted(result.copied, 'picture')} copied to {result.applied}")
    elif counts["review"]:
        lines.append(f"Next: maquette curate {result.directory} --keep NAME --reject NAME")
    else:
        lines.append(f"Next: maquette curate {result.directory} --apply OUT")
    return lines


def _decide(directory: Path, words: dict[Any, Any]) -> dict[str, Any]:
    from maquette.curating.person import decide

    done = decide(directory, words)
    lines = [f"{name}: {state}" for name, state in done.changed.items()] or ["Nothing changed."]
    return {"decisions": str(done.decisions), "changed": dict(done.changed), "lines": lines}


def _refer(project: Path, options: ReferenceOptions) -> dict[str, Any]:
    from maquette.curating.references import choose_references, give_back, references_in

    if options.to_references:
        choose_references(project, options.to_references)
    if options.from_references:
        give_back(project, options.from_references)
    now = references_in(project)
    moved = len(options.to_references) + len(options.from_references)
    return {
        "references": [str(path) for path in now],
        "lines": [
            f"{counted(moved, 'picture')} moved; {counted(len(now), 'reference')} now. "
            f"Take it back: maquette undo {project}"
        ],
    }


def _undo(directory: Path) -> dict[str, Any]:
    from maquette.curating.person import undo

    done = undo(directory)
    said = {
        "curate": "The decisions of the last run are taken back.",
        "yours": "Your last decisions are taken back.",
        "apply": "The copies of the last --apply are taken back.",
        "": "There is nothing to take back here.",
    }[done.kind]
    return {
        "undone": done.kind or None,
        "remaining": done.remaining,
        "decisions": str(done.decisions),
        "notes": list(done.notes),
        "lines": [said, *done.notes],
    }
