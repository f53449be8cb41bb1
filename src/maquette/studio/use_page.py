"""The Use page: the chosen weights, into the drawing program, with how they are drawn; everything to take along."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from maquette.api import deploy
from maquette.deploying.options import DeployOptions
from maquette.deploying.places import Place, known_places, place_at
from maquette.deploying.program import Installed
from maquette.deploying.release import release_stem
from maquette.deploying.run import pack
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.events import Event, Message
from maquette.files import json_text
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.cards import readable
from maquette.studio.pages import page
from maquette.studio.runs import run_of
from maquette.studio.showing import small
from maquette.studio.using import first_of, ready_of, rows_of
from maquette.studio.workspace import NotFound

ONE = "/api/p/{project}/use/{run}"
TAKEN_ALONG = {
    "lora": ("The LoRA", ".safetensors"),
    "preview": ("Preview", ".png"),
    "card": ("Model card", ".card.md"),
    "prompts": ("Prompts", ".prompts.txt"),
    "editor_workflow": ("ComfyUI workflow", ".json"),
    "workflow": ("Workflow, API format", ".workflow.json"),
    "template": ("Workflow with open slots", ".template.json"),
}
"""What can be downloaded: an installation's files, what a person calls them, how their names end."""
_ODD = re.compile(r"[^\w .,()+@-]|^\.+")


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/use", show),
        Route("/api/p/{project}/use-places", places),
        Route("/api/p/{project}/use-place", answering(typed), methods=["POST"]),
        Route(ONE + "/plan", answering(planned), methods=["POST"]),
        Route(ONE + "/install", answering(installed), methods=["POST"]),
        Route(ONE + "/picture/{size:int}/{name:path}", picture),
        Route(ONE + "/download/{what}", download),
    ]


def show(request: Request) -> Response:
    """Show the page of the run that the address names, else of the one that is most likely meant."""
    project = project_of(request)
    rows = rows_of(project)
    asked = request.query_params.get("run")
    row = first_of(rows)
    name = asked if asked is not None else row.name if row else None
    ready, problem = None, None
    if name is not None:
        try:
            ready = ready_of(run_of(project, name))
        except NotFound:
            raise
        except MaquetteError as error:
            problem = error.problems[0]
    return page(
        request,
        "use.html.jinja",
        title="Use",
        project=project,
        here="use",
        rows=rows,
        run=name,
        ready=ready,
        problem=problem,
        card=readable(ready.card) if ready else "",
        taken_along=[(what, title) for what, (title, _) in TAKEN_ALONG.items()],
    )


# --- places -------------------------------------------------------------------------------------------------


def places(request: Request) -> Response:
    """Return the drawing programs that are known on this computer."""
    return JSONResponse({"places": [_place_json(place) for place in known_places()]})


def typed(request: Request, data: bytes) -> dict[str, Any]:
    """Return the place that a person typed, with its links resolved. Nothing is written there."""
    given = body_of(data, folder=str, program=str)
    return _place_json(place_at(given["folder"], given["program"]))


def _place_json(place: Place) -> dict[str, Any]:
    return {
        "program": place.program,
        "folder": str(place.folder),
        "title": place.title,
        "used": place.used,
    }


# --- installing ---------------------------------------------------------------------------------------------


def planned(request: Request, data: bytes) -> dict[str, Any]:
    """Return what would be written, and the seal that installing it asks for."""
    given = body_of(data, program=str, folder=str, name=str)
    return _told(*_deployed(request, given, dry=True))


def installed(request: Request, data: bytes) -> dict[str, Any]:
    """Install what a plan showed. Raises ConfigError where that is no longer what would be written."""
    given = body_of(data, program=str, folder=str, name=str, seal=str)
    plan, _ = _deployed(request, given, dry=True)
    if plan.taken is not None:
        required = "a name that no other LoRA has there"
        raise ConfigError(
            Problem(str(plan.taken), "another LoRA has this name", required, "Choose another name.")
        )
    if _seal_of(plan) != given["seal"]:
        where, given_now = str(plan.root), "what would be written has changed since it was shown"
        raise ConfigError(
            Problem(where, given_now, "a plan that was seen", "Look at it again, then install.")
        )
    return _told(*_deployed(request, given, dry=False))


def _deployed(request: Request, given: dict[str, Any], *, dry: bool) -> tuple[Installed, list[str]]:
    """Return what became of the run in the place that was named, and what was said meanwhile."""
    run = run_of(project_of(request), request.path_params["run"])
    place = place_at(given["folder"], given["program"])
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Message):
            said.append(event.text)

    where: dict[str, Any] = {place.program: place.folder}
    [entry] = deploy(run, name=given["name"].strip() or None, dry_run=dry, on_event=hear, **where)
    return entry, said


def _told(entry: Installed, said: list[str]) -> dict[str, Any]:
    table = entry.to_json()
    told = ("program", "lora", "lora_name", "sha256", "root", "taken", "already_installed", "strength")
    workflows = ("editor_workflow", "workflow", "template", "prompts", "card")
    return {
        **{name: table[name] for name in (*told, *workflows)},
        "files": table["files"],
        "notes": [*said, *entry.notes],
        "stem": Path(entry.lora).stem,
        "seal": _seal_of(entry),
    }


def _seal_of(entry: Installed) -> str:
    """Return what stands for a plan: where everything goes, what becomes of it, which weights."""
    table = entry.to_json()
    meant = {name: table[name] for name in ("program", "root", "lora", "sha256", "files")}
    return hashlib.sha256(json_text(meant).encode("utf-8", "surrogateescape")).hexdigest()


# --- files --------------------------------------------------------------------------------------------------


async def picture(request: Request) -> Response:
    """Return a picture that the run drew."""
    project = project_of(request)
    place = await run_in_threadpool(run_of, project, request.path_params["run"])
    path = project.file(request.path_params["name"], below=place)
    if not path.is_relative_to(place.resolve()):
        raise NotFound(Problem(path.name, "no picture of this run", "a picture", "Reload the page."))
    return await small(request, path, int(request.path_params["size"]))


def download(request: Request) -> Response:
    """Return a file of the release as an attachment; it is made anew, and gone once it was sent."""
    run = run_of(project_of(request), request.path_params["run"])
    what = request.path_params["what"]
    if what not in TAKEN_ALONG:
        raise NotFound(Problem(what[:80], "no file of a release", ", ".join(TAKEN_ALONG), "Reload the page."))
    name = request.query_params.get("name", "").strip()
    options = DeployOptions(name=release_stem(name) if name else None)
    folder = Path(tempfile.mkdtemp(prefix="maquette-"))
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        packed = pack(run, options, folder / "release")
        path = getattr(packed, what)
        if path is None:
            raise NotFound(
                Problem(what, "this release has none", "another file", "Draw samples while training.")
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    called = file_name(Path(packed.lora).stem, TAKEN_ALONG[what][1])
    return FileResponse(path, filename=called, media_type="application/octet-stream", background=gone)


def file_name(stem: str, ending: str) -> str:
    """Return a name that any disk takes and no browser reads otherwise."""
    return (_ODD.sub("_", stem).strip(" .") or "lora")[:120] + ending
