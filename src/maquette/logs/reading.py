"""What a training log tells: losses, speed, checkpoints, known failures. Read as a stream: logs of any size, any trainer.

facts = read_log(Path("train.log"))        # or a run's folder, its run.log, its metrics.jsonl
facts.losses[-1], facts.matches, facts.tracebacks
"""

from __future__ import annotations

import re
from pathlib import Path

from maquette.errors import ConfigError, Problem
from maquette.logs.facts import LogFacts
from maquette.logs.failures import all_failures, may_match
from maquette.logs.lines import LogLines, encoding_of, is_binary
from maquette.logs.reader import LogReader
from maquette.logs.runs import read_run, read_table, run_of

LOG_ENDINGS = frozenset({".log", ".out", ".err"})
PEEK_BYTES = 1 << 16
MOST_PEEKED_LINES, PEEKED_CHARACTERS = 2000, 1000


def read_log(path: Path) -> LogFacts:
    """Return what the log at `path` tells: a text file, a run's folder, its run.log or metrics.jsonl.

    Encodings are guessed (UTF-8, UTF-16 as PowerShell writes); bytes that are no text become �. Of a very large log the
    beginning and the end are read, and `skipped` says so. Raises ConfigError when the file cannot be read or holds no
    text.
    """
    path = Path(path)
    run = run_of(path)
    if run is not None:
        return read_run(run, path)
    if path.suffix.lower() == ".jsonl" and (table := read_table(path)).last_step:
        return table
    reader, lines = LogReader(path), LogLines(path)
    try:
        for number, text in lines:
            reader.read(number, text)
    except OSError as error:
        given = f"cannot be read ({error.strerror or error})"
        raise ConfigError(
            Problem(str(path), given, "a training log", "Check path and permissions.")
        ) from error
    return reader.facts(tuple(lines.skipped))


def looks_like_log(path: Path) -> bool:
    """Tell whether `path` is a training log: by its ending, or by what stands at its beginning and end."""
    path = Path(path)
    if run_of(path) is not None:
        return True
    if not path.is_file():
        return False
    if path.suffix.lower() in LOG_ENDINGS:
        return True
    if path.suffix.lower() not in ("", ".txt"):
        return False
    try:
        text = _peek(path)
    except OSError:
        return False
    if _SIGNS.search(text):
        return True
    lines = [line for line in text.splitlines()[:MOST_PEEKED_LINES] if may_match(line)]
    return any(
        failure.match(line[:PEEKED_CHARACTERS]) is not None for line in lines for failure in all_failures()
    )


_SIGNS = re.compile(
    r"Traceback \(most recent call last\)|\d%\|[^|\n]{0,400}\|\s?\d{1,9}/\d{1,9} \[|avr_loss=|running training|"
    r"accelerator device:"
)


def _peek(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(PEEK_BYTES)
        size = path.stat().st_size
        file.seek(max(len(head), size - PEEK_BYTES))
        tail = file.read(PEEK_BYTES)
    if is_binary(head) or (b"\0" in head and encoding_of(head) == "utf-8"):
        return ""
    return (head + tail).decode(encoding_of(head), errors="replace")
