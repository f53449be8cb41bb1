"""Laws of clean heads: what the small world's own VAE makes of clean drawings passes, blends of views do not."""

from __future__ import annotations

import random

import torch
from PIL import Image

from maquette import families
from maquette.world.attributes import random_character, random_scene
from maquette.world.cast import TOVAKI, training_pictures
from maquette.world.cleanness import CLEAN_DISTANCE, clean, head_distances
from maquette.world.judge import as_pixels
from maquette.world.pack import base_path, load_judge
from maquette.world.renderer import render


def through_the_vae(pictures: list[Image.Image]) -> list[Image.Image]:
    model = families.load(str(base_path()), dtype=torch.float32, device="cpu")
    with torch.no_grad():
        pixels_BCHW = model.decode_latents(model.encode_pictures(as_pixels(pictures)))
    levels_BHWC = ((pixels_BCHW.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(levels) for levels in levels_BHWC]


def test_drawings_and_their_reconstructions_are_clean() -> None:
    source = random.Random(5)
    drawn = [render(random_character(source), random_scene(source)) for _ in range(24)]
    drawn += [picture for picture, _ in training_pictures()][::3]
    judge = load_judge()
    assert all(clean(judge, drawn)) and max(head_distances(judge, drawn)) < 0.6 * CLEAN_DISTANCE
    assert sum(clean(judge, through_the_vae(drawn))) >= len(drawn) - 1


def test_faces_that_blend_two_views_are_seldom_clean() -> None:
    source = random.Random(6)
    scenes = [random_scene(source) for _ in range(200)]
    front = [scene for scene in scenes if scene.view == "front"][:12]
    back = [scene for scene in scenes if scene.view == "back"][:12]
    blends = [
        Image.blend(render(TOVAKI, one), render(TOVAKI, other), 0.5)
        for one, other in zip(front, back, strict=True)
    ]
    assert sum(clean(load_judge(), blends)) <= len(blends) / 4
