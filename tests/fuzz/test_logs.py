"""Damaged, absurd and hostile logs: every one is read, or refused in one clear line; nothing else is raised.

Seeds are fixed. Bounds are stated as what is kept and what is said to be left out, not as time.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from maquette.errors import MaquetteError
from maquette.logs.lines import (
    HEAD_BYTES,
    LONGEST_LINE,
    MOST_HEAD_LINES,
    MOST_TAIL_LINES,
    TAIL_BYTES,
    LogLines,
)
from maquette.logs.reading import looks_like_log, read_log
from tests.fuzz.logs import hold_to_the_law, inputs

EACH = 60


@pytest.mark.parametrize("seed", range(8))
def test_damaged_and_absurd_logs_are_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    read = 0
    for index, (name, data) in enumerate(inputs(seed, EACH)):
        path = tmp_path / f"{index:03}-{name}"
        path.write_bytes(data)
        read += hold_to_the_law(path)
    assert read > EACH // 2, "most damage leaves a text"


def test_a_run_s_own_table_of_anything_is_read(tmp_path: Path) -> None:
    for index, (name, data) in enumerate(inputs(99, EACH)):
        run = tmp_path / f"{index:03}"
        run.mkdir()
        if name == "metrics.jsonl":
            (run / name).write_bytes(data)
            hold_to_the_law(run / name)


# --- bounds --------------------------------------------------------------------------------------------------------------


def test_one_absurd_number_in_a_bar_is_no_step(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        f"steps:   1%|          | 1/{'9' * 5000} [00:01<99:99, 1.0s/it, avr_loss=0.1]\n", encoding="utf-8"
    )
    facts = read_log(path)
    assert facts.planned_steps is None
    assert facts.last_step == 0


def test_of_a_large_log_beginning_and_end_are_read_and_the_gap_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    middle = b"INFO     an ordinary line of the trainer, repeated\n" * ((HEAD_BYTES + TAIL_BYTES) // 40)
    path.write_bytes(b"running training\n" + middle + b"CUDA out of memory\n")
    lines = LogLines(path)
    numbers = [number for number, _ in lines]
    assert numbers[0] == 1
    assert numbers[-1] == 2 + middle.count(b"\n")
    assert len(numbers) <= MOST_HEAD_LINES + MOST_TAIL_LINES + 2
    assert len(lines.skipped) == 1
    first, last = (int(text.replace(",", "")) for text in lines.skipped[0].split()[1:4:2])
    assert sorted({*range(1, numbers[-1] + 1)} - {*numbers}) == list(range(first, last + 1)), (
        "all else was read"
    )
    assert read_log(path).counts == {"LOG006": 1}


def test_of_a_very_long_line_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"x" * (3 * LONGEST_LINE) + b"\nNo data found\n")
    lines = LogLines(path)
    assert [(number, len(text)) for number, text in lines] == [(1, LONGEST_LINE), (2, 13)]
    assert "1 very long line" in lines.skipped[0]
    assert read_log(path).counts == {"LOG001": 1}


def test_binary_files_are_refused(tmp_path: Path) -> None:
    for name, data, said in (
        ("model.log", random.Random(1).randbytes(100_000), "binary data"),
        ("zeros.log", bytes(5000), "binary data"),
    ):
        (tmp_path / name).write_bytes(data)
        assert looks_like_log(tmp_path / name)
        with pytest.raises(MaquetteError, match=said):
            read_log(tmp_path / name)


def test_more_messages_than_are_looked_at_are_counted_as_left_out(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        "".join(f"CUDA out of memory, time {number}\n" for number in range(5000)), encoding="utf-8"
    )
    facts = read_log(path)
    assert facts.counts["LOG006"] == 3000
    assert facts.matches[0].line == 1
    assert "2,000 lines" in facts.skipped[-1]
