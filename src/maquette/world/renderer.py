"""Draws the small world: flat-shaded cartoon characters with big heads, readable at 64 pixels.

Geometry is in units of 1/64 of the picture, x to the viewer's right, y down, x = 0 in the figure's middle.
Every shape is drawn four times as large and averaged down. The drawing is symmetric apart from what the
character wears on one side and where it looks, so mirroring the picture equals drawing the mirrored
character in the mirrored scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from maquette.world.attributes import NONE, Character, Scene

Rgb = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 4
UNITS = 64.0
OUTLINE = 0.8

CLOTH: dict[str, Rgb] = {
    "red": (214, 48, 49),
    "yellow": (250, 204, 40),
    "green": (46, 160, 84),
    "blue": (44, 96, 214),
    "purple": (134, 66, 184),
    "white": (244, 244, 240),
    "black": (52, 50, 62),
}
HAIR: dict[str, Rgb] = {
    "black": (44, 40, 54),
    "brown": (128, 74, 38),
    "blond": (246, 206, 92),
    "red": (208, 60, 36),
    "green": (62, 170, 96),
    "blue": (58, 112, 222),
    "pink": (246, 128, 176),
    "white": (236, 236, 240),
}
SKIN: dict[str, Rgb] = {"pale": (255, 226, 204), "tan": (222, 164, 116), "dark": (126, 78, 52)}
BACKGROUND: dict[str, Rgb] = {
    "gray": (196, 200, 206),
    "blue": (170, 212, 246),
    "green": (182, 226, 176),
    "yellow": (250, 234, 168),
    "pink": (250, 202, 214),
    "purple": (208, 194, 240),
}
SHOE: Rgb = (84, 60, 50)
INK: Rgb = (38, 32, 44)

ARM_ANGLE_DEG = {"standing": 38.0, "arms wide": 88.0, "arms up": 142.0, "jumping": 118.0}
LIFT = {"jumping": 3.0}
STRIDE = {"jumping": 5.5}

HEAD: Point = (0.0, 22.0)
SHOULDER: Point = (6.0, 37.0)
ARM_LENGTH = 13.5
GROUND = 58.0


def shade(color: Rgb, factor: float) -> Rgb:
    """Return a colour multiplied by `factor`, which lies in [0, 1]."""
    red, green, blue = color
    return int(red * factor), int(green * factor), int(blue * factor)


class _Canvas:
    """Shapes with a darker rim, in figure units, on a picture four times too large."""

    def __init__(self, size_px: int, background: Rgb) -> None:
        self.size_px = size_px
        self.factor = size_px * SUPERSAMPLING / UNITS
        large_px = size_px * SUPERSAMPLING
        self.image = Image.new("RGB", (large_px, large_px), background)
        self.draw = ImageDraw.Draw(self.image)
        self.origin: Point = (UNITS / 2, 0.0)

    def _place(self, point: Point) -> Point:
        x, y = point
        return (x + self.origin[0]) * self.factor - 0.5, (y + self.origin[1]) * self.factor - 0.5

    def _oval(self, center: Point, radius_x: float, radius_y: float, fill: Rgb) -> None:
        x, y = center
        left, top = self._place((x - radius_x, y - radius_y))
        right, bottom = self._place((x + radius_x, y + radius_y))
        self.draw.ellipse((left, top, right, bottom), fill=fill)

    def oval(self, center: Point, radius_x: float, radius_y: float, fill: Rgb, rim: bool = True) -> None:
        if rim:
            self._oval(center, radius_x + OUTLINE, radius_y + OUTLINE, shade(fill, 0.55))
        self._oval(center, radius_x, radius_y, fill)

    def _half_oval(self, center: Point, radius_x: float, radius_y: float, fill: Rgb) -> None:
        x, y = center
        left, top = self._place((x - radius_x, y - radius_y))
        right, bottom = self._place((x + radius_x, y + radius_y))
        self.draw.pieslice((left, top, right, bottom), 180, 360, fill=fill)

    def dome(self, center: Point, radius_x: float, radius_y: float, fill: Rgb) -> None:
        """Draw the upper half of an oval."""
        self._half_oval(center, radius_x + OUTLINE, radius_y + OUTLINE, shade(fill, 0.55))
        self._half_oval(center, radius_x, radius_y, fill)

    def polygon(self, points: Sequence[Point], fill: Rgb, rim: bool = True) -> None:
        placed = [self._place(point) for point in points]
        if rim:
            width_px = max(1, round(2 * OUTLINE * self.factor))
            self.draw.line([*placed, *placed[:2]], fill=shade(fill, 0.55), width=width_px, joint="curve")
        self.draw.polygon(placed, fill=fill)

    def limb(self, start: Point, end: Point, width: float, fill: Rgb, rim: bool = True) -> None:
        """Draw a thick line with round ends."""
        if rim:
            self.limb(start, end, width + 2 * OUTLINE, shade(fill, 0.55), rim=False)
        width_px = round(width * self.factor)
        self.draw.line([self._place(start), self._place(end)], fill=fill, width=width_px)
        self._oval(start, width / 2, width / 2, fill)
        self._oval(end, width / 2, width / 2, fill)

    def finish(self) -> Image.Image:
        return self.image.resize((self.size_px, self.size_px), Image.Resampling.BOX)


def render(character: Character, scene: Scene, size_px: int = 64) -> Image.Image:
    """Return the picture, RGB of `size_px` × `size_px`; equal arguments give equal pixels."""
    canvas = _Canvas(size_px, BACKGROUND[scene.background])
    canvas.origin = (UNITS / 2 + scene.shift, 0.0)
    ground = shade(BACKGROUND[scene.background], 0.86)
    lift = LIFT.get(scene.pose, 0.0)
    canvas.oval((0.0, GROUND + 1.0), 13.0 - lift, 3.0 - lift / 3, ground, rim=False)
    canvas.origin = (UNITS / 2 + scene.shift, -lift)
    _draw_figure(canvas, character, scene)
    return canvas.finish()


def _draw_figure(canvas: _Canvas, character: Character, scene: Scene) -> None:
    """Draw from back to front. The character's left is at the viewer's right except seen from behind."""
    left_side = -1.0 if scene.view == "back" else 1.0
    near = {"left": "left", "right": "right"}.get(scene.view)
    sides = {"left": left_side, "right": -left_side}
    gloves = {"left": character.left_glove, "right": character.right_glove}
    if scene.view != "back":
        _draw_hair_behind(canvas, character, scene)
    for name, side in sides.items():
        if near is not None and name != near:
            _draw_arm(canvas, character, scene.pose, side, gloves[name])
    _draw_body(canvas, character, scene)
    if scene.view == "back":
        _draw_hair_behind(canvas, character, scene)
    _draw_head(canvas, character, scene)
    _draw_headwear(canvas, character, scene)
    for name, side in sides.items():
        if near is None or name == near:
            _draw_arm(canvas, character, scene.pose, side, gloves[name])


def _facing(scene: Scene) -> float:
    """Return −1 or 1 for a face that points to the viewer's left or right, else 0."""
    return {"left": -1.0, "right": 1.0}.get(scene.view, 0.0)


def _draw_arm(canvas: _Canvas, character: Character, pose: str, side: float, glove: str) -> None:
    """Draw a sleeve, a forearm and a hand; a glove covers the forearm and is larger than a hand."""
    angle = math.radians(ARM_ANGLE_DEG[pose])
    step_x, step_y = side * math.sin(angle), math.cos(angle)

    def along(distance: float) -> Point:
        return SHOULDER[0] * side + step_x * distance, SHOULDER[1] + step_y * distance

    skin = SKIN[character.skin]
    canvas.limb(along(0), along(ARM_LENGTH - 1.5), 4.4, skin)
    canvas.limb(along(0), along(5.0), 5.4, CLOTH[character.top_color])
    if glove == NONE:
        canvas.oval(along(ARM_LENGTH - 0.5), 2.7, 2.7, skin)
        return
    color = CLOTH[glove]
    canvas.limb(along(8.0), along(ARM_LENGTH - 1.0), 5.8, color)
    canvas.oval(along(ARM_LENGTH), 4.4, 4.4, color)
    canvas.oval(along(ARM_LENGTH), 4.4, 4.4, color, rim=False)


def _draw_body(canvas: _Canvas, character: Character, scene: Scene) -> None:
    half = 5.6 if _facing(scene) else 7.4
    stride = STRIDE.get(scene.pose, 3.4)
    skin, bottom = SKIN[character.skin], CLOTH[character.bottom_color]
    leg = skin if character.bottom_kind == "skirt" else bottom
    for side in (-1.0, 1.0):
        foot = (side * stride, 55.0)
        canvas.limb((side * 3.2, 46.0), foot, 5.0, leg)
        turned = _facing(scene) or side * 0.6
        canvas.oval((foot[0] + turned, 56.2), 3.4, 2.0, SHOE)
    if character.bottom_kind == "skirt":
        flare = half + 3.6
        canvas.polygon([(-half + 1, 43.0), (half - 1, 43.0), (flare, 51.5), (-flare, 51.5)], bottom)
    else:
        canvas.polygon([(-half, 43.0), (half, 43.0), (half, 48.5), (-half, 48.5)], bottom)
    top = CLOTH[character.top_color]
    canvas.polygon([(-half + 1.2, 33.5), (half - 1.2, 33.5), (half, 44.5), (-half, 44.5)], top)


def _draw_hair_behind(canvas: _Canvas, character: Character, scene: Scene) -> None:
    """Draw what hangs down: behind the body from the front, over it from behind."""
    hair, toward = HAIR[character.hair_color], _facing(scene)
    if character.hair_style == "long":
        bottom = 44.0 if scene.view == "back" else 46.0
        half = 8.6 if scene.view == "back" else 12.6
        if toward:
            xs = sorted((-toward * 13.0, -toward * 1.0))
            canvas.polygon([(xs[0], 20.0), (xs[1], 20.0), (xs[1], 45.0), (xs[0], 45.0)], hair)
        else:
            canvas.polygon([(-12.6, 20.0), (12.6, 20.0), (half, bottom), (-half, bottom)], hair)
    elif character.hair_style == "twintail":
        for side in (-1.0, 1.0) if not toward else (-toward,):
            canvas.limb((side * 13.0, 17.0), (side * 17.5, 30.0), 6.0, hair)
            canvas.oval((side * 13.0, 15.5), 2.0, 2.0, CLOTH["white"])


def _draw_head(canvas: _Canvas, character: Character, scene: Scene) -> None:
    hair, skin, toward = HAIR[character.hair_color], SKIN[character.skin], _facing(scene)
    if character.hair_style == "spiky":
        _draw_spikes(canvas, hair, toward)
    if scene.view == "back":
        canvas.oval(HEAD, 13.2, 12.6, hair)
        return
    canvas.oval(HEAD, 12.8, 12.0, skin)
    _draw_hair_front(canvas, hair, toward)
    _draw_face(canvas, character, toward)


def _draw_spikes(canvas: _Canvas, hair: Rgb, toward: float) -> None:
    for degrees in (-105, -70, -35, 0, 35, 70, 105):
        if toward * degrees > 40:
            continue
        angle = math.radians(degrees)
        tip = HEAD[0] + 18.5 * math.sin(angle), HEAD[1] - 17.5 * math.cos(angle)
        wings = []
        for turn in (-0.34, 0.34):
            wings.append((HEAD[0] + 12 * math.sin(angle + turn), HEAD[1] - 11.4 * math.cos(angle + turn)))
        canvas.polygon([wings[0], tip, wings[1]], hair)


def _draw_hair_front(canvas: _Canvas, hair: Rgb, toward: float) -> None:
    """Draw the cap of hair with its fringe; a side view shows hair over the back half of the head."""
    if toward:
        canvas.dome((HEAD[0], 20.0), 13.2, 11.0, hair)
        back, front = -toward * 13.2, toward * 1.0
        canvas.polygon([(back, 19.5), (front, 19.5), (front - toward * 2.0, 29.0), (back * 0.86, 29.0)], hair)
        fringe = [(back * 0.95, 17.0), (toward * 12.4, 17.0), (toward * 11.0, 19.8), (back, 20.5)]
        canvas.polygon(fringe, hair, rim=False)
        return
    canvas.dome((HEAD[0], 19.0), 13.2, 10.0, hair)
    for side in (-1.0, 1.0):
        canvas.polygon(
            [(side * 13.0, 18.0), (side * 9.6, 18.0), (side * 11.2, 27.0), (side * 12.9, 25.0)], hair
        )
    zigzag = [(8.0, 20.4), (4.0, 18.4), (0.0, 20.8), (-4.0, 18.4), (-8.0, 20.4)]
    canvas.polygon([(-12.6, 17.0), (12.6, 17.0), *zigzag], hair, rim=False)


def _draw_face(canvas: _Canvas, character: Character, toward: float) -> None:
    blush = shade(SKIN[character.skin], 0.86)
    if toward:
        canvas.oval((toward * 7.4, 25.0), 1.7, 2.7, INK, rim=False)
        canvas.oval((toward * 7.9, 24.0), 0.7, 0.9, (255, 255, 255), rim=False)
        canvas.oval((toward * 12.6, 27.0), 1.3, 1.2, SKIN[character.skin])
        canvas.oval((toward * 9.6, 30.2), 1.5, 0.6, INK, rim=False)
        return
    for side in (-1.0, 1.0):
        canvas.oval((side * 5.2, 25.0), 1.9, 2.8, INK, rim=False)
        canvas.oval((side * 5.2, 23.9), 0.8, 0.9, (255, 255, 255), rim=False)
        canvas.oval((side * 8.6, 29.0), 1.7, 1.1, blush, rim=False)
    canvas.oval((0.0, 30.4), 1.9, 0.7, INK, rim=False)


def _draw_headwear(canvas: _Canvas, character: Character, scene: Scene) -> None:
    if character.headwear == NONE:
        return
    color, toward = CLOTH[character.headwear_color], _facing(scene)
    if character.headwear == "hat":
        canvas.dome((HEAD[0], 15.5), 11.0, 10.8, color)
        canvas.limb((-13.5, 15.8), (13.5, 15.8), 3.4, color)
        canvas.polygon(
            [(-10.6, 13.0), (10.6, 13.0), (10.9, 11.0), (-10.9, 11.0)], shade(color, 0.7), rim=False
        )
        return
    canvas.polygon([(-13.2, 13.6), (13.2, 13.6), (13.6, 18.4), (-13.6, 18.4)], color)
    if toward:
        knot = -toward * 14.0
        canvas.limb((knot, 16.5), (knot - toward * 3.5, 23.0), 3.2, color)
    elif scene.view == "back":
        for side in (-1.0, 1.0):
            canvas.limb((0.0, 16.5), (side * 4.0, 24.0), 3.2, color)
