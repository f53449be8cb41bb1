"""What merging a LoRA into a full-size base takes: SDXL's layout (or another family's) with random weights in float16.

    python benchmarks/merge_memory.py --family sdxl --rank 32 --output benchmarks/results/

The merge is a process of its own: its peak is the most that it ever had resident, libraries included (Linux' VmHWM: getrusage's
peak begins with the parent's). `idle_bytes` is a process that only imports what the merge imports.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from circumstances import circumstances

from maquette.families.lora_names import lora_modules
from maquette.families.tiny import write_full
from maquette.lora.files import save_lora
from maquette.lora.kinds import KINDS
from maquette.lora.size import sizes_of_layer

MERGE = """
import json, pathlib, re, sys, time
import maquette, maquette.toolbox.baking
started, cpu = time.perf_counter(), time.process_time()
lora, base, output = sys.argv[1:]
rounding = None
if output:
    rounding = maquette.lora_merge(lora, base=base, output=output, strengths=0.8).rounding
print(json.dumps({
    "peak_bytes": int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024,
    "wall_s": round(time.perf_counter() - started, 1),
    "cpu_s": round(time.process_time() - cpu, 1),
    "rounding": rounding,
}))
"""


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description="Measure a merge into a full-size base.")
    parser.add_argument("--family", default="sdxl")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument(
        "--folder", type=Path, help="where base and result lie meanwhile (twice the model's size)"
    )
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        row = measured(Path(folder), given.family, given.rank)
    result = {
        **circumstances("merge_memory", load=given.load),
        "settings": {"family": given.family, "rank": given.rank, "precision": "float16", "strength": 0.8},
        "results": [row],
        "conclusion": (
            f"Merging a rank-{given.rank} LoRA ({row['lora_bytes'] / 2**20:.0f} MiB) into a base of "
            f"{row['base_bytes'] / 1e9:.1f} GB had at most {row['peak_bytes'] / 2**20:.0f} MiB resident, "
            f"{row['peak_ratio']} times the file."
        ),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if given.output:
        name = f"merge_memory-{result['date']}-{given.family}-{result['hardware']['cores']}core-cpu.json"
        (given.output / name).write_text(text + "\n", encoding="utf-8")


def measured(folder: Path, family: str, rank: int) -> dict[str, Any]:
    """Write base and LoRA, merge them, return what that took."""
    base = write_full(family, folder / "base.safetensors")
    lora = write_lora(folder / "lora.safetensors", family, rank)
    idle = run(lora, base, "")
    merging = run(lora, base, str(folder / "merged.safetensors"))
    size = base.stat().st_size
    return {
        "base_bytes": size,
        "lora_bytes": lora.stat().st_size,
        "idle_bytes": idle["peak_bytes"],
        **merging,
        "peak_ratio": round(merging["peak_bytes"] / size, 3),
    }


def run(lora: Path, base: Path, output: str) -> dict[str, Any]:
    """Return what a process of its own says of itself."""
    done = subprocess.run(
        [sys.executable, "-c", MERGE, str(lora), str(base), output],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_lora(path: Path, family: str, rank: int) -> Path:
    """Write a LoRA over the layers that are adapted by default, with random weights."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for key, layer in lora_modules(family).items():
        if layer.default:
            kind = KINDS["lora"]
            state[f"{key}.alpha"] = torch.tensor(float(rank))
            for name, shape in zip(kind.tensors, kind.shapes(sizes_of_layer(layer), rank), strict=True):
                bound = 0.1 / math.sqrt(math.prod(shape[1:]))
                state[f"{key}.{name}"] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    save_lora(path, state, {}, dtype="fp16")
    return path


if __name__ == "__main__":
    main()
