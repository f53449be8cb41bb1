"""`maquette validate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.evaluating.validate_options import ValidateOptions


@result_command(
    click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|FILE…"),
    *options_of(ValidateOptions),
    name="validate",
    detachable=True,
)
def command(targets: tuple[Path, ...], **given: Any) -> dict[str, Any]:
    """Measure the loss of pictures at fixed noise, under LoRA files and under their base alone.

    RUN means its checkpoints and the pictures that it held out; --images names others. FILE is any LoRA file, with --base and
    --images.

    \b
      maquette validate my-project/runs/myword
      maquette validate one.safetensors two.safetensors --base model.safetensors --images held-out/
    """
    from maquette.evaluating.validate import validate_events

    result = follow(validate_events(targets, ValidateOptions(**given)))
    return {
        "pictures": [str(path) for path in result.pictures],
        "timesteps": list(result.timesteps),
        "measured": [
            {
                "lora": str(each.lora) if each.lora else None,
                **{name: value for name, value in asdict(each.point).items() if name != "step"},
                "losses": list(each.losses),
            }
            for each in result.measured
        ],
        "lines": [_line(each) for each in result.measured],
    }


def _line(each: Any) -> str:
    """Return one file's loss and its change from the base, with standard error."""
    name = each.lora.name if each.lora else "the base alone"
    point, change = each.point, ""
    if point.from_base is not None:
        error = f" ± {point.from_base_error:.4f}" if point.from_base_error is not None else ""
        change = f"   {point.from_base:+.4f}{error} from the base"
    return f"{point.loss:.4f}   {name}{change}"
