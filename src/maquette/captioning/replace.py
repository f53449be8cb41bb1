"""Bulk find and replace in captions, recorded like any other change."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.captioning.history import begin, write_caption
from maquette.captioning.options import ReplaceOptions
from maquette.captioning.records import Target
from maquette.captioning.targets import find_place, find_targets
from maquette.captioning.words_diff import Difference
from maquette.errors import ConfigError, Problem
from maquette.events import Finished, Progress, Stage, Started
from maquette.locking import holding

STAGE = "replace"


@dataclass(frozen=True, kw_only=True)
class ReplaceResult:
    """What a find-and-replace did. Names are the caption files' paths below the captioned folder."""

    directory: Path
    written: tuple[str, ...] = ()
    """Caption files that changed (with dry_run: would change)."""
    occurrences: int = 0
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Caption files left as they are, with the reasons: not UTF-8, or nothing would be left."""
    diff: tuple[Difference, ...] = ()
    dry_run: bool = False
    change: int | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "directory": str(self.directory),
            "written": list(self.written),
            "occurrences": self.occurrences,
            "refused": {name: list(reasons) for name, reasons in self.refused.items()},
            "diff": [difference.to_json() for difference in self.diff],
            "dry_run": self.dry_run,
            "change": self.change,
            "seconds": round(self.seconds, 3),
        }


def replace_events(directory: Path, options: ReplaceOptions) -> Stage[ReplaceResult]:
    """Replace text in every caption. Bytes outside the occurrences stay as they are, line ends included.

    Raises ConfigError for an expression that cannot be used, before the first event.
    """
    find, replace = options.find, options.replace
    pattern = find_pattern(
        find, regex=options.regex, whole_word=options.whole_word, ignore_case=options.ignore_case
    )
    template = replace if options.regex else replace.replace("\\", "\\\\")
    _check_template(pattern, template)
    place = find_place(Path(directory), options.caption_extension)
    what = f"replace {find!r} by {replace!r}"

    def begin() -> Stage[ReplaceResult]:
        targets, _ = find_targets(place)
        return _events(place.root, targets, pattern, template, what, options.dry_run)

    return begin() if options.dry_run else holding(place.root, "caption", begin)


def find_pattern(find: str, *, regex: bool, whole_word: bool, ignore_case: bool = False) -> re.Pattern[str]:
    """Return what is looked for as a regular expression. Raises ConfigError."""
    if not find:
        raise ConfigError(
            Problem("--find", "nothing", "the text to look for", 'Write for example: --find "cape"')
        )
    text = find if regex else re.escape(find)
    if whole_word:
        text = rf"(?<!\w)(?:{text})(?!\w)"
    try:
        return re.compile(text, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise ConfigError(
            Problem(
                "--find",
                f"'{find}' is no regular expression ({error})",
                "a regular expression, since --regex is given",
                "Put a backslash before signs that are meant as themselves, or leave --regex out.",
            )
        ) from error


def _check_template(pattern: re.Pattern[str], template: str) -> None:
    try:
        re.compile(pattern.pattern + "|").sub(template, "")
    except (re.error, IndexError) as error:
        raise ConfigError(
            Problem(
                "--replace",
                f"'{template}' ({error})",
                "text, with \\1 for groups that --find has",
                "Correct it.",
            )
        ) from error


def _events(
    root: Path, targets: list[Target], pattern: re.Pattern[str], template: str, what: str, dry_run: bool
) -> Stage[ReplaceResult]:
    began = time.perf_counter()
    files = sorted({target.caption for target in targets if target.caption.is_file()})
    recorder = begin(root, what)
    differences: list[Difference] = []
    refused: dict[str, tuple[str, ...]] = {}
    occurrences = 0
    yield Started(STAGE, len(files), "caption")
    for number, path in enumerate(files, 1):
        name = path.relative_to(root).as_posix()
        data = path.read_bytes()
        try:
            before = data.decode("utf-8")
        except UnicodeDecodeError:
            refused[name] = ("not UTF-8",)
            continue
        after, count = pattern.subn(template, before)
        if after == before:
            continue
        if not after.strip():
            refused[name] = ("nothing would be left of the caption",)
            continue
        occurrences += count
        if dry_run:
            differences.append(Difference(path=name, before=before, after=after))
        else:
            differences.append(write_caption(recorder, path, after.encode("utf-8")))
        yield Progress(STAGE, number, len(files), "caption")
    yield Finished(STAGE)
    return ReplaceResult(
        directory=root,
        written=tuple(difference.path for difference in differences),
        occurrences=occurrences,
        refused=refused,
        diff=tuple(differences),
        dry_run=dry_run,
        change=recorder.number,
        seconds=time.perf_counter() - began,
    )
