"""What a picture of the small world consists of: a character, a scene, and the values each may take.

Left and right always mean the character's own sides.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace

from maquette.errors import ConfigError, Problem, did_you_mean

NONE = "none"
"""The value of an attribute that is absent: a bare hand, a bare head."""

GLOVE_COLORS = ("red", "yellow", "green", "blue")
HEADWEAR_COLORS = ("red", "yellow", "green", "blue")
CLOTHING_COLORS = ("red", "yellow", "green", "blue", "purple", "white", "black")

CHARACTER_VALUES: dict[str, tuple[str, ...]] = {
    "hair_style": ("short", "long", "spiky", "twintail"),
    "hair_color": ("black", "brown", "blond", "red", "green", "blue", "pink", "white"),
    "skin": ("pale", "tan", "dark"),
    "top_color": CLOTHING_COLORS,
    "bottom_kind": ("pants", "skirt"),
    "bottom_color": CLOTHING_COLORS,
    "left_glove": (NONE, *GLOVE_COLORS),
    "right_glove": (NONE, *GLOVE_COLORS),
    "headwear": (NONE, "hat", "bandana"),
    "headwear_color": (NONE, *HEADWEAR_COLORS),
}
"""Every appearance attribute with its values, in the order of the judge's heads."""

SCENE_VALUES: dict[str, tuple[str, ...]] = {
    "view": ("front", "back", "left", "right"),
    "pose": ("standing", "arms wide", "arms up", "jumping"),
    "background": ("gray", "blue", "green", "yellow", "pink", "purple"),
}
"""Every scene attribute with its values. The views left and right name the viewer's side the face points to."""

ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = CHARACTER_VALUES | SCENE_VALUES

MAX_SHIFT = 2.0
"""How far a figure may stand from the middle, in 64ths of the picture's width."""


def _check(record: object, values: dict[str, tuple[str, ...]]) -> list[Problem]:
    problems = []
    for name, choices in values.items():
        given = getattr(record, name)
        if given not in choices:
            where = f"{type(record).__name__}.{name}"
            known = f"one of {', '.join(choices)}"
            problems.append(Problem(where, repr(given), known, did_you_mean(str(given), choices)))
    return problems


@dataclass(frozen=True, kw_only=True)
class Character:
    """How somebody looks in every picture; ConfigError names each value that does not exist."""

    hair_style: str
    """short, long, spiky or twintail."""
    hair_color: str
    skin: str
    """pale, tan or dark."""
    top_color: str
    bottom_kind: str
    """pants or skirt."""
    bottom_color: str
    left_glove: str = NONE
    """Colour of the glove on the character's own left hand."""
    right_glove: str = NONE
    """Colour of the glove on the character's own right hand."""
    headwear: str = NONE
    """none, hat or bandana."""
    headwear_color: str = NONE

    def __post_init__(self) -> None:
        problems = _check(self, CHARACTER_VALUES)
        if (self.headwear == NONE) != (self.headwear_color == NONE):
            given = f"headwear {self.headwear} with headwear_color {self.headwear_color}"
            problems.append(Problem("Character", given, "both none or neither", "Set or clear the colour."))
        if problems:
            raise ConfigError(problems)

    def mirrored(self) -> Character:
        """Return the character with its left and right sides exchanged."""
        return replace(self, left_glove=self.right_glove, right_glove=self.left_glove)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How and where the character is shown; ConfigError names each value that does not exist."""

    view: str = "front"
    """front, back, or the viewer's side that the face points to: left or right."""
    pose: str = "standing"
    background: str = "gray"
    shift: float = 0.0
    """Distance of the figure from the middle, in 64ths of the picture's width, positive to the viewer's right."""

    def __post_init__(self) -> None:
        problems = _check(self, SCENE_VALUES)
        if not -MAX_SHIFT <= self.shift <= MAX_SHIFT:
            problems.append(
                Problem("Scene.shift", str(self.shift), f"within ±{MAX_SHIFT}", "Move it to the middle.")
            )
        if problems:
            raise ConfigError(problems)

    def mirrored(self) -> Scene:
        """Return the scene as a mirror shows it."""
        view = {"left": "right", "right": "left"}.get(self.view, self.view)
        return replace(self, view=view, shift=-self.shift)


def attributes_of(character: Character, scene: Scene | None = None) -> dict[str, str]:
    """Return attribute → value of a character, and of a scene when one is given."""
    found = {field.name: getattr(character, field.name) for field in fields(character)}
    if scene is not None:
        found |= {name: getattr(scene, name) for name in SCENE_VALUES}
    return found


def attribute_indices(character: Character, scene: Scene) -> list[int]:
    """Return each attribute's value as its index in ATTRIBUTE_VALUES, in that order."""
    found = attributes_of(character, scene)
    return [values.index(found[name]) for name, values in ATTRIBUTE_VALUES.items()]


def random_character(generator: random.Random) -> Character:
    """Return a random inhabitant: every second one wears something on the head, two of three one glove."""
    chosen = {name: generator.choice(values) for name, values in CHARACTER_VALUES.items()}
    chosen |= {"left_glove": NONE, "right_glove": NONE, "headwear": NONE, "headwear_color": NONE}
    gloved = generator.choice((None, "left_glove", "right_glove"))
    if gloved:
        chosen[gloved] = generator.choice(GLOVE_COLORS)
    if generator.random() < 0.5:
        chosen["headwear"] = generator.choice(("hat", "bandana"))
        chosen["headwear_color"] = generator.choice(HEADWEAR_COLORS)
    return Character(**chosen)


def random_scene(generator: random.Random) -> Scene:
    """Return a random scene."""
    chosen = {name: generator.choice(values) for name, values in SCENE_VALUES.items()}
    return Scene(**chosen, shift=generator.uniform(-MAX_SHIFT, MAX_SHIFT))
