"""`maquette caption`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from maquette.captioning.options import CaptionOptions, ReplaceOptions
from maquette.cli.options import given_of, options_of
from maquette.cli.output import follow, painted, result_command, say
from maquette.cli.signals import ctrl_c_at_once
from maquette.cli.tasks import Task, chosen_task, names_of
from maquette.errors import ConfigError, Problem

SHOWN_REFUSALS = 20

CAPTION = Task(asked_by=("source", "strategy"), heeds=(*names_of(CaptionOptions), "yes", "show_diff"))
REPLACE = Task(asked_by=("find", "replace"), heeds=(*names_of(ReplaceOptions), "show_diff"))
DIFF = Task(asked_by=("show_diff",), heeds=("caption_extension",))
UNDO = Task(asked_by=("undo",), heeds=("caption_extension",))
EXPLAIN = Task(asked_by=("explain",))


@result_command(
    click.argument("directory", type=click.Path(path_type=Path), required=False, metavar="DIR"),
    *options_of(CaptionOptions),
    *options_of(ReplaceOptions, exclude=CaptionOptions.model_fields),
    click.option("--yes", is_flag=True, help="Do not ask after the preview."),
    click.option(
        "--diff",
        "show_diff",
        is_flag=True,
        help="Show, word by word, what the last change did; with --source or --find, what this one does.",
    ),
    click.option(
        "--undo", is_flag=True, help="Take the last change back, byte for byte. Again for the one before."
    ),
    click.option(
        "--explain", metavar="STRATEGY", help="Say what a strategy does and costs, or `all` of them."
    ),
    name="caption",
    detachable=True,
)
def command(directory: Path | None, **given: Any) -> dict[str, Any]:
    """Write captions for the pictures in DIR under a strategy; change, compare and take back captions.

    DIR is a folder of pictures, a kohya folder (10_name/ folders) or a project. Pictures that have a caption are left
    alone without --overwrite; a source `rewrite` works on these. Every change is noted in DIR/.maquette first.

    \b
    character  pose, framing, expression, background and one-sided details; looks are left to the trigger
    style      the style's words first, then everything in the picture
    object     class word, view, placement, surroundings; its own looks are left to the trigger
    detailed   everything: the most editable, with the weakest bare trigger

    \b
      maquette caption pictures --strategy character --source wd --dry-run
      maquette caption pictures --strategy character --source server --url http://127.0.0.1:11434/v1 --model qwen2.5vl
      maquette caption pictures --strategy character --source rewrite --diff
      maquette caption pictures --find "white cape" --replace "" --dry-run
      maquette caption pictures --undo
    """
    task = chosen_task((CAPTION, REPLACE, DIFF, UNDO, EXPLAIN), given)
    if task is EXPLAIN:
        return _explained(given["explain"])
    if directory is None:
        remedy = "maquette caption DIR --help shows examples."
        raise ConfigError(Problem("maquette caption", "no folder", "the folder of pictures", remedy))
    if task is UNDO:
        return _undone(directory, given["caption_extension"])
    if task is DIFF:
        return _last_difference(directory, given["caption_extension"])
    if task is REPLACE:
        options = ReplaceOptions(**given_of(ReplaceOptions, given))
        return _replaced(directory, options, given["show_diff"])
    asks = sys.stdin.isatty() and not given["yes"] and not given["dry_run"]
    wanted = CaptionOptions(**given_of(CaptionOptions, given))
    return _captioned(directory, wanted, asks, given["show_diff"])


def _captioned(directory: Path, options: CaptionOptions, asks: bool, show_diff: bool) -> dict[str, Any]:
    from maquette.captioning.run import caption_events

    result = follow(caption_events(directory, options, confirm=_ask if asks else None))
    return {
        **result.to_json(),
        "exit_code": _exit_code(result),
        "lines": _lines(result, directory, show_diff),
    }


def _ask(preview: Sequence[Any]) -> bool:
    """Show the first captions and ask whether to go on."""
    say("")
    for line in _preview_lines(preview):
        say(line)
    try:
        with ctrl_c_at_once():
            return click.confirm("Write these and go on with the rest?", default=True, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None


def _preview_lines(preview: Sequence[Any]) -> Iterable[str]:
    for draft in preview:
        yield painted(draft.target.name, bold=True)
        if draft.is_good:
            yield f"  {draft.text}"
        for reason in draft.reasons:
            yield f"  refused: {reason}"


def _exit_code(result: Any) -> int:
    """1 when every picture that was asked for was refused."""
    return int(bool(result.refused) and not result.captions)


def _lines(result: Any, directory: Path, show_diff: bool) -> list[str]:
    if result.stopped_at_preview:
        return [
            "Nothing was written. The same command goes on from these answers; another --strategy or --source asks anew."
        ]
    would = "would be written" if result.dry_run else "written"
    lines = list(_difference_lines(result.diff)) if show_diff else []
    if result.dry_run and not show_diff:
        lines += _preview_lines(result.preview)
    lines.append(
        f"{len(result.written)} captions {would}, {len(result.unchanged)} unchanged, {len(result.refused)} refused"
    )
    for name, reasons in list(result.refused.items())[:SHOWN_REFUSALS]:
        lines.append(f"  {name}: {'; '.join(reasons)}")
    if len(result.refused) > SHOWN_REFUSALS:
        lines.append(f"  and {len(result.refused) - SHOWN_REFUSALS} more (all with --json)")
    if result.change is not None:
        lines += [f"See:  maquette caption {directory} --diff", f"Undo: maquette caption {directory} --undo"]
    return lines


def _replaced(directory: Path, options: ReplaceOptions, show_diff: bool) -> dict[str, Any]:
    from maquette.captioning.replace import replace_events

    result = follow(replace_events(directory, options))
    would = "would change" if result.dry_run else "changed"
    lines = list(_difference_lines(result.diff)) if show_diff or result.dry_run else []
    lines.append(f"{result.occurrences} occurrences in {len(result.written)} captions {would}")
    lines += [f"  {name}: {'; '.join(reasons)}" for name, reasons in result.refused.items()]
    lines += [f"Undo: maquette caption {directory} --undo"] if result.change is not None else []
    return {**result.to_json(), "lines": lines}


def _last_difference(directory: Path, caption_extension: str | None) -> dict[str, Any]:
    from maquette.captioning.history import differences, last_change
    from maquette.captioning.targets import find_place

    root = find_place(directory, caption_extension).root
    last, diff = last_change(root), differences(root)
    lines = [
        *_difference_lines(diff),
        f"Change {last.number} ({last.what}): {len(diff)} captions differ from before it",
    ]
    return {
        "change": last.number,
        "what": last.what,
        "diff": [each.to_json() for each in diff],
        "lines": lines,
    }


def _undone(directory: Path, caption_extension: str | None) -> dict[str, Any]:
    from maquette.captioning.history import KIND
    from maquette.captioning.targets import find_place
    from maquette.cli.undo import report
    from maquette.project.undoing import undo

    return report(undo(find_place(directory, caption_extension).root, kinds=(KIND,)))


def _difference_lines(diff: Iterable[Any]) -> Iterable[str]:
    from maquette.captioning.words_diff import word_pieces

    in_colour = sys.stdout.isatty()
    for each in diff:
        yield painted(each.path, bold=True) + (" (new)" if each.before is None else "")
        pieces = word_pieces((each.before or "").strip(), (each.after or "").strip())
        yield "  " + "".join(_piece(kind, text, in_colour) for kind, text in pieces)


def _piece(kind: str, text: str, in_colour: bool) -> str:
    if kind == "same":
        return text
    if in_colour:
        return painted(text, fg="red", strikethrough=True) if kind == "gone" else painted(text, fg="green")
    return f"[-{text}-]" if kind == "gone" else f"{{+{text}+}}"


def _explained(name: str) -> dict[str, Any]:
    from maquette.captioning.strategies import STRATEGIES, strategy_named

    chosen = list(STRATEGIES.values()) if name == "all" else [strategy_named(name)]
    lines: list[str] = []
    for strategy in chosen:
        lines += [*([""] if lines else []), *strategy.explanation.splitlines()]
    return {"strategies": {strategy.name: strategy.explanation for strategy in chosen}, "lines": lines}
