"""Samplers by name, as fresh diffusers schedulers for one model's schedule and prediction."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.protocol import Prediction, SamplerElsewhere


@dataclass(frozen=True, kw_only=True)
class SamplerRow:
    """A sampler: the diffusers scheduler that draws with it here, and what draws the same in other programs."""

    module: str
    """Below diffusers.schedulers."""
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    zero_snr: bool = True
    """Whether it takes `rescale_betas_zero_snr`, and so can start from pure noise."""
    elsewhere: SamplerElsewhere | None = None
    """None where no drawing program has it."""


def _elsewhere(comfyui: str, webui: str, spacing: tuple[str, str], **more: Any) -> SamplerElsewhere:
    return SamplerElsewhere(comfyui=(comfyui, spacing[0]), webui=(webui, spacing[1]), **more)


SPACING = {"timestep_spacing": "trailing"}
"""Timesteps run in equal strides down from the last one. Of diffusers' three spacings it is the one that every scheduler here
takes alike (in `leading` the multistep solver has strides of its own), and that zero terminal SNR demands (arXiv:2305.08891)."""
UNIFORM = ("sgm_uniform", "SGM Uniform")
"""That spacing in ComfyUI's and AUTOMATIC1111's words: their timesteps are ours to one of 1000."""
KARRAS = ("karras", "Karras")
SAMPLERS: Mapping[str, SamplerRow] = {
    "ddim": SamplerRow(
        module="scheduling_ddim",
        kind="DDIMScheduler",
        # The last step ends at noise level 0, as theirs does.
        settings={"clip_sample": False, "set_alpha_to_one": True},
        # One step of DDIM is one of Euler. AUTOMATIC1111's "DDIM" keeps a spacing of its own, its Euler does not.
        elsewhere=_elsewhere("ddim", "Euler", UNIFORM),
    ),
    "ddpm": SamplerRow(module="scheduling_ddpm", kind="DDPMScheduler", settings={"clip_sample": False}),
    "euler": SamplerRow(
        module="scheduling_euler_discrete",
        kind="EulerDiscreteScheduler",
        elsewhere=_elsewhere("euler", "Euler", UNIFORM),
    ),
    "euler_ancestral": SamplerRow(
        module="scheduling_euler_ancestral_discrete",
        kind="EulerAncestralDiscreteScheduler",
        elsewhere=_elsewhere("euler_ancestral", "Euler a", UNIFORM, fresh_noise=True),
    ),
    "heun": SamplerRow(
        module="scheduling_heun_discrete",
        kind="HeunDiscreteScheduler",
        zero_snr=False,
        elsewhere=_elsewhere("heun", "Heun", UNIFORM),
    ),
    "pndm": SamplerRow(
        module="scheduling_pndm",
        kind="PNDMScheduler",
        settings={"skip_prk_steps": True, "set_alpha_to_one": False},
        zero_snr=False,
    ),
    "dpmpp_2m": SamplerRow(
        module="scheduling_dpmsolver_multistep",
        kind="DPMSolverMultistepScheduler",
        settings={"algorithm_type": "dpmsolver++"},
        elsewhere=_elsewhere("dpmpp_2m", "DPM++ 2M", UNIFORM),
    ),
    "dpmpp_2m_karras": SamplerRow(
        module="scheduling_dpmsolver_multistep",
        kind="DPMSolverMultistepScheduler",
        settings={"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
        elsewhere=_elsewhere("dpmpp_2m", "DPM++ 2M", KARRAS),
    ),
    "unipc": SamplerRow(module="scheduling_unipc_multistep", kind="UniPCMultistepScheduler"),
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
ELSEWHERE: Mapping[str, SamplerElsewhere] = {
    name: row.elsewhere
    for name in (*SAMPLERS, *ALIASES)
    if (row := SAMPLERS[ALIASES.get(name, name)]).elsewhere is not None
}
"""What draws elsewhere as a sampler does here, by each of its names."""


def make_sampler(name: str, prediction: Prediction, *, zero_terminal_snr: bool = False) -> Any:
    """Return a fresh scheduler; ConfigError for an unknown name, or where it cannot start from pure noise."""
    from maquette.families.common.objective import BETA_END, BETA_START, NUM_TIMESTEPS

    wanted = ALIASES.get(name, name)
    if wanted not in SAMPLERS:
        raise ConfigError(Problem("sampler", f"'{name}'", "a known sampler", did_you_mean(name, SAMPLERS)))
    row = SAMPLERS[wanted]
    if zero_terminal_snr and not row.zero_snr:
        usable = ", ".join(sorted(known for known, other in SAMPLERS.items() if other.zero_snr))
        raise ConfigError(
            Problem(
                "sampler",
                f"'{name}' with a zero-terminal-SNR model",
                "one that can start from pure noise",
                f"Use {usable}.",
            )
        )
    scheduler = getattr(importlib.import_module(f"diffusers.schedulers.{row.module}"), row.kind)
    return scheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
        **SPACING,
        **row.settings,
        **({"rescale_betas_zero_snr": True} if zero_terminal_snr else {}),
    )
