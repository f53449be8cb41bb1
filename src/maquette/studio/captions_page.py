"""The Captions page: picture and caption together, what stands out marked in the text, parts of many captions changed at once.

Everything is written by `captioning.edits` into the journal of captions: one undo takes a change back, here or in the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.captioning.edits import ChangedSince, Edited, PartEdit, edit_parts, write_one
from maquette.captioning.history import KIND
from maquette.captioning.marks import marks_of
from maquette.captioning.options import MAX_TOKENS
from maquette.captioning.records import Target
from maquette.captioning.targets import find_place, find_targets
from maquette.captioning.words_diff import Difference, word_pieces
from maquette.captioning.writers import Writer, writers
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.project.profile import Profile
from maquette.project.profile_file import profile_near
from maquette.project.undoing import changes_at, undo
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.pages import page
from maquette.studio.workspace import Project
from maquette.words.text import parts_of


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/captions", show),
        Route("/api/p/{project}/captions", listed),
        Route("/api/p/{project}/caption", answering(written), methods=["POST"]),
        Route("/api/p/{project}/look-at-caption", answering(looked_at), methods=["POST"]),
        Route("/api/p/{project}/edit-captions", answering(edited), methods=["POST"]),
        Route("/api/p/{project}/undo-captions", answering(undone), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page; its captions come by themselves."""
    project = project_of(request)
    return page(
        request, "captions.html.jinja", title="Captions", project=project, here="captions", limit=MAX_TOKENS
    )


def listed(request: Request) -> Response:
    """Return every picture with its caption, and how often each part is said."""
    return JSONResponse(told(project_of(request)))


def told(project: Project) -> dict[str, Any]:
    """Return a project's captions as the page has them."""
    place = find_place(project.root)
    targets, notes = find_targets(place)
    by = writers(place.root)
    profile, count = _profile_of(project), _counter()
    spoken = Counter(part for target in targets for part in dict.fromkeys(parts_of(target.existing)))
    return {
        "pictures": [
            _row(target, profile, count) | _by(by.get(target.caption.relative_to(place.root).as_posix()))
            for target in targets
        ],
        "parts": [{"part": part, "count": number} for part, number in spoken.most_common()],
        "notes": notes,
        "limit": MAX_TOKENS,
        "trigger": profile.trigger if profile else "",
        "undo": _undoable(project),
    }


def _row(target: Target, profile: Profile | None, count: Callable[[str], int]) -> dict[str, Any]:
    return {"name": target.name, "problem": target.problem, **_look(target.existing, profile, count)}


def _by(writer: Writer | None) -> dict[str, Any]:
    """Return who wrote a caption: nobody known where it came with its picture, or another program wrote it."""
    return {"by": writer.who if writer else "", "by_what": writer.what if writer else ""}


def _look(text: str, profile: Profile | None, count: Callable[[str], int]) -> dict[str, Any]:
    """Return a caption with its tokens and what stands out in it."""
    return {"text": text, "tokens": count(text), "marks": [asdict(mark) for mark in marks_of(text, profile)]}


def _counter() -> Callable[[str], int]:
    from maquette import families

    tokenizer = families.tokenizer(None)
    return lambda text: len(tokenizer.encode(text))


def _profile_of(project: Project) -> Profile | None:
    """Return the subject's profile; None where there is none, or a broken one, which `check` tells of."""
    try:
        return profile_near(project.pictures)
    except MaquetteError:
        return None


def _undoable(project: Project) -> str:
    changes = changes_at(project.pictures, kinds=(KIND,))
    return changes[0].what if changes else ""


def looked_at(request: Request, data: bytes) -> dict[str, Any]:
    """Return what stands out in a caption that is being written."""
    project = project_of(request)
    return _look(body_of(data, text=str)["text"], _profile_of(project), _counter())


def written(request: Request, data: bytes) -> dict[str, Any]:
    """Write one caption, unless it was changed since the page showed it: then say what it is now."""
    project = project_of(request)
    given = body_of(data, name=str, text=str, expected=str)
    try:
        done = write_one(project.root, given["name"], given["text"], expected=given["expected"])
    except ChangedSince as error:
        now = next((each for each in told(project)["pictures"] if each["name"] == given["name"]), None)
        return {"changed_since": str(error.problems[0]), "picture": now}
    text = next(iter((done.after or "").splitlines()), "")
    picture = {"name": given["name"], "problem": "", **_look(text, _profile_of(project), _counter())}
    picture |= {"by": "you", "by_what": f"the caption of {given['name']}"}
    return {"picture": picture, "undo": _undoable(project)}


def edited(request: Request, data: bytes) -> dict[str, Any]:
    """Change a part of many captions, or show what that would do."""
    project = project_of(request)
    given = body_of(data, kind=str, part=str, other=str, place=int, names=list, preview=bool)
    if not all(isinstance(name, str) for name in given["names"]):
        raise ConfigError(
            Problem("names", "something else than text", "names of pictures", "Reload the page.")
        )
    edit = PartEdit(kind=given["kind"], part=given["part"], other=given["other"], place=given["place"])
    done = edit_parts(project.root, edit, given["names"], dry_run=given["preview"])
    return {"what": edit.what, **_told_of(done), "undo": _undoable(project)}


def _told_of(done: Edited) -> dict[str, Any]:
    return {"diff": [_pieces(each) for each in done.diff], "refused": done.refused, "preview": done.dry_run}


def _pieces(each: Difference) -> dict[str, Any]:
    before, after = (each.before or "").rstrip("\n"), (each.after or "").rstrip("\n")
    return {"path": each.path, "pieces": list(word_pieces(before, after))}


def undone(request: Request, data: bytes) -> dict[str, Any]:
    """Take the last change of captions back."""
    project = project_of(request)
    body_of(data)
    if not _undoable(project):
        return {"what": "", "undo": ""}
    done = undo(project.pictures, kinds=(KIND,))
    return {
        "what": done.what,
        "kept": [path.name for path in done.kept],
        "undo": _undoable(project),
    }
