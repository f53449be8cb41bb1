"""What suites ask for: poses, contexts and categories by kind of subject. Each text goes behind the subject's own words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from maquette.project.profile import Kind

_POSES_OF_A_BODY = (
    "standing, front view",
    "sitting, three-quarter view",
    "walking, side view",
    "standing, back view",
)
POSES: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "character": _POSES_OF_A_BODY,
        "person": _POSES_OF_A_BODY,
        "object": ("from the front", "three-quarter view", "seen from above", "close-up"),
        "style": ("a woman", "a house by a road", "a cat", "a bowl of fruit"),
    }
)
"""The trigger with a pose; of a style what it is asked to draw."""

_CLOTHES = (
    "wearing a raincoat",
    "wearing a suit of armor",
    "wearing a kimono",
    "wearing a space suit",
    "wearing a tuxedo",
    "wearing a chef's hat and apron",
    "wearing a winter parka",
)
_SCENES = (
    "on a snowy mountain",
    "in a library",
    "on a beach at sunset",
    "in a neon street at night",
    "underwater",
    "in a desert",
    "on a sailing ship",
)
_STYLES = (
    "oil painting",
    "pencil sketch",
    "watercolor",
    "stained glass",
    "clay figure",
    "woodcut print",
    "pixel art",
)
_STATES = (
    "covered in snow",
    "made of glass",
    "wrapped in ribbons",
    "half buried in sand",
    "in a gift box",
    "floating in water",
)
_CONTENTS = (
    "an elephant",
    "a lighthouse",
    "a motorcycle",
    "a chess board",
    "an orchestra",
    "a space station",
    "a volcano",
    "a grandfather clock",
    "a waterfall",
)
NOVEL: Mapping[Kind, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "character": (_CLOTHES, _SCENES, _STYLES),
        "person": (_CLOTHES, _SCENES, _STYLES),
        "object": (_STATES, _SCENES, _STYLES),
        "style": (_CONTENTS[:3], _CONTENTS[3:6], _CONTENTS[6:]),
    }
)
"""Contexts to choose from, in groups: those count that no caption names."""

BLEED: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "character": ("a woman, standing", "an old man, portrait", "a boy, walking", "a dog, sitting"),
        "person": ("a woman, standing", "an old man, portrait", "a boy, walking", "a dog, sitting"),
        "object": ("a cat", "a teapot", "a chair", "a bicycle"),
        "style": ("photograph of a woman", "photograph of a street", "3d render of a room"),
    }
)
"""Other subjects, which a LoRA should leave as they were."""
DRIFT = (
    "a mountain lake at sunrise",
    "a bowl of fruit on a wooden table",
    "a red car in a street",
    "a cup of coffee, close-up",
)
"""What has nothing to do with a subject."""

_THIRTY_OF_A_BODY: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "close-up": (
            "close-up portrait, front view",
            "close-up of the face, side view",
            "portrait, three-quarter view",
        ),
        "full body": (
            "full body, standing, front view",
            "full body, walking, side view",
            "full body, standing, back view",
        ),
        "angles": ("seen from above", "seen from below", "three-quarter view from behind"),
        "environments": ("in a forest", "in a street", "in a kitchen"),
        "expressions": ("smiling, portrait", "angry, portrait", "surprised, portrait"),
        "action": ("running", "jumping", "throwing a ball"),
        "clothing": ("wearing a raincoat", "wearing a suit of armor", "wearing pajamas"),
        "lighting": ("candlelight", "backlit at sunset", "hard light from the side"),
        "composition": (
            "small figure in a wide landscape",
            "seen through a window",
            "between two friends",
        ),
    }
)
THIRTY: Mapping[Kind, Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "character": _THIRTY_OF_A_BODY,
        "person": _THIRTY_OF_A_BODY,
        "object": MappingProxyType(
            {
                "close-up": ("close-up, front view", "close-up of the surface", "close-up from the side"),
                "whole": ("the whole of it, front view", "side view", "back view"),
                "angles": ("seen from above", "seen from below", "three-quarter view"),
                "environments": ("in a forest", "in a street", "on a kitchen table"),
                "condition": ("brand new", "old and worn", "broken in two"),
                "use": ("held in a hand", "carried on a back", "falling through the air"),
                "covering": ("wrapped in paper", "covered in snow", "under a glass dome"),
                "lighting": ("candlelight", "backlit at sunset", "hard light from the side"),
                "composition": ("small in a wide landscape", "seen through a window", "beside a vase"),
            }
        ),
        "style": MappingProxyType(
            {
                "close-up": ("portrait of a woman", "portrait of an old man", "a hand holding a key"),
                "full body": ("a dancer", "a knight", "a child with a kite"),
                "angles": ("a city seen from above", "a tower seen from below", "a road to the horizon"),
                "environments": ("a forest", "a street in the rain", "a kitchen"),
                "expressions": ("a laughing girl", "an angry king", "a sleeping cat"),
                "action": ("a horse race", "a storm at sea", "a sword fight"),
                "clothing": ("a woman in a kimono", "a man in a space suit", "a masked ball"),
                "lighting": ("a room by candlelight", "a campfire at night", "fog in the morning"),
                "composition": ("a still life with fruit", "a house far away", "a crowd in a square"),
            }
        ),
    }
)
"""Nine categories of three; with the bare trigger, the class word and an unrelated prompt they are thirty."""
