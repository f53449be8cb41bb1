"""Made-up looks, runs and facts, whose numbers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from maquette.evaluating.facts import Delivery, ReportFacts
from maquette.measuring.looks import FLOOR, FirstLook, Look, Measure
from maquette.runs.record import Checkpoint
from tests.runs.making import run_record

IDENTITY = Measure(name="identity", title="Identity", definition="how alike; 0 to 1.")


def look_of(
    folder: Path,
    scores: dict[str, list[float]],
    *,
    prompt: str = "zkw",
    measures: tuple[Measure, ...] = (IDENTITY,),
) -> FirstLook:
    """Return a look with one prompt whose scores by column and seed are given; its pictures exist."""
    looks = []
    for number, (name, row) in enumerate(scores.items()):
        for seed, score in enumerate(row, start=1):
            place = f"pictures/{number}/{seed}.png"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (number * 60, 80, 90)).save(folder / place)
            step = None if name == FLOOR else 100 * number
            told = {"identity": score} if measures else {}
            looks.append(
                Look(
                    checkpoint=name, step=step, prompt=prompt, role="bare", seed=seed, path=place, scores=told
                )
            )
    return FirstLook(folder=folder, looks=tuple(looks), measures=measures, drawing={"steps": 25})


def facts_of(folder: Path, look: FirstLook | None, **changes: Any) -> ReportFacts:
    """Return the facts of a finished run of four steps."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "p0.png"
    Image.new("RGB", (400, 300), "teal").save(picture)
    record = run_record(
        {"lora": {"rank": 4, "alpha": 2.0}, "training": {"steps": 4}},
        run="zkw-001",
        state="finished",
        step=4,
        final_loss=0.125,
        error=None,
        timings={"load_s": 1.5},
        peak_memory_bytes=2_000_000_000,
        checkpoints=(Checkpoint(path="checkpoints/zkw.safetensors", step=4, epoch=4, final=True),),
    )
    told = "1 × 1 / batch 1 = 1 step an epoch; 4 steps = 4 epochs"
    record = record.with_(schedule=replace(record.schedule, sum=told, steps=4))
    facts: dict[str, Any] = {
        "title": "zkw",
        "trigger": "zkw",
        "record": record,
        "run": folder,
        "lora": folder / "checkpoints/zkw.safetensors",
        "lora_sha256": "ab" * 32,
        "lora_bytes": 1_500_000,
        "metrics": [{"step": step, "loss": 0.5 / step, "lr_denoiser": 1e-4 * step} for step in range(1, 5)],
        "look": look,
        "pictures": [(picture, "zkw, standing")],
        "deliveries": (
            Delivery(
                program="ComfyUI", lora="/c/zkw.safetensors", lora_name="zkw.safetensors", steps=("Go",)
            ),
        ),
        "timings": {"first_look_s": 30.0},
    }
    return ReportFacts(**(facts | changes))
