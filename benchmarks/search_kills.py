"""Kills of a search: three workers on a real PostgreSQL, killed with SIGKILL at random moments and replaced, until it is over.

    python benchmarks/search_kills.py --kills 20 --output benchmarks/results/

One search of real trainings on the small world is left alone, in one process. The same search is then begun on PostgreSQL with
two workers beside it. A worker is killed only while it has trials in hand, some seconds after it was seen to; a new one takes
its place: `maquette search --resume` for the process that began the search, `maquette search worker` for the others. At the end
each trial must be there once, with the loss that it has where nobody was killed. Proposals are drawn at random and none is
pruned: what is proposed, and who is ended early, would else depend on what was finished when. PostgreSQL serves from a folder
of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from sqlalchemy import create_engine, text  # noqa: E402

from maquette.demo.project import write_demo_project  # noqa: E402
from maquette.files import write_json  # noqa: E402
from maquette.processes import pid_of  # noqa: E402
from maquette.searching.leases import Leases  # noqa: E402
from maquette.searching.places import study_folder  # noqa: E402
from maquette.searching.records import StudyRecord, read_study  # noqa: E402
from tests.searching.databases import Postgres, postgres  # noqa: E402

WORKERS = 3
STUDY = "killed"
SPACE = """
safety = false
[space]
network_dim = { choose = [2, 4, 8] }
learning_rate = { low = 3e-4, high = 3e-3, log = true }
"""
TOLERANCE = 1e-4
"""Of a loss, relative: packs of other companions sum in another order."""
LONGEST_S = 3600.0


@dataclass
class Tally:
    """What was done to the search."""

    kills: int = 0
    trials_in_hand: Counter[int] = field(default_factory=Counter)
    """How often a kill met so many trials at work."""
    led: int = 0
    """Kills of the process that began the search."""


class Search:
    """The search that is killed, and its processes."""

    def __init__(self, root: Path, server: Postgres, given: argparse.Namespace) -> None:
        self.project, self.server, self.given = root / "project", server, given
        self.log = (root / "workers.log").open("ab")
        self.chance = random.Random(given.seed)
        self.tally = Tally()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))

    def begin(self) -> None:
        """Begin the search, and have the others join once it is there."""
        asked = [
            "search",
            self.project,
            "--study",
            STUDY,
            *search_flags(self.given),
            "--storage",
            self.server.url,
        ]
        self.processes[0] = self.start(*asked)
        wait_until(lambda: self.leases().workers(), "the search to begin")
        for place in range(1, WORKERS):
            self.replace(place)

    def leases(self) -> Leases:
        return Leases(self.engine, STUDY)

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-c", "from maquette.cli import main; main()", *map(str, arguments)]
        return subprocess.Popen(program, stdout=self.log, stderr=self.log)

    def replace(self, place: int) -> None:
        """Start what takes the place of a killed process, unless everything is trained."""
        study = ("--study", STUDY, "--storage", self.server.url)
        kind = ("--resume",) if place == 0 else ()
        self.processes[place] = self.start(
            "search", *(() if place == 0 else ("worker",)), self.project, *kind, *study
        )

    def kill_one(self) -> bool:
        """Kill a worker that has trials in hand, some time after it was seen to; return whether there was one."""
        victim = wait_until(self.victim, "a worker with trials in hand")
        if victim is None:
            return False
        time.sleep(self.chance.uniform(0.0, self.given.longest_wait))
        owners = Counter(each.owner for each in self.leases().all() if each.left_s > 0)
        owner = {pid_of(each.process): each.owner for each in self.leases().workers()}[
            self.processes[victim].pid
        ]
        if self.processes[victim].poll() is not None or not owners[owner]:
            return True  # it ended by itself
        os.kill(self.processes[victim].pid, signal.SIGKILL)
        self.processes[victim].wait()
        self.tally.kills += 1
        self.tally.led += victim == 0
        self.tally.trials_in_hand[owners[owner]] += 1
        print(f"kill {self.tally.kills} of worker {victim} with {owners[owner]} trials in hand", flush=True)
        self.replace(victim)
        return True

    def victim(self) -> int | None:
        """Return a process with leases in force, None while there is none."""
        leases = self.leases()
        held = {each.owner for each in leases.all() if each.left_s > 0}
        at_work = {pid_of(each.process) for each in leases.workers() if each.owner in held}
        found = [
            place for place, each in self.processes.items() if each.pid in at_work and each.poll() is None
        ]
        if not found and all(each.poll() is not None for each in self.processes.values()):
            raise RuntimeError("every worker has ended by itself")
        return self.chance.choice(found) if found else None

    def finish(self) -> None:
        """Wait until all have ended by themselves."""
        for place, each in self.processes.items():
            code = each.wait(LONGEST_S)
            assert code == 0, f"worker {place} ended with {code}: see {self.log.name}"


def wait_until(found: Any, what: str) -> Any:
    """Return what `found` finds, once it finds something; None where all processes ended by themselves."""
    until = time.monotonic() + LONGEST_S
    while True:
        try:
            value = found()
        except RuntimeError:
            return None
        if value or value == 0:
            return value
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)


def search_flags(given: argparse.Namespace) -> list[object]:
    return [
        "--trials", given.trials, "--pack", 2, "--sampler", "random", "--halving", 1, "--finalists", 0, "--space", given.space,
    ]  # fmt: skip


def make_project(folder: Path, steps: int) -> Path:
    """Write a small-world project whose trials save their state every few steps."""
    write_demo_project(folder, seed=1, steps=steps)
    config = folder / "maquette.toml"
    told = config.read_text().replace("batch_size = 4", "batch_size = 1")
    config.write_text(told.replace("[saving]\n", "[saving]\nstate_every_steps = 10\n"))
    return folder


def undisturbed(root: Path, given: argparse.Namespace) -> StudyRecord:
    """Return the search that nobody kills."""
    project = make_project(root / "alone", given.steps)
    asked = ["search", str(project), "--study", STUDY, *map(str, search_flags(given))]
    subprocess.run(
        [sys.executable, "-c", "from maquette.cli import main; main()", *asked],
        check=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    return read_study(study_folder(project, STUDY))


def compared(alone: StudyRecord, search: Search) -> dict[str, Any]:
    """Return how the killed search differs from the undisturbed one."""
    found = read_study(study_folder(search.project, STUDY))
    values = {each.number: each.value for each in found.trials}
    wanted = {each.number: each.value for each in alone.trials}
    both = [number for number in wanted if values.get(number) is not None and wanted[number] is not None]
    leases = search.leases().all()
    return {
        "trials": len(wanted),
        "lost": sum(each.state != "finished" for each in found.trials)
        + max(0, len(wanted) - len(found.trials)),
        "counted_twice": _told_twice(search) + max(0, len(found.trials) - len(wanted)),
        "proposed_alike": sum(found.trial(number).params == alone.trial(number).params for number in both),
        "largest_loss_difference_ratio": max(abs(values[n] / wanted[n] - 1) for n in both),  # type: ignore[operator]
        "losses_equal_to_the_bit": sum(values[number] == wanted[number] for number in both),
        "trials_that_changed_hands": sum(each.turn > 1 for each in leases),
        "most_hands_of_a_trial": max(each.turn for each in leases),
        "workers": len(search.leases().workers()),
    }


def _told_twice(search: Search) -> int:
    """Return how many trials have more than one value, or none of their own end, in Optuna's tables."""
    with search.engine.connect() as db:
        rows = db.execute(text("SELECT count(*) FROM trial_values GROUP BY trial_id")).scalars().all()
        finished = db.execute(text("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")).scalar_one()
    return sum(count > 1 for count in rows) + abs(len(rows) - int(finished))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=14)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--longest-wait", type=float, default=4.0, help="seconds after which a worker with trials is killed"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", default="quiet")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, postgres() as server:
        given.space = Path(root) / "space.toml"
        given.space.write_text(SPACE)
        alone = undisturbed(Path(root), given)
        print(f"undisturbed: {alone.seconds:.0f} s", flush=True)
        search = Search(Path(root), server, given)
        make_project(search.project, given.steps)
        began = time.monotonic()
        search.begin()
        while search.tally.kills < given.kills and search.kill_one():
            pass
        search.finish()
        row = {
            "kills": search.tally.kills,
            "kills_by_trials_in_hand": dict(sorted(search.tally.trials_in_hand.items())),
            "kills_of_the_process_that_began": search.tally.led,
            **compared(alone, search),
            "undisturbed_s": round(alone.seconds, 1),
            "killed_s": round(time.monotonic() - began, 1),
        }
    result = _result(row, given)
    print(json.dumps(result, indent=2))
    if given.output:
        write_json(
            given.output / f"search_kills-{result['date']}-{row['kills']}kills-{os.cpu_count()}core-cpu.json",
            result,
        )
    sys.exit(
        1 if row["lost"] or row["counted_twice"] or row["largest_loss_difference_ratio"] > TOLERANCE else 0
    )


def _result(row: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    from circumstances import circumstances

    largest = row["largest_loss_difference_ratio"]
    return {
        **circumstances("search_kills", load=given.load),
        "settings": {
            "workers": WORKERS, "trials": given.trials, "steps": given.steps, "pack": 2, "seed": given.seed, "space": SPACE,
            "longest_wait_s": given.longest_wait, "tolerance_ratio": TOLERANCE,
        },
        "results": [row],
        "conclusion": (
            f"{row['kills']} kills of workers with trials in hand on PostgreSQL: {row['lost']} of {row['trials']} trials lost, "
            f"{row['counted_twice']} counted twice, losses within a share of {largest:.1e} of the undisturbed search's "
            f"(allowed: {TOLERANCE:.0e})"
        ),
    }  # fmt: skip


if __name__ == "__main__":
    main()
