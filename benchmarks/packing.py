"""What packed training returns: steps of P trials in one pass over the base, against the same trials one after another.

    python benchmarks/packing.py --output benchmarks/results/                                   # the small world, a few minutes
    python benchmarks/packing.py --base sd15 --resolution 128 --trials 2 4 8 --rounds 3         # SD 1.5's layout, random weights
    python benchmarks/packing.py --base sd15 --resolution 512 --device cuda                     # on a graphics card
    python benchmarks/packing.py --base sdxl --resolution 1024 --device cuda --precision bf16

A step is all that training computes for a micro-batch: captions through the text encoder, which is trained, the denoiser, the
loss, both backwards, clipping and AdamW. One after the other a trial steps as an ordinary run does; packed as a search's do. The
ranks of the trials differ. Both sides take turns in one process; a ratio is the median of the rounds' own, by the processor's
seconds on a CPU (a busy machine stretches these less than the clock's; both are told) and by the clock's on a card.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from circumstances import commit, hardware, software
from start_full import write_base
from torch import Tensor

from maquette.devices import place
from maquette.families import BaseModel, PictureSize, load
from maquette.files import write_json
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.config import TrialSettings
from maquette.training.optimize import TrialOptimizer
from maquette.training.rates import rate_groups

HERE = Path(__file__).resolve().parent
SMALL_WORLD = HERE.parent / "src" / "maquette" / "world" / "pack" / "small_world.safetensors"
CAPTION = "tovaki standing, three quarter view, meadow"
STEPS_OF_A_TRIAL = 600
"""What trials per hour are counted with."""
Spent = dict[str, float]
"""Seconds of a step: `cpu_s` and `wall_s`, and the processor's of its parts."""


@dataclass(frozen=True)
class Work:
    """What a step is made of."""

    model: BaseModel
    device: str
    precision: str
    resolution: int
    batch: int
    ranks: tuple[int, ...]

    def noisy(self, rows: int) -> Tensor:
        edge = self.resolution // self.model.info.vae_factor
        generator = torch.Generator().manual_seed(1)
        shape = (rows, self.model.info.latent_channels, edge, edge)
        return torch.randn(shape, generator=generator).to(self.device)


class Side:
    """Trials that train, packed or one alone."""

    def __init__(self, work: Work, ranks: Sequence[int], packed: bool) -> None:
        self.work, self.rows = work, len(ranks) * work.batch
        self.trials = len(ranks)
        specs = [TrialSpec(rank=rank, alpha=rank / 2, seed=seed) for seed, rank in enumerate(ranks)]
        self.adapter = LoraAdapter.attach(work.model, specs).to(work.device).train()
        if packed:
            self.adapter.gather()
        trial = TrialSettings(lr_scheduler="constant")
        self.optimizers = [
            TrialOptimizer(trial, rate_groups(self.adapter, index, trial), 100_000)
            for index in range(len(ranks))
        ]
        self.noisy, self.target = work.noisy(self.rows), work.noisy(self.rows).flip(0)
        self.sizes = [PictureSize((work.resolution,) * 2, (0, 0), (work.resolution,) * 2)] * self.rows
        self.placement = place(work.device, work.precision)
        self.done = 0

    def step(self) -> Spent:
        work, marks = self.work, []

        def mark() -> None:
            if work.device.startswith("cuda"):
                torch.cuda.synchronize()
            marks.append((time.process_time(), time.perf_counter()))

        mark()
        self.adapter.set_step(self.done)
        with self.placement.autocast():
            losses_P = self._losses()
        mark()
        losses_P.sum().backward()
        mark()
        for optimizer in self.optimizers:
            optimizer.update(self.done)
        mark()
        self.done += 1
        parts = ("forward", "backward", "update")
        return {
            "cpu_s": marks[-1][0] - marks[0][0],
            "wall_s": marks[-1][1] - marks[0][1],
            **{
                f"{name}_cpu_s": after[0] - before[0]
                for name, (before, after) in zip(parts, pairwise(marks), strict=True)
            },
        }

    def _losses(self) -> Tensor:
        model = self.work.model
        conditioning = model.encode_text(model.tokenize([CAPTION] * self.rows))
        timesteps = torch.full((self.rows,), 500, device=self.work.device)
        predicted = model.predict(self.noisy, timesteps, conditioning, self.sizes)
        return (predicted - self.target).float().square().view(self.trials, -1).mean(1)


def turn(work: Work, ranks: Sequence[int], packed: bool, steps: int) -> Spent:
    """Let one side take `steps` steps; return the median of what they took. The first is not counted."""
    side = Side(work, ranks, packed)
    side.step()
    taken = [side.step() for _ in range(steps)]
    side.adapter.detach()
    return {key: statistics.median(each[key] for each in taken) for key in taken[0]}


@contextmanager
def passing_gradients(model: BaseModel) -> Iterator[None]:
    """Within, gradients go through the base as they do in training, and nothing learns."""
    with ExitStack() as stack:
        for encoder in model.text_encoders:

            def hook(module: Any, given: Any, out: Any) -> Any:
                return out.requires_grad_()

            stack.callback(encoder.get_input_embeddings().register_forward_hook(hook).remove)  # type: ignore[operator]
        yield


def base_turn(work: Work, trials: int, steps: int) -> Spent:
    """Return what the base alone takes for as many rows, adapters and optimizers left out."""
    side = Side(work, [1] * trials, packed=False)
    side.optimizers = []
    side.noisy.requires_grad_()
    side.adapter.enabled = False
    with passing_gradients(work.model):
        side.step()
        taken = [side.step() for _ in range(steps)]
    side.adapter.detach()
    return {key: statistics.median(each[key] for each in taken) for key in taken[0]}


def measure(work: Work, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each number of trials."""
    counted = "cpu_s" if work.device == "cpu" else "wall_s"
    rows = []
    for trials in given.trials:
        ranks = [work.ranks[index % len(work.ranks)] for index in range(trials)]
        rounds = []
        for number in range(given.rounds):
            sides = ["packed", "alone"] if number % 2 else ["alone", "packed"]
            found: dict[str, Spent] = {}
            for side in sides:
                if side == "packed":
                    found[side] = turn(work, ranks, True, given.steps)
                else:
                    of_ranks = {rank: turn(work, [rank], False, given.steps) for rank in sorted(set(ranks))}
                    found[side] = {
                        key: sum(of_ranks[rank][key] for rank in ranks) for key in ("cpu_s", "wall_s")
                    }
            rounds.append(found)
        rows.append(row(trials, rounds, counted) | {"memory": memory(work.device)})
        if given.base_share:
            base = base_turn(work, trials, given.steps)
            rows[-1] |= {
                "base_cpu_s": base["cpu_s"],
                "base_share": base[counted] / rows[-1][f"packed_{counted}"],
            }
        told = {key: round(value, 3) for key, value in rows[-1].items() if isinstance(value, float)}
        print(trials, told, flush=True)
    return rows


def row(trials: int, rounds: Sequence[dict[str, Spent]], counted: str) -> dict[str, Any]:
    """Return medians of both sides and the median of the rounds' ratios."""
    ratios = [each["alone"][counted] / each["packed"][counted] for each in rounds]
    packed = {
        f"packed_{key}": statistics.median(each["packed"][key] for each in rounds)
        for key in rounds[0]["packed"]
    }
    alone = {
        f"alone_{key}": statistics.median(each["alone"][key] for each in rounds)
        for key in ("cpu_s", "wall_s")
    }
    hour = 3600 * trials / STEPS_OF_A_TRIAL
    return {
        "trials": trials,
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "wall_ratio": statistics.median(
            each["alone"]["wall_s"] / each["packed"]["wall_s"] for each in rounds
        ),
        "trials_per_hour_packed": hour / packed[f"packed_{counted}"],
        "trials_per_hour_alone": hour / alone[f"alone_{counted}"],
        **packed,
        **alone,
    }


def memory(device: str) -> dict[str, int]:
    """Return the most memory that the process has held so far; on a card, since the last time."""
    if device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return {"peak_bytes": peak}
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def with_memory_per_trial(rows: list[dict[str, Any]]) -> None:
    """Say what each further trial took, from the largest pack and the smallest one."""
    first, last = rows[0], rows[-1]
    if last["trials"] > first["trials"]:
        more = last["memory"]["peak_bytes"] - first["memory"]["peak_bytes"]
        last["bytes_per_trial"] = more // (last["trials"] - first["trials"])


def base_of(name: str, folder: Path) -> Path:
    """Return the base's file: the small world's, random weights in a full layout, or the file that is named."""
    if name == "small":
        return SMALL_WORLD
    return write_base(folder / "base.safetensors", LAYOUTS[name]) if name in LAYOUTS else Path(name)


LAYOUTS = {"sd15": "sd1", "sdxl": "sdxl"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="small", help="small, sd15 or sdxl (random weights), or a file")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1, help="rows of each trial")
    parser.add_argument("--ranks", type=int, nargs="+", default=[4, 8, 16], help="of the trials, in turn")
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="no", choices=["no", "bf16"])
    parser.add_argument(
        "--no-base-share", dest="base_share", action="store_false", help="leave the base alone out"
    )
    parser.add_argument("--load", default="quiet", help="what else ran on the machine meanwhile")
    parser.add_argument("--output", type=Path, help="folder of the result file")
    return parser.parse_args()


def main() -> None:
    given = parse()
    with tempfile.TemporaryDirectory() as folder:
        dtype = torch.bfloat16 if given.precision == "bf16" else None
        model = load(base_of(given.base, Path(folder)), dtype=dtype, device=given.device)
        work = Work(model, given.device, given.precision, given.resolution, given.batch, tuple(given.ranks))
        rows = measure(work, given)
    with_memory_per_trial(rows)
    moment = datetime.now(UTC)
    ratios = ", ".join(f"{each['trials']}: {each['ratio']:.2f}" for each in rows)
    result = {
        "benchmark": "packing",
        "date": moment.isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(given.device),
        "load": given.load,
        "software": software(),
        "settings": {
            **{key: value for key, value in vars(given).items() if key not in ("output", "load")},
            "optimizer": "adamw", "text_encoder": "trained", "threads": torch.get_num_threads(),
            "steps_of_a_trial": STEPS_OF_A_TRIAL,
        },
        "results": rows,
        "conclusion": f"Trials packed are so many times as fast as one after another ({given.base}, {given.resolution} px, "
        f"batch {given.batch}): {ratios}.",
    }  # fmt: skip
    print(result["conclusion"])
    if given.output:
        name = f"{Path(given.base).stem}-{given.resolution}px"
        device = given.device.replace(":", "")
        path = given.output / f"packing-{moment:%Y-%m-%d}-{name}-{os.cpu_count()}core-{device}.json"
        write_json(path, result)
        print(path)


if __name__ == "__main__":
    main()
