"""The judge: a small convolutional network that reads off a picture every attribute of the small world.

It sees the full resolution from its first layer and knows where it looks (coordinate channels, and a
flattened last map): the side of a glove is a matter of a few pixels and of their place.

Tensor shapes: B pictures, C channels, H rows, W columns, V values of one attribute.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from maquette.errors import ModelError, Problem
from maquette.files import replacing
from maquette.world.attributes import (
    ATTRIBUTE_VALUES,
    CHARACTER_VALUES,
    NONE,
    SCENE_VALUES,
    Character,
    Scene,
    attributes_of,
)

SIZE_PX = 64

IDENTITY_ITEMS: dict[str, tuple[str, ...]] = {
    "hair style": ("hair_style",),
    "hair color": ("hair_color",),
    "skin": ("skin",),
    "top color": ("top_color",),
    "bottom kind": ("bottom_kind",),
    "bottom color": ("bottom_color",),
    "hands": ("left_glove", "right_glove"),
    "headwear": ("headwear",),
    "headwear color": ("headwear_color",),
}
"""What identity counts: each item is right when every attribute it names is right."""


class JudgeNetwork(nn.Module):
    """Pictures [B, 3, 64, 64] in [−1, 1] to one tensor of logits [B, V] an attribute."""

    place_CHW: torch.Tensor
    """Row and column of every place, both from −1 to 1."""

    def __init__(self) -> None:
        super().__init__()
        rows_HW, columns_HW = torch.meshgrid(
            torch.linspace(-1, 1, SIZE_PX), torch.linspace(-1, 1, SIZE_PX), indexing="ij"
        )
        self.register_buffer("place_CHW", torch.stack([rows_HW, columns_HW]), persistent=False)
        self.trunk = nn.Sequential(
            *_convolution(5, 24, stride=1),
            *_convolution(24, 32, stride=2),
            *_convolution(32, 48, stride=1),
            *_convolution(48, 64, stride=2),
            *_convolution(64, 64, stride=1),
            *_convolution(64, 48, stride=2),
            nn.Flatten(),
            nn.Linear(48 * 8 * 8, 192),
            nn.SiLU(),
        )
        self.heads = nn.ModuleList(nn.Linear(192, len(values)) for values in ATTRIBUTE_VALUES.values())

    def forward(self, pixels_BCHW: torch.Tensor) -> list[torch.Tensor]:
        place_BCHW = self.place_CHW.expand(len(pixels_BCHW), -1, -1, -1)
        features_BD = self.trunk(torch.cat([pixels_BCHW, place_BCHW.to(pixels_BCHW.dtype)], dim=1))
        return [head(features_BD) for head in self.heads]


def _convolution(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(),
    ]


def as_pixels(images: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures of any size and mode as float32 [B, 3, 64, 64] in [−1, 1]; transparency becomes white."""
    rows = []
    for image in images:
        if image.mode in ("RGBA", "LA", "P"):
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        image = image.convert("RGB")
        if image.size != (SIZE_PX, SIZE_PX):
            image = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)
        rows.append(np.asarray(image))
    pixels_BHWC = torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, SIZE_PX, SIZE_PX, 3)
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1.0


class Judge:
    """Reads attributes off pictures, and scores identity and prompt following from them."""

    def __init__(self, network: JudgeNetwork) -> None:
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def attributes(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """Return attribute → probabilities [B, V], the values in the order of ATTRIBUTE_VALUES."""
        pixels_BCHW = as_pixels(images)
        chunks = [self.network(chunk) for chunk in pixels_BCHW.split(64)]
        return {
            name: torch.cat([logits[index] for logits in chunks]).softmax(dim=1)
            for index, name in enumerate(ATTRIBUTE_VALUES)
        }

    def read(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """Return each picture's most probable value of every attribute."""
        if not images:
            return []
        best = {
            name: chances_BV.argmax(dim=1).tolist() for name, chances_BV in self.attributes(images).items()
        }
        return [
            {name: ATTRIBUTE_VALUES[name][indices[row]] for name, indices in best.items()}
            for row in range(len(images))
        ]

    def identity_items(self, images: Sequence[Image.Image], character: Character) -> list[dict[str, bool]]:
        """Return for each picture which of IDENTITY_ITEMS agree with `character`.

        Every item can be seen from every side: skin on the hands, hair over the head. The colour of the
        headwear counts only for a character that wears some.
        """
        wanted = attributes_of(character)
        items = {
            item: names
            for item, names in IDENTITY_ITEMS.items()
            if item != "headwear color" or character.headwear != NONE
        }
        return [
            {item: all(seen[name] == wanted[name] for name in names) for item, names in items.items()}
            for seen in self.read(images)
        ]

    def identity(self, images: Sequence[Image.Image], character: Character) -> list[float]:
        """Return a score in [0, 1] for each picture: the share of the character's items that are recognised.

        The items, of equal weight: style and colour of the hair, skin, colour of the top, kind and colour
        of the bottom, the hands (both as they should be: the glove's colour and side, and the bare hand),
        kind and colour of the headwear. An item is recognised when the judge's most probable value is right.
        """
        return [sum(items.values()) / len(items) for items in self.identity_items(images, character)]

    def following(self, images: Sequence[Image.Image], scene: Scene) -> list[float]:
        """Return for each picture the share of view, pose and background that are as in `scene`."""
        wanted = {name: getattr(scene, name) for name in SCENE_VALUES}
        return [
            sum(seen[name] == value for name, value in wanted.items()) / len(wanted)
            for seen in self.read(images)
        ]

    def likeness(self, images: Sequence[Image.Image], character: Character, scene: Scene) -> list[float]:
        """Return for each picture the share of all attributes, of character and scene, that are right."""
        wanted = attributes_of(character, scene)
        return [
            sum(seen[name] == value for name, value in wanted.items()) / len(wanted)
            for seen in self.read(images)
        ]


def save_judge(network: JudgeNetwork, path: Path) -> None:
    """Write the network's weights as float16, with the attributes that its heads stand for."""
    values = {name: list(choices) for name, choices in (CHARACTER_VALUES | SCENE_VALUES).items()}
    tensors = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"attributes": json.dumps(values)})


def read_judge(path: Path) -> Judge:
    """Return the judge kept in a file; ModelError when the file's heads are not this version's attributes."""
    with safe_open(path, framework="pt") as file:
        metadata, keys = file.metadata() or {}, file.keys()
        tensors = {key: file.get_tensor(key) for key in keys}
    values = {name: tuple(choices) for name, choices in json.loads(metadata.get("attributes", "{}")).items()}
    if values != ATTRIBUTE_VALUES:
        problem = Problem(
            str(path),
            "a judge of other attributes",
            "the attributes of this version",
            "Train the pack again.",
        )
        raise ModelError(problem)
    network = JudgeNetwork()
    state = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    network.load_state_dict(state)
    return Judge(network)
