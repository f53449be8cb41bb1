"""What rules about settings and machines share: the device in force, sizes in words, how options are spelt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.repeats import Schedule
from maquette.footprint.run import device_of
from maquette.kohya.options import FIELD_OPTIONS
from maquette.precisions import AMPERE
from maquette.project.machine import Gpu, Machine
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import SETTING_OF

OPTION_OF = {row.field: name for name, row in list(FIELD_OPTIONS.items())[::-1] if row.field is not None}
"""Field of TrainingRequest → sd-scripts' option, the usual spelling where it has two."""
LITTLE = 1e-9
"""Rates are compared with this relative tolerance, so that 1e-4 is not above 0.0001."""


def is_sd_scripts(request: TrainingRequest) -> bool:
    return request.trainer == "sd-scripts"


def gpu_of(request: TrainingRequest, machine: Machine) -> Gpu | None:
    """Return the accelerator that the run would use, None on the processor or where it is not there."""
    kind, _, number = (request.device or "auto").partition(":")
    if device_of(request, machine) == "cpu":
        return None
    matching = [gpu for gpu in machine.gpus if kind in ("auto", gpu.kind)]
    index = int(number) if number.isdigit() else 0
    return matching[index] if index < len(matching) else None


def device_words(request: TrainingRequest, machine: Machine) -> str:
    """Return the device as a person calls it."""
    gpu = gpu_of(request, machine)
    if gpu is not None:
        return f"{gpu.name} ({gpu.kind})" if gpu.name else gpu.kind
    kind = device_of(request, machine)
    return "the processor (no GPU was found)" if kind == "cpu" else kind


def was_refused(request: TrainingRequest, option: str) -> bool:
    """Return whether the file does give sd-scripts' `option`, only with a value that it cannot take."""
    return any(problem.where.split(" ")[-1].lstrip("-") == option for problem in request.problems)


def joined(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    parts = list(words)
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def number(value: float) -> str:
    """Return a rate as it is written: 1e-4, 0.05, 5e-05 → 5e-5."""
    text = f"{value:.6g}"
    return text.replace("e-0", "e-").replace("e+0", "e+") if "e" in text else _short(value, text)


def _short(value: float, text: str) -> str:
    if 0 < abs(value) < 0.001:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return text


# --- what is in force ------------------------------------------------------------------------------------


def is_adaptive(optimizer: str) -> bool:
    """Return whether the optimizer finds its own rate: Prodigy and the D-Adaptation family."""
    return optimizer.startswith(("prodigy", "dadapt"))


def is_adamw(optimizer: str) -> bool:
    return "adamw" in optimizer and "schedulefree" not in optimizer


def unet_rate(request: TrainingRequest) -> float | None:
    """Return the denoiser's learning rate in force."""
    rate = request.value("unet_lr")
    return rate if rate is not None else request.value("learning_rate")


def total_steps(request: TrainingRequest, schedule: Schedule | None) -> int | None:
    """Return the optimizer steps of the run, None where they depend on pictures that are not known."""
    if schedule is not None:
        return schedule.steps
    steps = request.value("steps")
    return steps if request.epochs is None else None


def total_epochs(request: TrainingRequest, schedule: Schedule | None) -> float | None:
    """Return the passes over the pictures, a part of one included."""
    if schedule is not None and schedule.steps_per_epoch:
        return schedule.steps / schedule.steps_per_epoch
    return request.epochs


def warmup_steps(request: TrainingRequest, schedule: Schedule | None) -> int | None:
    """Return the warm-up in steps; a share is worked out, None where the length is not known."""
    given = request.value("warmup_steps") or 0
    if given == 0 or given >= 1:
        return int(given)
    steps = total_steps(request, schedule)
    return None if steps is None else int(given * steps)


def alpha_ratio(request: TrainingRequest) -> float | None:
    """Return alpha / rank, where an alpha of 0 means the rank."""
    rank, alpha = request.value("rank"), request.value("alpha")
    if not rank or alpha is None:
        return None
    return (alpha or rank) / rank


def text_rates(request: TrainingRequest) -> tuple[float, ...]:
    """Return the text encoders' rates in force; empty where they are not trained."""
    if request.value("train_text_encoder") is False:
        return ()
    return tuple(request.value("text_encoder_lrs") or ())


def is_above(rate: float, limit: float) -> bool:
    return rate > limit * (1 + LITTLE)


# --- how to ask for it -----------------------------------------------------------------------------------


def asking(request: TrainingRequest, **values: Any) -> str:
    """Return how the trainer at hand is asked for some fields: `--network_dim=32 --network_alpha=16`, `rank = 32, alpha = 16`.

    A --config_file, which has no command around it, is answered in TOML with sd-scripts' names.
    """
    is_command = is_sd_scripts(request) and request.script is not None
    names = OPTION_OF if is_sd_scripts(request) else SETTING_OF
    if not is_command:
        return ", ".join(f"{names[field]} = {_in_toml(value)}" for field, value in values.items())
    return " ".join(
        f"--{names[field]}" if value is True else f"--{names[field]}={_plainly(value)}"
        for field, value in values.items()
    )


def asking_in_dataset(facts: DatasetFacts, request: TrainingRequest | None, field: str, value: Any) -> str:
    """Return how captions' settings are asked for: in the dataset TOML where there is one, else as the trainer takes them."""
    if request is not None and not facts.is_toml:
        return asking(request, **{field: value})
    name = (OPTION_OF if facts.trainer == "sd-scripts" else SETTING_OF)[field]
    if facts.trainer == "sd-scripts" and not facts.is_toml:
        return f"--{name}" if value is True else f"--{name}={_plainly(value)}"
    return f"{name} = {_in_toml(value)}" + (f" in {facts.root.name}" if facts.is_toml else "")


def _plainly(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _in_toml(value: Any) -> str:
    return number(value) if isinstance(value, float) else json.dumps(value)


def savings(request: TrainingRequest, machine: Machine) -> str:
    """Return how to ask for what saves memory at no loss of the result and is not on yet; empty where all of it is."""
    wanted: dict[str, Any] = {}
    if not request.value("gradient_checkpointing"):
        wanted["gradient_checkpointing"] = True
    if not (request.value("cache_latents") or request.value("cache_latents_to_disk")):
        wanted["cache_latents"] = True
    half = _half_precision(request, machine)
    if half is not None:
        wanted["precision"] = half
    batch = request.value("batch_size") or 1
    if batch > 1:
        wanted |= {"batch_size": 1, "accumulation": batch * (request.value("accumulation") or 1)}
    return asking(request, **wanted) if wanted else ""


def _half_precision(request: TrainingRequest, machine: Machine) -> str | None:
    """Return the half precision that a CUDA card could take and the run does not ask for."""
    gpu = gpu_of(request, machine)
    if gpu is None or gpu.kind != "cuda" or request.value("precision") not in ("no", None):
        return None
    is_ampere = gpu.compute_capability is None or gpu.compute_capability >= AMPERE
    return "bf16" if is_ampere else "fp16"
