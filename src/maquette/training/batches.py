"""What one micro-step is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from maquette.families.protocol import PictureSize


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """B pictures of one bucket: clean latents (scaled, float32, on the CPU), captions, sizes, kinds and paths."""

    clean_BCHW: torch.Tensor
    captions: tuple[str, ...]
    sizes: tuple[PictureSize, ...]
    regularization_B: torch.Tensor
    names: tuple[str, ...]
    """The pictures' files, as the run's record names them."""
    masks_B1HW: torch.Tensor | None = None
    """How much each place counts, float32 in [0, 1] on the latent's grid; None where all of every picture does."""
