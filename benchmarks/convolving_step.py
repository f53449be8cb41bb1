"""What convolutions as matrix products bring: steps of one run, every other one with oneDNN's convolutions instead.

    python benchmarks/convolving_step.py --resolutions 128 256 --output benchmarks/results/

A LoRA of rank 32 over SD 1.5's whole layout with random weights, text encoder too, float32, batch 1, on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from circumstances import circumstances
from start_full import write_base
from train_step import write_picture

import maquette

NEVER = 10**12
"""So many bytes a position no weight has."""


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = write_base(Path(folder) / "base.safetensors")
        rows = [row(Path(folder), base, size, given.steps) for size in given.resolutions]
    result = {
        **circumstances("convolving_step", load=given.load),
        "settings": {"rank": 32, "steps": given.steps, "threads": os.environ.get("OMP_NUM_THREADS")},
        "results": rows,
        "conclusion": "; ".join(f"{each['resolution_px']} px {each['step_cpu_ratio']:.2f}" for each in rows),
    }
    print(json.dumps(result, indent=2))
    if given.output:
        name = f"convolving_step-{result['date']}-{os.cpu_count()}core-cpu.json"
        (given.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def row(folder: Path, base: Path, size: int, steps: int) -> dict[str, Any]:
    """Return what steps took with either, the first one left out."""
    from maquette.families.common import convolving
    from maquette.training.engine import Engine

    pays, own, took = convolving.BYTES_A_POSITION, Engine.step, [[], []]  # type: ignore[var-annotated]

    def step(self: Engine, number: int, *given: Any) -> Any:
        convolving.BYTES_A_POSITION = NEVER if number % 2 else pays
        began = time.process_time()
        result = own(self, number, *given)
        if number:
            took[number % 2].append(round(time.process_time() - began, 3))
        return result

    Engine.step = step  # type: ignore[method-assign]
    try:
        maquette.train(
            images=write_picture(folder / f"{size}", size, steps) / f"{steps}_zkw", base=str(base), trigger="zkw",
            steps=steps, repeats=steps, rank=32, alpha=16, clip_skip=1, resolution=size, bucketing=False, device="cpu",
            precision="no", output=folder / "runs", name=f"{size}",
        )  # fmt: skip
    finally:
        Engine.step, convolving.BYTES_A_POSITION = own, pays  # type: ignore[method-assign]
    products, library = took
    return {
        "resolution_px": size,
        "products_cpu_s": products,
        "onednn_cpu_s": library,
        "step_cpu_ratio": round(median(products) / median(library), 3),
    }


if __name__ == "__main__":
    main()
