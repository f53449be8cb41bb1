"""Settings that cannot work together, found before anything is loaded."""

from __future__ import annotations

from maquette.errors import Problem
from maquette.project.settings import Settings


def settings_problems(settings: Settings) -> list[Problem]:
    """Return every impossible combination in `settings`, each with its way out."""
    return [
        *_length_problems(settings),
        *_schedule_problems(settings),
        *_device_problems(settings),
        *_adapter_problems(settings),
    ]


def _length_problems(settings: Settings) -> list[Problem]:
    training = settings.training
    if training.steps and training.epochs:
        return [
            Problem(
                "steps and epochs",
                f"steps {training.steps}, epochs {training.epochs}",
                "one of them",
                "Remove one.",
            )
        ]
    return []


def _schedule_problems(settings: Settings) -> list[Problem]:
    training, problems = settings.training, []
    if training.lr_scheduler == "constant" and training.warmup_steps:
        problems.append(
            Problem(
                "warmup_steps",
                f"{training.warmup_steps} with lr_scheduler constant",
                "a schedule that warms up",
                "Use lr_scheduler constant_with_warmup.",
            )
        )
    if training.lr_scheduler == "constant_with_warmup" and not training.warmup_steps:
        problems.append(
            Problem(
                "lr_scheduler",
                "constant_with_warmup without warmup_steps",
                "warmup_steps",
                "Set it, or use constant.",
            )
        )
    if training.lr_cycles > 1 and training.lr_scheduler != "cosine_with_restarts":
        problems.append(
            Problem(
                "lr_cycles",
                f"{training.lr_cycles} with lr_scheduler {training.lr_scheduler}",
                "cosine_with_restarts, the only schedule with cycles",
                "Use it, or remove lr_cycles.",
            )
        )
    if training.lr_power != 1.0 and training.lr_scheduler != "polynomial":
        problems.append(
            Problem(
                "lr_power",
                f"{training.lr_power} with lr_scheduler {training.lr_scheduler}",
                "polynomial",
                "Use it, or remove lr_power.",
            )
        )
    return problems


def _device_problems(settings: Settings) -> list[Problem]:
    """fp16 needs CUDA's loss scaling and kernels; a device must be there."""
    from maquette.training.device import device_problem, resolve_device

    training, problems = settings.training, []
    missing = device_problem(training.device)
    if missing:
        return [missing]
    device = resolve_device(training.device)
    if training.precision == "fp16" and not device.startswith("cuda"):
        problems.append(
            Problem(
                "precision",
                f"fp16 on {device}",
                "fp16 trains on CUDA only",
                "Use --precision no" + (" or bf16." if device == "cpu" else "."),
            )
        )
    return problems


def _adapter_problems(settings: Settings) -> list[Problem]:
    lora, training, problems = settings.lora, settings.training, []
    rates = (training.unet_lr, training.text_encoder_lr)
    if (training.learning_rate == 0 and not any(rates)) or (rates[0] == 0 and rates[1] == 0):
        problems.append(
            Problem(
                "learning_rate",
                "0 for every part",
                "something to train",
                "Set learning_rate, unet_lr or text_encoder_lr.",
            )
        )
    if lora.conv_alpha is not None and lora.conv_rank is None:
        problems.append(
            Problem("conv_alpha", f"{lora.conv_alpha} without conv_rank", "conv_rank", "Set conv_rank too.")
        )
    if settings.dataset.cache_folder is not None and not settings.dataset.cache_latents:
        problems.append(
            Problem(
                "cache_folder",
                "given with cache_latents off",
                "cache_latents",
                "Turn it on, or remove cache_folder.",
            )
        )
    return problems
