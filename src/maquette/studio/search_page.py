"""The Search page: what a search would try and take, starting one, every trial live, its verdict, its settings put to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.jobs.ledger import Ledger
from maquette.project.settings_edit import undo_settings, undoable
from maquette.searching.options import SearchOptions
from maquette.searching.places import studies_of, study_folder
from maquette.searching.records import REPORT_NAME, RESULTS_NAME, read_study
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.pages import page
from maquette.studio.queue_page import add_job
from maquette.studio.workspace import NotFound, Project

MOST_DIGITS = 6
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report brings its own scripts. In a sandbox they are nobody's: they reach no page, no cookie and no address."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    api = "/api/p/{project}/searches"
    return [
        Route("/p/{project}/search", show),
        Route("/p/{project}/search/{study}/report", report),
        Route(api, listed),
        Route(api, answering(started), methods=["POST"]),
        Route(f"{api}/outlook", outlook),
        Route(f"{api}/undo", answering(taken_back), methods=["POST"]),
        Route(f"{api}/{{study}}", one_study),
        Route(f"{api}/{{study}}/stream", stream),
        Route(f"{api}/{{study}}/resume", answering(resumed), methods=["POST"]),
        Route(f"{api}/{{study}}/report", answering(reported), methods=["POST"]),
        Route(f"{api}/{{study}}/use", answering(used), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page."""
    return page(request, "search.html.jinja", title="Search", project=project_of(request), here="train")


def listed(request: Request) -> Response:
    """Return the project's searches, the last one first, and its searches that wait."""
    project = project_of(request)
    found = [_entry(study_folder(project.root, name)) for name in studies_of(project.root)]
    with Ledger() as ledger:
        jobs = [each for each in ledger.jobs() if each.kind == "search" and each.project == project.root]
    return JSONResponse({"studies": found, "jobs": [each.to_json() for each in jobs if not each.is_over]})


def _entry(folder: Path) -> dict[str, Any]:
    if not (folder / RESULTS_NAME).is_file():
        return {"name": folder.name, "state": "begun"}
    try:
        record = read_study(folder)
    except MaquetteError as error:
        return {"name": folder.name, "state": "unreadable", "problem": str(error.problems[0])}
    best = record.best_trial
    return {
        "name": folder.name,
        "state": record.state,
        "asked": record.trials_asked,
        "done": sum(each.is_over for each in record.searched),
        "best": None if best is None else best.value,
    }


def outlook(request: Request) -> Response:
    """Return what a search would try, and what it takes at the most."""
    from maquette.searches import search_outlook
    from maquette.searching.shown import space_shown

    given = {name: value for name, value in request.query_params.items() if name in ("trials", "pack")}
    options = SearchOptions.made_from(None, {name: _number(name, value) for name, value in given.items()})
    found = search_outlook(project_of(request).root, options)
    return JSONResponse({**space_shown(found.space), **found.to_json()})


def started(request: Request, data: bytes) -> dict[str, Any]:
    """Put a search into the queue."""
    project = project_of(request)
    given = body_of(data, trials=int, pack=int)
    flags = ["--trials", str(given["trials"]), "--pack", str(given["pack"])]
    return add_job("search", [str(project.root), *flags], project.root)


def one_study(request: Request) -> Response:
    """Return a search with every trial, and who is at work on it."""
    from maquette.searching.shown import study_shown
    from maquette.searching.verdict import with_verdict
    from maquette.searching.working import is_at_work

    project, folder = _study_of(request)
    if not (folder / RESULTS_NAME).is_file():
        return JSONResponse({"name": folder.name, "state": "begun"})
    with Ledger() as ledger:
        job = ledger.of_run(folder)
    return JSONResponse(
        {
            **study_shown(with_verdict(read_study(folder)), folder, is_at_work=is_at_work(folder)),
            "job": None if job is None else job.to_json(),
            "undo": undoable(project.root),
        }
    )


async def stream(request: Request) -> Response:
    """Tell whenever the results of a search changed, whoever writes them."""
    _, folder = _study_of(request)
    events = studio_of(request).feed.watch(folder / RESULTS_NAME)
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def resumed(request: Request, data: bytes) -> dict[str, Any]:
    """Put going on with a search into the queue."""
    project, folder = _study_of(request)
    body_of(data)
    return add_job("search", [str(project.root), "--resume", "--study", folder.name], project.root)


def reported(request: Request, data: bytes) -> dict[str, Any]:
    """Write the report of a search as far as it is."""
    from maquette.searching.report import search_report

    _, folder = _study_of(request)
    body_of(data)
    search_report(folder)
    return {"report": True}


def report(request: Request) -> Response:
    """Return the report of a search, in a sandbox of its own."""
    project, folder = _study_of(request)
    path = project.file(REPORT_NAME, below=folder)
    headers = {"content-security-policy": REPORT_POLICY, "cache-control": "no-store"}
    return FileResponse(path, media_type="text/html", headers=headers)


def used(request: Request, data: bytes) -> dict[str, Any]:
    """Write the recommended settings into the project's own."""
    from maquette.searches import use_recommended

    project, folder = _study_of(request)
    body_of(data)
    changed = use_recommended(project.root, folder.name)
    return {"changed": list(changed), "undo": undoable(project.root)}


def taken_back(request: Request, data: bytes) -> dict[str, Any]:
    """Take the last change of the project's settings back."""
    body_of(data)
    undone = undo_settings(project_of(request).root)
    return {"undone": undone.what}


def _study_of(request: Request) -> tuple[Project, Path]:
    """Return the project and the folder of the search that the address names. Raises NotFound."""
    project, name = project_of(request), request.path_params["study"]
    if name not in studies_of(project.root):
        raise NotFound(Problem(name[:200], "no such search in this project", "a search", "Reload the page."))
    return project, study_folder(project.root, name)


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise ConfigError(Problem(name, f"'{text[:40]}'", "a whole number", "Correct it."))
    return int(text)
