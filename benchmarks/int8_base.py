"""What a frozen base in int8 costs and saves: SD 1.5's full layout with random weights, and the small world for its error.

    python benchmarks/int8_base.py --device cpu --px 128 --rounds 5 --output benchmarks/results/

Forward and backward passes of one rank-32 LoRA take turns over the base as it is and the same base in int8, without and with
recomputed blocks. Seconds are the processor's; on a GPU those until it has done its work. Kept bytes are what autograd holds for
the backward pass besides weights, counted tensor by tensor; error is of what the small world's denoiser predicts, relative, at
two timesteps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from circumstances import circumstances
from start_full import write_base

from maquette import families
from maquette.devices import place, synchronize
from maquette.families.protocol import BaseModel, PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine
from maquette.training.int8_base import hold_in_int8

SMALL_WORLD = Path(families.__file__).parents[1] / "world" / "pack" / "small_world.safetensors"
RANK = 32


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="no", choices=("no", "bf16", "fp16"))
    parser.add_argument("--px", type=int, default=128, help="edge of the picture")
    parser.add_argument("--rounds", type=int, default=5, help="after one that does not count")
    parser.add_argument("--load", default="quiet", help="what else runs on the machine")
    parser.add_argument("--output", type=Path, help="folder for the result file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = write_base(Path(folder) / "base.safetensors")
        engines = {name: engine_over(base, given, int8=name == "int8") for name in ("same", "int8")}
    rows = [row for again in (False, True) for row in measured(engines, given, again=again)]
    rows.append(
        {"base": "small world", "prediction_error_share": [error_at(timestep) for timestep in (100, 800)]}
    )
    result = {
        **circumstances("int8_base", load=given.load, device=given.device),
        "settings": {
            "layout": "SD 1.5, random weights", "px": given.px, "batch": 1, "rank": RANK, "precision": given.precision,
            "threads": os.environ.get("OMP_NUM_THREADS"), "rounds": given.rounds,
        },
        "results": rows,
        "conclusion": "",
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if given.output:
        name = f"int8_base-{result['date']}-{given.px}px-{os.cpu_count()}core-{given.device}.json"
        (given.output / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def engine_over(base: Path, given: argparse.Namespace, *, int8: bool) -> Engine:
    """Return an engine with a LoRA of the denoiser."""
    placement = place(given.device, given.precision)
    model = families.load(base, dtype=placement.weight_dtype, device="cpu")
    if int8:
        hold_in_int8(model.denoiser)
    model.to(given.device)
    trial = TrialSettings(rank=RANK, text_encoder_lr=0.0)
    spec = TrialSpec(rank=RANK, alpha=RANK / 2, seed=trial.seed, parts=("denoiser",))
    adapter = LoraAdapter.attach(model, [spec], parts=("denoiser",))
    return Engine(model, adapter, [trial], placement, total_steps=100)


def measured(engines: dict[str, Engine], given: argparse.Namespace, *, again: bool) -> list[dict[str, Any]]:
    """Return a row for each base, measured in turn; `again`: with recomputed blocks."""
    batch = batch_of(given.px)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    kept = {}
    for turn in range(given.rounds + 1):
        for name, engine in engines.items():
            engine.model.set_gradient_checkpointing(again)
            found, took = passed(engine, batch, counting=turn == 0)
            if turn == 0:
                kept[name] = found
            else:
                seconds[name].append(took)
    ratios = [mine / plain for mine, plain in zip(seconds["int8"], seconds["same"], strict=True)]
    return [
        {
            "base": name,
            "recomputed_blocks": again,
            "denoiser_bytes": held_bytes(engine.model),
            "kept_bytes": kept[name],
            "median_s": round(statistics.median(seconds[name]), 3),
            "least_s": round(min(seconds[name]), 3),
            "ratio": round(statistics.median(ratios), 3) if name == "int8" else 1.0,
        }
        for name, engine in engines.items()
    ]


def passed(engine: Engine, batch: MicroBatch, *, counting: bool) -> tuple[int, float]:
    """Return the bytes that one pass keeps for its backward, and its seconds."""
    weights = {
        tensor.untyped_storage().data_ptr()
        for module in (engine.model.denoiser, engine.adapter.module)
        for tensor in (*module.parameters(), *module.buffers())
    }
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    clock = time.process_time if engine.placement.device.type == "cpu" else time.perf_counter
    began = clock()
    if counting:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            engine.micro_step(0, batch, 1)
    else:
        engine.micro_step(0, batch, 1)
    synchronize(engine.placement.device)
    took = clock() - began
    engine.forget_gradients()
    return sum(kept.values()), took


def batch_of(px: int) -> MicroBatch:
    """Return one picture's latent."""
    generator = torch.Generator().manual_seed(7)
    return MicroBatch(
        clean_BCHW=torch.randn(1, 4, px // 8, px // 8, generator=generator),
        captions=("a fox in the snow",),
        sizes=(PictureSize((px, px), (0, 0), (px, px)),),
        regularization_B=torch.tensor([False]),
        names=("a",),
    )


def held_bytes(model: BaseModel) -> int:
    """Return what the denoiser's own tensors take."""
    return sum(each.nbytes for each in (*model.denoiser.parameters(), *model.denoiser.buffers()))


@torch.no_grad()
def error_at(timestep: int) -> float:
    """Return how far the small world's prediction is off in int8, as a share of it, over eight noises."""
    plain, held = (families.load(SMALL_WORLD, dtype=torch.float32) for _ in range(2))
    hold_in_int8(held.denoiser)
    noisy = torch.randn(8, plain.info.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    text = plain.encode_text(plain.tokenize(["a person, standing"] * 8))
    first, second = (each.predict(noisy, torch.full((8,), timestep), text) for each in (plain, held))
    return round(float((second - first).norm() / first.norm()), 5)


if __name__ == "__main__":
    main()
