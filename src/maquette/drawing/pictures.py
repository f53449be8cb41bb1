"""Picture files that carry how they were drawn, in the form that drawing programs read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, PngImagePlugin

from maquette.errors import DatasetError
from maquette.files import replacing


def save_picture(
    path: Path, picture: Image.Image, chunks: Mapping[str, str], *, durable: bool = True
) -> Path:
    """Write `picture` as PNG with text chunks (`scene.picture_chunks`), whole or not at all; return `path`.

    durable: it outlives a power cut too, which takes the disk a moment for each.
    """
    info = PngImagePlugin.PngInfo()
    for key, text in chunks.items():
        if text.isascii():
            info.add_text(key, text)
        else:
            info.add_itxt(key, text)
    with replacing(path, durable=durable) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)
    return path


def chunks_of(path: Path) -> dict[str, str]:
    """Return a picture's text chunks; none of a file that cannot be read."""
    from maquette.dataset.opening import opened

    try:
        with opened(path) as picture:
            return {str(key): text for key, text in picture.info.items() if isinstance(text, str)}
    except DatasetError:
        return {}
