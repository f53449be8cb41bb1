"""The home page: the opened projects, and opening one more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from maquette.errors import MaquetteError
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.pages import RAIL, page
from maquette.studio.workspace import Project


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/", home),
        Route("/p/{project}", first_stop),
        Route("/api/projects", answering(open_project), methods=["POST"]),
        Route("/api/projects/{project}/close", answering(close_project), methods=["POST"]),
    ]


def home(request: Request) -> Response:
    """Show the opened projects."""
    projects = [card_of(project) for project in studio_of(request).workspace.projects()]
    return page(request, "home.html.jinja", title="Maquette", projects=projects)


def first_stop(request: Request) -> Response:
    """Lead to the first stop of a project."""
    return RedirectResponse(f"/p/{project_of(request).key}/{RAIL[0].name}", status_code=303)


def card_of(project: Project) -> dict[str, Any]:
    """Return what the home page shows of a project."""
    from maquette.curating.listing import list_heap

    card: dict[str, Any] = {
        "key": project.key,
        "name": project.name,
        "root": str(project.root),
        "pictures": [],
        "count": 0,
        "runs": 0,
        "problem": "",
    }
    try:
        folder = project.pictures
        heap = list_heap(folder)
        card |= {"count": len(heap.names), "pictures": list(heap.names[:: max(1, len(heap.names) // 4)][:4])}
        card["runs"] = (
            sum(1 for each in (project.root / "runs").glob("*/run.json"))
            if (project.root / "runs").is_dir()
            else 0
        )
    except MaquetteError as error:
        card["problem"] = str(error.problems[0])
    return card


def open_project(request: Request, data: bytes) -> dict[str, Any]:
    """Open the project in a folder of this computer."""
    given = body_of(data, path=str)
    project = studio_of(request).workspace.open(Path(given["path"].strip()))
    return {"project": project.key, "url": f"/p/{project.key}"}


def close_project(request: Request, data: bytes) -> dict[str, Any]:
    """Take a project from the list; its files stay as they are."""
    body_of(data)
    studio_of(request).workspace.close(request.path_params["project"])
    return {"closed": True}
