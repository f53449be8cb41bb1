"""EfficientNet-Lite0 up to its last features: inverted residual blocks with ReLU6, no squeeze-and-excitation.

Convolutions pad as TensorFlow does ("same": what is odd goes to the right and the bottom), since the weights were trained there.
The classifier is left out.

Shapes: N pictures, C channels, H × W pixels, D = 1280 features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 1280
STEM = 32
EPSILON = 1e-3
"""Of the batch norms, as they were trained."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; only the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    """How many times wider a block is inside."""
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution without bias whose output is as large as its input divided by the stride, rounded up."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inner, outer, kernel, stride, groups=groups, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        height, width = (self._missing(size) for size in x_NCHW.shape[-2:])
        edges = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(x_NCHW, edges) if any(edges) else x_NCHW)

    def _missing(self, size: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max(0, (-(-size // stride) - 1) * stride + kernel - size)


class Norm(nn.Module):
    """A batch norm with the statistics of its training, which stay as they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.batch_norm(
            x_NCHW, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=EPSILON
        )


class Block(nn.Module):
    """Widen, look at each channel's neighbourhood, narrow again; added to its input where the shapes agree."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inner * expand
        self.expand_conv = SameConv(inner, wide, 1) if expand > 1 else None
        self.bn0 = Norm(wide) if expand > 1 else None
        self.depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self.bn1 = Norm(wide)
        self.project_conv = SameConv(wide, outer, 1)
        self.bn2 = Norm(outer)
        self.adds = stride == 1 and inner == outer

    def forward(self, x_NCHW: Tensor) -> Tensor:
        wide = x_NCHW
        if self.expand_conv is not None and self.bn0 is not None:
            wide = F.relu6(self.bn0(self.expand_conv(wide)))
        wide = F.relu6(self.bn1(self.depthwise_conv(wide)))
        narrow: Tensor = self.bn2(self.project_conv(wide))
        return narrow + x_NCHW if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """RGB pictures in −1 … 1 to the mean over the picture of the last features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM, 3, 2)
        self.bn0 = Norm(STEM)
        blocks, inner = [], STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(Block(inner, stage.channels, stage.kernel, stride, stage.expand))
                inner = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SameConv(inner, FEATURES, 1)
        self.bn1 = Norm(FEATURES)

    def forward(self, pixels_NCHW: Tensor) -> Tensor:
        """Return [N, D], each at least 0."""
        features_NCHW = F.relu6(self.bn1(self.conv_head(self.blocks(self.stem(pixels_NCHW)))))
        return features_NCHW.mean(dim=(2, 3))

    def stem(self, pixels_NCHW: Tensor) -> Tensor:
        """Return the first features [N, C, H / 2, W / 2], which the blocks go on from."""
        return F.relu6(self.bn0(self.conv_stem(pixels_NCHW)))
