"""The Compare page: two runs, what was changed from one to the other beside what each came to, and what was decided of each."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.api import note
from maquette.errors import MaquetteError
from maquette.runs.notes import VERDICTS
from maquette.runs.record import read_record
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.comparing import compared, named, notebook
from maquette.studio.pages import page
from maquette.studio.runs import run_of, runs_of
from maquette.studio.workspace import Project


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/compare", show),
        Route("/api/p/{project}/compare", both),
        Route("/api/p/{project}/run/{run}/note", answering(noted), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page; without two runs in the address, of the two newest."""
    project = project_of(request)
    others = [each for each in studio_of(request).workspace.projects() if each.key != project.key]
    own = _newest_first(project)
    groups = [(project.name, [(name, name) for name in own])]
    groups += [(each.name, [(f"{each.key}/{name}", name) for name in _newest_first(each)]) for each in others]
    b = request.query_params.get("b") or next(iter(own), "")
    rest = [name for name in own if name != b]
    older = own[own.index(b) + 1 :] if b in own else []
    a = request.query_params.get("a") or next(iter([*older, *rest]), "")
    return page(
        request,
        "compare.html.jinja",
        title="Compare",
        project=project,
        groups=[(name, runs) for name, runs in groups if runs],
        a=a,
        b=b,
        verdicts=VERDICTS,
    )


def _newest_first(project: Project) -> list[str]:
    """Return the names of a project's runs; those whose record cannot be read are left out."""
    found = []
    for place in runs_of(project):
        try:
            found.append((read_record(place).created_at, place.name))
        except MaquetteError:
            continue
    return [name for _, name in sorted(found, reverse=True)]


def both(request: Request) -> Response:
    """Return the two runs that the address names, side by side."""
    project, workspace = project_of(request), studio_of(request).workspace
    asked = [request.query_params.get(side, "") for side in "ab"]
    a, b = (named(workspace, project, ref) for ref in asked)
    return JSONResponse(compared(a, b))


def noted(request: Request, data: bytes) -> dict[str, Any]:
    """Write down what was decided about a run, as `maquette note` does; `amends` 0 is a note of its own."""
    given = body_of(data, text=str, verdict=str, amends=int)
    place = run_of(project_of(request), request.path_params["run"])
    note(place, given["text"], verdict=given["verdict"] or None, amends=given["amends"] or None)
    return notebook(place)
