"""What the finished networks can do: how well drawings follow prompts, and what an unknown name looks like."""

from __future__ import annotations

import random
from collections.abc import Iterator

from PIL import Image

from maquette.world.attributes import ATTRIBUTE_VALUES, attributes_of, random_character, random_scene
from maquette.world.captions import caption
from maquette.world.cast import BARE_PROMPT, TOVAKI
from maquette.world.judge import Judge
from maquette.world.making.text import TOLD_BY
from maquette.world.making.unet import Painter

CHUNK = 32


def drawn(painter: Painter, prompts: list[str], seed: int) -> Iterator[Image.Image]:
    """Yield one picture a prompt."""
    for start in range(0, len(prompts), CHUNK):
        yield from painter.draw(prompts[start : start + CHUNK], seed=seed + start)


def prompt_following(painter: Painter, judge: Judge, count: int = 128) -> dict[str, float]:
    """Return attribute → share drawn as detailed captions of random inhabitants tell, and their mean as "all".

    An attribute counts in the pictures whose caption tells it: a bare hand or head is not spoken of.
    """
    generator = random.Random(1234)
    wanted = [(random_character(generator), random_scene(generator)) for _ in range(count)]
    images = list(drawn(painter, [caption(*shown) for shown in wanted], seed=10_000))
    hits: dict[str, list[bool]] = {name: [] for name in ATTRIBUTE_VALUES}
    for seen, (character, scene) in zip(judge.read(images), wanted, strict=True):
        for name, value in attributes_of(character, scene).items():
            if value != "none" or TOLD_BY[name] not in ("left_glove", "right_glove", "headwear"):
                hits[name].append(seen[name] == value)
    following = {name: sum(found) / len(found) for name, found in hits.items()}
    return following | {"all": sum(following.values()) / len(following)}


def identity_floor(painter: Painter, judge: Judge, count: int = 64) -> float:
    """Return the demo character's mean identity in pictures of its bare trigger, which the base cannot know."""
    scores = judge.identity(list(drawn(painter, [BARE_PROMPT] * count, seed=20_000)), TOVAKI)
    return sum(scores) / len(scores)
