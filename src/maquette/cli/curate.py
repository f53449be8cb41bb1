"""`maquette curate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import follow, result_command

PATH = click.Path(path_type=Path)
SHEET_PAGES = 5
LIMITS = ("sharpness", "resolution_px", "alike")


@result_command(
    click.argument("directory", type=PATH),
    click.option(
        "--references",
        multiple=True,
        type=PATH,
        help="Folder of pictures (or one picture) that show who the subject is. Repeat for several.",
    ),
    click.option(
        "--threshold",
        type=float,
        metavar="X",
        help="Least likeness to the references, 0 to 1. [default: 0.75]",
    ),
    click.option("--target", type=int, metavar="N", help="Keep N pictures: the most varied good ones."),
    click.option(
        "--apply", "apply", type=PATH, metavar="OUT", help="Copy what is kept, with captions, to OUT."
    ),
    click.option(
        "--encoder",
        metavar="NAME",
        help="clip, siglip, dinov2, ccip, world; or NAME=HUB_NAME_OR_FOLDER. [default: clip; world for its own pictures]",
    ),
    click.option(
        "--profile", type=PATH, metavar="FILE", help="The subject's profile.toml: its sides, references."
    ),
    click.option(
        "--faces", metavar="[off|detect|match]", help="Count faces; match: compare them with the references'."
    ),
    click.option("--face-models", type=PATH, metavar="DIR", help="Folder with the YuNet and SFace files."),
    click.option(
        "--video", "videos", multiple=True, type=PATH, help="Take this film's frames into DIRECTORY first."
    ),
    click.option(
        "--every",
        "every_s",
        type=float,
        metavar="S",
        help="The sharpest frame of every S seconds of a scene.",
    ),
    click.option("--sharpness", type=float, metavar="X", help="Limit of blur; 0 turns it off. [default: 60]"),
    click.option("--resolution", "resolution_px", type=int, metavar="PX", help="The size you will train at."),
    click.option(
        "--alike", type=float, metavar="X", help="Likeness of embeddings that makes a duplicate: 0.97."
    ),
    click.option(
        "--sheet-pages",
        type=int,
        default=SHEET_PAGES,
        show_default=True,
        help="Contact sheets a group; 0: none.",
    ),
    click.option("--fresh", is_flag=True, help="Forget what the last run here was asked for."),
    click.option(
        "--keep", multiple=True, metavar="NAME", help="Your decision: keep this picture (or pattern)."
    ),
    click.option("--reject", multiple=True, metavar="NAME", help="Your decision: reject it."),
    click.option("--automatic", multiple=True, metavar="NAME", help="Take your decision about it back."),
    click.option("--undo", is_flag=True, help="Take back the last change made here."),
    name="curate",
)
def command(directory: Path, **options: Any) -> dict[str, Any]:
    """Sort the pictures in DIRECTORY into kept, rejected (with reasons) and to review. Nothing is moved or deleted.

    Decisions are written to DIRECTORY/curation.json, contact sheets to DIRECTORY/.curation/sheets. Your own decisions
    stand above every reason and survive every later run; a run takes what it is not told from the last one.

    \b
      maquette curate frames/ --references refs/ --target 400
      maquette curate frames/ --keep 00412.png --reject "blurry_*"
      maquette curate frames/ --apply dataset/10_myword
      maquette curate frames/ --video film.mp4 --every 2
    """
    words = {
        "kept": options.pop("keep"),
        "rejected": options.pop("reject"),
        "automatic": options.pop("automatic"),
    }
    undo = options.pop("undo")
    if undo or any(words.values()):
        _refuse_beside(options, words, undo)
        return _undo(directory) if undo else _decide(directory, words)
    from maquette.curating.run import curate_events

    limits = {name: value for name in LIMITS if (value := options.pop(name)) is not None}
    options["references"] = options["references"] or None
    return report(follow(curate_events(directory, limits=limits, **options)))


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
        f"{counts['pictures']} pictures ({result.measured_now} new): {counts['kept']} kept, "
        f"{counts['rejected']} rejected, {counts['review']} to review"
    ]
    lines += [f"  {code:<11}{count:>6}" for code, count in result.reasons.items()]
    if result.identity:
        rates = {rate["threshold"]: rate["rate"] for rate in result.identity["histogram"]["pass_rates"]}
        lines.append(
            f"Identity by {result.encoder}: {rates[result.threshold]:.1%} pass {result.threshold:.2f} "
            f"({result.identity['histogram']['pictures']} measured); see {result.chart}"
        )
    if result.sheets:
        lines.append(f"{len(result.sheets)} contact sheets in {result.sheets[0].parent}")
    if result.applied:
        lines.append(f"{result.copied} pictures copied to {result.applied}")
    elif counts["review"]:
        lines.append(f"Next: maquette curate {result.directory} --keep NAME --reject NAME")
    else:
        lines.append(f"Next: maquette curate {result.directory} --apply OUT")
    return lines


def _refuse_beside(options: dict[str, Any], words: dict[str, Any], undo: bool) -> None:
    """A decision or --undo is a command of its own: what else was given would have no effect."""
    from maquette.errors import ConfigError, Problem

    unsaid = {name: value is None or value is False or value == () for name, value in options.items()}
    unsaid["sheet_pages"] = options["sheet_pages"] == SHEET_PAGES
    given = [name for name, is_unsaid in unsaid.items() if not is_unsaid]
    given += [name for name, names in words.items() if undo and names]
    if given:
        spoken = {
            "kept": "keep",
            "rejected": "reject",
            "videos": "video",
            "every_s": "every",
            "resolution_px": "resolution",
        }
        flags = ", ".join(f"--{spoken.get(name, name).replace('_', '-')}" for name in given)
        where = "--undo" if undo else "--keep, --reject, --automatic"
        raise ConfigError(
            Problem(
                where, f"given together with {flags}", "nothing else", "Run curate once more for the rest."
            )
        )


def _decide(directory: Path, words: dict[Any, Any]) -> dict[str, Any]:
    from maquette.curating.person import decide

    done = decide(directory, words)
    lines = [f"{name}: {state}" for name, state in done.changed.items()] or ["Nothing changed."]
    return {"decisions": str(done.decisions), "changed": dict(done.changed), "lines": lines}


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
