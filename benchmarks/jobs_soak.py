"""Kills runners, workers and the studio's server at random moments, and counts what came of every job.

    python benchmarks/jobs_soak.py --kills 200 --seed 1

A home of its own is filled with small jobs: captions changed in folders of text files, and short trainings on a tiny base. A
studio is open, and a page of it listens to every training. Then the runner, a worker or the studio's server is killed (SIGKILL)
again and again, at random moments, between what a person might do in the studio or, while it is gone, in a terminal (pause,
resume, move). A killed server is started again at its port a moment later, and its pages come back. At the end every job must be
done, once; the ledger whole; every event numbered without a gap, and heard once and in order by the page, whoever served it; no
two workers of a job at work together (each holds its folder: a second one would have failed); and every training's weights those
of the training that nobody killed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from circumstances import circumstances

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maquette.jobs.ledger import Ledger
from maquette.jobs.records import OVER, Job, Request
from maquette.jobs.settling import MOST_STRIKES, settle_from_outside
from maquette.jobs.starting import wake_runner
from maquette.processes import is_alive, pid_of
from tests.conftest import make_pictures
from tests.reference import write_tiny_base

SHORT, LONG = "cpu:short", "cpu"
"""Two lanes, so that a training and a caption job run side by side."""
AT_LEAST = 6
PATIENCE_S = 900
SETTINGS = [
    "--trigger", "zkw", "--steps", "12", "--rank", "2", "--resolution", "64", "--bucket-step-px", "16", "--device", "cpu",
    "--precision", "no", "--state-every-steps", "1", "--save-precision", "fp32", "--dropout", "0.1",
]  # fmt: skip


class Page:
    """What a page does that watches a job: it hears its events, and comes back with the number of the last one it heard."""

    def __init__(self, port: int, job: int) -> None:
        self.job, self.heard = job, [-1]
        self.ended, self.is_closed, self.came_back = "", False, -1
        self._port = port
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def close(self, patience_s: float) -> None:
        self._thread.join(patience_s)
        self.is_closed = True

    def _hear(self) -> None:
        while not self.ended and not self.is_closed:
            with suppress(OSError, http.client.HTTPException):
                self._hear_until_it_breaks()
            time.sleep(0.2)

    def _hear_until_it_breaks(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        connection.request(
            "GET", f"/api/jobs/{self.job}/stream", headers={"Last-Event-ID": str(self.heard[-1])}
        )
        answer = connection.getresponse()
        self.came_back += 1
        fields: dict[str, str] = {}
        for raw in answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            if fields.get("event") == "end":  # of a job that was given up for now the stream ends, too
                state = json.loads(fields["data"])["state"]
                self.ended = state if state in OVER else ""
            elif "id" in fields:  # (an event that was sent only in part does not count)
                self.heard.append(int(fields["id"]))
            fields = {}
        connection.close()


class Studio:
    """The studio's server: killed, and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._back_at = 0.0

    def see_to(self) -> None:
        """Start it, unless it is up or was killed only just now."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is None and time.monotonic() >= self._back_at:
            program = "from maquette.cli import main; main()"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, "studio", "--port", str(self.port), "--no-browser", "--json"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=self._folder,
            )  # fmt: skip

    def ask(self, job: int, what: str) -> bool:
        """Ask something of a job as a person in the studio would; False where nobody answers."""
        with suppress(OSError, http.client.HTTPException):
            token = re.search(rb'name="maquette-page" content="([^"]+)"', self._answer("GET", "/queue"))
            if token is not None:
                self._answer("POST", f"/api/jobs/{job}/{what}", token[1].decode())
                return True
        return False

    def _answer(self, method: str, path: str, token: str = "") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            method, path, b"{}" if token else None, {"X-Maquette-Page": token} if token else {}
        )
        found = connection.getresponse().read()
        connection.close()
        return found

    def end(self) -> None:
        """End it for good."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self, back_after_s: float) -> bool:
        """Kill it, if it is there; it is started again a while later."""
        if self._process is None or self._process.poll() is not None or not self._is_up():
            return False
        self._process.kill()
        self._process.wait()
        self._back_at = time.monotonic() + back_after_s
        return True


class Soak:
    """A queue in a folder of its own, and what was done to it."""

    def __init__(self, folder: Path, seed: int, trainings: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.counts: Counter[str] = Counter()
        self.base = write_tiny_base(folder / "tiny.safetensors")
        self.images = make_pictures(folder / "images", [(96, 96), (96, 96), (144, 72)])
        self.jobs: list[int] = []
        self.trainings = [self.add_training(number) for number in range(trainings)]
        self.studio = Studio(folder)
        self.pages = [Page(self.studio.port, job) for job in self.trainings]

    def train_arguments(self, name: str) -> list[str]:
        return [
            str(self.images),
            "--base",
            str(self.base),
            *SETTINGS,
            "--output",
            str(self.folder / "runs"),
            "--name",
            name,
        ]

    def add_training(self, number: int) -> int:
        run, arguments = (
            self.folder / "runs" / f"killed{number}",
            tuple(self.train_arguments(f"killed{number}")),
        )
        request = Request(kind="train", arguments=arguments, cwd=self.folder, run=run, device=LONG)
        return self._added(request)

    def add_captions(self) -> int:
        place = self.folder / f"captions{len(self.jobs)}"
        place.mkdir()
        for number in range(20):
            (place / f"p{number}.txt").write_text("zkw, blue wall, standing")
            os.link(self.images / "p0.png", place / f"p{number}.png")
        arguments = (str(place), "--find", "blue", "--replace", "red")
        return self._added(Request(kind="caption", arguments=arguments, cwd=self.folder, device=SHORT))

    def _added(self, request: Request) -> int:
        self.jobs.append(self.ledger.add(request).id)
        return self.jobs[-1]

    def soak(self, kills: int) -> None:
        while self.counts["kills"] < kills:
            self.see_to()
            time.sleep(self.chance.uniform(0.05, 2.5))
            self.meddle()
            self.kill()

    def see_to(self) -> None:
        """Do what the next command of a person would do: find the lost, start a runner; a job given up is taken up again."""
        self.studio.see_to()
        settle_from_outside(self.ledger)
        while (
            len([job for job in self.ledger.jobs(("queued", "running")) if job.kind == "caption"]) < AT_LEAST
        ):
            self.add_captions()
        for job in self.ledger.jobs(("interrupted", "paused")):
            if job.state == "paused" or job.strikes >= MOST_STRIKES:
                self.counts[
                    "given up and resumed" if job.state == "interrupted" else "paused and resumed"
                ] += 1
                self.ledger.resume(job.id)
        wake_runner(self.ledger)

    def meddle(self) -> None:
        """Pause or move some job now and then, in the studio or, where it is gone, in a terminal."""
        for what, share, directly in (("pause", 0.2, self.ledger.pause), ("first", 0.1, self.ledger.move)):
            if self.chance.random() < share:
                job = self.chance.choice(self.jobs)
                if self.studio.ask(job, what):
                    self.counts["asked in the studio"] += 1
                else:
                    directly(job)

    def kill(self) -> None:
        """Kill the studio's server, the runner or a worker, if any is there."""
        if self.chance.random() < 0.3:
            if self.studio.kill(self.chance.uniform(0, 2)):
                self.counts["kills"] += 1
                self.counts["kills of the studio's server"] += 1
            return
        running = self.ledger.jobs(("running",))
        victims = [(f"worker of {job.kind}", job.worker) for job in running if job.kind == "caption"]
        victims += [
            (f"worker of {job.kind}", job.worker)
            for job in running
            if job.kind == "train" and self.chance.random() < 0.35
        ]
        victims.append(("runner", self.ledger.runner()))
        what, who = self.chance.choice(victims)
        if is_alive(who):
            with suppress(ProcessLookupError):
                os.kill(pid_of(str(who)), signal.SIGKILL)
                self.counts["kills"] += 1
                self.counts[f"kills of the {what}"] += 1

    def drain(self) -> None:
        """Let everything come to its end."""
        until = time.monotonic() + PATIENCE_S
        while any(not job.is_over for job in self.ledger.jobs()) and time.monotonic() < until:
            for job in self.ledger.jobs(("interrupted", "paused")):
                if job.state == "paused" or job.strikes >= MOST_STRIKES:
                    self.ledger.resume(job.id)
            self.studio.see_to()
            settle_from_outside(self.ledger)
            wake_runner(self.ledger)
            time.sleep(1)
        for page in self.pages:
            page.close(60)
        self.counts["times that a page came back"] = sum(page.came_back for page in self.pages)

    def faults(self) -> list[str]:
        """Return in words all that is not as it must be."""
        self.ledger.require_whole()
        known = {job.id: job for job in self.ledger.jobs()}
        found = [f"job {job} is lost" for job in self.jobs if job not in known]
        for job in known.values():
            found += self._faults_of(job)
        for page in self.pages:
            told = [each["sequence"] for each in self.ledger.events(page.job, most=10**6)]
            if page.heard[1:] != told or page.ended != "done":
                found.append(
                    f"the page of job {page.job} heard {len(page.heard) - 1} of {len(told)} events: {page.ended}"
                )
        left: list[int] = []
        for _ in range(20):  # who has noted its job's end is gone a moment later
            left = [
                each.pid for each in psutil.process_iter(["cmdline"]) if _is_worker(each, self.ledger.folder)
            ]
            if not left:
                break
            time.sleep(1)
        return found + [f"process {pid} is left over" for pid in left]

    def _faults_of(self, job: Job) -> list[str]:
        events = self.ledger.events(job.id, most=10**6)
        states = [each["state"] for each in events if each["event"] == "state"]
        found = []
        if job.state != "done":
            found.append(f"job {job.id} ({job.kind}) is {job.state}: {job.error}")
        if [each["sequence"] for each in events] != list(range(len(events))):
            found.append(f"events of job {job.id} have gaps")
        if states.count("done") != 1 or states[-1] != "done":
            found.append(f"job {job.id} went {' '.join(states)}")
        if states.count("running") != job.attempt:
            found.append(f"job {job.id} had {job.attempt} attempts and ran {states.count('running')} times")
        if job.kind == "caption":
            texts = {path.read_text() for path in Path(job.arguments[0]).glob("p*.txt")}
            if texts != {"zkw, red wall, standing"}:
                found.append(f"captions of job {job.id} are {texts}")
        return found

    def odd_weights(self) -> list[str]:
        """Train once more without a kill; return the trainings whose weights are others."""
        program = "from maquette.cli import main; main()"
        command = [sys.executable, "-c", program, "train", *self.train_arguments("alone")]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        wanted = _weights(self.folder / "runs" / "alone")
        runs = [self.ledger.job(job).run for job in self.trainings]
        return [str(run) for run in runs if run is None or _weights(run) != wanted]


def _weights(run: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    (final,) = (run / "checkpoints").glob(f"{run.name}.safetensors")
    return {name: each.tobytes() for name, each in load_file(final).items()}


def _is_worker(process: psutil.Process, folder: Path) -> bool:
    command = process.info["cmdline"] or []
    return "maquette.cli.working" in command and str(folder) in command


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="Folder for the result file.")
    parser.add_argument("--load", default="quiet", help="What else ran on the machine.")
    parser.add_argument("--commit", help="Of a tree that is no checkout.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jobs-soak-") as folder:
        os.environ["MAQUETTE_HOME"] = str(Path(folder) / "home")
        began = time.monotonic()
        soak = Soak(Path(folder), given.seed, given.trainings)
        try:
            soak.soak(given.kills)
            soak.drain()
            faults = soak.faults()
        finally:
            soak.studio.end()
        odd = soak.odd_weights()
        jobs = soak.ledger.jobs()
        told = {
            "jobs": dict(Counter(job.kind for job in jobs)),
            "attempts": sum(job.attempt for job in jobs),
            "most_attempts_of_a_job": max(job.attempt for job in jobs),
            "counts": dict(soak.counts),
            "faults": faults,
            "trainings_with_other_weights": odd,
            "minutes": round((time.monotonic() - began) / 60, 1),
        }
        soak.ledger.close()
    print(json.dumps(told, indent=2))
    if given.output is not None:
        write(told, given)
    sys.exit(1 if faults or odd else 0)


def write(told: dict[str, Any], given: argparse.Namespace) -> None:
    """Write the result file."""
    head = circumstances("jobs_soak", load=given.load)
    kills, wrong = told["counts"]["kills"], len(told["faults"]) + len(told["trainings_with_other_weights"])
    told_jobs = f"{sum(told['jobs'].values())} jobs"
    result = {
        **head,
        "commit": given.commit or head["commit"],
        "settings": {"kills": given.kills, "trainings": given.trainings, "seed": given.seed},
        "results": [told],
        "conclusion": f"{kills} kills of runners, workers and the studio's server, {told_jobs}: "
        + (
            "every one done, none twice, the ledger whole, every event heard once."
            if not wrong
            else f"{wrong} faults."
        ),
    }
    path = given.output / f"jobs_soak-{head['date']}-{os.cpu_count()}core-cpu.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
