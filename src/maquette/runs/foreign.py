"""What a record says of a run that another trainer made: who, where, and what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ForeignRecord:
    """Where an imported run comes from. Its checkpoints' paths are absolute: the files stay where their trainer put them."""

    trainer: str
    """In words: sd-scripts, OneTrainer, ai-toolkit."""
    source: str
    """The folder that it was imported from."""
    files: tuple[str, ...] = ()
    """What was read of it: settings, logs."""
    unknown: tuple[str, ...] = ()
    """What nothing there says, in words; such values of the record are Maquette's defaults, or empty."""
    left_over: Mapping[str, str] = field(default_factory=dict)
    """Settings by their own names that have no counterpart here → what holds instead."""
