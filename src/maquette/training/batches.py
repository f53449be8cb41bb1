"""What one micro-step is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    from maquette.families.protocol import PictureSize
    from maquette.training.config import TrialSettings


T = TypeVar("T")


@dataclass(frozen=True)
class OwnRows:
    """Which rows of a batch one of several processes computes: `first` to before `last`, of `whole`."""

    first: int
    last: int
    whole: int


def own_rows(whole: int, process: int, processes: int) -> OwnRows:
    """Return the rows of `process` (from 0) in a batch of `whole`: as even as can be, the first process never without any."""
    return OwnRows(-(-whole * process // processes), -(-whole * (process + 1) // processes), whole)


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
    own: OwnRows | None = None
    """The rows that this process computes; None: all. What is drawn by chance is drawn for the whole batch and then taken."""

    @property
    def share(self) -> float:
        """How much of the batch's mean this process's own mean is."""
        return 1.0 if self.own is None else (self.own.last - self.own.first) / self.own.whole

    def taken(self, of_all: torch.Tensor) -> torch.Tensor:
        """Return this process's rows of a tensor that has one for each picture."""
        return of_all if self.own is None else of_all[self.own.first : self.own.last]

    def taken_of(self, of_all: Sequence[T]) -> Sequence[T]:
        """Return this process's rows of a sequence that has one for each picture."""
        return of_all if self.own is None else of_all[self.own.first : self.own.last]


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What one trial of a pass is shown: a batch, and which micro-step of its whole run that is."""

    trial: TrialSettings
    index: int
    batch: MicroBatch
