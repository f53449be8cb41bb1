"""What keeps a character in its trigger word, measured on the small world.

    python benchmarks/leak.py --output benchmarks/results/

Trains the demo's character (15 pictures, captions that name view, pose and background) under each arm with five seeds in one
pass, draws with fixed seeds, and lets the small world's judge read the drawings:

    plain               nothing against leak
    preservation        the class held to the base's prediction on every third forward pass, a share of captions shortened
    faster text         the same, the text encoder at 2.7 times the rate: it has to tell the trigger from the class
    every second        that with half the weight on every second pass
    regularized         pictures of the class drawn by the base; twice the steps, since half of every epoch is theirs
    masked              the figure alone counts (exact masks), outside it the base's own prediction is the target
    plain, faster text  nothing against leak, the text encoder at that rate

The seeds are of first weights, noise and timesteps; the order of pictures is one for all. What a step costs is measured by
itself: one trial, the arms in turn in one process, processor time. An arm that is in --work already is not trained again.
One number is a mean over seeds and drawings, its interval over both; it says nothing about other characters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circumstances import circumstances
from PIL import Image

import maquette
from maquette import families
from maquette.devices import place
from maquette.drawing.draw import draw
from maquette.drawing.request import DrawRequest
from maquette.events import run_stage
from maquette.families.protocol import ModelInfo, PictureSize
from maquette.files import write_json
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import read_lora
from maquette.measuring.statistics import Estimate, estimate
from maquette.project.config_file import load_settings
from maquette.project.settings import ObjectiveSettings, Settings, SubjectSettings
from maquette.rules.verdict import judge as judge_run
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine
from maquette.training.loop import run_job
from maquette.training.prepare import prepare
from maquette.world.captions import VIEW_TAGS, subject
from maquette.world.cast import BARE_PROMPT, TOVAKI, TRIGGER, training_pictures, write_training_pictures
from maquette.world.cast import SCENES as SCENES_TRAINED
from maquette.world.pack import base_path, load_judge
from maquette.world.renderer import render

STEPS, RANK, BATCH, RATE, WARMUP = 320, 8, 4, 1.5e-3, 20
"""The demo's."""
REPEATS = 4
"""So that an epoch has room for as many pictures of the class."""
PRESERVATION = {"preservation": 8.0, "preservation_every": 3}
FASTER_TEXT = {"text_encoder_lr": 4e-3}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "faster text": {**PRESERVATION, **FASTER_TEXT},
    "every second": {"preservation": 4.0, "preservation_every": 2, **FASTER_TEXT},
    "regularized": {"regularization": True},
    "masked": {"masked": True, "masked_prior_preservation_weight": 1.0},
    "preservation": PRESERVATION,
    "plain, faster text": FASTER_TEXT,
}
NO_LORA = "no LoRA"
CLASS_TEMPLATE = (
    "{class}, {standing|arms up|arms wide|jumping}, {front view|back view|facing left|facing right}, "
    "{gray|blue|green|yellow|pink|purple} background"
)
DRAWINGS, DRAW_STEPS = 16, 12
COST_ROUNDS, COST_STEPS = 8, 6

SCENES = tuple(
    f"{pose}, {VIEW_TAGS[view]}, {background} background"
    for view, pose, background in (
        ("front", "standing", "blue"), ("front", "arms up", "yellow"), ("back", "arms up", "green"),
        ("left", "arms wide", "gray"), ("right", "jumping", "blue"), ("left", "standing", "purple"),
        ("right", "standing", "pink"), ("back", "jumping", "gray"),
    )
)  # fmt: skip
"""Combinations that no training picture shows."""
OTHERS = (
    "spiky green hair, blue shirt, black pants",
    "long black hair, dark skin, red shirt, yellow pants",
    "short blond hair, pale skin",
    "long blue hair, green skirt",
)
EDITS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "short blue hair": ("hair_color", "blue", ("hair style", "hair color")),
    "green hat": ("headwear_color", "green", ("headwear", "headwear color")),
    "black pants": ("bottom_color", "black", ("bottom kind", "bottom color")),
    "blue shirt": ("top_color", "blue", ("top color",)),
}
"""What no caption names → (attribute, value) that shows it was drawn, and the items of identity that it changes."""
EDITED = tuple((edit, scene) for scene in ("", *SCENES[:2]) for edit in EDITS)
PROMPTS: dict[str, tuple[str, ...]] = {
    "leak_bare": (subject(),),
    "leak_scene": tuple(f"{subject()}, {scene}" for scene in SCENES),
    "leak_other": tuple(f"{subject()}, {other}" for other in OTHERS),
    "identity_bare": (BARE_PROMPT,),
    "identity_trigger": (TRIGGER,),
    "identity_scene": tuple(f"{BARE_PROMPT}, {scene}" for scene in SCENES),
    "edited": tuple(", ".join(filter(None, (BARE_PROMPT, edit, scene))) for edit, scene in EDITED),
}


def main() -> None:
    """Train, draw, judge, print and write the result."""
    parser = argparse.ArgumentParser(description="Measure what keeps a character in its trigger word.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="training seeds")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument(
        "--work", type=Path, default=Path("leak-work"), help="runs, and the arms that are done"
    )
    parser.add_argument("--output", type=Path, help="folder for the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = [done(arguments.work, NO_LORA, arguments.seeds)]
    for arm in arguments.arms:
        rows.append(done(arguments.work, arm, arguments.seeds))
        print(json.dumps({key: value for key, value in rows[-1].items() if "by_seed" not in key}), flush=True)
    path = arguments.work / "cost.json"
    if not path.exists():
        write_json(
            path,
            costs(
                {
                    name: values
                    for name, values in ARMS.items()
                    if not {"regularization", "masked"} & values.keys()
                }
            ),
        )
    for row in rows:
        row |= cost_of(row["arm"], json.loads(path.read_text(encoding="utf-8")))
    result = {
        **circumstances("leak", load="other programs ran; cost is processor time, the arms in turn"),
        "settings": {
            "steps": STEPS, "rank": RANK, "batch": BATCH, "learning_rate": RATE, "repeats": REPEATS, "arms": ARMS,
            "training_seeds": arguments.seeds, "drawings": DRAWINGS, "drawing_steps": DRAW_STEPS, "prompts": PROMPTS,
        },
        "results": rows,
        "conclusion": conclusion(rows),
    }  # fmt: skip
    print(result["conclusion"])
    if arguments.output:
        write_json(arguments.output / f"leak-{result['date']}-{os.cpu_count()}core-cpu.json", result)


def _plain_name(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


def done(work: Path, arm: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Return an arm's row, from `work` where it is there."""
    path = work / f"{_plain_name(arm)}.json"
    if not path.exists():
        began = time.process_time()
        loras = [] if arm == NO_LORA else train(work, arm, seeds)
        trained = time.process_time()
        row = {"arm": arm, "runs": len(loras), **row_of(drawn(loras))}
        write_json(path, {**row, "training_cpu_s": round(trained - began, 1)})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# --- training --------------------------------------------------------------------------------------------------


def train(work: Path, arm: str, seeds: Sequence[int]) -> list[Path]:
    """Train one arm with every seed in one pass; return the LoRAs."""
    images = work / "images"
    if not images.exists():
        images.mkdir()
        write_training_pictures(images)
    settings = [settings_of(work, arm, seed) for seed in seeds]
    with prepare(settings[0], judge=judge_run, trials=settings, next_name=True) as job:
        result = run_stage(run_job(job))
    return [trial.lora for trial in result.trials]


def settings_of(work: Path, arm: str, seed: int) -> Settings:
    """Return the demo's settings with those of an arm."""
    values = dict(ARMS[arm])
    regularized = values.pop("regularization", False)
    if values.pop("masked", False):
        values |= {"images": masked_images(work / "masked"), "mask_source": "beside"}
    if regularized:
        values["regularization"] = regularization(work / "regularization", count=REPEATS * 15)
    return load_settings(
        None,
        {
            "images": work / "images",
            "base": str(base_path()),
            "trigger": TRIGGER,
            "class_word": "character",
            "resolution": 64,
            "repeats": REPEATS,
            "rank": RANK,
            "alpha": RANK,
            "steps": STEPS * (2 if regularized else 1),
            "batch_size": BATCH,
            "learning_rate": RATE,
            "text_encoder_lr": RATE,
            "warmup_steps": WARMUP,
            "seed": seed,
            "device": "cpu",
            "precision": "no",
            "output": work / "runs",
            "name": _plain_name(arm),
            "state_every_steps": 0,
            **values,
        },
    )


def masked_images(folder: Path) -> Path:
    """Write the pictures with the renderer's own masks, once."""
    if not folder.exists():
        (folder / "masks").mkdir(parents=True)
        for path, scene in zip(write_training_pictures(folder), SCENES_TRAINED, strict=True):
            other = "pink" if scene.background != "pink" else "blue"
            walls = (scene.background, other)
            shown, elsewhere = (
                np.array(render(TOVAKI, replace(scene, background=wall), 64)) for wall in walls
            )
            figure = np.all(shown == elsewhere, axis=2)
            Image.fromarray((figure * 255).astype(np.uint8)).save(folder / "masks" / path.name)
    return folder


def regularization(folder: Path, count: int) -> Path:
    """Draw pictures of the class, once."""
    if not folder.exists():
        maquette.regularize(
            base_path(), out=folder, class_word="character", prompts=(CLASS_TEMPLATE,), count=count, steps=20,
            guidance=3.0, sampler="dpmpp_2m", device="cpu",
        )  # fmt: skip
    return folder


# --- drawing and judging ---------------------------------------------------------------------------------------


def drawn(loras: Sequence[Path]) -> list[dict[str, list[float]]]:
    """Return for each LoRA (the base alone where there is none) what the judge reads off its drawings."""
    model = families.load(base_path())
    adapter = LoraAdapter.attach(model, [read_lora(lora).state for lora in loras]) if loras else None
    count = max(1, len(loras))
    requests = [request for trial in range(count) for request in requested(trial)]
    pictures = draw(model, requests, adapter=adapter, batch=24 * count)
    each = DRAWINGS * len(PROMPTS)
    return [judged(pictures[trial * each : (trial + 1) * each]) for trial in range(count)]


def requested(trial: int) -> Iterator[DrawRequest]:
    """Yield one trial's drawings: every group of prompts with the same seeds."""
    for prompts in PROMPTS.values():
        for number in range(DRAWINGS):
            yield DrawRequest(
                prompt=prompts[number % len(prompts)], seed=1001 + number, width_px=64, height_px=64,
                steps=DRAW_STEPS, guidance=3.0, sampler="dpmpp_2m", trial=trial,
            )  # fmt: skip


def judged(pictures: Sequence[Image.Image]) -> dict[str, list[float]]:
    """Return the scores of one trial's pictures by measure."""
    judge = load_judge()
    scores: dict[str, list[float]] = {}
    for index, group in enumerate(PROMPTS):
        of_group = pictures[index * DRAWINGS : (index + 1) * DRAWINGS]
        if group != "edited":
            scores[group] = judge.identity(of_group, TOVAKI)
            continue
        seen, items = judge.read(of_group), judge.identity_items(of_group, TOVAKI)
        for number in range(DRAWINGS):
            attribute, value, changed = EDITS[EDITED[number % len(EDITED)][0]]
            kept = [right for item, right in items[number].items() if item not in changed]
            scores.setdefault("edit_obeyed", []).append(float(seen[number][attribute] == value))
            scores.setdefault("identity_edited", []).append(sum(kept) / len(kept))
    return scores


def row_of(runs: Sequence[Mapping[str, list[float]]]) -> dict[str, Any]:
    """Return mean and 95 % interval of every measure, and each seed's mean."""
    row: dict[str, Any] = {}
    for name in runs[0]:
        found: Estimate = estimate([run[name] for run in runs], limits=(0.0, 1.0))
        row[name] = round(found.mean, 3)
        row[f"{name}_low_high"] = [None if end is None else round(end, 3) for end in (found.low, found.high)]
        row[f"{name}_by_seed"] = [round(statistics.fmean(run[name]), 3) for run in runs]
    return row


# --- what a step costs -----------------------------------------------------------------------------------------


def costs(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the processor seconds of a step of each arm, one trial, the arms in turn; the first round is dropped."""
    engines = {name: engine(values) for name, values in arms.items()}
    batch = a_batch(next(iter(engines.values())).model.info)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(COST_ROUNDS):
        for name, own in engines.items():
            began = time.process_time()
            for step in range(turn * COST_STEPS, (turn + 1) * COST_STEPS):
                own.step(step, [(step, lambda: batch)], 1)
            seconds[name].append((time.process_time() - began) / COST_STEPS)
    kept = {name: found[1:] for name, found in seconds.items()}
    return {
        name: {
            "step_cpu_s": round(statistics.median(found), 4),
            "step_ratio": round(
                statistics.median(one / two for one, two in zip(found, kept["plain"], strict=True)), 3
            ),
            "step_ratio_least_most": [
                round(end(one / two for one, two in zip(found, kept["plain"], strict=True)), 3)
                for end in (min, max)
            ],
        }
        for name, found in kept.items()
    }


def engine(values: Mapping[str, Any]) -> Engine:
    """Return what takes an arm's steps, on a base of its own."""
    model = families.load(base_path())
    objective = {name: value for name, value in values.items() if name != "text_encoder_lr"}
    trial = TrialSettings(
        rank=RANK, alpha=RANK, denoiser_lr=RATE, text_encoder_lr=values.get("text_encoder_lr", RATE), schedule_lr=RATE,
        seed=1, objective=ObjectiveSettings(**objective), subject=SubjectSettings(trigger=TRIGGER, class_word="character"),
    )  # fmt: skip
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=RANK, alpha=RANK, seed=1)])
    return Engine(model, adapter, [trial], place("cpu", "no"), total_steps=COST_ROUNDS * COST_STEPS)


def a_batch(info: ModelInfo) -> MicroBatch:
    """Return four pictures' worth of noise with the captions of the first four."""
    shape = (BATCH, info.latent_channels, 64 // info.vae_factor, 64 // info.vae_factor)
    return MicroBatch(
        clean_BCHW=torch.randn(shape, generator=torch.Generator().manual_seed(1)),
        captions=tuple(caption for _, caption in training_pictures()[:BATCH]),
        sizes=(PictureSize((64, 64), (0, 0), (64, 64)),) * BATCH,
        regularization_B=torch.zeros(BATCH, dtype=torch.bool),
        names=("",) * BATCH,
    )


def cost_of(arm: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an arm's step costs, and the whole of its steps against the plain ones'; nothing where it was not measured."""
    if arm == NO_LORA or ARMS[arm].get("masked"):
        return {}
    regularized = bool(ARMS[arm].get("regularization"))
    found = dict(known["plain" if regularized else arm])
    return {**found, "training_ratio": round(found["step_ratio"] * (2 if regularized else 1), 3)}


def conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say leak, identity and cost of every arm in one sentence."""
    said = [
        f"{row['arm']} {row['leak_bare']:.2f} and {row['leak_scene']:.2f} (trigger alone {row['identity_trigger']:.2f}, with "
        f"class word {row['identity_bare']:.2f}{_cost_said(row)})"
        for row in rows
    ]
    return f"Identity without the trigger, bare and in scenes: {'; '.join(said)}."


def _cost_said(row: Mapping[str, Any]) -> str:
    return f", training time ×{row['training_ratio']:.2f}" if "training_ratio" in row else ""


if __name__ == "__main__":
    main()
