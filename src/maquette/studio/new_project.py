"""A new project from the home page: pictures, a base, a trigger word; every proposal with its reason; then `maquette init`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.planning.init_options import PROPOSED, InitOptions
from maquette.project.config_file import CONFIG_NAME
from maquette.spoken import disk_size
from maquette.studio.asking import answering, body_of, studio_of
from maquette.studio.incoming import plain_name
from maquette.studio.uploads import (
    PIECE_BYTES,
    Upload,
    default_place,
    give_back,
    is_free,
    place_of,
    put,
    require_all,
    take,
    tidy,
)
from maquette.studio.workspace import Project

CHANGES = (*PROPOSED, "class_word")
MOST_NAMED = 200
LONGEST_TRIGGER = 200


def routes() -> list[Route]:
    """Return the addresses behind the home page's three decisions."""
    return [
        Route("/api/new/bases", bases),
        Route("/api/new/base", answering(looked_at_base), methods=["POST"]),
        Route("/api/new/trigger", answering(looked_at_trigger), methods=["POST"]),
        Route("/api/new/pictures", answering(looked_at_pictures), methods=["POST"]),
        Route("/api/new/place", answering(proposed_place), methods=["POST"]),
        Route("/api/new/upload", answering(upload_begun), methods=["POST"]),
        Route("/api/new/upload/{key}/drop", answering(upload_dropped), methods=["POST"]),
        Route("/api/new/upload/{key}/{index:int}/{offset:int}", answering(piece_received), methods=["POST"]),
        Route("/api/new/proposals", answering(proposals), methods=["POST"]),
        Route("/api/new/create", answering(created), methods=["POST"]),
    ]


# --- the three decisions ---------------------------------------------------------------------------------


def bases(request: Request) -> Response:
    """Return the base models on this computer, those of opened projects first."""
    from maquette.deploying.bases_here import bases_here

    named = [pair for project in studio_of(request).workspace.projects() for pair in _base_of(project)]
    return JSONResponse({"bases": [each.to_json() for each in bases_here(named)]})


def _base_of(project: Project) -> list[tuple[str, str]]:
    from maquette.project.config_file import load_settings

    with suppress(MaquetteError, OSError):
        base = load_settings(project.root).model.base
        return [(base, f"used by {project.name}")] if base else []
    return []


def looked_at_base(request: Request, data: bytes) -> dict[str, Any]:
    """Return what a base model is that a person named. Raises ModelError in the words of `maquette init`."""
    from maquette import families
    from maquette.deploying.bases_here import found_base

    base = body_of(data, base=str)["base"].strip()
    if not base:
        raise ConfigError(Problem("base", "nothing", "a file, a folder or a hub name", "Type one."))
    return {"base": found_base(base, families.inspect_or_known(base), "as you typed it").to_json()}


def looked_at_trigger(request: Request, data: bytes) -> dict[str, Any]:
    """Return what the rules say of a trigger word that is being typed."""
    from maquette.rules.verdict import on_trigger

    trigger = body_of(data, trigger=str)["trigger"].strip()[:LONGEST_TRIGGER]
    found = on_trigger(trigger) if trigger else ()
    return {
        "trigger": trigger,
        "notes": [
            {
                "code": each.code,
                "severity": each.severity,
                "text": each.message,
                "remedy": each.remedy,
            }
            for each in found
        ],
    }


def looked_at_pictures(request: Request, data: bytes) -> dict[str, Any]:
    """Return what lies in a folder of this computer whose pictures are to be used where they are."""
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.reading import read_dataset

    path = _typed(body_of(data, path=str)["path"])
    if (path / CONFIG_NAME).is_file():
        raise ConfigError(Problem(str(path), "a project already", "a folder of pictures", "Open it below."))
    facts = read_dataset(DatasetInput(images=path), "listing")
    if facts.problems:
        raise ConfigError(facts.problems)
    pictures = [
        file for folder in facts.used_folders if not folder.is_regularization for file in folder.files
    ]
    if not pictures:
        raise ConfigError(
            Problem(str(path), "no pictures", "PNG, JPEG, WebP or BMP", "Name another folder, or drop one.")
        )
    written = sum(1 for each in facts.captions if each.picture is not None and each.text)
    return {"path": str(path), "pictures": len(pictures), "captions": written, "name": path.name}


def _typed(text: str) -> Path:
    required = "a folder of pictures on this computer"
    try:
        path = Path(text.strip()).expanduser().resolve()
        found = path.is_dir() and bool(text.strip())
    except (OSError, ValueError, RuntimeError):
        found = False
    if not found:
        raise ConfigError(
            Problem("pictures", f"'{text.strip()[:200]}', which is no folder", required, "Check the path.")
        )
    return path


def proposed_place(request: Request, data: bytes) -> dict[str, Any]:
    """Return where a new project of this name would go: a folder that is not there yet."""
    name = plain_name(body_of(data, name=str)["name"])
    place, number = default_place(name), 1
    while not is_free(place) and number < MOST_NAMED:
        number += 1
        place = default_place(f"{name}-{number}")
    return {"folder": str(place)}


# --- pictures that are brought ---------------------------------------------------------------------------


def upload_begun(request: Request, data: bytes) -> dict[str, Any]:
    """Make ready for dropped files; say which are taken, which are not and why, and what is there already."""
    given = body_of(data, folder=str, files=list)
    files = [_file(each) for each in given["files"]]
    key, upload = studio_of(request).uploads.begin(place_of(given["folder"]), files)
    chosen = upload.selection
    return {
        "upload": key,
        "folder": str(upload.folder),
        "taken": [each.index for each in chosen.taken],
        "bytes": chosen.num_bytes,
        "left_out": [list(each) for each in chosen.left_out[:MOST_NAMED]],
        "num_left_out": len(chosen.left_out),
        "arrived": {str(index): size for index, size in upload.arrived().items()},
        "piece_bytes": PIECE_BYTES,
        "said": f"{len(chosen.taken):,} files, {disk_size(chosen.num_bytes)}",
    }


def _file(given: Any) -> tuple[str, int]:
    if (
        not isinstance(given, list)
        or len(given) != 2
        or not isinstance(given[0], str)
        or not isinstance(given[1], int)
        or isinstance(given[1], bool)
    ):
        raise ConfigError(
            Problem("files", repr(given)[:80], "a name and a size in bytes", "Reload the page.")
        )
    return given[0], given[1]


def piece_received(request: Request, data: bytes) -> dict[str, Any]:
    """Take a piece of one file; say how much of it is there, and what it turned out to be where it is no picture."""
    upload = studio_of(request).uploads.of(request.path_params["key"])
    index = int(request.path_params["index"])
    here = put(upload, index, int(request.path_params["offset"]), data)
    return {"here": here, "wrong": upload.wrong.get(upload.files[index].name, "")}


def upload_dropped(request: Request, data: bytes) -> dict[str, Any]:
    """Take away what has come."""
    body_of(data)
    studio_of(request).uploads.drop(request.path_params["key"])
    return {"dropped": True}


# --- what is proposed, and the project -------------------------------------------------------------------


def proposals(request: Request, data: bytes) -> dict[str, Any]:
    """Return everything that would be proposed, with its reason. Raises what `maquette init` raises."""
    from maquette.planning.new_project import propose_project
    from maquette.planning.reasons import reasons_for

    folder, upload, options = _asked(request, data)
    proposed = propose_project(folder, options)
    return {
        "proposals": [each.to_json() for each in reasons_for(proposed, options)],
        "notes": [note for note in proposed.profile.notes if not note.startswith("Kind ")],
        "wrong": [] if upload is None else [list(each) for each in upload.wrong.items()],
    }


def created(request: Request, data: bytes) -> dict[str, Any]:
    """Make the project as `maquette init` does, and open it."""
    from maquette.planning.new_project import make_project

    folder, upload, options = _asked(request, data)
    if upload is not None:
        options = options.model_copy(update={"images": take(upload)})
    try:
        made = make_project(folder, options)
    except BaseException:
        if upload is not None:
            give_back(upload)
        raise
    if upload is not None:
        tidy(upload)
        studio_of(request).uploads.done(body_of_upload(data))
    project = studio_of(request).workspace.open(folder)
    return {
        "project": project.key,
        "url": f"/p/{project.key}",
        "config": str(made.config),
        "warnings": list(made.warnings),
    }


def body_of_upload(data: bytes) -> str:
    """Return the key of the upload that a request for proposals names; empty for pictures that stay where they are."""
    return str(
        body_of(data, folder=str, upload=str, images=str, base=str, trigger=str, changes=dict)["upload"]
    )


def _asked(request: Request, data: bytes) -> tuple[Path, Upload | None, InitOptions]:
    """Return the project's folder, the upload of its pictures if there is one, and what `init` is asked."""
    given = body_of(data, folder=str, upload=str, images=str, base=str, trigger=str, changes=dict)
    if unknown := sorted(str(name)[:40] for name in given["changes"] if name not in CHANGES):
        raise ConfigError(Problem("changes", ", ".join(unknown), ", ".join(CHANGES), "Reload the page."))
    upload = studio_of(request).uploads.of(given["upload"]) if given["upload"] else None
    if upload is not None:
        require_all(upload)
    folder = place_of(given["folder"]) if upload is None else upload.folder
    images = _typed(given["images"]) if upload is None else upload.images
    said = {name: value for name, value in given["changes"].items() if value not in (None, "")}
    options = InitOptions.made_from(
        None, {"images": images, "base": given["base"].strip(), "trigger": given["trigger"].strip(), **said}
    )
    return folder, upload, options
