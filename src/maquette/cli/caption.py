"""`maquette caption`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from maquette.cli.output import follow, result_command, say
from maquette.errors import ConfigError, Problem

STRATEGY_NAMES = ("character", "style", "object", "detailed")
SHOWN_REFUSALS = 20

_WHAT = (
    click.argument("directory", type=click.Path(path_type=Path), required=False, metavar="DIR"),
    click.option("--strategy", metavar="[" + "|".join(STRATEGY_NAMES) + "]", help="What captions name. See --explain."),
    click.option(
        "--source",
        "sources",
        multiple=True,
        metavar="SPEC",
        help="Where the words come from: wd, vlm, server, template, palette, rewrite; NAME:ARGUMENT gives a model. "
        "Repeat to join several.",
    ),
    click.option("--profile", type=click.Path(path_type=Path), metavar="FILE", help="The subject's profile. Default: the "
                 "profile.toml by the pictures."),
    click.option("--trigger", help="The trigger word, where there is no profile."),
    click.option("--overwrite", is_flag=True, help="Also ask for pictures that have a caption already."),
    click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing."),
    click.option("--preview", default=10, show_default=True, type=click.IntRange(0), metavar="N",
                 help="Show so many captions first; a terminal asks before any is written. 0: none."),
    click.option("--yes", is_flag=True, help="Do not ask after the preview."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Caption at most N pictures."),
    click.option("--workers", default=4, show_default=True, type=click.IntRange(1, 64), help="Questions to a server at once."),
    click.option("--max-tokens", default=75, show_default=True, type=click.IntRange(1),
                 help="Refuse longer captions; more than 75 needs a trainer set to 150 or 225."),
    click.option("--caption-extension", metavar=".EXT", help="Ending of caption files. Default: .txt, or the project's."),
)  # fmt: skip
_SOURCES = (
    click.option("--url", help="server: its address, e.g. http://127.0.0.1:11434/v1."),
    click.option("--model", metavar="NAME", help="server: the model's name there. vlm, wd: a folder or hub name."),
    click.option("--api-key-variable", metavar="NAME",
                 help="server: environment variable that holds the key. Default: MAQUETTE_API_KEY, if set."),
    click.option("--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), metavar="S",
                 help="server: seconds that one answer may take. [default: 120]"),
    click.option("--retries", type=click.IntRange(0), metavar="N",
                 help="server: how often a failed question is asked again. [default: 4]"),
    click.option("--retry-wait", "retry_wait_s", type=click.FloatRange(0), metavar="S",
                 help="server: first pause before asking again; it doubles. [default: 1]"),
    click.option("--longest-side", type=click.IntRange(64), metavar="PX",
                 help="server, vlm: pictures are shown at most this large. [default: 1024]"),
    click.option("--temperature", type=click.FloatRange(0, 2), metavar="X",
                 help="server, vlm: 0 always says the likeliest. [default: 0]"),
    click.option("--max-new-tokens", type=click.IntRange(1), metavar="N",
                 help="server, vlm: the longest answer; a longer one is refused. [default: 200]"),
    click.option("--instructions", metavar="TEXT", help="server, vlm: said to the model besides its task."),
    click.option("--device", metavar="NAME", help="vlm: cuda, mps or cpu. Default: the best there is."),
    click.option("--batch-size", type=click.IntRange(1), metavar="N", help="vlm, wd: pictures looked at together."),
    click.option("--threshold", type=click.FloatRange(0, 1), metavar="X",
                 help="wd: least probability of a tag; lower says more and errs more. [default: 0.35]"),
    click.option("--character-threshold", type=click.FloatRange(0, 1), metavar="X",
                 help="wd: least probability of a named character. [default: 0.85]"),
    click.option("--template", metavar="TEXT", help='template: e.g. "{trigger}, {framing}, {view}, {pose}, {background}".'),
    click.option("--table", type=click.Path(path_type=Path), metavar="CSV",
                 help="template: table with a column `file`; its columns are fields."),
    click.option("--colours", type=click.IntRange(1, 32), metavar="N", help="palette: colours named. [default: 5]"),
)  # fmt: skip
_AFTER = (
    click.option("--diff", "show_diff", is_flag=True,
                 help="Show, word by word, what the last change did; with --source, what this one does."),
    click.option("--undo", is_flag=True, help="Take the last change back, byte for byte. Again for the one before."),
    click.option("--find", metavar="TEXT", help="Text to replace in every caption."),
    click.option("--replace", metavar="TEXT", help="What it becomes; empty takes it out."),
    click.option("--regex", is_flag=True, help="--find is a regular expression."),
    click.option("--whole-word", is_flag=True, help="Only where --find stands as a word of its own."),
    click.option("--ignore-case", is_flag=True, help="Capital letters do not matter to --find."),
    click.option("--explain", metavar="STRATEGY", help="Say what a strategy does and costs, or `all` of them."),
)  # fmt: skip


@result_command(*_WHAT, *_SOURCES, *_AFTER, name="caption")
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
    if given["explain"] is not None:
        return _explained(given["explain"])
    if directory is None:
        problem = Problem(
            "maquette caption",
            "no folder",
            "the folder of pictures",
            "maquette caption DIR --help shows examples.",
        )
        raise ConfigError(problem)
    _check_together(given)
    if given["undo"]:
        return _undone(directory, given["caption_extension"])
    if given["find"] is not None:
        return _replaced(directory, given)
    if not given["sources"]:
        return _last_difference(directory, given["caption_extension"])
    return _captioned(directory, given)


def _check_together(given: dict[str, Any]) -> None:
    """Refuse flags that cannot all be meant; nothing that was given is ignored. Raises ConfigError."""
    wanted = (
        ("--undo", given["undo"]),
        ("--find", given["find"] is not None),
        ("--source", given["sources"]),
    )
    tasks = [name for name, is_wanted in wanted if is_wanted]
    problems = []
    if len(tasks) > 1:
        problems.append(
            Problem(" and ".join(tasks), "given together", "one task at a time", "Give one of them.")
        )
    if not tasks and not given["show_diff"]:
        required = "--strategy and --source, --find and --replace, --diff, --undo, or --explain"
        remedy = "To caption: maquette caption DIR --strategy character --source wd"
        problems.append(Problem("maquette caption", "nothing to do", required, remedy))
    if (given["find"] is None) != (given["replace"] is None):
        required, remedy = "both", 'Give both; --replace "" takes the text out.'
        problems.append(Problem("--find and --replace", "one of them given", required, remedy))
    if given["sources"] and given["strategy"] is None:
        remedy = "Choose one; maquette caption --explain all says what each does and costs."
        problems.append(Problem("--strategy", "not given", f"one of {', '.join(STRATEGY_NAMES)}", remedy))
    problems += [
        Problem(
            flag, f"given with {tasks[0] if tasks else '--diff'}", "a task that it changes", "Leave it out."
        )
        for flag in _idle_flags(given)
        if len(tasks) < 2 and (tasks or given["show_diff"])
    ]
    if problems:
        raise ConfigError(problems)


def _idle_flags(given: dict[str, Any]) -> list[str]:
    """Return the flags that would do nothing in the task that was asked for."""
    replacing = ("regex", "whole_word", "ignore_case")
    captioning = ("strategy", "profile", "trigger", "overwrite", "limit", "yes", *_option_names())
    others = (() if given["find"] is not None else replacing) + (() if given["sources"] else captioning)
    changes = given["find"] is not None or given["sources"]
    others += () if changes else ("dry_run",)
    return [
        f"--{name.removesuffix('_s').replace('_', '-')}"
        for name in others
        if given[name] not in (None, False)
    ]


def _option_names() -> tuple[str, ...]:
    from dataclasses import fields

    from maquette.captioning.sources import SourceOptions

    return tuple(field.name for field in fields(SourceOptions))


def _captioned(directory: Path, given: dict[str, Any]) -> dict[str, Any]:
    from maquette.captioning.run import caption_events
    from maquette.captioning.sources import SourceOptions

    asks = sys.stdin.isatty() and not given["yes"] and not given["dry_run"]
    result = follow(
        caption_events(
            directory,
            strategy=given["strategy"],
            source=given["sources"],
            profile=given["profile"],
            trigger=given["trigger"],
            options=SourceOptions(**{name: given[name] for name in _option_names()}),
            dry_run=given["dry_run"],
            preview=given["preview"],
            confirm=_ask if asks else None,
            overwrite=given["overwrite"],
            workers=given["workers"],
            limit=given["limit"],
            max_tokens=given["max_tokens"],
            caption_extension=given["caption_extension"],
        )
    )
    return {
        **result.to_json(),
        "exit_code": _exit_code(result),
        "lines": _lines(result, directory, given["show_diff"]),
    }


def _ask(preview: Sequence[Any]) -> bool:
    """Show the first captions and ask whether to go on."""
    say("")
    for line in _preview_lines(preview):
        say(line)
    return click.confirm("Write these and go on with the rest?", default=True, err=True)


def _preview_lines(preview: Sequence[Any]) -> Iterable[str]:
    for draft in preview:
        yield click.style(draft.target.name, bold=True)
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


def _replaced(directory: Path, given: dict[str, Any]) -> dict[str, Any]:
    from maquette.captioning.replace import replace_events

    names = ("find", "replace", "regex", "whole_word", "ignore_case", "dry_run", "caption_extension")
    result = follow(replace_events(directory, **{name: given[name] for name in names}))
    would = "would change" if result.dry_run else "changed"
    lines = list(_difference_lines(result.diff)) if given["show_diff"] or result.dry_run else []
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
        yield click.style(each.path, bold=True) + (" (new)" if each.before is None else "")
        pieces = word_pieces((each.before or "").strip(), (each.after or "").strip())
        yield "  " + "".join(_piece(kind, text, in_colour) for kind, text in pieces)


def _piece(kind: str, text: str, in_colour: bool) -> str:
    if kind == "same":
        return text
    if in_colour:
        return (
            click.style(text, fg="red", strikethrough=True)
            if kind == "gone"
            else click.style(text, fg="green")
        )
    return f"[-{text}-]" if kind == "gone" else f"{{+{text}+}}"


def _explained(name: str) -> dict[str, Any]:
    from maquette.captioning.strategies import STRATEGIES, strategy_named

    chosen = list(STRATEGIES.values()) if name == "all" else [strategy_named(name)]
    lines: list[str] = []
    for strategy in chosen:
        lines += [*([""] if lines else []), *strategy.explanation.splitlines()]
    return {"strategies": {strategy.name: strategy.explanation for strategy in chosen}, "lines": lines}
