"""The norms of a LoRA's blocks as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from maquette.drawing import paper
from maquette.files import replacing

if TYPE_CHECKING:
    from maquette.toolbox.inspecting import Block

WIDTH, TOP, ROW, FOOT = 900, 96, 26, 30
LEFT, RIGHT = 190, 700


def draw_blocks(place: Path, name: str, blocks: Sequence[Block]) -> Path:
    """Draw a bar for each block's norm to `place`; return it."""
    page = Image.new("RGB", (WIDTH, TOP + ROW * len(blocks) + FOOT), paper.PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((24, 18), "Change by block", paper.INK, paper.font(26))
    draw.text((24, 56), paper.fitted(name, 15, WIDTH - 48), paper.SOFT, paper.font(15))
    most = max((block.norm or 0.0 for block in blocks), default=0.0) or 1.0
    for row, block in enumerate(blocks):
        y = TOP + ROW * (row + 0.5)
        label = paper.fitted(block.name, 15, LEFT - 44)
        draw.text((LEFT - 14, y), label, paper.INK, paper.font(15), anchor="rm")
        draw.line((LEFT, y + ROW / 2, RIGHT, y + ROW / 2), paper.LINE)
        if block.norm is None:
            draw.text((LEFT, y), "told by the base's weights alone", paper.SOFT, paper.font(13), anchor="lm")
            continue
        end = LEFT + (RIGHT - LEFT) * block.norm / most
        draw.rectangle((LEFT, y - 8, max(end, LEFT + 1), y + 8), fill=paper.KEPT)
        draw.text((RIGHT + 14, y), f"{block.norm:.3g}", paper.INK, paper.font(15), anchor="lm")
        draw.text((WIDTH - 24, y), f"{block.share or 0:.1%}", paper.SOFT, paper.font(15), anchor="rm")
    with replacing(place) as temporary:
        page.save(temporary, format="PNG")
    return place
