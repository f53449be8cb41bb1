"""How far `maquette plan` is off: its memory and its step time against the runs that plan_runs.py measured.

Constants were chosen on the rows marked `fitted`, with the unmarked ones in view; `fresh` rows were first measured when
the constants stood.
    python benchmarks/plan_error.py benchmarks/results/plan_runs-….json --output benchmarks/results/
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from circumstances import commit, hardware, software
from plan_runs import SMALL_WORLD

from maquette import families
from maquette.footprint.memory import MemoryRequest, estimate_memory
from maquette.footprint.speed import Speed
from maquette.footprint.timing import computed_step
from maquette.world.pack import base_path


def main() -> None:
    """Compare, print the table, write the result file."""
    given = arguments()
    measured = json.loads(given.runs.read_text(encoding="utf-8"))
    rows = [row(entry) for entry in measured["results"]]
    full = [entry for entry in rows if not entry["fitted"] and not entry["small"]]
    every = [entry for entry in rows if not entry["fitted"]]
    fresh = [entry for entry in rows if entry["fresh"]]
    summary = {
        "memory_fresh": errors(fresh or full, "memory_error"),
        "memory_full_size": errors(full, "memory_error"),
        "memory_all": errors(every, "memory_error"),
        "step_time": errors(every, "step_error"),
    }
    print(table(rows))
    record = {
        "benchmark": "plan_error",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware("cpu"),
        "load": measured["load"],
        "software": software(),
        "settings": {"runs": given.runs.name},
        "results": [*rows, {"summary": summary}],
        "conclusion": "; ".join(
            f"{name}: median {value['median']:.1%}, largest {value['largest']:.1%} over {value['runs']} runs"
            for name, value in summary.items()
        ),
    }
    path = given.output / f"plan_error-{record['date'][:10]}-cpu.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(record["conclusion"], path, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="the result file of plan_runs.py")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def request_of(entry: dict[str, Any]) -> MemoryRequest:
    """Return what a measured run asked for."""
    small = entry["base"] == SMALL_WORLD
    by_size = min(families.FAMILIES.values(), key=lambda family: family.spec.native_resolution_px)
    layout = families.layout_of(families.inspect(str(base_path()))) if small else by_size.layout(None)
    return MemoryRequest(
        layout=layout,
        size_wh=(entry["px"], entry["px"]),
        batch=entry["batch"],
        precision=entry["precision"],
        rank=entry["rank"],
        checkpointing=entry["checkpointing"],
        parts=("text_encoder", "denoiser") if entry["text"] else ("denoiser",),
    )


def row(entry: dict[str, Any]) -> dict[str, Any]:
    """Return one run's predicted and measured figures."""
    request, measured = request_of(entry), entry["measured"]
    memory = estimate_memory(request)
    speed = entry["speed"]
    rates = {kind: tuple((n, rate) for n, rate in values) for kind, values in speed["rates"].items()}
    step = computed_step(request, Speed(**{**speed, "rates": rates}))
    return {
        "run": entry["run"],
        "fitted": entry["fitted"],
        "fresh": entry.get("fresh", False),
        "small": entry["base"] == SMALL_WORLD,
        "predicted_bytes": memory.peak_bytes,
        "measured_bytes": measured["peak_bytes"],
        "memory_error": memory.peak_bytes / measured["peak_bytes"] - 1,
        "predicted_step_s": step,
        "measured_step_s": measured["seconds_per_step"],
        "step_error": step / measured["seconds_per_step"] - 1,
    }


def errors(rows: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """Return the median and the largest of the absolute relative errors."""
    found = [abs(entry[name]) for entry in rows]
    return {"runs": len(found), "median": median(found), "largest": max(found)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = [
        "| run | role | predicted GB | measured GB | error | predicted s/step | measured s/step | error |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for entry in rows:
        role = "fitted" if entry["fitted"] else "fresh" if entry["fresh"] else ""
        memory = f"{entry['predicted_bytes'] / 1e9:.2f} | {entry['measured_bytes'] / 1e9:.2f} | {entry['memory_error']:+.1%}"
        step = (
            f"{entry['predicted_step_s']:.2f} | {entry['measured_step_s']:.2f} | {entry['step_error']:+.0%}"
        )
        lines.append(f"| {entry['run']} | {role} | {memory} | {step} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
