"""Names of Stable Diffusion 1.x: where a single file keeps its text encoder."""

from __future__ import annotations

from maquette.families.common.source import SingleFile

TEXT = "cond_stage_model.transformer."
TEXT_NEWER = "cond_stage_model.transformer.text_model."


def text_prefix(source: SingleFile) -> str:
    """Return where the text encoder's tensors are: only newer files have a `text_model.` level."""
    return TEXT_NEWER if any(name.startswith(TEXT_NEWER) for name in source.header.tensors) else TEXT
