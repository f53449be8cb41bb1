"""Damaged, absurd and hostile logs: every one is read, or refused in one clear line; nothing else is raised.

Seeds are fixed. Bounds are stated as what is kept and what is said to be left out, not as time.
"""

from __future__ import annotations

import json
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
from tests.logs.judging import judged_facts
from tests.planted.clean import clean_log
from tests.planted.logs import ENDINGS, trace

NUMBERS = ("0", "-1", "9" * 30, "9" * 5000, "1e999", "nan", "-inf", "٣", "1.2.3", "0x10", "")
PIECES = (
    "steps:  12%|█▏        | 110/920 [03:10<23:21,  1.73s/it, avr_loss=0.0786]",
    "steps:   1%|          | 1/{n} [00:01<99:99, 1.0s/it, avr_loss={n}]",
    "steps:  {n}%|#| {n}/{n} [{n}:{n}<{n}, {n}s/it, loss={n}, smooth loss={n}]",
    "step {n} loss: {n}", "total optimization steps: {n}", "num batches per epoch: {n}", "gradient accumulation steps = {n}",
    "num train images * repeats: {n}", "found directory {n} contains {n} image files",
    "saving checkpoint: out/x-step{n}.safetensors",
    "model saved.", "Traceback (most recent call last):", '  File "x.py", line {n}, in <module>', "│ boxed │", "╰────╯",
    "ValueError: {n}", "KeyboardInterrupt", "During handling of the above exception, another exception occurred:",
    "Exception ignored in: {n}", "GPU 0 has a total capacity of {n} GiB", "RTX {n} VRAM {n}", "exit status {n}",
    "Command '[{n}, '{n}']' returned non-zero exit status {n}.", "size mismatch for x: [{n}, {n}] [{n}",
    "\x1b]0;{n}\x07", "\x1b[{n}m",
    "2024-01-01 00:00:00 ERROR    {n}   x.py:1", "                    {n}", "[rank0]: {n}", "\0\0\0", "\ufeff", "�", "{n}",
)  # fmt: skip
ENDS = ("\n", "\r", "\r\n", "", "\n\n")


def absurd_log(seed: int) -> str:
    """Return pieces of logs in any order with any numbers in them."""
    chance = random.Random(seed)
    parts = []
    for _ in range(chance.randrange(1, 40)):
        piece = chance.choice((*PIECES, *ENDINGS.values()))
        while "{n}" in piece:
            piece = piece.replace("{n}", chance.choice(NUMBERS), 1)
        parts.append(piece * chance.choice((1, 1, 1, 3)) + chance.choice(ENDS))
    return "".join(parts)


def damaged(data: bytes, seed: int) -> bytes:
    """Return a log with bytes flipped, cut out or doubled."""
    chance = random.Random(seed)
    raw = bytearray(data)
    for _ in range(chance.randrange(1, 12)):
        at = chance.randrange(len(raw))
        match chance.randrange(4):
            case 0:
                raw[at] = chance.randrange(256)
            case 1:
                del raw[at : at + chance.randrange(1, 400)]
            case 2:
                raw[at:at] = raw[at : at + chance.randrange(1, 400)]
            case _:
                raw[at:at] = chance.randbytes(chance.randrange(1, 60))
        raw = raw or bytearray(b"x")
    return bytes(raw)


def read_and_judge(path: Path) -> None:
    """Read a file and judge it; what cannot be read is refused with its name."""
    try:
        facts = read_log(path)
    except MaquetteError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return
    assert facts.last_step < 10**10
    assert all(0 <= step < 10**10 for step, _ in facts.losses)
    for finding in judged_facts(facts):
        assert finding.message
        assert "{detail}" not in finding.message + finding.remedy


@pytest.mark.parametrize("seed", range(12))
def test_absurd_logs_are_read(seed: int, tmp_path: Path) -> None:
    for each in range(25):
        path = tmp_path / f"{each}.log"
        path.write_text(absurd_log(1000 * seed + each), encoding="utf-8", newline="", errors="surrogatepass")
        read_and_judge(path)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_logs_are_read(seed: int, tmp_path: Path) -> None:
    whole = (
        clean_log()[:6000].encode() + f"\n{trace('torch.OutOfMemoryError: CUDA out of memory.')}\n".encode()
    )
    for each in range(20):
        path = tmp_path / f"{each}.log"
        path.write_bytes(damaged(whole, 1000 * seed + each))
        read_and_judge(path)


@pytest.mark.parametrize("seed", range(4))
def test_tables_of_anything_are_read(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    values = (1, 0, -5, 1.5, 10**400, float("nan"), "x", None, True, [1], {"step": 1}, "9" * 5000)
    deep = "[" * 9000
    for each in range(20):
        rows = [
            json.dumps({key: chance.choice(values) for key in ("step", "loss", "seconds")})
            for _ in range(chance.randrange(1, 20))
        ]
        rows += chance.sample(
            [deep, "1", "null", '"a"', "{", '{"step": 1e999}', "", '{"step": 3, "loss": 0.1}'], 4
        )
        chance.shuffle(rows)
        path = tmp_path / f"{each}.jsonl"
        path.write_text("\n".join(rows), encoding="utf-8")
        read_and_judge(path)
        run = tmp_path / f"run{each}"
        run.mkdir()
        (run / "metrics.jsonl").write_text("\n".join(rows), encoding="utf-8")
        read_and_judge(run / "metrics.jsonl")


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
