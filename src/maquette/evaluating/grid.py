"""A first look as one picture: a row for each prompt and seed, a column for each checkpoint."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from maquette.evaluating.looks import FirstLook
from maquette.files import replacing

_CELL_PX = 192
_MOST_CELL_PX = 320
_GAP_PX = 10
_LABEL_PX = 210
_HEAD_PX = 40
_PAPER, _INK, _SOFT = (250, 248, 244), (38, 34, 30), (107, 100, 91)


def write_grid(look: FirstLook, path: Path, *, seeds_shown: int = 4) -> Path:
    """Write the grid of the first `seeds_shown` seeds of every prompt as PNG and return `path`."""
    rows = [(prompt, seed) for prompt in look.prompts() for seed in look.seeds(prompt)[:seeds_shown]]
    columns = look.checkpoints()
    with Image.open(look.folder / look.find(columns[0], *rows[0]).path) as first:
        cell = _cell_size(first.size)
    step_x, step_y = cell[0] + _GAP_PX, cell[1] + _GAP_PX
    sheet = Image.new("RGB", (_LABEL_PX + step_x * len(columns), _HEAD_PX + step_y * len(rows)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        middle = _LABEL_PX + step_x * column + cell[0] // 2
        pen.text((middle, _HEAD_PX // 2), name, fill=_INK, font=_font(17), anchor="mm")
    for row, (prompt, seed) in enumerate(rows):
        top = _HEAD_PX + step_y * row
        _label(pen, (12, top + 8), prompt, seed)
        for column, name in enumerate(columns):
            with Image.open(look.folder / look.find(name, prompt, seed).path) as opened:
                sheet.paste(_fit(opened.convert("RGB"), cell), (_LABEL_PX + step_x * column, top))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def _label(pen: ImageDraw.ImageDraw, at: tuple[int, int], prompt: str, seed: int) -> None:
    lines = textwrap.wrap(prompt, 27)[:7] or ["(empty prompt)"]
    pen.multiline_text(at, "\n".join(lines), fill=_INK, font=_font(14), spacing=4)
    pen.text((at[0], at[1] + 21 * len(lines)), f"seed {seed}", fill=_SOFT, font=_font(13))


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size_px)


def _cell_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a readable cell of the picture's shape: small pictures are enlarged whole times, large ones
    reduced.
    """
    longest = max(size)
    if longest < _CELL_PX:
        factor = -(-_CELL_PX // longest)
        return size[0] * factor, size[1] * factor
    share = min(1.0, _MOST_CELL_PX / longest)
    return round(size[0] * share), round(size[1] * share)


def _fit(picture: Image.Image, cell: tuple[int, int]) -> Image.Image:
    if picture.size == cell:
        return picture
    enlarged = cell[0] > picture.width
    return picture.resize(cell, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)
