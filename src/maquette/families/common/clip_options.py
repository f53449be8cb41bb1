"""Settings that families with CLIP text models and a noise schedule have of their own."""

from __future__ import annotations

from maquette.families.protocol import FamilyOption


def clip_options(*, clip_skip: int, fixed: bool = False) -> tuple[FamilyOption, ...]:
    """Return them; `clip_skip` is the family's default, and the only one it knows where it is `fixed`."""
    return (
        FamilyOption(
            name="clip_skip",
            default=clip_skip,
            stage="text",
            least=1,
            most=12,
            fixed=fixed,
            label="Clip skip",
            help="Text layer counted from the end whose output conditions the picture; 1 is the last.",
        ),
        FamilyOption(
            name="max_token_length",
            default=75,
            stage="tokens",
            choices=(75, 150, 225),
            help="Tokens of a caption that are read.",
        ),
        FamilyOption(
            name="min_snr_gamma",
            default=None,
            stage="loss",
            least=0,
            help="Weights each timestep's loss by min(SNR, gamma) / SNR (arXiv:2303.09556).",
        ),
    )
