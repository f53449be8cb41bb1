"""Stable Diffusion 2.x in a single file: where its text encoder lies and how much of it is read, and what it predicts."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

from maquette.families.common.describe import UNET
from maquette.families.common.layout import TextLayout, read_open_clip_layout
from maquette.families.common.numbers import numbers_of
from maquette.families.common.source import SingleFile
from maquette.families.protocol import Prediction
from maquette.families.sd2.spec import OPEN_CLIP_LAYERS

TEXT = "cond_stage_model.model."
TEXT_PROOF = f"{TEXT}token_embedding.weight"
PROJECTIONS = (f"{TEXT}text_projection", f"{TEXT}text_projection.weight")
TELLS_PREDICTION = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
"""Its values lie further apart where the model was trained to predict v."""
SPREAD_OF_V = 0.09
"""ComfyUI's bound for their standard deviation, so that both programs take a file for the same."""


def read_text(source: SingleFile) -> TextLayout:
    """Return the sizes of the text encoder as far as it is read: its last layer and its pooled text are not.

    A file in which the last layer was left out has no projection of its output either.
    """
    layout = read_open_clip_layout(source.shapes(), TEXT, str(source.path), projection=False)
    whole = layout.layers == OPEN_CLIP_LAYERS or any(name in source.header.tensors for name in PROJECTIONS)
    return replace(layout, layers=layout.layers - 1) if whole else layout


def unread_text(source: SingleFile, layers: int) -> set[str]:
    """Return the tensors of the text encoder behind its first `layers` layers, which no SD 2.x reads."""
    last = f"{TEXT}transformer.resblocks.{layers}."
    return {name for name in source.header.tensors if name in PROJECTIONS or name.startswith(last)}


def predicts(source: SingleFile) -> Prediction:
    """Return what a file predicts that carries no marker, by the spread of one tensor, as ComfyUI tells it."""
    entry = source.header.tensors.get(TELLS_PREDICTION)
    values = numbers_of(entry) if entry is not None else None
    if not values or not all(map(math.isfinite, values)):
        return "epsilon"
    return "v" if statistics.pstdev(values) > SPREAD_OF_V else "epsilon"
