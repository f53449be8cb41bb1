"""Pages from templates: no text of a stranger can become markup, no script or style stands in a page itself."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from maquette import __version__
from maquette.evaluating.page import render
from maquette.studio.asking import studio_of
from maquette.studio.workspace import Project

ROOM = "maquette.studio"


@dataclass(frozen=True)
class Stop:
    """A stop of a project's way."""

    name: str
    title: str


RAIL = (
    Stop("pictures", "Pictures"),
    Stop("captions", "Captions"),
    Stop("check", "Check"),
    Stop("plan", "Plan"),
    Stop("train", "Train"),
    Stop("judge", "Judge"),
    Stop("use", "Use"),
)
"""The stops of a project's way that have a page, in their order."""


def page(
    request: Request,
    template: str,
    *,
    title: str,
    project: Project | None = None,
    here: str = "",
    status: int = 200,
    **values: Any,
) -> Response:
    """Return a page of this room; `here` is the stop of the rail that it is."""
    text = render(
        template,
        room=ROOM,
        title=title,
        project=project,
        here=here,
        rail=RAIL,
        page_token=studio_of(request).keys.page,
        version=__version__,
        asset=asset,
        charts_mark=charts_mark,
        **values,
    )
    return HTMLResponse(text, status)


@cache
def asset(name: str) -> str:
    """Return the address of a static file, with a mark of its content so that a new release is never shown an old file."""
    data = (files(ROOM) / "static" / name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(data).hexdigest()[:12]}"


@cache
def charts_mark() -> str:
    """Return the id of the style element that the charts' library would add for its maps; empty where it adds none.

    We draw no maps, and the pages' policy refuses such a style, with an error on the console. The library adds it only where no
    element of that id is there, so a page that draws charts has an empty one. The id changes with the library's release.
    """
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    found = re.search(r'getElementById\("([0-9a-f]{64})"\)', text)
    return found[1] if found else ""
