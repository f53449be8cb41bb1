"""Text of Stable Diffusion XL: last-but-one hidden states of two encoders side by side, and a pooled text.

Legend: B captions, T tokens, D widths (768 + 1280 in the full model).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maquette.errors import ConfigError, Problem
from maquette.families.common.conditioning import ClipText
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.common.text import end_positions, join_chunks, run_text_encoder, split_chunks, weighed
from maquette.families.protocol import Tokens
from maquette.families.sdxl.spec import SPEC


def encode_text(model: LatentDiffusionModel, tokens: Tokens, clip_skip: int) -> ClipText:
    """Return text_BTD and pooled_BD; a long caption is pooled from its first chunk, as in sd-scripts."""
    only = SPEC.default("clip_skip")
    if clip_skip != only:
        raise ConfigError(
            Problem(
                "clip_skip",
                str(clip_skip),
                f"{SPEC.default('clip_skip')}: SDXL always takes the last but one layer of both text encoders",
                "Leave it out.",
            )
        )
    captions, (first, second) = tokens.ids[0].shape[0], model.text_encoders
    ids_1, ids_2 = (split_chunks(ids.to(model.device), model.chunk_length) for ids in tokens.ids)
    hidden_1, _ = run_text_encoder(first, ids_1)
    hidden_2, last_2 = run_text_encoder(second, ids_2)
    texts = [join_chunks(hidden[-2], captions) for hidden in (hidden_1, hidden_2)]
    text = torch.cat(
        [weighed(each, tokens, index, model.chunk_length) for index, each in enumerate(texts)], dim=-1
    )
    pooled = pooled_text(second, last_2, ids_2, model.tokenizers[1].end_id)
    return ClipText(text, pooled[:: ids_2.shape[0] // captions])


def pooled_text(encoder: nn.Module, last_BTD: Tensor, ids_BT: Tensor, end_id: int) -> Tensor:
    """Return pooled_BD: the final hidden state at the first end token, projected."""
    rows = torch.arange(last_BTD.shape[0], device=last_BTD.device)
    return encoder.text_projection(last_BTD[rows, end_positions(ids_BT, end_id)])  # type: ignore[operator]
