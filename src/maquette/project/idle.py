"""Settings that change nothing because another one makes them so. Torch-free; rules and takeovers both ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.project.optimizers import DEFAULT_OPTIMIZER, facts_of
from maquette.project.schedules import SETTINGS as OF_SCHEDULES
from maquette.project.schedules import idle_schedule

HUBER = ("huber", "smooth_l1")
"""Losses with a threshold."""


def idle_objective(values: Mapping[str, Any]) -> dict[str, str]:
    """Return those settings of `[objective]` among `values` (by name) that change nothing, each with the reason.

    What `values` do not hold has its default, and then no such setting matters.
    """
    loss, schedule = values.get("loss_type", "l2"), values.get("huber_schedule", "snr")
    sampling, offset = values.get("timestep_sampling", "family"), values.get("noise_offset")
    needs = {
        "huber_schedule": (loss in HUBER, f"loss_type {loss} has no threshold"),
        "huber_c": (loss in HUBER, f"loss_type {loss} has no threshold"),
        "huber_scale": (
            loss in HUBER and schedule != "snr",
            f"huber_schedule {schedule} takes no scale"
            if loss in HUBER
            else f"loss_type {loss} has no threshold",
        ),
        "noise_offset_random_strength": (offset, "there is no noise_offset"),
        "adaptive_noise_scale": (offset, "there is no noise_offset"),
        "multires_noise_discount": (values.get("multires_noise_iterations"), "there is no multires noise"),
        "ip_noise_gamma_random_strength": (values.get("ip_noise_gamma"), "there is no ip_noise_gamma"),
        "preservation_every": (values.get("preservation"), "preservation is off"),
        "sigmoid_scale": (sampling in ("sigmoid", "shift"), f"timestep_sampling is {sampling}"),
        "timestep_shift": (sampling == "shift", f"timestep_sampling is {sampling}"),
        "timestep_beta": (sampling == "beta", f"timestep_sampling is {sampling}"),
    }
    return {name: why for name, (matters, why) in needs.items() if name in values and not matters}


def follows_schedule(optimizer: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a schedule is applied: not to schedule-free optimizers, nor to Adafactor's relative steps."""
    if optimizer == "adafactor":
        said = {name: str(value).strip().lower() == "true" for name, value in arguments.items()}
        return not (said.get("relative_step", True) or said.get("warmup_init", False))
    return facts_of(optimizer).follows_schedule


def idle_rates(values: Mapping[str, Any]) -> dict[str, str]:
    """Return those settings of the learning rate's course among `values` that change nothing, each with the reason."""
    optimizer = str(values.get("optimizer", DEFAULT_OPTIMIZER))
    pairs = (str(text).partition("=") for text in values.get("optimizer_args", ()))
    if follows_schedule(optimizer, {name.strip(): value for name, _, value in pairs}):
        return idle_schedule(values, str(values.get("lr_scheduler", "cosine")))
    given = ("lr_scheduler", "lr_scheduler_args", *OF_SCHEDULES)
    return {name: f"{optimizer} follows no schedule" for name in given if name in values}
