"""A small run that was really trained: its LoRAs, its samples, its record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from maquette.drawing.samples import draw_samples
from maquette.events import run_stage
from maquette.families.tiny import write_tiny
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.runs.folder import RunFolder
from maquette.training.loop import run_job
from maquette.training.prepare import prepare


def train_small(folder: Path) -> RunFolder:
    """Train a run of four steps in `folder`, with a checkpoint and a sample every two, and return its folder."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir()
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / "images" / f"{index}.png")
        (folder / "images" / f"{index}.txt").write_text(f"zkw, pose {index}", encoding="utf-8")
    settings = load_settings(
        None,
        {
            "images": folder / "images",
            "base": str(write_tiny("sd1", folder / "base.safetensors")),
            "trigger": "zkw",
            "steps": 4,
            "rank": 2,
            "resolution": 64,
            "device": "cpu",
            "precision": "no",
            "output": folder / "runs",
            "save_every_steps": 2,
            "sample_prompts": ("{trigger}, waving",),
            "sample_steps": 2,
        },
    )
    with prepare(settings, judge=judge) as job:
        return RunFolder(run_stage(run_job(job, draw=draw_samples)).run)
