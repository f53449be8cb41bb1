"""Changes of caption files: written through the journal, told as differences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from maquette.captioning.words_diff import Difference
from maquette.errors import ConfigError, Problem
from maquette.project.journal import Change, Journal, Recorder

KIND = "captions"
_RUN = re.compile(r"caption --strategy \S+ --source (.+)")


def begin(root: Path, what: str) -> Recorder:
    """Return the recorder of a new change of the captions below `root`; nothing is written before the first one is."""
    return Journal(root).begin(KIND, what)


def what_of(strategy: str, sources: Sequence[str]) -> str:
    """Return a run of captioning in words, which `sources_of` reads."""
    return f"caption --strategy {strategy} --source {' '.join(sources)}"


def sources_of(what: str) -> tuple[str, ...]:
    """Return the names of the sources of a run that `what_of` put in words; nothing for any other change."""
    found = _RUN.fullmatch(what)
    return tuple(spec.partition(":")[0] for spec in found[1].split()) if found else ()


def write_caption(recorder: Recorder, path: Path, data: bytes | str) -> Difference:
    """Give `path` the caption and a line's end, or exactly these bytes; return what that changes. Raises OutputError."""
    after = (data + "\n").encode("utf-8") if isinstance(data, str) else data
    before = recorder.write(path, after)
    return Difference(
        path=path.relative_to(recorder.journal.root).as_posix(), before=_text(before), after=_text(after)
    )


def last_change(root: Path) -> Change:
    """Return the last change of captions that was not undone. Raises ConfigError when there is none."""
    changes = Journal(root).changes((KIND,))
    if not changes:
        raise ConfigError(
            Problem(
                str(root),
                "no recorded change of captions",
                "a folder whose captions maquette has changed",
                "Give the folder that was captioned.",
            )
        )
    return changes[-1]


def differences(root: Path) -> tuple[Difference, ...]:
    """Return how the caption files of the last change differ now from what they were before it."""
    return tuple(
        Difference(path=path, before=_text(before), after=_text(now))
        for path, before, now in Journal(root).differences(last_change(root))
    )


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", errors="replace")
