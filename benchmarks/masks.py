"""How much of a room a LoRA learns with its subject, and what masks do about it, measured on the small world.

    python benchmarks/masks.py --output benchmarks/results/

The demo's character is shown fifteen times before one and the same green wall, which no caption names: what most home-made sets
look like. Arms of one seed train in one pass:

    whole                  all of every picture
    masked                 masked loss, exact masks from the renderer
    masked, base outside   that, and outside the mask the base's own prediction as target
    masked by area, …      the same with each part divided by the mean of its weights

Drawn with fixed seeds and read by the small world's judge: `room` is the share of drawings before the green wall where the
prompt names no background, `obeyed` the share before the wall that the prompt asks for. One number is a mean over seeds and
drawings, its interval over both; it says nothing about other characters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circumstances import circumstances
from PIL import Image

from maquette import families
from maquette.drawing.draw import draw
from maquette.drawing.request import DrawRequest
from maquette.events import run_stage
from maquette.files import write_json
from maquette.lora.adapter import LoraAdapter
from maquette.lora.files import read_lora
from maquette.measuring.statistics import estimate
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge as judge_run
from maquette.training.loop import run_job
from maquette.training.prepare import prepare
from maquette.world.captions import caption, subject
from maquette.world.cast import BARE_PROMPT, SCENES, TOVAKI, TRIGGER
from maquette.world.pack import base_path, load_judge
from maquette.world.renderer import render

STEPS, RANK, BATCH, RATE, WARMUP = 320, 8, 4, 1.5e-3, 20
"""The demo's."""
ROOM, ANOTHER = "green", "pink"
OTHERS = ("gray", "blue", "yellow", "purple")
ARMS: dict[str, dict[str, Any]] = {
    "whole": {"unmasked_weight": 1.0},
    "masked": {},
    "masked, base outside": {"masked_prior_preservation_weight": 1.0},
    "masked by area, base outside": {
        "normalize_masked_area_loss": True,
        "masked_prior_preservation_weight": 1.0,
    },
    "masked by area, base outside at a third": {
        "normalize_masked_area_loss": True,
        "masked_prior_preservation_weight": 0.33,
    },
}
DRAWINGS, DRAW_STEPS = 24, 15
POSES = ("standing, front view", "arms up, front view", "arms wide, back view")
PROMPTS: dict[str, tuple[str, ...]] = {
    "bare": (BARE_PROMPT,),
    "unasked": tuple(f"{BARE_PROMPT}, {pose}" for pose in POSES),
    "asked": tuple(f"{BARE_PROMPT}, {POSES[0]}, {wall} background" for wall in OTHERS),
    "class": (f"{subject()}, {POSES[0]}",),
}


def main() -> None:
    """Train, draw, judge, print and write the result."""
    parser = argparse.ArgumentParser(description="Measure what masks do about the room behind a subject.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="training seeds")
    parser.add_argument(
        "--work", type=Path, default=Path("masks-work"), help="runs, and the seeds that are done"
    )
    parser.add_argument("--output", type=Path, help="folder for the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    runs: dict[str, list[dict[str, list[float]]]] = {"no LoRA": [done(arguments.work, "no-lora", [None])[0]]}
    for seed in arguments.seeds:
        loras = trained(arguments.work, seed)
        for arm, scores in zip(ARMS, done(arguments.work, f"seed-{seed}", loras), strict=True):
            runs.setdefault(arm, []).append(scores)
        print(json.dumps([row_of(arm, found) for arm, found in runs.items()]), flush=True)
    rows = [row_of(arm, found) for arm, found in runs.items()]
    result = {
        **circumstances("masks", load="not timed"),
        "settings": {
            "steps": STEPS, "rank": RANK, "batch": BATCH, "learning_rate": RATE, "arms": ARMS, "room": ROOM,
            "training_seeds": arguments.seeds, "drawings": DRAWINGS, "drawing_steps": DRAW_STEPS, "prompts": PROMPTS,
        },
        "results": rows,
        "conclusion": conclusion(rows),
    }  # fmt: skip
    print(result["conclusion"])
    if arguments.output:
        write_json(arguments.output / f"masks-{result['date']}-{os.cpu_count()}core-cpu.json", result)


# --- training --------------------------------------------------------------------------------------------------


def write_images(folder: Path) -> Path:
    """Write the pictures with masks and captions, once: all before one wall, which no caption names."""
    if folder.exists():
        return folder
    (folder / "masks").mkdir(parents=True)
    for number, scene in enumerate(SCENES, start=1):
        shown, other = (render(TOVAKI, replace(scene, background=wall), 64) for wall in (ROOM, ANOTHER))
        path = folder / f"{TRIGGER}_{number:02d}.png"
        shown.save(path)
        same = np.all(np.array(shown) == np.array(other), axis=2)
        Image.fromarray((same * 255).astype(np.uint8)).save(folder / "masks" / path.name)
        text = caption(TOVAKI, replace(scene, background=ROOM), name=TRIGGER, strategy="pose")
        path.with_suffix(".txt").write_text(text.replace(f", {ROOM} background", ""), encoding="utf-8")
    return folder


def trained(work: Path, seed: int) -> list[Path]:
    """Return the LoRA of every arm with one seed, trained in one pass unless they are there."""
    names = [work / f"seed-{seed}-{index}.safetensors" for index in range(len(ARMS))]
    if all(path.exists() for path in names):
        return names
    began = time.process_time()
    settings = [
        load_settings(
            None,
            {
                "images": write_images(work / "images"), "mask_source": "beside", "base": str(base_path()),
                "trigger": TRIGGER, "class_word": "character", "resolution": 64, "rank": RANK, "alpha": RANK,
                "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "text_encoder_lr": RATE,
                "warmup_steps": WARMUP, "seed": seed, "device": "cpu", "precision": "no", "output": work / "runs",
                "name": f"masks-{seed}", "state_every_steps": 0, **arm,
            },
        )
        for arm in ARMS.values()
    ]  # fmt: skip
    with prepare(settings[0], judge=judge_run, trials=settings, next_name=True) as job:
        result = run_stage(run_job(job))
    for trial, path in zip(result.trials, names, strict=True):
        path.write_bytes(trial.lora.read_bytes())
    print(f"seed {seed}: {time.process_time() - began:.0f} s of processor time", flush=True)
    return names


# --- drawing ---------------------------------------------------------------------------------------------------


def done(work: Path, name: str, loras: Sequence[Path | None]) -> list[dict[str, list[float]]]:
    """Return the scores of every LoRA, from `work` where they are there."""
    path = work / f"{name}.json"
    if not path.exists():
        write_json(path, {"scores": drawn(loras)})
    found: list[dict[str, list[float]]] = json.loads(path.read_text(encoding="utf-8"))["scores"]
    return found


def drawn(loras: Sequence[Path | None]) -> list[dict[str, list[float]]]:
    """Return for each LoRA what the judge reads off its drawings."""
    model, judge = families.load(base_path()), load_judge()
    found = []
    for lora in loras:
        adapter = LoraAdapter.attach(model, [read_lora(lora).state]) if lora else None
        scores: dict[str, list[float]] = {}
        for name, prompts in PROMPTS.items():
            each = -(-DRAWINGS // len(prompts))
            requests = [
                DrawRequest(
                    prompt=prompt, seed=seed, width_px=64, height_px=64, steps=DRAW_STEPS, guidance=3.0,
                    sampler="dpmpp_2m",
                )
                for prompt in prompts
                for seed in range(1001, 1001 + each)
            ]  # fmt: skip
            pictures = draw(model, requests, adapter=adapter, batch=24)
            walls = [seen["background"] for seen in judge.read(pictures)]
            scores[f"room_{name}"] = [float(wall == ROOM) for wall in walls]
            scores[f"identity_{name}"] = judge.identity(pictures, TOVAKI)
            if name == "asked":
                asked = [wall for wall in OTHERS for _ in range(each)]
                scores["obeyed"] = [float(a == b) for a, b in zip(walls, asked, strict=True)]
        if adapter is not None:
            adapter.detach()
        found.append(scores)
    return found


def row_of(arm: str, runs: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """Return one line of the result: mean and 95 % interval of every measure, and each seed's mean."""
    row: dict[str, Any] = {"arm": arm, "runs": len(runs)}
    for name in runs[0]:
        found = estimate([run[name] for run in runs], limits=(0.0, 1.0))
        row[name] = round(found.mean, 3)
        row[f"{name}_low_high"] = [round(found.low, 3), round(found.high, 3)]
        row[f"{name}_by_seed"] = [round(statistics.fmean(run[name]), 3) for run in runs]
    return row


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Say what every arm does to the room and to the subject, in one sentence, the room as what exceeds the base's."""
    base, whole = rows[0]["room_unasked"], rows[1]["room_unasked"]
    said = []
    for row in rows[1:]:
        share = (row["room_unasked"] - base) / (whole - base) if whole > base else float("nan")
        said.append(
            f"{row['arm']}: the wall unasked for in {row['room_unasked']:.0%} (base {base:.0%}; {share:.0%} of the leak of "
            f"whole pictures), the asked-for one in {row['obeyed']:.0%}, identity {row['identity_unasked']:.2f}"
        )
    return "; ".join(said) + "."


if __name__ == "__main__":
    main()
