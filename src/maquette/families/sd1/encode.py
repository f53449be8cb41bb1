"""Text of Stable Diffusion 1.x: one CLIP encoder, clip skip as the reference trainer defines it."""

from __future__ import annotations

from maquette.families.common.conditioning import ClipText
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.common.modules import text_root
from maquette.families.common.text import (
    check_clip_skip,
    join_chunks,
    run_text_encoder,
    split_chunks,
    weighed,
)
from maquette.families.protocol import Tokens


def encode_text(model: LatentDiffusionModel, tokens: Tokens, clip_skip: int) -> ClipText:
    """Return text_BTD: the hidden state `clip_skip` layers from the end (1: last), after the final norm."""
    encoder = model.text_encoders[0]
    check_clip_skip(clip_skip, len(text_root(encoder).encoder.layers))  # type: ignore[union-attr, arg-type]
    ids = split_chunks(tokens.ids[0].to(model.device), model.chunk_length)
    hidden, last = run_text_encoder(encoder, ids)
    text = last if clip_skip == 1 else text_root(encoder).final_layer_norm(hidden[-clip_skip])  # type: ignore[operator]
    joined = join_chunks(text, captions=tokens.ids[0].shape[0])
    return ClipText(weighed(joined, tokens, 0, model.chunk_length))
