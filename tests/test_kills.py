"""What writes is killed in the midst of it, for real; what the next start makes is what an unbroken one made.

A few points of each here; `tools/kill_everywhere.py` takes them all.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed ones are forked")


def _kill(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / "kill_everywhere.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_killed_while_it_writes_is_whole_after_the_next_start() -> None:
    """Copies, captions and states, and a run, which resumes to the same weights: one process, for its libraries take longest."""
    said = _kill(
        "apply:3", "apply-again:3", "regularize:3", "captions:3", "state:3", "training:1", "--chains", "0"
    )
    assert said.count("3 kills, nothing lost") == 5 and "training: 1 kills, nothing lost" in said


@pytest.mark.slow
def test_a_run_killed_again_and_again_resumes_to_the_same_weights() -> None:
    assert "the same weights each time" in _kill("training", "--points", "12", "--chains", "4", "--seed", "7")
