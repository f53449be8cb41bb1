"""The demo's character: its invented name, how it looks, its fifteen pictures, and what to ask of a LoRA of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from maquette.files import replacing, write_atomic
from maquette.world.attributes import Character, Scene
from maquette.world.captions import caption, subject
from maquette.world.renderer import render

TRIGGER = "tovaki"

TOVAKI = Character(
    hair_style="twintail",
    hair_color="pink",
    skin="tan",
    top_color="white",
    bottom_kind="skirt",
    bottom_color="purple",
    right_glove="red",
    headwear="bandana",
    headwear_color="yellow",
)
"""Red glove on the right hand only: the asymmetric detail that a mirrored picture destroys."""

_SCENES = (
    ("front", "standing", "gray", 0.0),
    ("front", "arms up", "blue", 1.0),
    ("front", "arms wide", "green", -1.0),
    ("front", "jumping", "pink", 0.5),
    ("front", "arms wide", "yellow", 1.5),
    ("front", "standing", "purple", -1.5),
    ("left", "standing", "blue", 0.0),
    ("left", "arms up", "yellow", -0.5),
    ("left", "jumping", "green", 1.0),
    ("right", "arms wide", "pink", 0.0),
    ("right", "standing", "green", -1.0),
    ("right", "arms up", "gray", 0.5),
    ("back", "standing", "yellow", 0.0),
    ("back", "arms wide", "blue", 1.0),
    ("back", "jumping", "purple", -0.5),
)

SCENES: tuple[Scene, ...] = tuple(
    Scene(view=view, pose=pose, background=background, shift=shift)
    for view, pose, background, shift in _SCENES
)
"""The fifteen training pictures: every view, pose and background."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One thing to draw at a first look."""

    text: str
    """The prompt as the drawing program receives it."""
    purpose: str
    """What the picture shows about a LoRA: trigger, scene, edit or class."""
    scene: Scene | None = None
    """The view, pose and background that the prompt asks for, where it asks for all three."""


def _scene_prompt(view: str, pose: str, background: str) -> Prompt:
    scene = Scene(view=view, pose=pose, background=background)
    return Prompt(text=caption(TOVAKI, scene, name=TRIGGER, strategy="pose"), purpose="scene", scene=scene)


BARE_PROMPT = subject(TRIGGER)
"""The trigger and the class word, nothing else: only the LoRA can know who that is."""

PROMPTS: tuple[Prompt, ...] = (
    Prompt(text=TRIGGER, purpose="trigger"),
    _scene_prompt("front", "standing", "blue"),
    _scene_prompt("front", "arms up", "yellow"),
    _scene_prompt("back", "arms up", "green"),
    _scene_prompt("left", "arms wide", "gray"),
    _scene_prompt("right", "jumping", "blue"),
    Prompt(text=f"{BARE_PROMPT}, short blue hair, front view, gray background", purpose="edit"),
    Prompt(text=f"{subject()}, standing, front view, gray background", purpose="class"),
)
"""A first look's prompts. The combinations of scene are not among the training pictures."""


def training_pictures(size_px: int = 64, strategy: str = "pose") -> list[tuple[Image.Image, str]]:
    """Return the fifteen pictures with their captions under one of captions.STRATEGIES."""
    return [
        (render(TOVAKI, scene, size_px), caption(TOVAKI, scene, name=TRIGGER, strategy=strategy))
        for scene in SCENES
    ]


def write_training_pictures(folder: Path, *, size_px: int = 64, strategy: str = "pose") -> Sequence[Path]:
    """Write the pictures as PNG with .txt captions beside them; return the pictures' paths, in order."""
    paths = []
    for number, (image, text) in enumerate(training_pictures(size_px, strategy), start=1):
        path = Path(folder) / f"{TRIGGER}_{number:02d}.png"
        with replacing(path) as temporary:
            image.save(temporary, format="PNG")
        write_atomic(path.with_suffix(".txt"), text + "\n")
        paths.append(path)
    return paths
