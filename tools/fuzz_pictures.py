"""Damaged pictures by the thousand, held to the law of tests/fuzz/pictures.py: `python tools/fuzz_pictures.py 5000`.

Stops at the first that breaks it, keeps that file and says how to have it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.by_thousand import hold_many
from tests.fuzz.pictures import hold_to_the_law, inputs


def named(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield inputs under the name of a file."""
    return ((f"picture{ending}", data) for ending, data in inputs(seed, count))


if __name__ == "__main__":
    sys.exit(hold_many(__doc__, "pictures", named, hold_to_the_law))
