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


def test_killed_copies_captions_and_states_are_whole_after_the_next_start() -> None:
    said = _kill("apply", "apply-again", "regularize", "captions", "state", "--points", "3")
    assert said.count("3 kills, nothing lost") == 5


def test_a_run_killed_while_it_writes_resumes_to_the_same_weights() -> None:
    assert "1 kills, nothing lost" in _kill("training", "--points", "1", "--chains", "0")


@pytest.mark.slow
def test_a_run_killed_again_and_again_resumes_to_the_same_weights() -> None:
    assert "the same weights each time" in _kill("training", "--points", "12", "--chains", "4", "--seed", "7")
