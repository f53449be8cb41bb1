"""Damaged files by the thousand, each held to a law: the command line of the tools that fuzz readers of one file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

BATCH = 100


def hold_many(
    description: str | None,
    what: str,
    inputs: Callable[[int, int], Iterable[tuple[str, bytes]]],
    hold_to_the_law: Callable[[Path], bool],
) -> int:
    """Hold as many inputs (a file's name and its bytes) to the law as the command line asks, and print what became of them.

    Stops at the first that breaks it, keeps that file and says how to have it again.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("count", type=int, nargs="?", default=2000)
    parser.add_argument("--seed", type=int, default=1000)
    asked = parser.parse_args()
    counts: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.seed, asked.seed + -(-asked.count // BATCH)):
            for index, (name, data) in enumerate(inputs(seed, BATCH)):
                path = Path(folder) / name
                path.write_bytes(data)
                try:
                    counts[hold_to_the_law(path)] += 1
                except BaseException:
                    kept = Path(f"broken-{seed}-{index}-{name}")
                    kept.write_bytes(data)
                    print(f"seed {seed}, input {index}: kept as {kept}", file=sys.stderr)
                    raise
                path.unlink()
    print(f"{counts.total():,} {what}: {counts[True]:,} read, {counts[False]:,} refused, each in one line")
    return 0
