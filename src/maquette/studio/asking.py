"""What every page's answers share: the running studio, the project that an address names, bodies read and answered as JSON."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from maquette.errors import ConfigError, Problem
from maquette.reading import parse_json
from maquette.studio.checks import Checks
from maquette.studio.feed import Feed
from maquette.studio.guard import Keys
from maquette.studio.thumbnails import Thumbnails
from maquette.studio.uploads import Uploads
from maquette.studio.workspace import Project, Workspace


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What the pages of one running server share."""

    workspace: Workspace
    keys: Keys
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    feed: Feed = field(default_factory=Feed)
    uploads: Uploads = field(default_factory=Uploads)
    checks: Checks = field(default_factory=Checks)


def studio_of(request: Request) -> Studio:
    """Return what the pages share."""
    found: Studio = request.app.state.studio
    return found


def project_of(request: Request) -> Project:
    """Return the project that the address names. Raises NotFound."""
    return studio_of(request).workspace.project(request.path_params["project"])


def body_of(data: bytes, **wanted: type) -> dict[str, Any]:
    """Return the JSON object of a request, which must have exactly the keys `wanted` of these types. Raises ConfigError."""
    table: Any = None
    with suppress(ValueError):
        table = parse_json(data, any_text=True)
    if not isinstance(table, dict):
        raise ConfigError(Problem("request", "no JSON object", ", ".join(wanted), "Reload the page."))
    problems = [
        Problem(
            name, repr(table[name])[:80] if name in table else "nothing", kind.__name__, "Reload the page."
        )
        for name, kind in wanted.items()
        if not isinstance(table.get(name), kind)
    ]
    problems += [
        Problem(str(name)[:80], "an unknown key", ", ".join(wanted), "Reload the page.")
        for name in table
        if name not in wanted
    ]
    if problems:
        raise ConfigError(problems)
    return table


def answering(work: Callable[[Request, bytes], Any]) -> Callable[[Request], Any]:
    """Return an endpoint that answers a POST with the JSON of `work(request, body)`, which runs on a thread of its own."""

    async def endpoint(request: Request) -> Response:
        data = await request.body()
        return JSONResponse(await run_in_threadpool(work, request, data))

    return endpoint
