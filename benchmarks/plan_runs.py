"""Real trainings, small and full-size, to hold `maquette plan` against: memory by stage, seconds a step, this machine's speed.

Each run is a process of its own that takes three steps and keeps nothing; beside it, in another process, the speed of
this machine is measured as `maquette plan` measures it. `plan_error.py` reads the result.
    python benchmarks/plan_runs.py --base sd15.safetensors --output benchmarks/results/
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circumstances import commit, hardware, software

SMALL_WORLD = "small world"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Settings of one training.

    `fitted`: its figures chose the model's constants. `fresh`: first measured when the constants stood.
    """

    px: int
    batch: int = 1
    rank: int = 32
    checkpointing: bool = False
    precision: str = "no"
    text: bool = True
    fitted: bool = False
    fresh: bool = False
    base: str = "full"

    @property
    def name(self) -> str:
        marks = [
            self.base if self.base != "full" else "",
            f"{self.px} px",
            f"batch {self.batch}",
            f"rank {self.rank}",
        ]
        marks += [
            self.precision if self.precision != "no" else "fp32",
            "checkpointing" if self.checkpointing else "",
        ]
        marks += ["" if self.text else "text frozen"]
        return ", ".join(mark for mark in marks if mark)


RUNS = (
    Run(px=128, rank=8, fitted=True),
    Run(px=256, rank=32, fitted=True),
    Run(px=256, rank=8, precision="bf16", fitted=True),
    Run(px=256, batch=2, rank=8, text=False),
    Run(px=256, rank=32, checkpointing=True),
    Run(px=192, batch=2, rank=32, precision="bf16"),
    Run(px=192, rank=32, batch=2),
    Run(px=256, batch=2, rank=32, checkpointing=True, precision="bf16"),
    Run(px=128, batch=4, rank=128, precision="bf16"),
    Run(px=512, rank=8, precision="bf16", text=False, fitted=True),
    Run(px=512, rank=32, precision="bf16", checkpointing=True),
    Run(px=384, rank=16, fresh=True),
    Run(px=320, batch=3, rank=64, precision="bf16", fresh=True),
    Run(px=448, rank=16, checkpointing=True, text=False, fresh=True),
    Run(px=64, batch=8, rank=8, base=SMALL_WORLD, fitted=True),
    Run(px=64, batch=32, rank=8, base=SMALL_WORLD),
)


def main() -> None:
    """Make the runs and write the result file."""
    given = arguments()
    if given.child:
        print(json.dumps(child(json.loads(given.child))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = make_pictures(Path(folder) / "pictures")
        for run in RUNS:
            if given.only and not any(part in run.name for part in given.only):
                continue
            speed = own_process("speed", run, given.base, pictures)
            measured = own_process("train", run, given.base, pictures)
            rows.append({"run": run.name, **asdict(run), "speed": speed, "measured": measured})
            print(run.name, json.dumps(measured), flush=True)
    record = {
        "benchmark": "plan_runs",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware("cpu"),
        "load": given.load,
        "software": software(),
        "settings": {
            "steps": 3,
            "threads": int(os.environ.get("OMP_NUM_THREADS", 0)),
            "base": "Stable Diffusion 1.x, random",
        },
        "results": rows,
        "conclusion": f"{len(rows)} runs measured; plan_error.py compares them with what plan predicts.",
    }
    path = given.output / f"plan_runs-{record['date'][:10]}-{os.cpu_count()}core-cpu.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--base", help="a full-size checkpoint; maquette.families.tiny.write_full makes a random one"
    )
    parser.add_argument("--only", nargs="*", default=(), help="runs whose name holds one of these")
    parser.add_argument("--load", default="quiet", help="what else ran on the machine meanwhile")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_pictures(folder: Path) -> Path:
    """Write 64 noisy pictures with captions."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(64):
        Image.fromarray(rng.integers(0, 255, (512, 512, 3), np.uint8)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("bench, portrait of a person, blue wall")
    return folder


def own_process(what: str, run: Run, base: str, pictures: Path) -> dict[str, Any]:
    """Measure `what` (speed or train) of `run` in a process of its own."""
    request = json.dumps({**asdict(run), "what": what, "base": base_of(run, base), "pictures": str(pictures)})
    command = [sys.executable, __file__, "--child", request]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def base_of(run: Run, base: str) -> str:
    if run.base != SMALL_WORLD:
        return base
    from maquette.world.pack import base_path

    return str(base_path())


def child(request: dict[str, Any]) -> dict[str, Any]:
    """Do what `own_process` asked for."""
    return speed(request) if request["what"] == "speed" else train(request)


def speed(request: dict[str, Any]) -> dict[str, Any]:
    """Return the speed of this machine at the run's layers."""
    import maquette  # noqa: F401  (before torch: it says how torch's libraries must start)
    from maquette import families
    from maquette.footprint.speed import measure_speed
    from maquette.footprint.workload import workload
    from maquette.lora.config import TrialSpec

    layout = families.layout_of(families.inspect(request["base"]))
    parts = ("text_encoder", "denoiser") if request["text"] else ("denoiser",)
    size = (request["px"], request["px"])
    work = workload(layout, size, TrialSpec(rank=request["rank"], parts=parts))
    measured = measure_speed(
        work, device="cpu", precision=request["precision"], rank=request["rank"], batch=request["batch"]
    )
    return asdict(measured)


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Take three steps; return seconds, the peak of resident memory, and the peak at the end of each stage."""
    import time

    started = time.perf_counter()
    from maquette.api import train_events
    from maquette.events import Event, Progress, Started, run_stage

    settings = {
        "base": request["base"], "trigger": "bench", "steps": 100, "rank": request["rank"], "batch_size": request["batch"],
        "resolution": request["px"], "bucketing": False, "precision": request["precision"], "device": "cpu",
        "gradient_checkpointing": request["checkpointing"], "lr_scheduler": "constant",
        **({} if request["text"] else {"text_encoder_lr": 0}),
    }  # fmt: skip
    peaks: dict[str, int] = {}

    def note(event: Event) -> None:
        if isinstance(event, Started):
            peaks[f"before {event.stage}"] = peak_bytes()
            peaks[f"held before {event.stage}"] = held_bytes()
        elif isinstance(event, Progress) and event.stage == "train":
            peaks[f"after step {event.done}"] = peak_bytes()

    stage = train_events(request["pictures"], smoke=True, settings=settings, started=started)
    result = run_stage(stage, note)
    return {
        "peak_bytes": result.peak_memory_bytes,
        "seconds_per_step": result.seconds_per_step,
        "start_to_first_step_s": result.start_to_first_step_s,
        "timings": dict(result.record.timings),
        "peaks": peaks,
    }


def peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
