"""The last lines with which trainers fail, each with the failure, and words of the cause and the remedy that are right for it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from maquette.cli.app import maquette
from maquette.logs.failure import needle_of
from maquette.logs.failures import all_failures, may_match
from tests.logs.judging import ACCELERATE, judged, words
from tests.planted.logs import trace


def _last_lines() -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (end of a log, code, words) of every block of last_lines.txt: a first line CODE | words | words, then the log's end.

    A line `Traceback` stands for the frames above an error.
    """
    blocks = Path(__file__).with_name("last_lines.txt").read_text(encoding="utf-8").strip().split("\n\n")
    lines = []
    for block in blocks:
        head, _, end = block.partition("\n")
        code, *said = head.split(" | ")
        lines.append(
            (
                trace(end.removeprefix("Traceback\n")) if end.startswith("Traceback\n") else end,
                code,
                tuple(said),
            )
        )
    return lines


LAST_LINES = _last_lines()
BEGINNING = "prepare tokenizer\npreparing accelerator\nloading model for process 0/1\n"
UNKNOWN = (
    "RecursionError: maximum recursion depth exceeded",
    "AttributeError: 'NoneType' object has no attribute 'keys'",
    "UnboundLocalError: local variable 'pipe' referenced before assignment",
    "queue.Empty",
    "einops.EinopsError: Error while processing rearrange-reduction pattern",
    "KeyError: 'callback'",
)


@pytest.mark.parametrize(
    ("text", "code", "said"), LAST_LINES, ids=lambda value: value[-60:] if isinstance(value, str) else ""
)
def test_a_last_line_is_known_with_its_cause_and_remedy(
    text: str, code: str, said: tuple[str, ...], tmp_path: Path
) -> None:
    found = judged(tmp_path, f"{BEGINNING}{text}\n")
    assert [finding.code for finding in found] == [code]
    for piece in said:
        assert piece in words(found[0]), words(found[0])


@pytest.mark.parametrize("text", [text for text, _, _ in LAST_LINES if text.startswith("Traceback")][::4])
def test_the_launcher_s_own_error_changes_nothing(text: str, tmp_path: Path) -> None:
    alone = judged(tmp_path, f"{BEGINNING}{text}\n")
    wrapped = judged(
        tmp_path, f"{BEGINNING}{text}\n{ACCELERATE}22:49:04-324342 INFO     Training has ended.\n"
    )
    assert [f.code for f in wrapped] == [f.code for f in alone]
    assert wrapped[0].place == alone[0].place


@pytest.mark.parametrize("message", UNKNOWN)
def test_an_unknown_error_is_quoted_as_it_stands(message: str, tmp_path: Path) -> None:
    (found,) = judged(tmp_path, f"{BEGINNING}{trace(message)}\n{ACCELERATE}")
    assert found.code == "LOG028"
    assert message in found.message
    assert "CalledProcessError" not in found.message


def test_no_reading_promises_a_command_that_is_none() -> None:
    """Remedies that name `maquette …` name a command, with the subcommand that it has."""
    context = click.Context(maquette)
    for failure in all_failures():
        for remedy in (failure.remedy, *(reading.remedy for reading in failure.readings)):
            for command, second in re.findall(r"maquette (\w+)(?: (\w+))?", remedy):
                known = maquette.get_command(context, command)
                assert known is not None, (failure.code, remedy)
                subcommands = getattr(known, "commands", None)
                assert subcommands is None or second in subcommands, (failure.code, remedy)


def test_every_pattern_is_bounded_and_has_words_to_look_for() -> None:
    """A log is strangers' text: no repetition without a bound, and a literal text that is searched first."""
    for failure in all_failures():
        for pattern in failure.patterns:
            assert len(needle_of(pattern)) >= 3
            bare = re.sub(r"\\.|\[[^\]]*\]", "x", pattern)
            assert not re.search(r"[*+]|\{\d+,\}", bare), f"{failure.code}: {pattern}"
        example = failure.example or failure.texts[0]
        assert failure.match(example) is not None, f"{failure.code} does not know its own example"
        assert may_match(example)


@pytest.mark.parametrize(
    "line", ["", "a" * 1400, "File name: " * 120, "'" * 1400, "[" * 1400, "=" * 1400, " " * 1400]
)
def test_needles_of_patterns_lose_no_match(line: str) -> None:
    """Where a pattern matches, its literal text stands in the line."""
    for failure in all_failures():
        for pattern in failure.patterns:
            if re.search(pattern, line, re.IGNORECASE):
                assert needle_of(pattern) in line.lower()
