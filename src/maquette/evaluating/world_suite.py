"""What suites ask of the small world: its vocabulary is its captions', and nothing else means anything to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from maquette.words.text import has_word
from maquette.world.attributes import SCENE_VALUES
from maquette.world.captions import CLASS_WORD, VIEW_TAGS, subject

if TYPE_CHECKING:
    from maquette.evaluating.suites import SuiteSubject

_OTHERS = ("melosa", "binoru", "kefati")
"""Names that mean nobody."""
_LOOKS = (
    "short blue hair, dark skin, green shirt, black pants",
    "long green hair, pale skin, yellow shirt, blue skirt",
    "spiky black hair, tan skin, red shirt, white pants, blue hat",
    "short white hair, dark skin, purple shirt, green skirt",
)
"""People of the small world who are somebody else, described from head to foot."""
_SHOWS_HANDS = ("arms wide", "arms up", "jumping")


def world_parts(asked: SuiteSubject) -> dict[str, list[str]]:
    """Return every prompt of every role, in words that the small world was trained on.

    Novel is a scene that no caption has: a value of its own where one is never named, else values that never met.
    """
    named = subject(asked.trigger or None) if CLASS_WORD in asked.opening else asked.opening
    profile = asked.profile
    looks = [*profile.appearance, *(each.phrase for each in profile.details)] if profile else []
    scenes = list(_scenes(asked.captions))
    known = [scene for scene in _every_scene() if scene not in scenes]
    poses = [f"{named}, {pose}, {view}" for pose, view, _ in (known or scenes)[::5]]
    told = [caption for caption in asked.captions if "hair" in caption][:2]
    a_character = subject()
    return {
        "pose": list(dict.fromkeys(poses)),
        "novel": [f"{named}, {', '.join(scene)}" for scene in scenes],
        "asymmetry": [f"{named}, {pose}, front view, gray background" for pose in _SHOWS_HANDS],
        "full": [f"{', '.join([named, *looks])}, {', '.join(scene)}" for scene in scenes[-2:]]
        if looks
        else told,
        "leak": [
            a_character,
            *(f"{a_character}, {pose}, front view, gray background" for pose in ("standing", "arms up")),
        ],
        "bleed": [
            f"{subject(name)}, standing, front view, gray background"
            for name in _OTHERS
            if name != asked.trigger
        ],
        "drift": [f"{a_character}, {look}, standing, front view, gray background" for look in _LOOKS],
    }


def _every_scene() -> Iterator[tuple[str, str, str]]:
    """Yield every scene in words: pose, view, background; neighbours differ in all three."""
    poses, views = SCENE_VALUES["pose"], tuple(VIEW_TAGS.values())
    backgrounds = tuple(f"{color} background" for color in SCENE_VALUES["background"])
    every = list(product(range(len(poses)), range(len(views)), range(len(backgrounds))))
    for a, b, c in every:
        yield poses[(a + b + c) % len(poses)], views[(b + c) % len(views)], backgrounds[c]


def _scenes(captions: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the scenes that no caption has, those first that hold most words that none names."""
    every = list(dict.fromkeys(_every_scene()))
    had = [scene for scene in every if any(all(has_word(each, part) for part in scene) for each in captions)]
    parts = {part for scene in every for part in scene}
    unnamed = {part for part in parts if captions and not any(has_word(each, part) for each in captions)}
    free = [scene for scene in every if scene not in had]
    yield from sorted(free, key=lambda scene: -len(unnamed.intersection(scene)))
