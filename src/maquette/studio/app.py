"""The studio as a web application: pages and the JSON behind them, over the functions that the command line calls."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from maquette import __version__
from maquette.errors import MaquetteError, Problem
from maquette.studio import (
    captioning_page,
    captions_page,
    check_page,
    compare_page,
    curating_page,
    home,
    judge_page,
    new_project,
    pictures_page,
    plan_page,
    queue_page,
    rail,
    search_page,
    train_page,
    use_page,
)
from maquette.studio.asking import Studio
from maquette.studio.guard import Guard, TooLarge, too_large
from maquette.studio.pages import page
from maquette.studio.workspace import NotFound

STATIC = "static"


def make_app(studio: Studio, names: frozenset[str]) -> Guard:
    """Return the whole application; `names` are the hosts that it goes by."""
    app = Starlette(
        routes=[
            Route("/api/health", health),
            *home.routes(),
            *new_project.routes(),
            *pictures_page.routes(),
            *curating_page.routes(),
            *captions_page.routes(),
            *captioning_page.routes(),
            *check_page.routes(),
            *plan_page.routes(),
            *train_page.routes(),
            *search_page.routes(),
            *judge_page.routes(),
            *rail.routes(),
            *use_page.routes(),
            *compare_page.routes(),
            *queue_page.routes(),
            Route("/static/plotly.min.js", plotly),
            Mount("/static", StaticFiles(directory=str(files("maquette.studio") / STATIC)), name=STATIC),
        ],
        exception_handlers={MaquetteError: _told, TooLarge: too_large, 404: _missing, Exception: _broken},
    )
    app.state.studio = studio
    return Guard(app, studio.keys, names)


def plotly(request: Request) -> Response:
    """Return the library that draws curves, as its package brings it."""
    path = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"
    return FileResponse(
        path, media_type="text/javascript", headers={"cache-control": "private, max-age=86400"}
    )


def health(request: Request) -> Response:
    """Say that the server is up, and which release it is."""
    return JSONResponse({"ok": True, "version": __version__})


def _told(request: Request, error: Exception) -> Response:
    """Answer with the problems of an error."""
    assert isinstance(error, MaquetteError)
    return _wrong(request, error.problems, 404 if isinstance(error, NotFound) else 400)


def _missing(request: Request, error: Exception) -> Response:
    where = request.url.path[:200]
    return _wrong(
        request, [Problem(where, "nothing is there", "an address of the studio", "Go to the home page.")], 404
    )


def _broken(request: Request, error: Exception) -> Response:
    """Answer where the program itself is at fault; the trace goes to the terminal that serves."""
    given = f"{type(error).__name__}: {error}"[:300]
    remedy = "The terminal that runs `maquette studio` shows the trace."
    return _wrong(request, [Problem("the studio", given, "", remedy)], 500)


def _wrong(request: Request, problems: Sequence[Problem], status: int) -> Response:
    """Answer a page with a page, everything else with JSON as `--json` has it."""
    if request.url.path.startswith(("/api/", f"/{STATIC}/")):
        return JSONResponse({"error": [vars(problem) for problem in problems]}, status)
    return page(request, "wrong.html.jinja", title="Something is wrong", problems=problems, status=status)
