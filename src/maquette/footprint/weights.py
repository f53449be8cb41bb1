"""How many values the parts of a base model hold, from their sizes alone: no file is read, no torch loaded."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.families import ModelLayout
from maquette.families.common.layout import TextLayout, UnetLayout, VaeLayout


@dataclass(frozen=True)
class WeightCounts:
    """Values of each part of a base model."""

    unet: int
    texts: int
    vae: int


def weight_counts(layout: ModelLayout) -> WeightCounts:
    """Return the parts' values; within 0.1 % of a real file's."""
    return WeightCounts(
        unet_values(layout.unet), sum(text_values(text) for text in layout.texts), vae_values(layout.vae)
    )


def unet_values(unet: UnetLayout) -> int:
    """Return the values of a U-Net: time embedding, blocks of every level with their skip connections, both ends."""
    channels, time = unet.block_channels, unet.time_width
    total = _conv(unet.in_channels, channels[0]) + _linear(channels[0], time) + _linear(time, time)
    if unet.extra_width:
        total += _linear(unet.extra_width, time) + _linear(time, time)
    skips, entering = [channels[0]], channels[0]
    for level, own in enumerate(channels):
        for _ in range(unet.layers_per_block):
            total += _residual(entering, own, time) + _attention(unet, own, unet.attention_depth[level])
            entering = own
            skips.append(own)
        if level < unet.levels - 1:
            total += _conv(own, own)
            skips.append(own)
    total += 2 * _residual(entering, entering, time) + _attention(unet, entering, unet.mid_depth)
    for level in reversed(range(unet.levels)):
        own = channels[level]
        for _ in range(unet.layers_per_block + 1):
            total += _residual(entering + skips.pop(), own, time)
            total += _attention(unet, own, unet.attention_depth[level])
            entering = own
        total += _conv(own, own) if level else 0
    return total + 2 * channels[0] + _conv(channels[0], unet.out_channels)


def text_values(text: TextLayout) -> int:
    """Return the values of a CLIP text model, its embeddings included."""
    layer = 4 * _linear(text.width, text.width) + _linear(text.width, text.mlp_width)
    layer += _linear(text.mlp_width, text.width) + 4 * text.width
    embeddings = (text.vocabulary + text.positions) * text.width
    return embeddings + text.layers * layer + 2 * text.width + text.projection_width * text.width


def vae_values(vae: VaeLayout) -> int:
    """Return the values of encoder and decoder: residual layers per level, a middle with one attention each."""
    channels = vae.block_channels
    widest = channels[-1]
    middle = 2 * _residual(widest, widest, 0) + 2 * widest + 4 * _linear(widest, widest)
    encoder = (
        _conv(vae.pixel_channels, channels[0]) + middle + 2 * widest + _conv(widest, 2 * vae.latent_channels)
    )
    entering = channels[0]
    for level, own in enumerate(channels):
        encoder += _residual(entering, own, 0) + (vae.layers_per_block - 1) * _residual(own, own, 0)
        encoder += _conv(own, own) if level < len(channels) - 1 else 0
        entering = own
    decoder = (
        _conv(vae.latent_channels, widest) + middle + 2 * channels[0] + _conv(channels[0], vae.pixel_channels)
    )
    for level, own in enumerate(reversed(channels)):
        decoder += _residual(entering, own, 0) + vae.layers_per_block * _residual(own, own, 0)
        decoder += _conv(own, own) if level < len(channels) - 1 else 0
        entering = own
    between = (
        (2 * vae.latent_channels) ** 2
        + 2 * vae.latent_channels
        + vae.latent_channels**2
        + vae.latent_channels
    )
    return encoder + decoder + between


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _conv(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + outputs


def _residual(inputs: int, outputs: int, time: int) -> int:
    total = 2 * inputs + _conv(inputs, outputs) + 2 * outputs + _conv(outputs, outputs)
    total += _linear(time, outputs) if time else 0
    return total + (_linear(inputs, outputs) if inputs != outputs else 0)


def _attention(unet: UnetLayout, width: int, depth: int) -> int:
    """Attention projections carry no bias, except the one that leaves; the feed-forward is gated."""
    if not depth:
        return 0
    block = 6 * width * width + 2 * unet.cross_width * width + 2 * width
    block += _linear(width, 8 * width) + _linear(4 * width, width) + 6 * width
    return 2 * width + 2 * _linear(width, width) + depth * block
