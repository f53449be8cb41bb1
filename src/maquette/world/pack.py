"""The shipped pack: the small world's base model, its judge, and the record of their making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ModelError, Problem

if TYPE_CHECKING:
    from maquette.world.judge import Judge

PACK = Path(__file__).parent / "pack"
MODEL_NAME = "small_world.safetensors"
JUDGE_NAME = "judge.safetensors"
FACTS_NAME = "pack.json"
TITLE = "Maquette small world"
"""What a base of the small world is called in its own metadata, the shipped one and whichever the recipe makes."""


def _present(name: str) -> Path:
    path = PACK / name
    if not path.is_file():
        problem = Problem(
            str(path),
            "missing",
            "the small world's pack",
            "Reinstall Maquette, or make it: python -m maquette.world.recipe --out DIR --install",
        )
        raise ModelError(problem)
    return path


def base_path() -> Path:
    """Return the single-file checkpoint, Stable Diffusion 1.x layout; ModelError when the pack is missing."""
    return _present(MODEL_NAME)


def is_small_world(title: str) -> bool:
    """Return whether a model's title says that it is the small world's."""
    return title.endswith(TITLE)


def load_judge() -> Judge:
    """Return the judge of the small world's pictures; ModelError when the pack is missing."""
    from maquette.world.judge import read_judge

    return read_judge(_present(JUDGE_NAME))


def facts() -> dict[str, Any]:
    """Return what was measured while the pack was made: durations, picture quality, accuracies."""
    found: dict[str, Any] = json.loads(_present(FACTS_NAME).read_text(encoding="utf-8"))
    return found
