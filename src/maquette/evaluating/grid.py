"""A first look as one picture: a row for each prompt and seed, a column for each checkpoint."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from maquette.dataset.opening import picture_rgb
from maquette.drawing import paper
from maquette.measuring.looks import FirstLook

_CELL_PX = 192
_MOST_CELL_PX = 320
_GAP_PX = 10
_LABEL_PX = 210
_HEAD_PX = 40


def write_grid(look: FirstLook, path: Path, *, seeds_shown: int = 4) -> Path:
    """Write the grid of the first `seeds_shown` seeds of every prompt as PNG and return `path`."""
    rows = [(prompt, seed) for prompt in look.prompts() for seed in look.seeds_of_all(prompt)[:seeds_shown]]
    columns = look.checkpoints()
    first = picture_rgb(look.folder / look.find(columns[0], *rows[0]).path)
    cell = paper.cell_size(first.size, _CELL_PX, _MOST_CELL_PX)
    step_x, step_y = cell[0] + _GAP_PX, cell[1] + _GAP_PX
    sheet = Image.new("RGB", (_LABEL_PX + step_x * len(columns), _HEAD_PX + step_y * len(rows)), paper.PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        middle = _LABEL_PX + step_x * column + cell[0] // 2
        pen.text((middle, _HEAD_PX // 2), name, fill=paper.INK, font=paper.font(17), anchor="mm")
    for row, (prompt, seed) in enumerate(rows):
        top = _HEAD_PX + step_y * row
        _label(pen, (12, top + 8), prompt, seed)
        for column, name in enumerate(columns):
            drawn = picture_rgb(look.folder / look.find(name, prompt, seed).path)
            sheet.paste(paper.in_cell(drawn, cell), (_LABEL_PX + step_x * column, top))
    return paper.save_sheet(sheet, path)


def _label(pen: ImageDraw.ImageDraw, at: tuple[int, int], prompt: str, seed: int) -> None:
    lines = textwrap.wrap(prompt, 27)[:7] or ["(empty prompt)"]
    pen.multiline_text(at, "\n".join(lines), fill=paper.INK, font=paper.font(14), spacing=4)
    pen.text((at[0], at[1] + 21 * len(lines)), f"seed {seed}", fill=paper.SOFT, font=paper.font(13))
