"""The space that is searched where none is given: the field notes', as far as this project, its base and this machine take it.

Written as TOML with its reasons, so that `--print-space` shows it and a person may change it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maquette.project.optimizers import missing_package
from maquette.searching.constraints import SAFETY, Constraint
from maquette.searching.expressions import parse_expression

if TYPE_CHECKING:
    from maquette.searching.basis import Basis

EPOCHS = (12, 16, 20, 24)
USUAL_EPOCHS = 16
"""Of EPOCHS the one that stands for a project's own length where that is given in steps."""
WARMUPS = (50, 100, 150, 200)
ACCUMULATIONS = (1, 2, 4)
LONGEST_WARMUP = 0.5
"""Of a run: more would leave no room for what is warmed up for."""
WARMUP_FITS = "lr_warmup_steps > 0.5 * max_train_steps"


@dataclass
class _Lines:
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, value: str, why: str) -> None:
        self.lines += [f"# {why}", f"{name} = {{ {value} }}"]

    def choose(self, name: str, values: tuple[object, ...], why: str) -> None:
        self.add(name, f"choose = {json.dumps(list(values))}", why)

    def left_out(self, name: str, why: str) -> None:
        self.lines.append(f"# {name}: left out, since {why}")


def default_space(basis: Basis) -> str:
    """Return the space of a project as TOML."""
    found = _Lines()
    found.choose("network_dim", (64, 128, 256), "Capacity against over-fitting; [lora] rank.")
    ratio = "low = 0.25, high = 0.9, step = 0.05"
    found.add(
        "network_alpha_ratio",
        ratio,
        "alpha = int(network_dim * ratio): alpha follows the rank and never meets it.",
    )
    found.choose("network_dropout", (0.0, 0.05, 0.1), "Against over-fitting on few pictures.")
    found.add("learning_rate", "low = 6e-5, high = 1.2e-4, log = true", "How fast, by its logarithm.")
    if basis.settings.training.text_encoder_lr == 0:
        found.left_out("text_encoder_lr", "the project trains no text encoder.")
    else:
        found.add(
            "text_encoder_lr", "low = 3e-5, high = 8e-5, log = true", "The text encoders learn more slowly."
        )
    schedulers = ("cosine_with_restarts", "cosine", "constant_with_warmup")
    found.choose("lr_scheduler", schedulers, "constant alone would leave the warm-up out.")
    longest = _length(found, basis)
    if basis.spec.option("min_snr_gamma") is None:
        found.left_out("min_snr_gamma", f"{basis.spec.title} does not have it.")
    else:
        found.choose("min_snr_gamma", (0, 5, 10), "Weighs the levels of noise; 0 is off.")
    _optimizer(found, basis)
    found.choose(
        "gradient_accumulation_steps",
        ACCUMULATIONS,
        "Passes that make one step: calmer updates, fewer of them.",
    )
    fitting = tuple(steps for steps in WARMUPS if steps <= longest * LONGEST_WARMUP)
    if len(fitting) > 1:
        found.choose("lr_warmup_steps", fitting, "Steps in which the rate rises.")
    else:
        found.left_out("lr_warmup_steps", f"the longest run has {longest} steps.")
    return "\n".join(["[space]", *found.lines, "", *_refusals()]) + "\n"


def _length(found: _Lines, basis: Basis) -> int:
    """Add the length in epochs, and return the most steps that a trial of it has."""
    schedule = basis.schedule(basis.settings)
    epochs: tuple[int, ...] = EPOCHS
    if basis.settings.training.epochs:
        why = "What is long enough depends on the number of pictures."
    else:
        whole = schedule.steps / max(1, schedule.steps_per_epoch)
        epochs = tuple(dict.fromkeys(max(1, round(whole * each / USUAL_EPOCHS)) for each in EPOCHS))
        why = f"The project's {schedule.steps} steps are {whole:.3g} epochs: 12, 16, 20 and 24 sixteenths of them."
    found.choose("max_train_epochs", epochs, why)
    return max(epochs) * schedule.batches_per_epoch


def _optimizer(found: _Lines, basis: Basis) -> None:
    package = missing_package("adamw8bit")
    if package is not None:
        found.left_out(
            "optimizer_type", f"AdamW8bit needs {package}, which is not installed; the project's own is kept."
        )
        return
    found.choose(
        "optimizer_type", ("AdamW", "AdamW8bit"), "Moments in 8 bits take less memory and add noise."
    )


def _refusals() -> list[str]:
    own = Constraint(
        "warmup_fits", parse_expression(WARMUP_FITS), "half of the run would be spent on warming up"
    )
    lines = ['# What is never trained, and why. Another one in a line: too_fast = "learning_rate > 1e-4"']
    for each in (*SAFETY, own):
        lines += [
            f"[refuse.{each.name}]",
            f"when = {json.dumps(each.when.text)}",
            f"why = {json.dumps(each.why)}",
            "",
        ]
    return lines[:-1]
