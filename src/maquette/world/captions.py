"""Words for the pictures: every attribute as one comma-separated tag, under several strategies.

    detailed    the name and class, then every tag of appearance and scene
    pose        the name and class, then the scene's tags only, so that appearance is left to the name
    trigger     the name and class only

A caption names nothing that is absent: no tag stands for a bare head or a bare hand.
"""

from __future__ import annotations

import random

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.world.attributes import NONE, Character, Scene

CLASS_WORD = "character"
STRATEGIES = ("detailed", "pose", "trigger")

VIEW_TAGS = {"front": "front view", "back": "back view", "left": "facing left", "right": "facing right"}


def subject(name: str | None = None) -> str:
    """Return how a caption opens: the invented name and the class word, or the class word alone."""
    return f"{name} {CLASS_WORD}" if name else f"a {CLASS_WORD}"


def appearance_tags(character: Character) -> dict[str, str]:
    """Return tag by what it speaks of, for everything the character has."""
    tags = {
        "hair": f"{character.hair_style} {character.hair_color} hair",
        "skin": f"{character.skin} skin",
        "top": f"{character.top_color} shirt",
        "bottom": f"{character.bottom_color} {character.bottom_kind}",
    }
    for side, color in (("left", character.left_glove), ("right", character.right_glove)):
        if color != NONE:
            tags[f"{side}_glove"] = f"{color} glove on {side} hand"
    if character.headwear != NONE:
        tags["headwear"] = f"{character.headwear_color} {character.headwear}"
    return tags


def scene_tags(scene: Scene) -> dict[str, str]:
    """Return tag by what it speaks of."""
    return {
        "pose": scene.pose,
        "view": VIEW_TAGS[scene.view],
        "background": f"{scene.background} background",
    }


def caption(
    character: Character, scene: Scene, *, name: str | None = None, strategy: str = "detailed"
) -> str:
    """Return the caption of a picture under one of STRATEGIES; ConfigError for another strategy."""
    if strategy not in STRATEGIES:
        problem = Problem(
            "caption strategy",
            repr(strategy),
            f"one of {', '.join(STRATEGIES)}",
            did_you_mean(strategy, STRATEGIES),
        )
        raise ConfigError(problem)
    tags: list[str] = []
    if strategy == "detailed":
        tags += appearance_tags(character).values()
    if strategy in ("detailed", "pose"):
        tags += scene_tags(scene).values()
    return ", ".join([subject(name), *tags])


SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")


def invented_name(generator: random.Random) -> str:
    """Return a word of two or three syllables that means nothing."""
    return "".join(generator.choice(SYLLABLES) for _ in range(generator.choice((2, 2, 3))))


def training_caption(character: Character, scene: Scene, generator: random.Random) -> tuple[str, set[str]]:
    """Return a caption as the base model is trained on, and which tags it kept.

    A tenth are empty. Half of the others tell everything, half a random part; the order is random. A
    quarter carry an invented name whose bearer may look like anything, so that an unknown word starts neutral.
    """
    if generator.random() < 0.1:
        return "", set()
    tags = list((appearance_tags(character) | scene_tags(scene)).items())
    if generator.random() < 0.5:
        share = generator.random()
        tags = [tag for tag in tags if generator.random() < share]
    generator.shuffle(tags)
    name = invented_name(generator) if generator.random() < 0.25 else None
    return ", ".join([subject(name), *(text for _, text in tags)]), {kind for kind, _ in tags}
