"""Why numbers stopped being numbers: which picture, noise level, latent, weight or layer, as far as it can be found.

A step ends before it changes any weight; what it ran is run once more then, piece by piece, and the first piece that is no
finite number is named. That costs seconds, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from maquette.errors import Problem, TrainingError

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.training.batches import MicroBatch
    from maquette.training.config import TrialSettings
    from maquette.training.engine import Shown
    from maquette.training.objective import Rows

Load = Callable[[], "MicroBatch"]


class Examined(Protocol):
    """What is looked through for a cause: an engine, or a lane of a pack as if it were one."""

    @property
    def model(self) -> BaseModel: ...

    @property
    def placement(self) -> Placement: ...

    @property
    def trials(self) -> Sequence[TrialSettings]: ...

    def parameters_of(self, trial: int) -> Mapping[str, nn.Parameter]:
        """Return the weights of a trial by name."""

    def rows(self, index: int, batch: MicroBatch) -> Rows:
        """Return what the denoiser was shown of a batch."""


KEPT = "Checkpoints and states up to here are kept."
LOWER = (
    "Train anew at a lower learning rate (half of it, --warmup-steps 50) or with --max-grad-norm 1; the "
    "checkpoints before this step are sound."
)
HALF = {
    "fp16": "fp16 ends at 65,504: train with --precision bf16, or no.",
    "bf16": "Train with --precision no to see whether the base's file is at fault.",
    "no": "Check the base model's file: maquette check BASE.",
}


@dataclass(frozen=True)
class Cause:
    """What is no finite number, and what to do about it."""

    what: str
    remedy: str


def broken_loss(
    engine: Examined,
    step: int,
    losses: Sequence[float],
    shown: Sequence[Shown],
    loads: Sequence[tuple[int, Load]],
) -> TrainingError:
    """Return the error of 0-based step `step`, one of whose losses is no finite number, with its cause."""
    found = next(_rows_that_broke(shown), None)
    where, given = f"step {step + 1}", f"the loss is {', '.join(f'{loss:g}' for loss in losses)}"
    if found is None:
        return _error(where, given, Cause("", f"{HALF[engine.placement.precision]} Lower the learning rate."))
    micro, trial, row = found
    of_trial = f", trial {trial + 1}" if len(engine.trials) > 1 else ""
    timestep = shown[micro].timesteps_PB[trial, row].item()
    given += f" (picture {Path(shown[micro].names[row]).name} at timestep {timestep:g}{of_trial})"
    index, load = loads[micro]
    return _error(where, given, _cause(engine, index, load(), trial, row))


def broken_gradient(engine: Examined, step: int, trial: int, shown: Sequence[Shown]) -> TrainingError:
    """Return the error of a step whose loss is finite and whose gradients are not."""
    parameters = engine.parameters_of(trial)
    gradients = {name: each.grad for name, each in parameters.items() if each.grad is not None}
    broken = [name for name, gradient in gradients.items() if not _is_finite(gradient)]
    pictures = ", ".join(dict.fromkeys(Path(name).name for each in shown for name in each.names))
    of_trial = f" of trial {trial + 1}" if len(engine.trials) > 1 else ""
    what = f"gradients{of_trial} that are no finite numbers" + (f", first {broken[0]}" if broken else "")
    given = f"{what} ({len(broken)} of {len(gradients)} weights; pictures {pictures})"
    return _error(f"step {step + 1}", given, Cause("", f"{HALF[engine.placement.precision]} {LOWER}"))


def require_sound(weights: Mapping[str, Tensor], step: int) -> None:
    """Raise TrainingError where a weight is no finite number after `step` steps: it is neither saved nor drawn with."""
    name = _first_broken(weights)
    if name is not None:
        given = f"the update left {name} with values that are no finite numbers"
        raise _error(f"step {step}", given, Cause("", LOWER))


def _rows_that_broke(shown: Sequence[Shown]) -> Iterator[tuple[int, int, int]]:
    """Yield micro-step, trial and row of each loss that is no finite number."""
    for micro, each in enumerate(shown):
        for trial, row in torch.nonzero(~torch.isfinite(each.losses_PB)).tolist():
            yield micro, trial, row


def _error(where: str, given: str, cause: Cause) -> TrainingError:
    told = f"{given}: {cause.what}" if cause.what else given
    return TrainingError(Problem(where, told, "a finite number", f"{cause.remedy} {KEPT}"))


# --- causes ----------------------------------------------------------------------------------------------


@torch.no_grad()
def _cause(engine: Examined, index: int, batch: MicroBatch, trial: int, row: int) -> Cause:
    """Return what broke the loss of one row: looked for in the order in which a step uses it."""
    half = HALF[engine.placement.precision]
    picture = Path(batch.names[row]).name
    if not _is_finite(batch.clean_BCHW[row]):
        return Cause(
            f"the latent of {picture} holds values that are no numbers",
            "Clear the cache_folder and encode again with --precision no: some models' encoders overflow in half precision.",
        )
    weight = _first_broken(engine.parameters_of(trial))
    if weight is not None:
        return Cause(f"the weight {weight} is no finite number since an update before this step", LOWER)
    base = _first_broken(_base_weights(engine))
    if base is not None:
        return Cause(
            f"the base's weight {base} is no finite number", "The base's file is damaged: fetch it again."
        )
    layer = _first_layer(engine, index, batch)
    if layer is not None:
        return Cause(f"the first layer whose answer is no finite number is {layer}", f"{half} {LOWER}")
    return Cause(
        "run once more, every layer's answer was a finite number",
        f"The loss's own weighting overflows. {half}",
    )


def _base_weights(engine: Examined) -> Mapping[str, Tensor]:
    model = engine.model
    named = {f"denoiser.{name}": each for name, each in model.denoiser.named_parameters()}
    for number, encoder in enumerate(model.text_encoders, 1):
        named |= {f"text encoder {number}.{name}": each for name, each in encoder.named_parameters()}
    return named


def _first_layer(engine: Examined, index: int, batch: MicroBatch) -> str | None:
    """Return the first module of text encoders and denoiser that answers a batch with no finite number; None if none does."""
    model, found = engine.model, list[str]()
    parts = {f"text encoder {number}": each for number, each in enumerate(model.text_encoders, 1)}
    hooks = [
        module.register_forward_hook(_notes(f"{part} {name}", found))
        for part, network in {**parts, "denoiser": model.denoiser}.items()
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    try:
        rows = engine.rows(index, batch)
        with engine.placement.autocast():
            model.predict(rows.noisy(model.objective), rows.timesteps_R, rows.conditioning, rows.sizes)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _notes(name: str, found: list[str]) -> Callable[..., None]:
    def note(module: nn.Module, given: Any, answer: Any) -> None:
        if not found and isinstance(answer, Tensor) and not _is_finite(answer):
            found.append(name)

    return note


def _first_broken(tensors: Mapping[str, Tensor]) -> str | None:
    return next((name for name, tensor in tensors.items() if not _is_finite(tensor)), None)


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_meta or bool(tensor.isfinite().all())
