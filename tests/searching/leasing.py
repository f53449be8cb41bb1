"""A worker that the tests start, watch and kill: it takes trials, works on them step by step, and tells each one's end.

python -m tests.searching.leasing URL FOLDER TRIALS SEED
"""

from __future__ import annotations

import fcntl
import os
import random
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine

from maquette.searching.keeping import Keeper
from maquette.searching.leases import Leases, Worker

STEPS = 5
LEASE_S = 2.0


def work(url: str, folder: Path, trials: int, seed: int) -> None:
    chance = random.Random(seed)
    # Every other one is as on a machine of its own: nobody sees that it is gone, only its time tells.
    worker = Worker(place=f"machine {seed}") if seed % 2 else Worker()
    with Keeper(Leases(create_engine(url), "s", worker=worker, seconds=LEASE_S)) as keeper:
        while left := [each for each in range(trials) if not (folder / f"done-{each}").exists()]:
            trial = chance.choice(left)
            if keeper.take(trial):
                train(folder, trial, keeper)
                keeper.release([trial])
            time.sleep(0.005)


def train(folder: Path, trial: int, keeper: Keeper) -> None:
    with (folder / f"busy-{trial}").open("a") as busy:
        # Raises where a living process is at the same trial: the system frees the lock of a killed one.
        fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = folder / f"state-{trial}"
        for step in range(int(state.read_text()) if state.exists() else 0, STEPS):
            time.sleep(0.01)
            partial = folder / f"partial-{os.getpid()}"
            partial.write_text(str(step + 1))
            partial.replace(state)
            keeper.note(trial, step + 1)
        if not (folder / f"done-{trial}").exists() and keeper.holds(trial):
            with (folder / "told").open("a") as told:
                told.write(f"{trial}\n")
            (folder / f"done-{trial}").touch(exist_ok=False)


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
