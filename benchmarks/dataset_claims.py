"""What captions, mirrored pictures and regularization pictures do to a LoRA, measured on the small world.

    python benchmarks/dataset_claims.py --output benchmarks/results/

Trains the demo's character (15 pictures, rank 8) once for each arm and seed, draws with fixed seeds, and lets the small
world's judge read the drawings:

    character     captions of the strategy `character`, made by `maquette caption --source rewrite`
    pose only     the same without the asymmetric detail (the red glove on the right hand)
    detailed      everything named
    mirrored      character captions, and beside every picture its mirror image
    regularized   character captions, with pictures of the class drawn by `maquette regularize`; twice the steps, since
                  half of every epoch is theirs
    regularized pose only   the same with the captions of `pose only`

One number is a mean over training seeds and drawings; its interval is over drawings and seeds together and says nothing
about other characters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from circumstances import circumstances
from PIL import Image, ImageOps

import maquette
from maquette import families
from maquette.drawing.draw import draw
from maquette.drawing.request import DrawRequest
from maquette.files import write_atomic
from maquette.lora.adapter import LoraAdapter
from maquette.lora.files import read_lora
from maquette.measuring.statistics import estimate
from maquette.project.profile import Detail, Profile
from maquette.project.profile_file import profile_toml
from maquette.world.captions import subject
from maquette.world.cast import BARE_PROMPT, TOVAKI, TRIGGER, training_pictures
from maquette.world.pack import base_path, load_judge

STEPS, RANK, BATCH, RATE = 320, 8, 4, 1.5e-3
REPEATS = 4
"""So that an epoch has room for as many pictures of the class."""
DRAWINGS = 48
ARMS = ("character", "pose only", "detailed", "mirrored", "regularized", "regularized pose only")
PROFILE = Profile(
    kind="character",
    trigger=BARE_PROMPT,
    appearance=("pink hair", "twintail hair", "tan skin", "white shirt", "purple skirt", "yellow bandana"),
    details=(Detail(name="red glove", side="right", part="hand", views=("front", "side", "back")),),
)
CLASS_TEMPLATE = (
    "{class}, {standing|arms up|arms wide|jumping}, {front view|back view|facing left|facing right}, "
    "{gray|blue|green|yellow|pink|purple} background"
)
PROMPTS = {
    "bare_identity": BARE_PROMPT,
    "full_identity": f"{BARE_PROMPT}, twintail pink hair, tan skin, white shirt, purple skirt, red glove on right hand, "
    "yellow bandana, standing, front view, gray background",
    "detail": f"{BARE_PROMPT}, front view, standing, right hand red glove, gray background",
    "leak": f"{subject()}, standing, front view, gray background",
    "edit": f"{BARE_PROMPT}, short blue hair, standing, front view, gray background",
}


def main() -> None:
    """Train, draw, judge, print and write the result."""
    parser = argparse.ArgumentParser(description="Measure what captions, mirrors and regularization do.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="training seeds")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--output", type=Path, help="folder for the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row_of("no LoRA", [drawn(None)])]
        for arm in arguments.arms:
            runs = [drawn(train(Path(folder), arm, seed)) for seed in arguments.seeds]
            rows.append(row_of(arm, runs))
            print(json.dumps(rows[-1]), flush=True)
    result = {
        **circumstances("dataset_claims", load="not timed"),
        "settings": {
            "steps": STEPS,
            "rank": RANK,
            "batch": BATCH,
            "learning_rate": RATE,
            "training_seeds": arguments.seeds,
            "drawings": DRAWINGS,
            "prompts": PROMPTS,
        },
        "results": rows,
        "conclusion": conclusion(rows),
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        name = f"dataset_claims-{result['date']}-{os.cpu_count()}core-cpu.json"
        (arguments.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def train(root: Path, arm: str, seed: int) -> Path:
    """Train one arm and return its LoRA."""
    images = write_images(root / arm.replace(" ", "-"), arm)
    more: dict[str, Any] = {}
    if arm.startswith("regularized"):
        more["regularization"] = regularization(root / "regularization", count=REPEATS * 15)
    result = maquette.train(
        images,
        base=str(base_path()),
        trigger=TRIGGER,
        class_word="character",
        resolution=64,
        repeats=REPEATS,
        rank=RANK,
        alpha=RANK,
        steps=STEPS * (2 if arm.startswith("regularized") else 1),
        batch_size=BATCH,
        learning_rate=RATE,
        text_encoder_lr=RATE,
        warmup_steps=20,
        seed=seed,
        device="cpu",
        precision="no",
        output=root / "runs",
        name=f"{arm.replace(' ', '-')}-{seed}",
        state_every_steps=0,
        **more,
    )
    return result.lora


def write_images(folder: Path, arm: str) -> Path:
    """Write the arm's pictures with captions, once."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    for number, (picture, caption) in enumerate(training_pictures(strategy="detailed"), start=1):
        path = folder / f"{TRIGGER}_{number:02d}.png"
        picture.save(path)
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    if arm != "detailed":
        profile = write_atomic(folder.parent / "profile.toml", profile_toml(PROFILE))
        maquette.caption(folder, strategy="character", source="rewrite", profile=profile, preview=0)
    if arm.endswith("pose only"):
        for path in folder.glob("*.txt"):
            parts = path.read_text(encoding="utf-8").strip().split(", ")
            path.write_text(", ".join(part for part in parts if "glove" not in part), encoding="utf-8")
    if arm == "mirrored":
        for path in sorted(folder.glob("*.png")):
            ImageOps.mirror(Image.open(path)).save(path.with_stem(f"{path.stem}_flip"))
            text = path.with_suffix(".txt").read_text(encoding="utf-8")
            path.with_stem(f"{path.stem}_flip").with_suffix(".txt").write_text(text, encoding="utf-8")
    return folder


def regularization(folder: Path, count: int) -> Path:
    """Draw pictures of the class, once."""
    if not folder.exists():
        maquette.regularize(
            base_path(),
            out=folder,
            class_word="character",
            prompts=(CLASS_TEMPLATE,),
            count=count,
            steps=20,
            guidance=3.0,
            sampler="dpmpp_2m",
            device="cpu",
        )
    return folder


def drawn(lora: Path | None) -> dict[str, list[float]]:
    """Return for each prompt what the judge reads off its drawings."""
    model, judge = families.load(base_path()), load_judge()
    adapter = LoraAdapter.attach(model, [read_lora(lora).state]) if lora else None
    requests = list(requested())
    pictures = draw(model, requests, adapter=adapter, batch=24)
    groups = {name: pictures[index * DRAWINGS : (index + 1) * DRAWINGS] for index, name in enumerate(PROMPTS)}
    named = ("bare_identity", "full_identity", "detail", "leak")
    scores: dict[str, list[float]] = {name: judge.identity(groups[name], TOVAKI) for name in named}
    scores["edit_obeyed"] = [float(seen["hair_color"] == "blue") for seen in judge.read(groups["edit"])]
    for name, prompt in (("bare", "bare_identity"), ("asked", "detail")):
        seen = judge.read(groups[prompt])
        scores[f"right_glove_red_{name}"] = [float(each["right_glove"] == "red") for each in seen]
        scores[f"left_glove_any_{name}"] = [float(each["left_glove"] != "none") for each in seen]
    return scores


def requested() -> Iterator[DrawRequest]:
    """Yield the drawings: every prompt with the same seeds."""
    for prompt in PROMPTS.values():
        for seed in range(1001, 1001 + DRAWINGS):
            yield DrawRequest(
                prompt=prompt,
                seed=seed,
                width_px=64,
                height_px=64,
                steps=20,
                guidance=3.0,
                sampler="dpmpp_2m",
            )


def row_of(arm: str, runs: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """Return one line of the result: mean and 95 % interval of every measure."""
    row: dict[str, Any] = {"arm": arm, "runs": len(runs)}
    for name in runs[0]:
        found = estimate([run[name] for run in runs], limits=(0.0, 1.0))
        row[name] = round(found.mean, 3)
        row[f"{name}_low_high"] = [round(found.low, 3), round(found.high, 3)]
        row[f"{name}_by_run"] = [round(statistics.fmean(run[name]), 3) for run in runs]
    return row


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Say the bare identity and the leak of every arm in one sentence."""
    said = [f"{row['arm']} {row['bare_identity']:.2f} (leak {row['leak']:.2f})" for row in rows]
    return f"Identity from the bare trigger: {'; '.join(said)}."


if __name__ == "__main__":
    main()
