"""A picture as models are shown it: upright, transparent parts on white, scaled down, as a data URI."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import DatasetError, Problem

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE_PX = 1024
FEW_COLOURS = 256


def load_rgb(path: Path, longest_px: int | None = None) -> Image.Image | Problem:
    """Return a picture as RGB, upright, not larger than `longest_px`, or what is wrong with its file."""
    from PIL import Image

    from maquette.dataset.opening import picture_rgb

    try:
        image = picture_rgb(path)
    except DatasetError as error:
        return error.problems[0]
    if longest_px and max(image.size) > longest_px:
        scale = longest_px / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def data_uri(image: Image.Image) -> str:
    """Return an RGB picture as a base64 data URI: PNG where it has few colours, else JPEG."""
    buffer = io.BytesIO()
    if image.getcolors(maxcolors=FEW_COLOURS) is not None:
        image.save(buffer, "PNG")
        kind = "png"
    else:
        image.save(buffer, "JPEG", quality=90)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
