"""HTML and SVG built from escaped parts: text cannot become markup, whatever it contains."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})
_THUMBNAIL_PX = 384


class Markup(str):
    """Text that is markup already. Only `el`, `join` and `raw` make it."""

    __slots__ = ()


Child = str | Markup | int | float | None


def el(name: str, /, *children: Child, **attributes: Any) -> Markup:
    """Return an element. Children that are not Markup are escaped; `class_` and `data_x` become class and
    data-x.

    Attributes of None or False are left out, True gives the bare attribute.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = key.rstrip("_").replace("_", "-")
        written.append(
            f" {spelled}" if value is True else f' {spelled}="{html.escape(str(value), quote=True)}"'
        )
    opening = f"<{name}{''.join(written)}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Return the children one after the other, escaped where they are plain text."""
    return Markup("".join(_inside(child) for child in children if child is not None))


def _inside(child: Child) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child), quote=False)


def raw(text: str) -> Markup:
    """Return `text` as markup. For this package's own style and script files only."""
    return Markup(text)


def json_block(element_id: str, value: Any) -> Markup:
    """Return a script element that holds `value` as JSON; no text inside can end the element."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str, allow_nan=False)
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(f'<script type="application/json" id="{html.escape(element_id)}">{safe}</script>')


def table(rows: Sequence[tuple[Child, Child]], *, head: tuple[str, str] | None = None) -> Markup:
    """Return a table of names and values."""
    body = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in rows]
    header = el("thead", el("tr", *(el("th", text, scope="col") for text in head))) if head else None
    return el("div", el("table", header, el("tbody", *body)), class_="scroll")


def picture_uri(path: Path) -> tuple[str, int, int]:
    """Return (data URI, width, height) of a picture file; large ones are reduced, small ones kept to the
    pixel.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    buffer = io.BytesIO()
    if max(picture.size) <= 160:
        picture.save(buffer, format="PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        picture.save(buffer, format="JPEG", quality=88)
        kind = "jpeg"
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind};base64,{data}", *picture.size


def figure_picture(path: Path, alt: str, *, class_: str = "pic") -> Markup:
    """Return an embedded picture that a click enlarges, or a note when the file is gone or unreadable."""
    try:
        uri, width_px, height_px = picture_uri(path)
    except OSError:
        return el("span", f"{path.name} cannot be shown", class_="missing")
    small = " tiny" if max(width_px, height_px) <= 160 else ""
    return el("img", src=uri, alt=alt, width=width_px, height=height_px, class_=class_ + small, tabindex=0)
