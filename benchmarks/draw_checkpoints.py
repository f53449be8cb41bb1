"""Pictures per second of an evaluation against a plain diffusers loop that loads each LoRA in turn.

    python benchmarks/draw_checkpoints.py                                     # the small world, a CPU, some minutes
    python benchmarks/draw_checkpoints.py --device cuda --base sd15.safetensors --size 512 --steps 25 --batch 16

Both draw the same: LoRAs of one rank on every layer that is trained by default, text encoder included, and the base alone;
the same prompts, seeds, sampler, steps and guidance; both write PNG files. The base is loaded once, before the clock starts.

ours      `first_look`: columns on the trial axis, text encoded once, pictures written with what they were drawn from
loop      StableDiffusionPipeline: load_lora_weights, then a call for each prompt and seed, unload_lora_weights
batched   the same loop with a call for each prompt that draws all of its seeds

They take turns in one process; the first round is dropped. Seconds of the wall clock and of the processor are both told: on a
shared machine the second says what was computed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from circumstances import commit, hardware, software

from maquette import families
from maquette.devices import synchronize
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, first_look
from maquette.events import run_stage
from maquette.files import write_json
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import save_lora
from maquette.measuring.looks import LookPrompt
from maquette.world.pack import base_path

HERE = Path(__file__).resolve().parent
PROMPTS = (
    "tovaki",
    "tovaki character, standing, front view, blue background",
    "tovaki character, arms up, front view, yellow background",
    "tovaki character, jumping, facing right, green background",
    "a character",
)
Contender = Callable[[Path], int]
"""Draws everything into a folder; returns how many pictures."""


def write_loras(model: Any, folder: Path, count: int, rank: int) -> list[Path]:
    """Write LoRAs of random weights, strong enough to be seen."""
    specs = [TrialSpec(rank=rank, alpha=rank, seed=index) for index in range(count)]
    adapter = LoraAdapter.attach(model, specs)
    paths = []
    for index in range(count):
        state, generator = adapter.state_dict(index), torch.Generator().manual_seed(index)
        for name, tensor in state.items():
            if name.endswith("lora_up.weight"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.02)
        paths.append(folder / f"lora-step{100 * (index + 1):08d}.safetensors")
        save_lora(paths[-1], state, {})
    adapter.detach()
    return paths


def ours(model: Any, loras: Sequence[Path], plan: LookPlan) -> Contender:
    columns = [
        LookCheckpoint(label=f"step {index}", step=index, path=path)
        for index, path in enumerate(loras, start=1)
    ]
    return lambda folder: len(run_stage(first_look(model, columns, plan, folder)).looks)


def pipeline_of(model: Any, sampler: str) -> Any:
    """Return diffusers' pipeline over a model's parts."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoders[0],
        tokenizer=None,
        unet=model.denoiser,
        scheduler=model.sampler(sampler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def plain_loop(model: Any, loras: Sequence[Path], plan: LookPlan, *, seeds_at_once: bool) -> Contender:
    """Return a loop as people write it. The pipeline gets the text's encoding, which it would make itself once a call."""
    pipeline = pipeline_of(model, plan.sampler or model.spec.default_sampler)

    def encoded(text: str) -> torch.Tensor:
        ids = model.tokenize([text]).ids[0].to(model.device)
        return pipeline.text_encoder(ids)[0]

    def call(prompt: str, seeds: Sequence[int]) -> list[Any]:
        drawn: list[Any] = pipeline(
            prompt_embeds=encoded(prompt),
            negative_prompt_embeds=encoded(plan.negative),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            num_images_per_prompt=len(seeds),
            guidance_scale=plan.guidance,
            num_inference_steps=plan.steps,
            width=plan.width_px,
            height=plan.height_px,
        ).images
        return drawn

    @torch.no_grad()
    def draw(folder: Path) -> int:
        count = 0
        for number, lora in enumerate((None, *loras)):
            if lora is not None:
                pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
            for prompt in plan.prompts:
                parts = [plan.seeds] if seeds_at_once else [(seed,) for seed in plan.seeds]
                for seeds in parts:
                    for picture in call(prompt.text, seeds):
                        picture.save(folder / f"{number}-{count}.png")
                        count += 1
            if lora is not None:
                pipeline.unload_lora_weights()
        return count

    return draw


def timed(contender: Contender, device: torch.device) -> tuple[float, float, int]:
    """Return seconds of the wall clock and of the processor, and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        synchronize(device)
        wall, processor = time.perf_counter(), time.process_time()
        count = contender(Path(folder))
        synchronize(device)
        return time.perf_counter() - wall, time.process_time() - processor, count


def take_turns(contenders: dict[str, Contender], rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """Return a row a contender; who goes first changes from round to round."""
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(timed(contenders[name], device))
    return [_row(name, found[name][1:], found["ours"][1:]) for name in names]


def _row(
    name: str, runs: Sequence[tuple[float, float, int]], own: Sequence[tuple[float, float, int]]
) -> dict[str, Any]:
    walls, processors = [run[0] for run in runs], [run[1] for run in runs]
    return {
        "contender": name,
        "pictures": runs[0][2],
        "median_s": statistics.median(walls),
        "min_s": min(walls),
        "processor_median_s": statistics.median(processors),
        "pictures_per_s": runs[0][2] / statistics.median(walls),
        "ratio": statistics.median(run[0] / other[0] for run, other in zip(runs, own, strict=True)),
        "processor_ratio": statistics.median(run[1] / other[1] for run, other in zip(runs, own, strict=True)),
    }


def result(args: argparse.Namespace, rows: list[dict[str, Any]], moment: datetime) -> dict[str, Any]:
    """Return the record of a measurement, as benchmarks/README.md describes it."""
    import diffusers
    import peft

    loop, batched = (next(row for row in rows if row["contender"] == name) for name in ("loop", "batched"))
    settings = {key: value for key, value in vars(args).items() if key not in ("output", "load")}
    settings["base"] = Path(args.base).name
    return {
        "benchmark": "draw_checkpoints",
        "date": moment.isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(args.device),
        "load": args.load,
        "software": {**software(), "diffusers": diffusers.__version__, "peft": peft.__version__},
        "settings": {**settings, "threads": torch.get_num_threads()},
        "results": rows,
        "conclusion": (
            f"{args.loras} LoRAs and the base alone are drawn {loop['ratio']:.2f} times as fast as by a plain diffusers loop "
            f"({loop['processor_ratio']:.2f} by processor time), {batched['ratio']:.2f} times "
            f"({batched['processor_ratio']:.2f}) where that loop draws all seeds of a prompt at once."
        ),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default=str(base_path()), help="a Stable Diffusion 1.x checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--size", type=int, default=64, help="edge of a picture, px")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=24, help="pictures that we draw at once")
    parser.add_argument("--loras", type=int, default=5)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--load", default="quiet", help="what else ran on the machine meanwhile")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the result file")
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    dtype, device = getattr(torch, args.precision), torch.device(args.device)
    model, theirs = (families.load(args.base, dtype=dtype, device=args.device) for _ in range(2))
    plan = LookPlan(
        prompts=tuple(LookPrompt(text=text) for text in PROMPTS),
        seeds=tuple(range(1, args.seeds + 1)),
        width_px=args.size,
        height_px=args.size,
        steps=args.steps,
        guidance=3.0,
        sampler="dpmpp_2m",
        batch=args.batch,
    )
    with tempfile.TemporaryDirectory() as folder:
        loras = write_loras(model, Path(folder), args.loras, args.rank)
        contenders = {
            "ours": ours(model, loras, plan),
            "loop": plain_loop(theirs, loras, plan, seeds_at_once=False),
            "batched": plain_loop(theirs, loras, plan, seeds_at_once=True),
        }
        rows = take_turns(contenders, args.rounds, device)
    for row in rows:
        print(
            f"{row['contender']:<8} {row['pictures_per_s']:6.2f} pictures/s   {row['median_s']:6.1f} s wall "
            f"{row['processor_median_s']:6.1f} s processor   ratio {row['ratio']:.2f} ({row['processor_ratio']:.2f})"
        )
    moment = datetime.now(UTC)
    where = args.device.replace(":", "")
    path = args.output / f"draw_checkpoints-{moment:%Y-%m-%d}-{os.cpu_count()}core-{where}.json"
    write_json(path, result(args, rows, moment))
    print(path)


if __name__ == "__main__":
    main()
