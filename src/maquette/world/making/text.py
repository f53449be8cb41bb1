"""Stage text: the text encoder learns to say what a caption tells, before any picture is seen.

Without this stage the denoiser has to learn words and drawing at once, and the words come very late.
Tensor shapes: B captions, T tokens (77), D width, V values of one attribute.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from maquette.world.attributes import (
    ATTRIBUTE_VALUES,
    Character,
    Scene,
    attributes_of,
    random_character,
    random_scene,
)
from maquette.world.captions import training_caption
from maquette.world.making.loop import Say, TimedLoop, read_modules
from maquette.world.making.networks import TEXT_WIDTH, new_text_encoder

BATCH = 128
LEARNING_RATE = 1.5e-3

TOLD_BY: dict[str, str] = {
    "hair_style": "hair",
    "hair_color": "hair",
    "skin": "skin",
    "top_color": "top",
    "bottom_kind": "bottom",
    "bottom_color": "bottom",
    "left_glove": "left_glove",
    "right_glove": "right_glove",
    "headwear": "headwear",
    "headwear_color": "headwear",
    "view": "view",
    "pose": "pose",
    "background": "background",
}
"""Attribute → the kind of tag that tells it."""


def told_indices(character: Character, scene: Scene, kinds: set[str]) -> list[int]:
    """Return per attribute the value that tags of these kinds tell, or the number of values where none does."""
    found = attributes_of(character, scene)
    return [
        values.index(found[name]) if TOLD_BY[name] in kinds else len(values)
        for name, values in ATTRIBUTE_VALUES.items()
    ]


def tokenize(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    """Return token ids [B, 77], padded with the end marker."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


class TellingHeads(nn.Module):
    """One linear head an attribute, with a last class for what the caption does not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Linear(TEXT_WIDTH, len(values) + 1) for values in ATTRIBUTE_VALUES.values()
        )

    def forward(self, state_BD: torch.Tensor) -> list[torch.Tensor]:
        return [head(state_BD) for head in self.heads]


def text_batch(tokenizer: Any, count: int, generator: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids [B, 77] and told values [B, attributes] of random captions."""
    captions, told = [], []
    for _ in range(count):
        character, scene = random_character(generator), random_scene(generator)
        text, kinds = training_caption(character, scene, generator)
        captions.append(text)
        told.append(told_indices(character, scene, kinds))
    return tokenize(tokenizer, captions), torch.tensor(told)


def read_states(encoder: Any, ids_BT: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """Return the states [B, D] at the end marker and at one random place of the padding behind it.

    The denoiser sees the padding too; trained so, it carries the whole caption's meaning at every place.
    """
    state_BTD = encoder(input_ids=ids_BT).last_hidden_state
    rows_B = torch.arange(len(ids_BT))
    end_B = (ids_BT == ids_BT[:, -1:]).int().argmax(dim=1)
    behind_B = end_B + (torch.rand(len(ids_BT), generator=generator) * (ids_BT.shape[1] - end_B)).long()
    return [state_BTD[rows_B, end_B], state_BTD[rows_B, behind_B]]


def train_text(tokenizer: Any, path: Path, minutes: float, say: Say) -> Any:
    """Return the text encoder trained for `minutes`, resumed from `path` if that exists."""
    torch.manual_seed(2)
    encoder, heads = new_text_encoder(len(tokenizer)), TellingHeads()
    loop = TimedLoop(
        {"text": encoder, "heads": heads}, path, minutes=minutes, learning_rate=LEARNING_RATE, say=say
    )
    generator, places = random.Random(3 + loop.step), torch.Generator().manual_seed(4 + loop.step)
    for step in loop.steps():
        ids_BT, told_BA = text_batch(tokenizer, BATCH, generator)
        states = read_states(encoder, ids_BT, places)
        logits = [heads(state_BD) for state_BD in states]
        losses = [
            F.cross_entropy(logits_BV, told_BA[:, index])
            for told in logits
            for index, logits_BV in enumerate(told)
        ]
        loop.update(torch.stack(losses).mean())
        if step % 200 == 199:
            right = [
                (logits_BV.argmax(1) == told_BA[:, i]).float().mean() for i, logits_BV in enumerate(logits[1])
            ]
            say(f"text step {step + 1}: {float(torch.stack(right).mean()):.3f} of attributes told")
    return encoder


@torch.no_grad()
def telling_accuracy(tokenizer: Any, path: Path, count: int = 1024) -> float:
    """Return the share of attributes that the heads read from fresh captions' end states."""
    encoder, heads = read_text(len(tokenizer), path), TellingHeads()
    heads.load_state_dict(read_modules(path, "heads"))
    ids_BT, told_BA = text_batch(tokenizer, count, random.Random(99))
    logits = heads(read_states(encoder, ids_BT, torch.Generator().manual_seed(0))[1])
    return sum(
        float((told.argmax(1) == told_BA[:, i]).float().mean()) for i, told in enumerate(logits)
    ) / len(logits)


def read_text(num_tokens: int, path: Path, kind: str = "live") -> Any:
    """Return the text encoder from a loop's file."""
    encoder = new_text_encoder(num_tokens)
    encoder.load_state_dict(read_modules(path, "text", kind))
    return encoder.eval()
