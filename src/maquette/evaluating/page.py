"""What pages are made with: Jinja2 templates that escape whatever they are given, and pictures embedded in the page."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from maquette.errors import DatasetError

ROOM = "maquette.evaluating"
_THUMBNAIL_PX = 384
_SMALL_PX = 160
_TILE_PX = 136


@dataclass(frozen=True)
class Embedded:
    """A picture as a data URI, with its size on the page."""

    uri: str
    width_px: int
    height_px: int
    original: str = ""
    """Where its file is, seen from the page; empty where that is elsewhere."""

    @property
    def is_small(self) -> bool:
        """Whether it is shown pixel by pixel, at whole multiples of its size."""
        return max(self.width_px, self.height_px) <= _SMALL_PX

    @property
    def times(self) -> int:
        """How often a small picture's pixels are repeated on a wide screen."""
        return max(1, _TILE_PX // max(self.width_px, self.height_px))


@dataclass(frozen=True)
class Pictures:
    """What a page embeds its pictures with. `home` is the page's folder, where it has one already."""

    home: Path | None = None

    def __call__(self, path: Path) -> Embedded | None:
        found = embedded(path)
        return found and replace(found, original=self._seen_from_home(path))

    def _seen_from_home(self, path: Path) -> str:
        if self.home is None or not path.resolve().is_relative_to(self.home):
            return ""
        return quote(path.resolve().relative_to(self.home).as_posix())


def render(template: str, *, room: str = ROOM, **values: Any) -> str:
    """Return the page of a template of this room, or of one above it, which may use the macros of this one.

    No text in `values` can become markup.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(room), PackageLoader(ROOM)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment.get_template(template).render(**values)


def breakable(text: str) -> Markup:
    """Return a name as markup in which a line may break behind each of its signs."""
    return Markup(re.sub(r"([-_./\\])", r"\1<wbr>", str(escape(text))))


def embedded(path: Path) -> Embedded | None:
    """Return a picture file for a page, None when it is gone or unreadable; large ones are reduced, small ones kept to
    the pixel.
    """
    from PIL import Image

    from maquette.dataset.opening import picture_rgb

    try:
        picture = picture_rgb(path)
    except DatasetError:
        return None
    buffer = io.BytesIO()
    if max(picture.size) <= _SMALL_PX:
        picture.save(buffer, format="PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        picture.save(buffer, format="JPEG", quality=88)
        kind = "jpeg"
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Embedded(f"data:image/{kind};base64,{data}", *picture.size)


def own_asset(name: str, *, room: str = ROOM) -> Markup:
    """Return the style or script file of this room, or of one above it, as markup."""
    return Markup(resources.files(room).joinpath(name).read_text(encoding="utf-8"))


def json_markup(value: Any) -> Markup:
    """Return `value` as JSON for a script element; no text inside can end the element."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str, allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
