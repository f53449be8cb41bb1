"""What the trial axis costs and returns, measured.

    python benchmarks/trial_axis.py                        # a few minutes on a CPU
    python benchmarks/trial_axis.py --device cuda --latent-px 64 --trials 2 4 8

Two questions, on a small U-Net (two levels with cross-attention, LoRA on every attention and feed-forward layer),
each as forward + backward + fused AdamW in float32:

1. `one trial`: a step through our layer against the same step through the plainest LoRA layer one can write; and
   two of the plainest against each other, which shows the noise.
2. `packed`: P trials in one pass over the base against P passes of one trial.

The contenders take turns, one step each, so that a busy machine slows all of them; ratios are medians of the
rounds' own ratios. The table is printed and a result file as README.md describes it is written.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from circumstances import commit, hardware, software
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from maquette.families import BaseModel, LoraTarget
from maquette.families.common.targets import attention_paths, unet_target
from maquette.files import write_json
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec

HERE = Path(__file__).resolve().parent
TEXT_WIDTH, TEXT_TOKENS = 128, 77

Step = Callable[[], float]
"""Takes one training step and returns its seconds."""


class PlainLora(nn.Module):
    """The plainest LoRA over a linear layer: what a script of one's own would hold."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base_forward = base.forward
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.base_forward(x) + self.up(self.down(x)) * self.scale


def small_unet(device: str) -> UNet2DConditionModel:
    """Return a U-Net of about four million parameters, random and frozen."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        norm_num_groups=16,
        layers_per_block=1,
        use_linear_projection=True,
    )
    return unet.requires_grad_(False).train().to(device)


def as_model(unet: UNet2DConditionModel) -> BaseModel:
    """Return what LoraAdapter needs of a base model."""
    blocks = [name for name, module in unet.named_modules() if type(module).__name__ == "Transformer2DModel"]
    paths = [path for block in blocks for path in attention_paths(unet, block)]
    targets = tuple(unet_target(unet, path, f"lora_unet_{path.replace('.', '_')}") for path in paths)
    model = SimpleNamespace(denoiser=unet, text_encoders=(), vae=nn.Identity(), lora_targets=lambda: targets)
    return cast(BaseModel, model)


def plain_parameters(targets: Sequence[LoraTarget], rank: int, device: str) -> list[nn.Parameter]:
    """Stand a PlainLora in every target's place; return their parameters."""
    found: list[nn.Parameter] = []
    for target in targets:
        layer = PlainLora(cast(nn.Linear, target.module), rank, rank / 2).to(device)
        target.module.forward = layer.forward  # type: ignore[method-assign]
        found += layer.parameters()
    return found


def make_step(
    unet: UNet2DConditionModel, parameters: list[list[nn.Parameter]], rows: int, latent_px: int, device: str
) -> Step:
    """Return a step over `rows` rows that updates each trial's parameters by its own optimizer."""
    optimizers = [torch.optim.AdamW(own, lr=1e-4, fused=True) for own in parameters]
    generator = torch.Generator().manual_seed(1)
    noisy, target = torch.randn(2, rows, 4, latent_px, latent_px, generator=generator).to(device)
    text = torch.randn(rows, TEXT_TOKENS, TEXT_WIDTH, generator=generator).to(device)
    timesteps = torch.full((rows,), 500, device=device)

    def step() -> float:
        _wait(device)
        start = time.perf_counter()
        loss = (unet(noisy, timesteps, text).sample - target).square().mean() * len(parameters)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        _wait(device)
        return time.perf_counter() - start

    return step


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def with_adapter(num_trials: int, args: argparse.Namespace) -> Step:
    """Return a step of `num_trials` trials packed into one pass."""
    unet = small_unet(args.device)
    specs = [TrialSpec(rank=args.rank, alpha=args.rank / 2, seed=index) for index in range(num_trials)]
    adapter = LoraAdapter.attach(as_model(unet), specs).train()
    parameters = [adapter.parameters_of(index) for index in range(num_trials)]
    return make_step(unet, parameters, num_trials * args.batch, args.latent_px, args.device)


def with_plain_layers(args: argparse.Namespace) -> Step:
    """Return a step of one trial through PlainLora layers."""
    unet = small_unet(args.device)
    parameters = plain_parameters(as_model(unet).lora_targets(), args.rank, args.device)
    return make_step(unet, [parameters], args.batch, args.latent_px, args.device)


def take_turns(steps: dict[str, Step], rounds: int, warmup: int = 3) -> dict[str, list[float]]:
    """Return each contender's seconds, round by round; who goes first changes from round to round."""
    for _ in range(warmup):
        for step in steps.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(steps[name]())
    return seconds


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row per comparison: what, milliseconds of both, ratio."""
    contenders = {
        "ours": with_adapter(1, args),
        "plain": with_plain_layers(args),
        "again": with_plain_layers(args),
    }
    seconds = take_turns(contenders, args.rounds)
    rows = [
        _row("one trial: our layer / plain layer", seconds["ours"], seconds["plain"]),
        _row("noise: plain layer / plain layer", seconds["again"], seconds["plain"]),
    ]
    for num_trials in args.trials:
        contenders = {"packed": with_adapter(num_trials, args), "alone": with_adapter(1, args)}
        seconds = take_turns(contenders, max(5, args.rounds // 2))
        passes = [num_trials * value for value in seconds["alone"]]
        rows.append(_row(f"{num_trials} trials: {num_trials} passes / packed", passes, seconds["packed"]))
    return rows


def _row(what: str, first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"comparison": what}
    for name, seconds in (("first", first), ("second", second)):
        row |= {f"{name}_median_s": statistics.median(seconds), f"{name}_min_s": min(seconds)}
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    return {**row, "ratio": statistics.median(ratios), "ratio_of_minima": min(first) / min(second)}


def result(args: argparse.Namespace, rows: list[dict[str, Any]], moment: datetime) -> dict[str, Any]:
    """Return the record of a measurement, as benchmarks/README.md describes it."""
    packed = ", ".join(f"{row['ratio']:.2f}" for row in rows[2:])
    settings = {key: value for key, value in vars(args).items() if key not in ("output", "load")}
    return {
        "benchmark": "trial_axis",
        "date": moment.isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(args.device),
        "load": args.load,
        "software": software(),
        "settings": {**settings, "precision": "float32", "threads": torch.get_num_threads()},
        "results": rows,
        "conclusion": f"One trial takes {rows[0]['ratio']:.3f} of a plain LoRA layer's time, where two equal "
        f"contenders differ by {rows[1]['ratio']:.3f}; "
        f"{', '.join(map(str, args.trials))} trials packed are {packed} times as fast as one after the other.",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1, help="rows of each trial")
    parser.add_argument("--latent-px", type=int, default=8, help="edge of the latent picture")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--trials", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--load", default="quiet", help="what else ran on the machine meanwhile")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the result file")
    return parser.parse_args()


def main() -> None:
    args = parse()
    rows = measure(args)
    print(f"{'comparison':<40} {'first ms':>9} {'second ms':>9} {'ratio':>7} {'of minima':>9}")
    for row in rows:
        times = f"{1e3 * row['first_median_s']:>9.1f} {1e3 * row['second_median_s']:>9.1f}"
        print(f"{row['comparison']:<40} {times} {row['ratio']:>7.3f} {row['ratio_of_minima']:>9.3f}")
    moment = datetime.now(UTC)
    device = "cpu" if args.device == "cpu" else args.device.replace(":", "")
    path = args.output / f"trial_axis-{moment:%Y-%m-%d}-{os.cpu_count()}core-{device}.json"
    write_json(path, result(args, rows, moment))
    print(path)


if __name__ == "__main__":
    main()
