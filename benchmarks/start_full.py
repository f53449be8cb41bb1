"""What a start on a full-size base takes: SD 1.5's layout with random weights in float16, trained in float32 at 128 px.

    python benchmarks/start_full.py [--source ANOTHER_CHECKOUT/src] --output benchmarks/results/

Each start is a process of its own; seconds of the processor count from the start of the program to the end of each stage.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from circumstances import circumstances
from start_large import make_pictures

from maquette.families.tiny import file_shapes

RUN = """
import json, os, resource, sys, time
import maquette
from maquette.events import Finished, Progress, Started
told = {}
def listen(event):
    is_step = isinstance(event, Progress) and event.stage == "train"
    if isinstance(event, (Started, Finished)) or is_step:
        name = "first step" if is_step else f"{event.stage} {type(event).__name__.lower()}"
        told[f"{name} cpu_s"] = round(time.process_time(), 2)
    if is_step:
        told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(told), flush=True)
        os._exit(0)
maquette.train(**json.loads(sys.argv[1]), on_event=listen)
"""


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description="Measure a start on a full-size base.")
    parser.add_argument("--source", type=Path, nargs="*", default=[], help="other packages to start, in turn")
    parser.add_argument("--rounds", type=int, default=1, help="how often each starts")
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    own = Path(__file__).parents[1] / "src"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = {
            "images": str(make_pictures(root / "pictures", 8)),
            "base": str(write_base(root / "base.safetensors")),
            "trigger": "zkw",
            "steps": 2,
            "rank": 32,
            "resolution": 128,
            "device": "cpu",
            "precision": "no",
            "output": str(root / "runs"),
        }
        rows = [
            {
                "source": "this" if source == own else str(source.parent.name),
                **started(source, settings, turn),
            }
            for turn in range(given.rounds)
            for source in (*given.source, own)
        ]
    result = {
        **circumstances("start_full", load=given.load),
        "settings": {
            "resolution_px": 128,
            "rank": 32,
            "precision": "no",
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "results": rows,
        "conclusion": "",
    }
    print(json.dumps(result, indent=2))
    if given.output:
        name = f"start_full-{result['date']}-128px-{os.cpu_count()}core-cpu.json"
        (given.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def started(source: Path, settings: dict[str, object], turn: int) -> dict[str, float]:
    """Return what one start of the package in `source` took."""
    values = json.dumps({**settings, "name": f"{source.parent.name}-{turn}"})
    done = subprocess.run(
        [sys.executable, "-c", RUN, values],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_base(path: Path, family: str = "sd1") -> Path:
    """Write the tensors of a full base (SD 1.5's) in float16, drawn so that activations stay of ordinary size."""
    table, end = {}, 0
    for name, shape in file_shapes(family, "full").items():
        start, end = end, end + 2 * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(table).encode()
    drawn = torch.randn(1 << 22, generator=torch.Generator().manual_seed(1))
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name, shape in file_shapes(family, "full").items():
            is_norm = len(shape) == 1 and name.endswith("weight")
            scale = 0.5 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.0
            left = math.prod(shape)
            while left:
                count = min(left, len(drawn))
                file.write((drawn[:count] * scale + float(is_norm)).half().numpy().tobytes())
                left -= count
    return path


if __name__ == "__main__":
    main()
