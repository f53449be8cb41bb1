"""The picture's own colours: the background in words, and a palette in hex values, counted from its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.source import Ask, Context, Source, no_argument
from maquette.errors import Problem
from maquette.words.colours import colour_difference

if TYPE_CHECKING:
    from PIL import Image

NUM_COLOURS = 5
EVEN_BORDER = 0.6
"""Share of the border that one colour must fill to be called the background."""
LIKE = 8.0
"""CIE76 difference up to which two colours of the border count as one."""
GRID_PX = 64
"""The border is read at this size."""

GREYS = ((36, "black"), (92, "dark grey"), (184, "grey"), (236, "light grey"), (256, "white"))
"""Words for colours without a hue, by their lightness up to a value."""
GREY_SPREAD = 24
"""A colour whose channels differ by less has no hue to speak of."""
NAMED: tuple[tuple[str, str], ...] = (
    *(
        ("7a1414", "dark red"),
        ("d42020", "red"),
        ("f0a0b8", "pink"),
        ("ee8420", "orange"),
        ("7a4a24", "brown"),
    ),
    *(
        ("8a6f5c", "brown"),
        ("402616", "dark brown"),
        ("d2b48c", "tan"),
        ("f0dc30", "yellow"),
        ("efe3c8", "beige"),
    ),
    *(("8fd92e", "lime green"), ("2f9a3c", "green"), ("1d4a26", "dark green"), ("b4d8b0", "pale green")),
    *(("1f8a8a", "teal"), ("9cc8ee", "light blue"), ("2f60d0", "blue"), ("182a66", "dark blue")),
    *(("7a38b0", "purple"), ("c4aee6", "lavender"), ("d030b4", "magenta")),
)
"""Colours and the words for them; the nearest one names a colour."""


class Palette:
    """Counts colours."""

    name = "palette"
    batch_size = 8
    is_parallel = True
    is_model = False
    is_literal = False
    from_existing = False
    learns_from_refusal = False
    sees_pictures = True

    def __init__(self, num_colours: int) -> None:
        self._num_colours = num_colours

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        return [_answer(ask.target.picture, self._num_colours) for ask in asks]

    def describe(self) -> Mapping[str, Any]:
        return {"source": self.name, "colours": self._num_colours}

    def close(self) -> None:
        pass


def open_source(argument: str, context: Context) -> Source:
    """Return the source; it takes no argument."""
    no_argument("palette", argument)
    return Palette(context.options.colours or NUM_COLOURS)


def _answer(picture: Path, num_colours: int) -> Answer:
    from maquette.captioning.sources.looking import load_rgb
    from maquette.dataset.measuring import measure_picture

    measured = measure_picture(picture)
    image = load_rgb(picture)
    if isinstance(image, Problem) or not measured.is_sound:
        problem = measured.result if isinstance(measured.result, Problem) else image
        return Answer(
            refused=f"the picture is {problem.given}" if isinstance(problem, Problem) else "unreadable"
        )
    return Answer(text=palette_phrases(image, measured.measures.palette, num_colours))


def palette_phrases(image: Image.Image, palette: Sequence[str], num_colours: int = NUM_COLOURS) -> str:
    """Return e.g. `grey background (#a0b1a6), palette: #a0b1a6, #4f2526` for an RGB picture and its measured colours.

    The background has its hex value where it is one of the picture's main colours exactly.
    """
    phrases = []
    border = background_of(image)
    if border is not None:
        exact = f" ({_hex(border)})" if _hex(border) in palette else ""
        phrases.append(f"{colour_word(border)} background{exact}")
    return ", ".join([*phrases, "palette: " + ", ".join(palette[:num_colours])])


def background_of(image: Image.Image) -> tuple[int, int, int] | None:
    """Return the colour that fills most of the picture's border; None for a border of several."""
    small = image.resize((GRID_PX, GRID_PX), resample=0)
    edge = GRID_PX - 1
    border: list[Any] = [
        small.getpixel(place) for i in range(GRID_PX) for place in ((i, 0), (0, i), (edge, i), (i, edge))
    ]
    centre = max(set(border), key=border.count)
    near = [pixel for pixel in border if colour_difference(_hex(pixel), _hex(centre)) < LIKE]
    if len(near) < EVEN_BORDER * len(border):
        return None
    return int(centre[0]), int(centre[1]), int(centre[2])


def colour_word(colour: Sequence[int]) -> str:
    """Return the nearest of some two dozen colour words."""
    if max(colour) - min(colour) < GREY_SPREAD:
        lightness = sum(colour) / 3
        return next(word for limit, word in GREYS if lightness < limit)
    return min(NAMED, key=lambda named: colour_difference(_hex(colour), f"#{named[0]}"))[1]


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
