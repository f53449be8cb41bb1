"""Time of a training step, time to the first one and peak memory: `maquette train` against a plain diffusers + PEFT loop.

Both run as processes of their own, in turn, on the same base, pictures, sizes and rank.
    python benchmarks/train_step.py --base sd15.safetensors --pictures kohya-folder --output benchmarks/results/
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from circumstances import commit, hardware, software

FIGURES = ("seconds_per_step", "start_to_first_step_s", "peak_memory_bytes")


def main() -> None:
    """Run the rounds and write the result file."""
    given = arguments()
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(given.rounds):
        rounds.append({"maquette": ours(given), "plain": plain(given)})
        print(f"round {number + 1}: {rounds[-1]}", flush=True)
    results = [row(name, rounds) for name in FIGURES]
    record = {
        "benchmark": "train_step",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware("cpu"),
        "load": given.load,
        "software": software(),
        "settings": {"resolution": given.resolution, "rank": given.rank, "steps": given.steps, "rounds": given.rounds,
                     "precision": "float32", "batch": 1, "base": Path(given.base).name},
        "results": results,
        "conclusion": "; ".join(f"{entry['figure']}: maquette / plain loop {entry['ratio']:.3f}" for entry in results),
    }  # fmt: skip
    path = given.output / f"train_step-{record['date'][:10]}-{given.resolution}px-cpu.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(record["conclusion"], path, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", default="quiet")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def ours(given: argparse.Namespace) -> dict[str, float]:
    """Run `maquette train` and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-c", "from maquette.cli import main; main()", "train", given.pictures, "--base", given.base,
            "--trigger", "bench", "--steps", given.steps, "--rank", given.rank, "--alpha", given.rank / 2, "--clip-skip", 1,
            "--resolution", given.resolution, "--no-bucketing", "--lr-scheduler", "constant", "--output", folder,
            "--name", "bench", "--device", "cpu", "--precision", "no", "--json",
        ]  # fmt: skip
        return figures(command)


def plain(given: argparse.Namespace) -> dict[str, float]:
    """Run the plain loop and return its figures."""
    script = Path(__file__).with_name("plain_loop.py")
    command: list[Any] = [sys.executable, script]
    for name in ("base", "pictures", "resolution", "rank", "steps"):
        command += [f"--{name}", getattr(given, name)]
    # The package asks MKL for results that do not depend on alignment; the plain loop shall not pay for that.
    return figures(command, {"MKL_CBWR": "AUTO"})


def figures(command: list[Any], environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run `command` and return what it measured of itself."""
    words = [str(part) for part in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        sys.exit(done.stderr)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return {name: answer[name] for name in FIGURES}


def row(name: str, rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return both sides' medians and minima of one figure, and the median of the rounds' ratios."""
    sides = {side: [entry[side][name] for entry in rounds] for side in ("maquette", "plain")}
    ratios = [a / b for a, b in zip(sides["maquette"], sides["plain"], strict=True)]
    measured = {
        f"{side}_{kind.__name__}": kind(values) for side, values in sides.items() for kind in (median, min)
    }
    return {"figure": name, **measured, "ratio": median(ratios)}


if __name__ == "__main__":
    main()
