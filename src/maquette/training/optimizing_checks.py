"""Whether each trial's optimizer and schedule can be made here: found before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maquette.errors import ConfigError, Problem
from maquette.project.optimizers import EXTRA, OF_NO_EXTRA, OPTIMIZERS, facts_of, missing_package
from maquette.project.schedules import SCHEDULES, missing_needs
from maquette.project.settings import Settings
from maquette.training.config import TrialSettings, trial_of


def require_optimizers(trials: Sequence[Settings], total_steps: int) -> None:
    """Raise MaquetteError for every trial's optimizer or schedule that cannot be made, and rates that it cannot take."""
    for settings in trials:
        trial = trial_of(settings)
        problems = [*_one_rate(trial), *_needs(settings, trial), *_first_rate(trial)]
        if problems:
            raise ConfigError(problems)
        _require_package(trial)
        if facts_of(trial.optimizer).made_by or trial.lr_scheduler not in SCHEDULES:
            from maquette.training.optimize import try_out

            try_out(trial, total_steps)


def _one_rate(trial: TrialSettings) -> Iterator[Problem]:
    rates = {trial.text_encoder_lr, trial.denoiser_lr, trial.text_encoder_2_lr or 0.0} - {0.0}
    if facts_of(trial.optimizer).one_rate and len(rates) > 1:
        yield Problem(
            "text_encoder_lr and unet_lr",
            f"{trial.text_encoder_lr:g} and {trial.denoiser_lr:g} with {trial.optimizer}, which knows one rate",
            "the same for both, or 0 for one",
            f"Set both to {max(rates):g}, or leave them out and set learning_rate.",
        )


def _first_rate(trial: TrialSettings) -> Iterator[Problem]:
    """DAdaptSGD of dadaptation 3.2 divides by its first rate, which is 0 in a warm-up."""
    if trial.optimizer == "dadaptsgd" and trial.warmup_steps and trial.lr_scheduler != "constant":
        yield Problem(
            "warmup_steps",
            f"{trial.warmup_steps:g} with dadaptsgd, which divides by its first rate",
            "no warm-up",
            "Leave warmup_steps out, or use dadaptadam.",
        )


def _needs(settings: Settings, trial: TrialSettings) -> Iterator[Problem]:
    training = settings.training
    given = {"lr_decay_steps": training.lr_decay_steps or None, "lr_min_ratio": training.lr_min_ratio}
    missing = missing_needs(trial.lr_scheduler, given | dict(trial.lr_scheduler_args))
    if missing:
        wanted = " or ".join(
            f"{name} in lr_scheduler_args" if name in SCHEDULES[trial.lr_scheduler].arguments else name
            for name in missing
        )
        yield Problem(
            "lr_scheduler", f"{trial.lr_scheduler} alone", f"{wanted} beside it", "Set it, or use cosine."
        )


def _require_package(trial: TrialSettings) -> None:
    package = missing_package(trial.optimizer)
    if package is None:
        return
    in_extra = trial.optimizer in OPTIMIZERS and package != OF_NO_EXTRA
    needed = f"'maquette[{EXTRA}]'" if in_extra else package
    raise ConfigError(
        Problem(
            "optimizer",
            f"'{trial.optimizer}': the package {package} is not installed",
            "an optimizer that can be imported",
            f"Run: pip install {needed}, or choose another one.",
        )
    )
