"""The small world's measures: its judge reads off a drawing everything that can be right or wrong about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.dataset.opening import picture_rgb
from maquette.measuring.protocol import Measure, PictureMeasurer
from maquette.world.attributes import (
    CHARACTER_VALUES,
    NONE,
    SCENE_VALUES,
    Character,
)
from maquette.world.captions import VIEW_TAGS
from maquette.world.cleanness import clean

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look
    from maquette.world.judge import Judge

_JUDGE = "the small world's judge"
MEASURES = (
    Measure(
        name="identity",
        title="Identity",
        definition=(
            "the share of the character's features that the judge recognises in a picture: hair, skin, clothes, what it wears on "
            "its hands and its head; from 0 to 1, more is better. The judge is a small network trained on drawings of the small "
            "world, never on this LoRA's pictures."
        ),
        encoder=_JUDGE,
        blind_to="pictures that are none of the small world's: it reads its own people into them",
    ),
    Measure(
        name="asymmetry",
        title="Details on their side",
        definition="the share of pictures whose hands are as the character's: the glove on its side, the other bare.",
        encoder=_JUDGE,
    ),
    Measure(
        name="adherence",
        title="Prompt following",
        definition=(
            "the share of what the prompt names (view, pose, background, hair, clothes) that is as asked; from 0 to 1, more is "
            "better."
        ),
        encoder=_JUDGE,
        blind_to="words that are not of the small world",
    ),
    Measure(
        name="technical",
        title="Clean heads",
        definition=(
            "the share of pictures whose head comes as near to a sharp drawing of what the judge sees there as the small "
            "world's own VAE can; a face that blends two views, or a colour that runs, does not."
        ),
        encoder=_JUDGE,
        least=0.75,
        lack="heads are smeared",
    ),
)


class WorldMeasurer(PictureMeasurer):
    """Reads drawings of one character. Identity is not asked of prompts that change the character (role "edit")."""

    measures = MEASURES

    def __init__(
        self, judge: Judge, character: Character, *, clean_roles: Collection[str] | None = None
    ) -> None:
        self._judge = judge
        self._character = character
        self._clean_roles = clean_roles
        self._is_asymmetric = character != character.mirrored()

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return what of each drawing is right."""
        seen = self._judge.read(pictures)
        items = self._judge.identity_items(pictures, self._character)
        heads = clean(self._judge, pictures)
        found: list[dict[str, float]] = []
        for look, read, right, is_clean in zip(looks, seen, items, heads, strict=True):
            told: dict[str, float] = {}
            if look.role != "edit":
                told["identity"] = sum(right.values()) / len(right)
                if self._is_asymmetric:
                    told["asymmetry"] = float(right["hands"])
            if self._clean_roles is None or look.role in self._clean_roles:
                told["technical"] = float(is_clean)
            if asked := asked_of(look.prompt):
                told["adherence"] = sum(read[name] == value for name, value in asked.items()) / len(asked)
            found.append(told)
        return found

    def ceilings(self) -> Mapping[str, float]:
        """Return nothing: the character is known, so a score's own limit is its ceiling."""
        return {}


def character_of(judge: Judge, references: Sequence[Path]) -> Character:
    """Return who the references show: of each attribute the value that most of them have."""
    read = judge.read([picture_rgb(path) for path in references])
    most = {name: Counter(seen[name] for seen in read).most_common(1)[0][0] for name in CHARACTER_VALUES}
    if NONE in (most["headwear"], most["headwear_color"]):
        most["headwear"] = most["headwear_color"] = NONE
    return Character(**most)


def asked_of(prompt: str) -> dict[str, str]:
    """Return attribute → value for every word of the small world's captions that a prompt names."""
    views = {words: view for view, words in VIEW_TAGS.items()}
    asked: dict[str, str] = {}
    for tag in (part.strip() for part in prompt.lower().split(",")):
        words = tag.split()
        if tag in views:
            asked["view"] = views[tag]
        elif tag in SCENE_VALUES["pose"]:
            asked["pose"] = tag
        elif len(words) == 2 and words[1] == "background" and words[0] in SCENE_VALUES["background"]:
            asked["background"] = words[0]
        else:
            asked |= _appearance_asked(words)
    return asked


def _appearance_asked(words: Sequence[str]) -> dict[str, str]:
    """Return what a tag of appearance asks: `short blue hair`, `tan skin`, `red glove on left hand`, `yellow hat`."""
    match words:
        case [style, color, "hair"] if style in CHARACTER_VALUES["hair_style"]:
            asked = {"hair_style": style, "hair_color": color}
        case [skin, "skin"]:
            asked = {"skin": skin}
        case [color, "shirt"]:
            asked = {"top_color": color}
        case [color, ("pants" | "skirt") as kind]:
            asked = {"bottom_color": color, "bottom_kind": kind}
        case [color, "glove", "on", ("left" | "right") as side, "hand"]:
            asked = {f"{side}_glove": color}
        case [color, ("hat" | "bandana") as kind]:
            asked = {"headwear": kind, "headwear_color": color}
        case _:
            return {}
    return asked if all(value in CHARACTER_VALUES[name] for name, value in asked.items()) else {}
