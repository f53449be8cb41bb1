"""Damaged and absurd logs by the thousand, held to the law of tests/fuzz/logs.py: `python tools/fuzz_logs.py 5000`.

Stops at the first that breaks it, keeps that file and says how to have it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.by_thousand import hold_many
from tests.fuzz.logs import hold_to_the_law, inputs

if __name__ == "__main__":
    sys.exit(hold_many(__doc__, "logs", inputs, hold_to_the_law))
