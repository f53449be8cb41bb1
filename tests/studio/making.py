"""Runs that pages show, made up whole: records, LoRA files, pictures, what was judged of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint, Sample
from tests.choosing.making import look_of
from tests.deploying.conftest import write_lora
from tests.runs.making import captioned, run_record

STEP_2 = "zkw-001-step00000002"


def made_run(
    project: Path,
    name: str = "zkw-001",
    *,
    captions: Sequence[str] = ("zkw, standing", "zkw, sitting"),
    colour: str = "teal",
    settings: dict[str, Any] | None = None,
) -> RunFolder:
    """Return a finished run of `project` with two checkpoints and a sample of each; the project is made where there is none."""
    images = project / "images"
    images.mkdir(parents=True, exist_ok=True)
    (project / "maquette.toml").write_text(
        '[model]\nbase = "base.safetensors"\n[dataset]\nimages = "images"\n', encoding="utf-8"
    )
    run = RunFolder(project / "runs" / name)
    files = {2: f"{name}-step00000002", 4: name}
    samples = []
    for number, (step, stem) in enumerate(files.items()):
        write_lora(run.path / "checkpoints" / f"{stem}.safetensors", seed=number)
        path = run.path / "samples" / f"{step}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(path)
        samples.append(Sample(path=f"samples/{step}.png", step=step, prompt="zkw, waving", seed=1))
    tables = {"subject": {"trigger": "zkw", "class_word": ""}, "dataset": {"images": str(images)}}
    for section, values in (settings or {}).items():
        tables[section] = {**tables.get(section, {}), **values}
    record = run_record(
        tables,
        run=name,
        state="finished",
        step=4,
        checkpoints=tuple(
            Checkpoint(path=f"checkpoints/{stem}.safetensors", step=step, epoch=1, final=step == 4)
            for step, stem in files.items()
        ),
        samples=tuple(samples),
    )
    captioned(record, *captions).write(run)
    return run


def judged(run: RunFolder, truth: float) -> RunFolder:
    """Draw and measure the run: its last checkpoint is as good as `truth`, the one before as good as 1."""
    look = look_of({"step 2": 1.0, "step 4": truth}, folder=run.evaluation)
    for each in look.looks:
        path = run.evaluation / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), "teal").save(path)
    look.write()
    return run
