"""A soak: real runs killed with SIGKILL at random moments and resumed until they end, as often as asked.

    python benchmarks/soak.py --kills 1000 --output benchmarks/results/

Every kind of run below trains once undisturbed. Then runs of each are killed again and again and gone on with as a person would:
`maquette train --resume` where there is a record, the same command again where there is none. After every kill all that lies in
the run's folder is read. At the end weights, samples and losses are compared bit for bit with the undisturbed run's.

A run is a process forked from one that has imported everything, so that a kill costs a second instead of ten. Its moment is drawn
in seconds of the processor, so that a busy machine does not move it, and then delayed by up to 5 ms of the clock, so that waiting
for the disk is hit too. Ctrl-C ends it with a result of the kills so far. Linux only: elsewhere nobody tells another process's
seconds of the processor.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import maquette  # noqa: E402
from maquette.files import write_json  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"dropout": 0.1},
    "averaged": {"ema_decay": 0.9, "lr_scheduler": "cosine", "batch_size": 2, "accumulation": 2, "shuffle_caption": True},
    "prodigy": {"optimizer": "prodigy", "learning_rate": 1.0, "noise_offset": 0.1, "multires_noise_iterations": 2},
    "preserved": {"preservation": 1.0, "class_word": "person", "min_snr_gamma": 5.0, "text_encoder_lr": 5e-4},
    "shown": {"sample_prompts": ("zkw, standing",), "sample_steps": 1, "validation_pictures": 1, "validation_timesteps": 2},
    "varied": {"flip_aug": True, "random_crop": True, "cache_latents": False, "cache_folder": None, "rank_dropout": 0.1},
    "text cached": {"text_encoder_lr": 0.0, "cache_text_encoder_outputs": True, "adapter": "loha", "loss_type": "huber"},
}  # fmt: skip
"""Settings of each kind of run over COMMON: what is kept between steps differs."""
COMMON: dict[str, Any] = {
    "trigger": "zkw", "steps": 4, "rank": 2, "resolution": 64, "bucket_step_px": 16, "device": "cpu", "precision": "no",
    "name": "zkw", "state_every_steps": 1, "save_every_steps": 2, "save_precision": "fp32", "tensorboard": False,
}  # fmt: skip
MOST_KILLS = 12
"""Of one run on its way to the end."""
SUDDEN_S = 0.005
OF_A_RUN = ("state", "checkpoints", "samples")
"""Folders of a run by which a partial file in them is told."""
OF_THE_MACHINE = {"seconds", "peak_memory_bytes"}
"""Values of a metrics row that no two runs share."""


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    runs: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    writing: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    not_resumed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def losses(self) -> list[str]:
        """Everything that must not be."""
        return [*self.unreadable, *self.mismatches, *self.not_resumed, *self.left]


class Phase:
    """Where a run is, in memory that it shares with who kills it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 64)

    def set(self, name: str) -> None:
        """Tell where the run is."""
        self._memory[:] = name.encode()[:64].ljust(64, b"\0")

    def get(self) -> str:
        """Return where it was last."""
        return self._memory[:].rstrip(b"\0").decode()

    def listen(self, event: Any) -> None:
        """Take the phase from an event."""
        name = type(event).__name__
        if name == "Started":
            self.set(f"{event.stage}")
        elif name == "Finished":
            self.set(f"after {event.stage}")
        elif name == "Progress" and event.stage == "train":
            self.set(f"train, step {event.done}")


# --- runs -------------------------------------------------------------------------------------------------


def train(place: Path, kind: str, phase: Phase) -> None:
    """Begin the run of `kind` in `place`, or go on with it."""
    run = place / "out" / "zkw"
    phase.set("prepare")
    if (run / "run.json").is_file():
        maquette.train(resume=run, on_event=phase.listen)
        return
    places = {"images": "pictures", "base": "tiny.safetensors", "output": "out", "cache_folder": "cache"}
    inputs = {name: str(place / below) for name, below in places.items()}
    maquette.train(**{**inputs, **COMMON, **KINDS[kind]}, on_event=phase.listen)


def is_finished(place: Path) -> bool:
    """Return whether the record says that the run is finished."""
    from maquette.runs.record import read_record

    run = place / "out" / "zkw"
    return (run / "run.json").is_file() and read_record(run).state == "finished"


def content(place: Path) -> dict[str, str]:
    """Return what must be the same: hashes of every LoRA's tensors and of every sample's pixels, the rows of losses."""
    from PIL import Image
    from safetensors.torch import load_file

    run = place / "out" / "zkw"
    found = {}
    for path in sorted(run.rglob("*.safetensors")):
        if "state" in path.relative_to(run).parts:
            continue
        tensors = load_file(path)
        told = b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
        found[path.name] = hashlib.sha256(told).hexdigest()
    for path in sorted(run.rglob("*.png")):
        with Image.open(path) as image:
            found[path.name] = hashlib.sha256(image.tobytes()).hexdigest()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [{name: value for name, value in row.items() if name not in OF_THE_MACHINE} for row in rows]
    found["metrics.jsonl"] = json.dumps(kept)
    return found


def unreadable(place: Path) -> list[str]:
    """Return the files below `place` that bear their name and cannot be read, each with why."""
    from PIL import Image
    from safetensors.torch import load_file

    def lines(path: Path) -> None:
        # The last one may be torn: who reads next drops it.
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                json.loads(line)

    def picture(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    readers: dict[str, Callable[[Path], object]] = {
        ".json": lambda path: json.loads(path.read_bytes()),
        ".jsonl": lines,
        ".safetensors": load_file,
        ".png": picture,
    }
    found = []
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.suffix in readers and not path.is_symlink():
            try:
                readers[path.suffix](path)
            except Exception as error:  # whatever a reader makes of a torn file
                found.append(f"{path.relative_to(place)}: {type(error).__name__}: {error}")
    return found


def written(place: Path, killed: int) -> list[str]:
    """Return what process `killed` was in the midst of writing, told by its partial files: the folder or file."""
    parts = (path for path in place.rglob("*.part") if f".{killed:x}-" in path.name)
    return [path.parent.name if path.parent.name in OF_A_RUN else path.name.split(".")[1] for path in parts]


# --- killing ----------------------------------------------------------------------------------------------


def forked(work: Callable[[], None], heard: Path) -> int:
    """Return the process that does `work` and ends with 0; what it raises is written to `heard`."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            heard.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            os._exit(1)
    return child


def ended(child: int) -> int:
    """Return how it ended: 0, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(child: int, moment_cpu_s: float, delay_s: float) -> bool:
    """Kill the process after so many seconds of the processor; return False where it ended before."""
    clock = (~child << 3) | 2  # CPUCLOCK_SCHED of a process: what clock_getcpuclockid(3) makes of its id
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if (code := os.waitstatus_to_exitcode(status)) != 0:
                raise RuntimeError(f"the run ended by itself with {code}")
            return False
        left = moment_cpu_s - time.clock_gettime(clock)
        if left <= 0:
            break
        time.sleep(max(0.001, left * 0.8))
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    return ended(child) == -signal.SIGKILL


class Soak:
    """Undisturbed runs, and killed ones beside them."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.draw = random.Random(seed)
        self.phase = Phase()
        self.tally = Tally()
        self.whole: dict[str, dict[str, str]] = {}
        self.cpu_s: dict[str, float] = {}
        self._prepare()

    def _prepare(self) -> None:
        from tests.conftest import make_pictures
        from tests.reference import write_tiny_base

        made = self.root / "made"
        make_pictures(made / "pictures", [(96, 96), (144, 72), (72, 144)])
        self.base = write_tiny_base(self.root / "tiny.safetensors")
        for kind in KINDS:
            self._import_what_it_needs(kind)
            gc.collect()
            gc.freeze()  # or every child walks through, and copies, all that was imported
            place, began = self._fresh("whole"), _children_cpu_s()
            if ended(forked(lambda kind=kind, place=place: train(place, kind, self.phase), self._heard)):
                sys.exit(f"{kind}, undisturbed: {self._heard.read_text(encoding='utf-8')}")
            self.cpu_s[kind] = _children_cpu_s() - began
            self.whole[kind] = content(place)
            print(f"{kind}: {self.cpu_s[kind]:.1f} s of the processor, undisturbed", flush=True)

    def _import_what_it_needs(self, kind: str) -> None:
        """Import here what a run of `kind` imports, by asking one: it starts threads, and would not be safe to fork from."""
        place, names = self._fresh("imports"), self.root / "modules"

        def tell() -> None:
            train(place, kind, self.phase)
            names.write_text("\n".join(sys.modules), encoding="utf-8")

        if ended(forked(tell, self._heard)):
            sys.exit(f"{kind}, undisturbed: {self._heard.read_text(encoding='utf-8')}")
        for name in names.read_text(encoding="utf-8").splitlines():
            if name not in sys.modules and name.partition(".")[0] not in ("__main__", "__mp_main__"):
                try:
                    importlib.import_module(name)
                except Exception:  # modules that others make up while they run
                    continue

    @property
    def _heard(self) -> Path:
        return self.root / "heard"

    def _fresh(self, name: str) -> Path:
        place = self.root / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.root / "made", place)
        (place / "tiny.safetensors").symlink_to(self.base)
        return place

    def run(self, kind: str, kills: int) -> None:
        """Take one run of `kind` to its end over at most `kills` kills."""
        place, tally, about = self._fresh("killed"), self.tally, f"{kind}, run {self.tally.runs + 1}"
        tally.runs += 1
        try:
            for _ in range(min(kills, MOST_KILLS)):
                # A run that goes on is shorter than a whole one: its end lies within this as well.
                moment = self.draw.uniform(0, 0.8) * self.cpu_s[kind]
                child = forked(lambda: train(place, kind, self.phase), self._heard)
                if not killed(child, moment, self.draw.uniform(0, SUDDEN_S)):
                    break
                self._after_kill(place, kind, child, about)
                if is_finished(place):
                    break  # killed between its last word and its end
            else:
                if not is_finished(place):
                    self._go_on(place, kind)
            if not is_finished(place):
                tally.not_resumed.append(f"{about}: it ended and its record does not say that it is finished")
                return
        except Exception as error:  # a soak tells everything it meets
            heard = self._heard.read_text(encoding="utf-8") if self._heard.exists() else ""
            tally.not_resumed.append(f"{about}: {error} {heard}")
            return
        found = content(place)
        for name in sorted(found.keys() | self.whole[kind].keys()):
            if found.get(name) != self.whole[kind].get(name):
                tally.mismatches.append(f"{about}: {name}{'' if name in found else ' is missing'} is another")
        tally.left += [f"{about}: {path.relative_to(place)} is left" for path in place.rglob("*.part")]

    def _after_kill(self, place: Path, kind: str, child: int, about: str) -> None:
        tally = self.tally
        tally.kills += 1
        tally.kinds[kind] += 1
        tally.phases[self.phase.get()] += 1
        tally.writing.update(written(place, child) or ["nothing"])
        tally.unreadable += [
            f"{about}, kill {tally.kills} ({self.phase.get()}): {why}" for why in unreadable(place)
        ]

    def _go_on(self, place: Path, kind: str) -> None:
        if (code := ended(forked(lambda: train(place, kind, self.phase), self._heard))) != 0:
            raise RuntimeError(f"it did not go on ({code})")


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- the whole --------------------------------------------------------------------------------------------


def main() -> None:
    """Kill as often as asked, print and write the result; end with 1 where something was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit(
            "Kills at seconds of the processor need Linux; tools/kill_everywhere.py runs wherever there is fork()."
        )
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        soak = Soak(Path(root), given.seed)
        kinds = list(KINDS)
        try:
            while soak.tally.kills < given.kills:
                soak.run(kinds[soak.tally.runs % len(kinds)], given.kills - soak.tally.kills)
                losses = soak.tally.losses
                print(f"{soak.tally.kills} kills, {soak.tally.runs} runs, {len(losses)} losses", flush=True)
                for loss in losses[-1:]:
                    print(loss, flush=True)
        except KeyboardInterrupt:
            print("Ended before all kills were done.", flush=True)
    result = _result(soak, given)
    print(json.dumps(result, indent=2))
    if given.output:
        write_json(given.output / f"soak-{result['date']}-{os.cpu_count()}core-cpu.json", result)
    sys.exit(1 if soak.tally.losses else 0)


def _result(soak: Soak, given: argparse.Namespace) -> dict[str, Any]:
    from circumstances import circumstances

    tally = soak.tally
    phases = dict(tally.phases.most_common())
    lost = len(tally.losses)
    return {
        **circumstances("soak", load=given.load),
        "settings": {"seed": given.seed, "common": COMMON, "kinds": KINDS, "most_kills_of_a_run": MOST_KILLS},
        "results": [
            {
                "kills": tally.kills,
                "runs": tally.runs,
                "kills_by_phase": phases,
                "kills_while_writing": dict(tally.writing.most_common()),
                "kills_by_kind": dict(tally.kinds.most_common()),
                "mismatches": tally.mismatches,
                "unreadable_files": tally.unreadable,
                "not_resumed": tally.not_resumed,
                "partial_files_left": tally.left,
                "undisturbed_cpu_s": {name: round(seconds, 2) for name, seconds in soak.cpu_s.items()},
                "whole_soak_cpu_s": round(_children_cpu_s() + time.process_time(), 1),
            }
        ],
        "conclusion": (
            f"{tally.kills} kills of {tally.runs} runs of {len(KINDS)} kinds: "
            + (f"{lost} losses" if lost else "the same weights, samples and losses each time, to the bit; every file readable")
        ),
    }  # fmt: skip


if __name__ == "__main__":
    main()
