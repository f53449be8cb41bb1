"""The contact sheet: all pictures of a set at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHEET_CELL_PX, SHEET_COLUMNS, SHEET_MOST, SHEET_GAP_PX = 128, 12, 240, 6


def write_sheet(pictures: Sequence[Path], path: Path) -> Path:
    """Write the pictures (at most 240, spread over all) as one PNG and return `path`."""
    from PIL import Image

    from maquette.dataset.opening import picture_rgb
    from maquette.drawing import paper

    step = max(1, -(-len(pictures) // SHEET_MOST))
    shown = list(pictures)[::step]
    columns = min(SHEET_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    pitch = SHEET_CELL_PX + SHEET_GAP_PX
    sheet = Image.new("RGB", (columns * pitch + SHEET_GAP_PX, rows * pitch + SHEET_GAP_PX), paper.PAPER)
    for index, file in enumerate(shown):
        cell = picture_rgb(file)
        cell = paper.in_cell(cell, paper.cell_size(cell.size, SHEET_CELL_PX // 2 + 1, SHEET_CELL_PX))
        row, column = divmod(index, columns)
        sheet.paste(cell, (SHEET_GAP_PX + column * pitch, SHEET_GAP_PX + row * pitch))
    return paper.save_sheet(sheet, path)
