"""Maquette: from a folder of pictures to a proven LoRA."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.api import (
        caption,
        check,
        curate,
        deploy,
        diff,
        evaluate,
        import_runs,
        init,
        list_runs,
        lora_compare,
        lora_convert,
        lora_extract,
        lora_inspect,
        lora_merge,
        lora_prune_blocks,
        lora_resize,
        lora_strip_metadata,
        masks,
        note,
        plan,
        regularize,
        reproduce,
        search,
        search_report,
        train,
        validate,
    )

# Both are read once, when torch and its matrix library start, so they are said here; the user's own word wins.
# MKL picks kernels by how memory happens to be aligned, and the same run then gave other last bits: STRICT forbids that.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# Threads that spin while they wait starve a training as soon as anything else runs: a step of the demo took 24 s instead of
# 0.3 s on two busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "caption",
    "check",
    "compare",
    "curate",
    "deploy",
    "diff",
    "evaluate",
    "import_runs",
    "init",
    "list_runs",
    "lora_compare",
    "lora_convert",
    "lora_extract",
    "lora_inspect",
    "lora_merge",
    "lora_prune_blocks",
    "lora_resize",
    "lora_strip_metadata",
    "masks",
    "note",
    "plan",
    "regularize",
    "reproduce",
    "search",
    "search_report",
    "select",
    "train",
    "validate",
    "vote",
]


def __getattr__(name: str) -> Any:
    """Import a stage when it is first asked for: `import maquette` itself stays free of heavy libraries."""
    if name in __all__:
        return getattr(importlib.import_module("maquette.api"), name)
    raise AttributeError(f"module 'maquette' has no attribute '{name}'")
