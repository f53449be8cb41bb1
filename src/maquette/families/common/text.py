"""Hidden states of CLIP text models, and how chunks of a long caption become one text.

Legend: B captions, N chunks each, T tokens per chunk (77), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maquette.errors import ConfigError, Problem
from maquette.families.common.modules import text_root
from maquette.families.protocol import Tokens


def run_text_encoder(encoder: nn.Module, ids_BT: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return (hidden states before each layer and after the last, the last one through the final norm)."""
    output = text_root(encoder)(input_ids=ids_BT, output_hidden_states=True, return_dict=True)
    return output.hidden_states, output.last_hidden_state


def split_chunks(ids_BT: Tensor, chunk_length: int) -> Tensor:
    """Return ids [B * N, T] of ids [B, N * T]."""
    return ids_BT.reshape(-1, chunk_length)


def join_chunks(hidden_BTD: Tensor, captions: int) -> Tensor:
    """Return [B, N * (T - 2) + 2, D] of [B * N, T, D]: first begin, all the words, last end."""
    if hidden_BTD.shape[0] == captions:
        return hidden_BTD
    hidden_BNTD = hidden_BTD.reshape(captions, -1, *hidden_BTD.shape[1:])
    words_BTD = hidden_BNTD[:, :, 1:-1].flatten(1, 2)
    return torch.cat([hidden_BNTD[:, 0, :1], words_BTD, hidden_BNTD[:, -1, -1:]], dim=1)


def weighed(text_BTD: Tensor, tokens: Tokens, encoder: int, chunk_length: int) -> Tensor:
    """Return joined hidden states, those of words with emphasis multiplied by its weight, as sd-scripts does.

    The mean is not restored, as some drawing programs do: a caption of weights above 1 is louder as a whole.
    """
    if tokens.weights is None:
        return text_BTD
    weights_BT = tokens.weights[encoder].to(text_BTD.device)
    rows_BT1 = split_chunks(weights_BT, chunk_length).unsqueeze(-1)
    return (text_BTD * join_chunks(rows_BT1, captions=len(weights_BT))).to(text_BTD.dtype)


def end_positions(ids_BT: Tensor, end_id: int) -> Tensor:
    """Return int64 [B]: the first end token of each row (0 where there is none)."""
    return (ids_BT == end_id).int().argmax(dim=-1)


def check_clip_skip(clip_skip: int, layers: int) -> None:
    """Raise ConfigError when the text encoder has no such layer."""
    if not 1 <= clip_skip <= layers:
        raise ConfigError(
            Problem(
                "clip_skip",
                str(clip_skip),
                f"1 (the last layer) to {layers}",
                "Use 1 or 2, as the base model was made for.",
            )
        )
