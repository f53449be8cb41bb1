"""`[samples]`: pictures drawn while training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maquette.project.fields import Section

SamplerName = Literal["euler_ancestral", "euler", "ddim", "dpmpp_2m"]


class SampleSettings(Section):
    """`[samples]`: pictures drawn while training."""

    sample_prompts: tuple[str, ...] = Field(
        (),
        description="Prompts drawn at every checkpoint with fixed seeds. {trigger} stands for the trigger; a prompt may have "
        'options of its own, as in sd-scripts: "{trigger}, waving --n blurry --w 512 --h 768 --d 7 --l 6 --s 30 --ss ddim".',
    )
    negative_prompt: str = Field("", description="What samples should not show.")
    sample_at_first: bool = Field(
        False, description="Draw samples before the first step too: what the base draws by itself."
    )
    sample_every_steps: int | None = Field(
        None, ge=1, description="Draw samples every N steps. Default: with each checkpoint."
    )
    sample_every_epochs: int | None = Field(
        None, ge=1, description="Draw samples every N epochs. Default: with each checkpoint."
    )
    sample_seed: int = Field(
        1, ge=0, lt=2**32, description="Seed of the first sample; the next prompt takes the next seed."
    )
    sample_steps: int = Field(25, ge=1, le=1000, description="Denoising steps of a sample.")
    guidance: float | None = Field(
        None, ge=0, description="Classifier-free guidance scale of samples. Default: the family's."
    )
    sampler: str | None = Field(None, description="Sampler of samples. Default: the family's.")
