"""Damaged and absurd logs by the thousand, held to the law of tests/fuzz/logs.py: `python tools/fuzz_logs.py 5000`.

Stops at the first that breaks it, keeps that file and says how to have it again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.logs import hold_to_the_law, inputs

BATCH = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
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
    print(f"{counts.total():,} logs: {counts[True]:,} read, {counts[False]:,} refused, each in one line")
    return 0


if __name__ == "__main__":
    sys.exit(main())
