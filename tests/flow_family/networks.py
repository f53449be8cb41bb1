"""The networks: a transformer over picture and text tokens, a reader of bytes, pixels folded into channels.

Legend: B rows, N picture positions, T bytes, W width of the transformer, D of the text.
"""

from __future__ import annotations

import math

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn import functional as F


def waves(values: Tensor, width: int) -> Tensor:
    """Return sines and cosines [..., width] of `values` [...]."""
    rates = torch.exp(-math.log(1000.0) * torch.arange(width // 2, device=values.device) / (width // 2))
    angles = values.float().unsqueeze(-1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def recomputed(block: nn.Module, x_BNW: Tensor) -> Tensor:
    """Return what `block` gives, computing it again for the backward pass in place of keeping it."""
    return torch.utils.checkpoint.checkpoint(block, x_BNW, use_reentrant=False)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Every token looks at every token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, width)

    def forward(self, x_BNW: Tensor) -> Tensor:
        q, k, v = (
            layer(x_BNW).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then a feed-forward, each on a normalized stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.is_recomputed = False

    def forward(self, x_BNW: Tensor) -> Tensor:
        x_BNW = x_BNW + self.attention(self.norm1(x_BNW))
        return x_BNW + self.narrow(F.gelu(self.widen(self.norm2(x_BNW))))  # type: ignore[no-any-return]


class FlowTransformer(nn.Module):
    """Predicts the velocity from picture to noise at a time between 0 and 1."""

    def __init__(self, channels: int, width: int, depth: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.width = width
        self.enter, self.leave = nn.Linear(channels, width), nn.Linear(width, channels)
        self.read = nn.Linear(text_width, width)
        self.time = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, noisy_BCHW: Tensor, time_B: Tensor, text_BTD: Tensor) -> Tensor:
        height, width = noisy_BCHW.shape[2:]
        places = torch.arange(height * width, device=noisy_BCHW.device)
        place_NW = waves(places, self.width).to(noisy_BCHW.dtype)
        picture_BNW = self.enter(noisy_BCHW.flatten(2).mT) + place_NW
        x_BNW = torch.cat([self.read(text_BTD), picture_BNW], dim=1)
        x_BNW = x_BNW + self.time(waves(1000 * time_B, self.width).to(noisy_BCHW.dtype)).unsqueeze(1)
        for block in self.blocks:
            x_BNW = recomputed(block, x_BNW) if block.is_recomputed else block(x_BNW)
        return self.leave(x_BNW[:, text_BTD.shape[1] :]).mT.unflatten(2, (height, width))  # type: ignore[no-any-return]


class ByteReader(nn.Module):
    """Reads bytes: an embedding and one layer of attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(257, width)
        self.block = Block(width, 1)

    def forward(self, ids_BT: Tensor) -> Tensor:
        places = waves(torch.arange(ids_BT.shape[1], device=ids_BT.device), self.embedding.embedding_dim)
        return self.block(self.embedding(ids_BT) + places.to(self.embedding.weight.dtype))  # type: ignore[no-any-return]


class Folding(nn.Module):
    """Pixels folded into channels, in place of an autoencoder: nothing is learned, nothing lost."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("unit", torch.ones(()))

    def encode(self, pixels_BCHW: Tensor) -> Tensor:
        return F.pixel_unshuffle(pixels_BCHW, self.factor)

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        return F.pixel_shuffle(latent_BCHW, self.factor)
