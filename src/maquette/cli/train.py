"""`maquette train`."""

from __future__ import annotations

import shlex
from typing import Any

import click

from maquette.cli.app import STARTED
from maquette.cli.options import settings_options
from maquette.cli.output import follow, result_command
from maquette.spoken import memory_size
from maquette.stopping import Stop


@result_command(
    click.argument("target", required=False, type=click.Path()),
    click.option(
        "--resume",
        "resume",
        type=click.Path(),
        metavar="RUN",
        help="Go on with an interrupted run, with its own settings; with --steps or --epochs, train a run longer.",
    ),
    click.option(
        "--smoke",
        is_flag=True,
        help="Take a few steps and keep nothing: proves that training works here, and its speed.",
    ),
    *settings_options(),
    name="train",
    detachable=True,
)
def command(target: str | None, resume: str | None, smoke: bool, **settings: Any) -> dict[str, Any]:
    """Train a LoRA.

    TARGET is a project folder (made by `maquette init`), a folder of pictures with captions beside them, a kohya folder
    (10_name/ folders), or a kohya dataset TOML. Every setting of maquette.toml is a flag, and flags win.

    \b
      maquette train my-project
      maquette train pictures/ --base model.safetensors --trigger myword --steps 800
      maquette train --resume my-project/runs/myword-001
      maquette train --resume my-project/runs/myword-001 --steps 2000
    """
    from maquette.api import train_events

    stop = Stop()
    stage = train_events(target, resume=resume, smoke=smoke, settings=settings, started=STARTED, stop=stop)
    result = follow(stage, stop)
    return smoke_report(result) if smoke else train_report(result)


def train_report(result: Any) -> dict[str, Any]:
    """Return what `train --json` prints, with the lines a person reads."""
    return {
        "run": str(result.run),
        "lora": str(result.lora),
        "steps": result.steps,
        "final_loss": result.final_loss,
        "device": result.device,
        "seconds_per_step": round(result.seconds_per_step, 4),
        "start_to_first_step_s": round(result.start_to_first_step_s, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
        "lines": [
            f"{result.steps} steps, loss {result.final_loss:.4f}, {result.seconds_per_step:.3g} s/step on {result.device}",
            f"Run:  {result.run}",
            f"LoRA: {result.lora}",
            f"Next: {shlex.join(['maquette', 'evaluate', str(result.run)])}",
        ],
    }


def smoke_report(result: Any) -> dict[str, Any]:
    """Return what `train --smoke --json` prints: each proof, and the estimate for the whole; exit code 1 where one fails."""
    schedule, device = result.record.schedule, result.record.device
    whole_s = result.start_to_first_step_s + result.seconds_per_step * (schedule.steps - 1)
    return {
        "smoke": True,
        "device": result.device,
        "forward_device": device.forward_device,
        "precision": device.precision,
        "steps": result.steps,
        "final_loss": result.final_loss,
        "loss_finite": True,
        "seconds_per_step": round(result.seconds_per_step, 4),
        "start_to_first_step_s": round(result.start_to_first_step_s, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
        "planned_steps": schedule.steps,
        "estimated_seconds": round(whole_s, 1),
        "proofs": [vars(proof) for proof in result.proofs],
        "exit_code": 0 if all(proof.holds for proof in result.proofs) else 1,
        "lines": [
            f"The forward pass ran on {device.forward_device} in precision {device.precision}, "
            f"{result.seconds_per_step:.3g} s/step, peak memory {memory_size(result.peak_memory_bytes)}.",
            *(f"  {'ok' if proof.holds else 'NO':<4}{proof.what:<11}{proof.told}" for proof in result.proofs),
            f"The whole run: {schedule.sum}, about {whole_s / 60:.0f} min without drawing samples.",
            "Nothing was kept. Run the same command without --smoke to train.",
        ],
    }
