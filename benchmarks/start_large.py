"""How a training's start grows with the dataset: 2,000 and 20,000 small pictures, their cache empty and known.

    python benchmarks/start_large.py --output benchmarks/results/

Makes the pictures in a temporary folder and trains the narrow base of the tests for one step of an epoch, each time in a
process of its own: from the start of the program to its first step, seconds of the processor and of the clock, and the
peak of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from circumstances import circumstances
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
SIZES = ((64, 64), (80, 64), (64, 96), (72, 72))
RUN = """
import json, os, resource, sys, time
began = time.perf_counter()
import maquette
from maquette.events import Progress
def listen(event):
    if isinstance(event, Progress) and event.stage == "train":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told = {"cpu_s": time.process_time(), "wall_s": time.perf_counter() - began, "peak_mb": peak}
        print(json.dumps({name: round(value, 1) for name, value in told.items()}), flush=True)
        os._exit(0)
maquette.train(**json.loads(sys.argv[1]), on_event=listen)
"""
"""A start: the run ends with its first step."""


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description="Time the start of a training over many pictures.")
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000], help="how many pictures")
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sys.path.insert(0, str(REPOSITORY))
        from tests.reference import write_tiny_base

        base = write_tiny_base(root / "tiny.safetensors")
        starts = {str(count): starts_over(root, base, count) for count in given.counts}
    result = {
        **circumstances("start_large", load=given.load),
        "settings": {
            "counts": given.counts,
            "resolution_px": 64,
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "results": rows_of(starts, given.counts),
        "conclusion": "",
    }
    print(json.dumps(result, indent=2))
    if given.output:
        name = f"start_large-{result['date']}-{os.cpu_count()}core-cpu.json"
        (given.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def rows_of(starts: dict[str, Any], counts: list[int]) -> list[dict[str, Any]]:
    """Return a row for each start, then what the most pictures took over what the fewest did."""
    rows = [
        {"pictures": int(count), "latents": known, **took}
        for count, by_known in starts.items()
        for known, took in by_known.items()
    ]
    few, many = (starts[str(count)] for count in (counts[0], counts[-1]))
    ratios = [
        {
            "pictures": f"{counts[-1]} / {counts[0]}",
            "latents": known,
            **{f"{name}_ratio": round(many[known][name] / few[known][name], 2) for name in few[known]},
        }
        for known in few
    ]
    return rows + ratios


def starts_over(root: Path, base: Path, count: int) -> dict[str, Any]:
    """Return what two starts over `count` pictures took: their latents unknown, then in the cache's folder."""
    images = make_pictures(root / f"{count}", count)
    settings = {
        "images": str(images),
        "base": str(base),
        "trigger": "zkw",
        "steps": count,
        "rank": 2,
        "resolution": 64,
        "bucket_step_px": 16,
        "device": "cpu",
        "precision": "no",
        "text_encoder_lr": 0.0,
        "cache_folder": str(root / f"cache{count}"),
        "output": str(root / "runs"),
    }
    return {known: started({**settings, "name": f"{known}{count}"}) for known in ("unknown", "known")}


def started(settings: dict[str, Any]) -> dict[str, float]:
    """Return what one start took; the run is ended after its first step."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_pictures(folder: Path, count: int) -> Path:
    """Write `count` small pictures that differ, with captions."""
    folder.mkdir()
    numbers = np.random.default_rng(1)
    words = [f"word{number}" for number in range(200)]
    for index in range(count):
        small = Image.fromarray(numbers.integers(0, 255, (4, 4, 3), np.uint8))
        path = folder / f"p{index:05d}.png"
        small.resize(SIZES[index % len(SIZES)], Image.Resampling.BICUBIC).save(path, compress_level=1)
        parts = ", ".join(words[number] for number in numbers.integers(0, len(words), 6))
        path.with_suffix(".txt").write_text(f"zkw, {parts}", encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
