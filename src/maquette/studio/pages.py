"""Pages from templates: no text of a stranger can become markup, no script or style stands in a page itself."""

from __future__ import annotations

import hashlib
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


RAIL = (Stop("pictures", "Pictures"), Stop("captions", "Captions"), Stop("train", "Train"))
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
        **values,
    )
    return HTMLResponse(text, status)


@cache
def asset(name: str) -> str:
    """Return the address of a static file, with a mark of its content so that a new release is never shown an old file."""
    data = (files(ROOM) / "static" / name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(data).hexdigest()[:12]}"
