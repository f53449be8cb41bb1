"""The home page: the opened projects and how far they are, opening one more, what this computer is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from maquette.errors import MaquetteError
from maquette.project.machine import Machine
from maquette.runs.choice import read_choice
from maquette.runs.deliveries import read_deliveries
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.spoken import counted, disk_size, memory_size
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.pages import RAIL, page
from maquette.studio.uploads import default_place
from maquette.studio.workspace import Project

if TYPE_CHECKING:
    from maquette.curating.listing import Heap

_STATES = {"prepared": "prepared", "running": "training", "finished": "trained"}
"""A run's state in a word."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/", home),
        Route("/p/{project}", first_stop),
        Route("/api/machine", machine),
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
    """Return what the home page shows of a project: its cover and how far it is."""
    from maquette.curating.listing import list_heap

    card: dict[str, Any] = {
        "key": project.key,
        "name": project.name,
        "root": str(project.root),
        "pictures": [],
        "stage": "",
        "problem": "",
    }
    try:
        heap = list_heap(project.pictures)
        card["pictures"] = list(heap.names[:: max(1, len(heap.names) // 4)][:4])
        card["stage"] = " · ".join(_stages(project, heap))
    except MaquetteError as error:
        card["problem"] = str(error.problems[0])
    return card


def _stages(project: Project, heap: Heap) -> Iterator[str]:
    """Yield how far a project is, in words."""
    count = len(heap.names)
    yield counted(count, "picture")
    written = sum(heap.path(name).with_suffix(project.caption_extension).is_file() for name in heap.names)
    if written < count:
        yield f"{written:,} with a caption" if written else "no captions yet"
    runs = [path.parent for path in sorted((project.root / "runs").glob("*/run.json"), key=_changed)]
    if not runs:
        yield "not trained yet"
        return
    yield counted(len(runs), "run")
    last = RunFolder(runs[-1])
    if read_deliveries(last):
        yield "installed"
    elif read_choice(last.path) is not None:
        yield "judged"
    else:
        state = read_record(last.path).state
        yield _STATES.get(state, state)


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def machine(request: Request) -> Response:
    """Return in words what this computer is: what it would train on, and how much room there is."""
    from maquette.rules.verdict import machine_here

    found = machine_here()
    facts = [("Device", _device_of(found))]
    facts += [
        (f"Memory of {gpu.name}", memory_size(gpu.total_bytes)) for gpu in found.gpus if gpu.total_bytes
    ]
    if found.ram_bytes:
        free = memory_size(found.free_ram_bytes)
        facts.append(("Memory", f"{memory_size(found.ram_bytes)}, {free} free"))
    places = [default_place(""), *(each.root for each in studio_of(request).workspace.projects()[:1])]
    known: set[int] = set()
    for path in places:
        disk = found.disk_of(path)
        number = Path(disk.mount).stat().st_dev if disk is not None and disk.mount else -1
        if number in known:  # another folder of the same disk
            continue
        known.add(number)
        if disk is not None:
            facts.append((f"Disk of {path}", f"{disk_size(disk.free_bytes)} free"))
    return JSONResponse({"facts": list(dict.fromkeys(facts))})


def _device_of(found: Machine) -> str:
    return ", ".join(gpu.name for gpu in found.gpus) or "the processor alone"


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
