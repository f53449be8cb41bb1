"""Samplers by name, as fresh diffusers schedulers for one model's schedule and prediction."""

from __future__ import annotations

import importlib
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.protocol import Prediction

# name: (module in diffusers.schedulers, class, settings of its own, takes rescale_betas_zero_snr)
SAMPLERS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "ddim": ("scheduling_ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}, True),
    "ddpm": ("scheduling_ddpm", "DDPMScheduler", {"clip_sample": False}, True),
    "euler": ("scheduling_euler_discrete", "EulerDiscreteScheduler", {}, True),
    "euler_ancestral": ("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}, True),
    "heun": ("scheduling_heun_discrete", "HeunDiscreteScheduler", {}, False),
    "pndm": ("scheduling_pndm", "PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}, False),
    "dpmpp_2m": (
        "scheduling_dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++"},
        True,
    ),
    "dpmpp_2m_karras": (
        "scheduling_dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
        True,
    ),
    "unipc": ("scheduling_unipc_multistep", "UniPCMultistepScheduler", {}, True),
}
ALIASES = {
    "euler_a": "euler_ancestral",
    "k_euler": "euler",
    "k_euler_a": "euler_ancestral",
    "dpmsolver++": "dpmpp_2m",
    "dpmsolver": "dpmpp_2m",
    "uni_pc": "unipc",
}
"""Other programs' names for the same sampler."""


SAMPLER_NAMES = ("euler_ancestral", "euler", "ddim", "dpmpp_2m")
"""Those that a run's samples may be drawn with: every drawing program has them."""


def make_sampler(name: str, prediction: Prediction, *, zero_terminal_snr: bool = False) -> Any:
    """Return a fresh scheduler; ConfigError for an unknown name, or where it cannot start from pure noise."""
    from maquette.families.common.objective import BETA_END, BETA_START, NUM_TIMESTEPS

    wanted = ALIASES.get(name, name)
    if wanted not in SAMPLERS:
        raise ConfigError(Problem("sampler", f"'{name}'", "a known sampler", did_you_mean(name, SAMPLERS)))
    module, kind, settings, rescales = SAMPLERS[wanted]
    if zero_terminal_snr and not rescales:
        usable = ", ".join(sorted(known for known, row in SAMPLERS.items() if row[3]))
        raise ConfigError(
            Problem(
                "sampler",
                f"'{name}' with a zero-terminal-SNR model",
                "one that can start from pure noise",
                f"Use {usable}.",
            )
        )
    if rescales and zero_terminal_snr:
        settings = {**settings, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler = getattr(importlib.import_module(f"diffusers.schedulers.{module}"), kind)
    return scheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
        **{"steps_offset": 1, "timestep_spacing": "leading"} | settings,
    )
