"""Absurd and damaged logs, and the law that each of them is held to."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from maquette.errors import MaquetteError
from maquette.logs.reading import read_log
from tests.fuzz.damage import damaged
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


ROW_VALUES = (1, 0, -5, 1.5, 10**400, float("nan"), "x", None, True, [1], {"step": 1}, "9" * 5000)
ODD_ROWS = ("[" * 9000, "1", "null", '"a"', "{", '{"step": 1e999}', "", '{"step": 3, "loss": 0.1}')


def inputs(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes): half absurd logs, the other half damaged ones and tables of anything."""
    rng = random.Random(seed)
    whole = (
        clean_log()[:6000].encode() + f"\n{trace('torch.OutOfMemoryError: CUDA out of memory.')}\n".encode()
    )
    others = [text.encode() for text in ENDINGS.values()]
    for index in range(count):
        if index % 2:
            yield "train.log", absurd_log(rng).encode(errors="surrogatepass")
        elif index % 4:
            yield "metrics.jsonl", table(rng).encode()
        else:
            yield "train.log", damaged(whole, others, rng)


def absurd_log(rng: random.Random) -> str:
    """Return pieces of logs in any order with any numbers in them."""
    parts = []
    for _ in range(rng.randrange(1, 40)):
        piece = rng.choice((*PIECES, *ENDINGS.values()))
        while "{n}" in piece:
            piece = piece.replace("{n}", rng.choice(NUMBERS), 1)
        parts.append(piece * rng.choice((1, 1, 1, 3)) + rng.choice(ENDS))
    return "".join(parts)


def table(rng: random.Random) -> str:
    """Return rows of JSON, some of them no rows of metrics, some of them no JSON."""
    keys = ("step", "loss", "seconds")
    rows = [json.dumps({key: rng.choice(ROW_VALUES) for key in keys}) for _ in range(rng.randrange(1, 20))]
    rows += rng.sample(ODD_ROWS, 4)
    rng.shuffle(rows)
    return "\n".join(rows)


def hold_to_the_law(path: Path) -> bool:
    """Read and judge a log; return whether it was read. What is not is refused in one line that names it."""
    try:
        facts = read_log(path)
    except MaquetteError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return False
    assert facts.last_step < 10**10
    assert all(0 <= step < 10**10 for step, _ in facts.losses)
    for finding in judged_facts(facts):
        assert finding.message
        assert "{detail}" not in finding.message + finding.remedy
    return True
