"""A trial as it stands in the base while it trains: where its adapter is, and what changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.optimize import TrialOptimizer
    from maquette.training.state import SavedState


@dataclass(frozen=True)
class Standing:
    """One trial at its place in the adapter that stands in the base."""

    model: BaseModel
    adapter: LoraAdapter
    place: int
    optimizer: TrialOptimizer
    scaler: torch.amp.GradScaler | None = None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Its leaf parameters by name."""
        return self.adapter.named_parameters_of(self.place)

    def is_sound(self) -> bool:
        """Return whether every weight of the trial is a finite number."""
        return all(bool(parameter.isfinite().all()) for parameter in self.parameters.values())

    def restore(self, state: SavedState) -> None:
        """Put a state of the trial into its weights, its optimizer and its loss scaler, bit for bit."""
        from maquette.training.state import restore_state

        restore_state(state, self.parameters, self.optimizer, self.scaler)
