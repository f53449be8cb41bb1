"""Maquette: from a folder of pictures to a proven LoRA."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.api import train

__version__ = "0.1.0"
__all__ = ["__version__", "train"]


def __getattr__(name: str) -> Any:
    """Import `train` when it is first asked for: `import maquette` itself stays free of heavy libraries."""
    if name == "train":
        return importlib.import_module("maquette.api").train
    raise AttributeError(f"module 'maquette' has no attribute '{name}'")
