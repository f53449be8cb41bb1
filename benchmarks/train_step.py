"""A training step, the start and the peak of memory: ours beside sd-scripts', or a plain diffusers + PEFT loop, in one go.

    python benchmarks/train_step.py --reference ~/sd-scripts --reference-python ~/sd-scripts/venv/bin/python \
        --resolutions 128 256 --output benchmarks/results/

Trains a LoRA of rank 32 over SD 1.5's whole layout with random weights (or --base), text encoder too, in float32, batch 1,
latents cached. Each run is a process of its own; the sides take turns on the same base, picture, noise and timesteps, so that
their losses can be compared as well. Where no checkout of sd-scripts is given, or it is not there, that is said and the plain
loop runs instead. Seconds are those of the processor, which a busy machine stretches less than the clock's; both are told.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from circumstances import circumstances
from PIL import Image
from start_full import write_base

from maquette.families.common.tokenizer import clip_tokenizer

HERE = Path(__file__).parent
CAPTION = "zkw, a portrait, blue wall, standing"
FIGURES = ("step_cpu_s", "start_cpu_s", "start_wall_s", "peak_memory_bytes")


@dataclass(frozen=True)
class Setting:
    """What both sides are given."""

    base: Path
    pictures: Path
    """Folder of a folder REPEATS_NAME: what sd-scripts takes; the inner one is ours."""
    tokenizer: Path
    resolution: int
    rank: int
    steps: int
    place: Path


def main() -> None:
    """Run the rounds and write the result file."""
    given = arguments()
    opponent = reference_or_plain(given)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        base = given.base or write_base(place / "base.safetensors")
        write_tokenizer(place / "tokenizer" / "openai_clip-vit-large-patch14")
        rows = []
        for resolution in given.resolutions:
            pictures = write_picture(place / f"{resolution}", resolution, given.steps)
            setting = Setting(base, pictures, place / "tokenizer", resolution, given.rank, given.steps, place)
            rows += compared(setting, given, opponent)
    result = {
        **circumstances("train_step", load=given.load),
        "settings": {
            "against": opponent, "rank": given.rank, "steps": given.steps, "rounds": given.rounds, "precision": "float32",
            "batch": 1, "text_encoder": "trained", "base": given.base.name if given.base else "SD 1.5's layout, random weights",
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "results": rows,
        "conclusion": "; ".join(said(row) for row in rows if "ratio" in row),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if given.output:
        name = f"train_step-{result['date']}-{'-'.join(map(str, given.resolutions))}px-{os.cpu_count()}core-cpu.json"
        (given.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="a checkout of sd-scripts")
    parser.add_argument("--reference-python", type=Path, help="the interpreter that has what it needs")
    parser.add_argument("--base", type=Path, help="a base to train over; default: random weights")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    return parser.parse_args()


def reference_or_plain(given: argparse.Namespace) -> str:
    """Return the name of the other side; say it where the reference is not there."""
    if given.reference and (given.reference / "train_network.py").is_file():
        return "sd-scripts"
    where = given.reference or "--reference is not given"
    print(
        f"No checkout of sd-scripts ({where}): a plain diffusers + PEFT loop runs instead.", file=sys.stderr
    )
    return "plain loop"


# --- what both get ----------------------------------------------------------------------------------------


def write_picture(folder: Path, resolution: int, repeats: int) -> Path:
    """Write one captioned picture of the size that is trained on, in a folder that says how often it is shown."""
    inner = folder / f"{repeats}_zkw"
    inner.mkdir(parents=True)
    coarse = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(coarse).resize((resolution, resolution), Image.Resampling.BICUBIC).save(
        inner / "picture.png"
    )
    (inner / "picture.txt").write_text(CAPTION, encoding="utf-8")
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write CLIP's tokenizer as transformers reads it: sd-scripts would download it."""
    tokenizer = clip_tokenizer()
    folder.mkdir(parents=True)
    merges = [" ".join(pair) for pair in tokenizer.ranks]
    files = {
        "vocab.json": json.dumps(tokenizer.vocabulary),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
        "tokenizer_config.json": json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}),
        "special_tokens_map.json": json.dumps(
            {
                "bos_token": "<|startoftext|>",
                **{f"{name}_token": "<|endoftext|>" for name in ("eos", "unk", "pad")},
            }
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


# --- the sides --------------------------------------------------------------------------------------------


def ours(setting: Setting, number: int) -> list[str]:
    """Return the command of our side."""
    settings = {
        "images": str(setting.pictures / f"{setting.steps}_zkw"), "base": str(setting.base), "trigger": "zkw",
        "steps": setting.steps, "rank": setting.rank, "alpha": setting.rank / 2, "clip_skip": 1, "device": "cpu",
        "resolution": setting.resolution, "bucketing": False, "lr_scheduler": "constant", "precision": "no",
        "repeats": setting.steps, "output": str(setting.place / "runs"), "name": f"{setting.resolution}-{number}",
    }  # fmt: skip
    return [sys.executable, str(HERE / "side_own.py"), json.dumps(settings), str(setting.steps)]


def reference(setting: Setting, checkout: Path, python: Path) -> list[str]:
    """Return the command of sd-scripts' side."""
    options: dict[str, Any] = {
        "pretrained_model_name_or_path": setting.base, "train_data_dir": setting.pictures, "caption_extension": ".txt",
        "output_dir": setting.place / "reference", "network_module": "networks.lora", "network_dim": setting.rank,
        "network_alpha": setting.rank / 2, "resolution": f"{setting.resolution},{setting.resolution}",
        "train_batch_size": 1, "max_train_steps": setting.steps, "learning_rate": 1e-4, "lr_scheduler": "constant",
        "optimizer_type": "AdamW", "mixed_precision": "no", "tokenizer_cache_dir": setting.tokenizer, "seed": 42,
        "max_data_loader_n_workers": 0,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items()]
    return [
        str(python), str(HERE / "side_reference.py"), str(checkout), str(setting.steps), *words, "--cache_latents", "--sdpa",
    ]  # fmt: skip


def plain(setting: Setting) -> list[str]:
    """Return the command of the plain loop's side."""
    picture = setting.pictures / f"{setting.steps}_zkw" / "picture.png"
    given = (setting.base, picture, setting.resolution, setting.rank, setting.steps, CAPTION)
    return [sys.executable, str(HERE / "plain_loop.py"), *map(str, given)]


def taken(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run one side and return what it took: the middle of its steps, what went before the first, its losses."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    if done.returncode or not told:
        sys.exit(f"{' '.join(command[:3])} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    steps = {
        kind: [after[kind] - before[kind] for before, after in pairwise(told)] for kind in ("cpu_s", "wall_s")
    }
    return {
        "step_cpu_s": median(steps["cpu_s"]),
        "step_min_cpu_s": min(steps["cpu_s"]),
        "step_wall_s": median(steps["wall_s"]),
        "start_cpu_s": told[0]["cpu_s"] - median(steps["cpu_s"]),
        "start_wall_s": told[0]["wall_s"] - median(steps["wall_s"]),
        "peak_memory_bytes": told[-1]["peak_memory_bytes"],
        "losses": [row["loss"] for row in told],
    }


# --- rounds -----------------------------------------------------------------------------------------------


def compared(setting: Setting, given: argparse.Namespace, opponent: str) -> list[dict[str, Any]]:
    """Let the sides take turns; return a row for each figure, and one of the losses."""

    def other() -> dict[str, Any]:
        if opponent == "sd-scripts":
            return taken(
                reference(setting, given.reference, given.reference_python or Path(sys.executable)), {}
            )
        # The package asks MKL for results that do not depend on alignment; the plain loop shall not pay for that.
        return taken(plain(setting), {"MKL_CBWR": "AUTO"})

    rounds = []
    for number in range(given.rounds):
        sides = {"maquette": partial(taken, ours(setting, number), {}), opponent: other}
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        rounds.append({side: sides[side]() for side in order})
        print(
            f"{setting.resolution} px, round {number + 1}: {json.dumps(rounds[-1])}",
            file=sys.stderr,
            flush=True,
        )
    return [row(setting.resolution, name, rounds, opponent) for name in FIGURES] + [
        losses(setting.resolution, rounds[0], opponent)
    ]


def row(resolution: int, name: str, rounds: list[dict[str, Any]], opponent: str) -> dict[str, Any]:
    """Return both sides' medians of one figure, the median of the rounds' ratios, and their spread."""
    sides = {
        side: [entry[label][name] for entry in rounds]
        for side, label in (("maquette", "maquette"), ("other", opponent))
    }
    ratios = [own / other for own, other in zip(sides["maquette"], sides["other"], strict=True)]
    return {
        "resolution_px": resolution,
        "figure": name,
        **{side: round(median(values), 3) for side, values in sides.items()},
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def losses(resolution: int, first: dict[str, Any], opponent: str) -> dict[str, Any]:
    """Return both sides' losses of the same noise, and how far they are apart; the first weights are each side's own."""
    own, other = first["maquette"]["losses"], first[opponent]["losses"]
    return {
        "resolution_px": resolution,
        "figure": "losses",
        "maquette": own,
        "other": other,
        "first_apart_relative": abs(own[0] - other[0]) / other[0],
        "most_apart_relative": max(abs(one - two) / two for one, two in zip(own, other, strict=True)),
    }


def said(row: dict[str, Any]) -> str:
    """Return a figure's ratio with its spread."""
    spread = f"{min(row['ratios']):.2f}–{max(row['ratios']):.2f}"
    return f"{row['resolution_px']} px {row['figure']} {row['ratio']:.2f} ({spread})"


if __name__ == "__main__":
    main()
