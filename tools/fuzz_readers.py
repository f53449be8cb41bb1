"""Damaged text files by the thousand, held to the law of tests/fuzz/readers.py: `python tools/fuzz_readers.py 5000`.

Stops at the first that breaks it, keeps that file and says how to have it again; `--go-on` counts them by kind instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.readers import READERS, hold_to_the_law, inputs

BATCH = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2000)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--go-on", action="store_true", help="read them all, and tell at the end what broke")
    asked = parser.parse_args()
    taken: Counter[bool] = Counter()
    broken: Counter[str] = Counter()
    slowest = (0.0, "")
    for seed in range(asked.seed, asked.seed + -(-asked.count // BATCH)):
        for index, (reader, data) in enumerate(inputs(seed, BATCH)):
            began = time.perf_counter()
            try:
                with tempfile.TemporaryDirectory() as folder:
                    taken[hold_to_the_law(reader, data, Path(folder))] += 1
            except BaseException as error:
                kept = Path(f"broken-{seed}-{index}-{Path(reader.file).name}")
                if not asked.go_on or not isinstance(error, Exception):
                    kept.write_bytes(data)
                    print(f"seed {seed}, input {index}, {reader.name}: kept as {kept}", file=sys.stderr)
                    raise
                place = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {error}".replace("\n", " ")[:160]
                broken[f"{reader.name}  {Path(place.filename).name}:{place.lineno}  {what}"] += 1
            slowest = max(
                slowest, (time.perf_counter() - began, f"{reader.name}, seed {seed}, input {index}")
            )
    print(
        f"{taken.total():,} files of {len(READERS)} readers: {taken[True]:,} read, {taken[False]:,} refused, each in one line"
    )
    print(f"the slowest took {slowest[0]:.2f} s: {slowest[1]}")
    for what, number in broken.most_common():
        print(f"{number:5} {what}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
