"""The Pictures page: thousands of pictures with what curation says of them, and a person's own decisions by keyboard.

Decisions go through `curating.person`, into the journal that `maquette curate` keeps: what is done here is undone there, and
the reverse.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.curating import references
from maquette.curating.decisions import Decision, Decisions, read_decisions
from maquette.curating.listing import list_heap
from maquette.curating.person import KINDS, Word, decide, undo
from maquette.curating.records import CODES
from maquette.errors import ConfigError, Problem
from maquette.project.journal import Change, latest_first
from maquette.project.undoing import changes_at
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.pages import page
from maquette.studio.showing import small, whole
from maquette.studio.workspace import Project

_IN_TURN = threading.Lock()
"""Decisions of several pages, or of one that is left while another answer is on its way, wait for one another: the folder's own
lock would refuse the second."""
WORDS: tuple[Word, ...] = get_args(Word)
MEASURES = {
    "quality": "quality",
    "similarity": "likeness",
    "sharpness": "sharpness",
    "edge_width_px": "width of edges, px",
    "brightness": "brightness",
    "contrast": "contrast",
    "noise": "noise",
    "width_px": "width, px",
    "height_px": "height, px",
    "subject_share": "size of the subject",
}
"""What pictures can be filtered by, with its name on the page."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/pictures", show),
        Route("/api/p/{project}/pictures", listed),
        Route("/api/p/{project}/decide", answering(decided), methods=["POST"]),
        Route("/api/p/{project}/undo-decision", answering(undone), methods=["POST"]),
        Route("/api/p/{project}/thumbnail/{size:int}/{name:path}", thumbnail),
        Route("/api/p/{project}/picture/{name:path}", picture),
    ]


def show(request: Request) -> Response:
    """Show the page; its pictures come by themselves."""
    project = project_of(request)
    return page(
        request,
        "pictures.html.jinja",
        title="Pictures",
        project=project,
        here="pictures",
        codes=CODES,
        measures=MEASURES,
        folder=str(project.pictures),
    )


def listed(request: Request) -> Response:
    """Return every picture with its decision."""
    return JSONResponse(told(project_of(request)))


def told(project: Project) -> dict[str, Any]:
    """Return a project's pictures as the page has them."""
    folder = project.pictures
    heap = list_heap(folder)
    found = read_decisions(folder)
    known = found.pictures if found else {}
    return {
        "folder": str(folder),
        "curated": found is not None,
        "command": f"maquette curate {folder}",
        "undo": _undoable(project),
        "has_identity": any(each.similarity is not None for each in known.values()),
        "threshold": found.threshold if found else None,
        "pictures": [_row(name, known.get(name), found) for name in heap.names],
    }


def _row(name: str, decision: Decision | None, found: Decisions | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "state": decision.state if decision else ""}
    if decision is None:
        return row
    row["by"] = decision.decided_by
    row["quality"] = round(decision.quality, 3)
    if decision.reasons:
        row["reasons"] = [
            {"code": each.code, "weight": each.weight, "text": each.text, "other": each.other}
            for each in decision.reasons
        ]
    if decision.measures:
        row["measures"] = {
            key: round(value, 3) for key, value in decision.measures.items() if key in MEASURES
        }
    for key in ("similarity", "cluster", "faces"):
        if (value := getattr(decision, key)) is not None:
            row[key] = value
    return row


def _undoable(project: Project) -> str:
    """Return in words what undoing would take back; empty where there is nothing."""
    changes = _changes(project)
    return changes[0].what if changes else ""


def _changes(project: Project) -> list[Change]:
    """Return what can be taken back, the latest first: decisions, and pictures moved to the references."""
    decisions = changes_at(project.pictures, kinds=KINDS)
    moves = changes_at(project.root, kinds=(references.KIND,))
    return latest_first([*decisions, *moves])


def decided(request: Request, data: bytes) -> dict[str, Any]:
    """Write a person's decisions: word → names."""
    project = project_of(request)
    words = body_of(data, words=dict)["words"]
    problems = [
        Problem(str(word)[:80], "no decision", ", ".join(WORDS), "Reload the page.")
        for word, names in words.items()
        if word not in WORDS or not _are_names(names)
    ]
    if problems:
        raise ConfigError(problems)
    _require_plain(words)
    with _IN_TURN:
        done = decide(project.pictures, words)
    return {"changed": dict(done.changed), "undo": _undoable(project)}


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _require_plain(words: Mapping[str, Any]) -> None:
    """Raise ConfigError for patterns: a page means pictures, one by one."""
    odd = [name for names in words.values() for name in names if not name]
    if odd:
        raise ConfigError(
            Problem("request", "a picture without a name", "names of pictures", "Reload the page.")
        )


def undone(request: Request, data: bytes) -> dict[str, Any]:
    """Take the last change of decisions back, or the last move to the references."""
    project = project_of(request)
    body_of(data)
    with _IN_TURN:
        changes = _changes(project)
        if changes and changes[0].kind == references.KIND:
            references.undo(project.root)
            return {"kind": references.KIND, "remaining": len(changes) - 1, "undo": _undoable(project)}
        done = undo(project.pictures)
    return {"kind": done.kind, "remaining": done.remaining, "undo": _undoable(project)}


async def thumbnail(request: Request) -> Response:
    """Return a small version of a picture; the browser keeps it until the picture changes."""
    project = project_of(request)
    path = project.file(request.path_params["name"], below=project.pictures)
    return await small(request, path, int(request.path_params["size"]))


def picture(request: Request) -> Response:
    """Return a picture as it is."""
    project = project_of(request)
    return whole(project.file(request.path_params["name"], below=project.pictures))
