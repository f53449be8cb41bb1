"""`maquette diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.output import painted, result_command

if TYPE_CHECKING:
    from maquette.comparing.captions import CaptionDifference
    from maquette.comparing.diff import Changes, Difference
    from maquette.comparing.listing import RunLine
    from maquette.comparing.matching import PictureDifference

MOST_CAPTIONS = 12
"""Captions that are shown word by word; --json has all, and --all shows all."""
MOST_WORDS = 12
LONGEST_VALUE = 120


@result_command(
    click.argument("a", type=click.Path(path_type=Path)),
    click.argument("b", type=click.Path(path_type=Path)),
    click.option("--all", "show_all", is_flag=True, help="Show every caption and picture that changed."),
    name="diff",
)
def command(a: Path, b: Path, show_all: bool) -> dict[str, Any]:
    """Say exactly what changed from A to B: settings, captions word by word, pictures by content, environment.

    A and B are runs (their folders), or projects, as they would be trained now. Nothing is written.

    \b
      maquette diff my-project/runs/zkw-001 my-project/runs/zkw-002
      maquette diff my-project/runs/zkw-001 my-project
    """
    from maquette.api import diff

    found = diff(a, b)
    return {**found.to_json(), "lines": list(_lines(found, show_all))}


def _lines(found: Difference, show_all: bool) -> Iterator[str]:
    for name, side, line in zip("AB", (found.a, found.b), found.results, strict=True):
        yield f"{name}  {side.title}  ({side.path})"
        if line is not None:
            yield f"   {_result(line)}"
    if found.is_same:
        yield "The same: settings, captions, pictures by content, environment."
    elif not (found.settings or found.captions or found.pictures):
        yield "The same is trained: settings, captions, pictures by content. Only the environment differs."
    if found.settings:
        yield from ("", painted("Settings", bold=True), *_table(found.settings))
    if found.schedule:
        yield from ("", painted("Steps that follow", bold=True), *_table(found.schedule))
    if found.captions:
        yield from ("", *_captions(found, show_all))
    if found.pictures:
        yield from ("", *_pictures(found.pictures, show_all))
    if found.environment:
        yield from ("", painted("Environment", bold=True), *_table(found.environment))
    if found.places:
        yield from ("", painted("Names and places", bold=True), *_table(found.places))
    if found.unknown:
        yield from ("", painted("Not compared", bold=True), *(f"  {each}" for each in found.unknown))


def _result(line: RunLine) -> str:
    told = [line.told_state, f"{line.step} steps"]
    told += [f"loss {line.loss:.4f}"] if line.loss is not None else []
    told += [f"validation {line.validation:.4f}"] if line.validation is not None else []
    told += (
        [f"{line.verdict}: {line.reason}" if line.verdict else f"noted: {line.reason}"] if line.reason else []
    )
    return ", ".join(told)


def _table(changes: Changes) -> Iterator[str]:
    width = max(map(len, changes))
    for name, change in changes.items():
        yield f"  {name:<{width}}  {painted(_value(change.a), fg='red')} → {painted(_value(change.b), fg='green')}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}={_value(each)}" for name, each in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(_value, value)) or "none"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = str(value) if value != "" else "''"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _captions(found: Difference, show_all: bool) -> Iterator[str]:
    number = len(found.captions)
    yield painted(f"Captions ({number} changed)", bold=True)
    if number > 1:
        for each in found.words[: None if show_all else MOST_WORDS]:
            told = [f"from {each.gone}"] if each.gone else []
            told += [f"to {each.come}"] if each.come else []
            sign = "±" if each.gone and each.come else "-" if each.gone else "+"
            yield f"  {sign} {each.words}  ({', '.join(told)})"
        yield ""
    for caption in found.captions[: None if show_all else MOST_CAPTIONS]:
        yield f"  {caption.name}: {_spoken(caption)}"
    if number > MOST_CAPTIONS and not show_all:
        yield f"  … and {number - MOST_CAPTIONS} more (--all)"


def _spoken(caption: CaptionDifference) -> str:
    """Return the caption with what went in [-brackets-] and what came in {+braces+}, coloured where there are colours."""
    signs = {"gone": ("[-", "-]", "red"), "new": ("{+", "+}", "green")}
    shown = []
    for kind, text in caption.pieces:
        if kind == "same":
            shown.append(text)
            continue
        begin, end, colour = signs[kind]
        core = text.rstrip(" ,") or text
        shown.append(painted(f"{begin}{core}{end}", fg=colour) + text[len(core) :])
    return "".join(shown)


def _pictures(pictures: Sequence[PictureDifference], show_all: bool) -> Iterator[str]:
    yield painted(f"Pictures ({len(pictures)} changed)", bold=True)
    most = None if show_all else 3 * MOST_CAPTIONS
    for each in pictures[:most]:
        if each.change == "renamed":
            yield f"  renamed  {each.a} → {each.b}, the same content"
        elif each.change in ("added", "removed"):
            yield f"  {each.change:<8} {each.name}  “{each.caption}”"
        else:
            what = "mask" if each.change == "mask" else "changed"
            yield f"  {what:<8} {each.name}  {_short(each.a)} → {_short(each.b)}"
    if most is not None and len(pictures) > most:
        yield f"  … and {len(pictures) - most} more (--all)"


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"
