"""Captions written by a source, as a job beside the grid: its price first, its first captions where they cost nothing."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.captioning.options import CaptionOptions
from maquette.captioning.sources.opening import KINDS
from maquette.captioning.strategies import STRATEGIES
from maquette.captioning.targets import find_place, find_targets
from maquette.errors import ConfigError, Problem
from maquette.jobs.ledger import Ledger
from maquette.project.fields import flag_of
from maquette.spoken import counted, duration
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.queue_page import add_job
from maquette.studio.workspace import Project

SHOWN = 3
TAKEN = ("strategy", "template", "url", "model", "instructions")
"""What a person may say of a source here; the rest keeps its default."""


def routes() -> list[Route]:
    """Return these addresses."""
    return [
        Route("/api/p/{project}/captioners", captioners),
        Route("/api/p/{project}/caption-price", answering(priced), methods=["POST"]),
        Route("/api/p/{project}/try-captions", answering(tried), methods=["POST"]),
        Route("/api/p/{project}/write-captions", answering(begun), methods=["POST"]),
    ]


def captioners(request: Request) -> Response:
    """Return where words can come from, and what captions may name."""
    project_of(request)
    return JSONResponse(
        {
            "sources": [
                {
                    "name": kind.name,
                    "summary": kind.summary,
                    "is_model": kind.is_model,
                    "takes": [name for name in TAKEN if name in kind.uses],
                }
                for kind in KINDS.values()
            ],
            "strategies": [{"name": each.name, "summary": each.summary} for each in STRATEGIES.values()],
        }
    )


def priced(request: Request, data: bytes) -> dict[str, Any]:
    """Return how many pictures a source would be asked about, and how long that takes as far as it is known."""
    project = project_of(request)
    given = body_of(data, source=str, overwrite=bool)
    _require_source(given["source"])
    todo = _todo(project, given["source"], given["overwrite"])
    return {"pictures": todo, "said": _said(project, given["source"], todo)}


def _todo(project: Project, source: str, overwrite: bool) -> int:
    targets, _ = find_targets(find_place(project.root))
    if source == "rewrite":
        return sum(1 for target in targets if target.existing)
    return sum(1 for target in targets if overwrite or not target.existing)


def _said(project: Project, source: str, todo: int) -> str:
    asked = f"{counted(todo, 'picture')} to write for"
    if not todo:
        return "Every picture has a caption: tick the box to write them anew."
    if not KINDS[source].is_model:
        return f"{asked}: a few seconds at most, without a model."
    each = _seconds_each(source)
    if each is not None:
        return f"{asked}: about {duration(max(1.0, each * todo))}, as fast as the last time here."
    model = "" if source == "server" else " Its model is brought once, unless it is here already."
    return f"{asked}. How long one takes is known after the first: the queue then says it.{model}"


def _seconds_each(source: str) -> float | None:
    """Return what a caption took the last time that this source wrote some on this computer; None where none did."""
    with Ledger() as ledger:
        for job in reversed(ledger.jobs(("done",))):
            result = job.result or {}
            written = len(result.get("written") or ())
            if job.kind == "caption" and str(result.get("source", "")).startswith(source) and written:
                return float(result["seconds"]) / written
    return None


def tried(request: Request, data: bytes) -> dict[str, Any]:
    """Return the first captions of a source without a model, which nothing writes."""
    from maquette.api import caption

    project = project_of(request)
    options = _options_of(data)
    if KINDS[options.source[0]].is_model:
        raise ConfigError(
            Problem(
                "source",
                options.source[0],
                "a source without a model",
                "Write them: the queue shows how far.",
            )
        )
    options = CaptionOptions.made_from(options, {"dry_run": True, "limit": SHOWN, "preview": SHOWN})
    done = caption(project.root, options=options)
    return {
        "captions": [{"name": name, "text": text} for name, text in list(done.captions.items())[:SHOWN]],
        "refused": [[name, "; ".join(reasons)] for name, reasons in list(done.refused.items())[:SHOWN]],
    }


def begun(request: Request, data: bytes) -> dict[str, Any]:
    """Put a run of captioning into the queue."""
    project = project_of(request)
    options = _options_of(data)
    arguments = [str(project.root), "--source", options.source[0], "--preview", "0"]
    for name in TAKEN:
        if (value := getattr(options, name)) is not None:
            arguments += [flag_of(name, CaptionOptions.model_fields[name]), str(value)]
    if options.overwrite:
        arguments.append("--overwrite")
    return add_job("caption", arguments, project.root)


def _options_of(data: bytes) -> CaptionOptions:
    """Return what a page asks a source for. Raises ConfigError in the words of `maquette caption`."""
    given = body_of(data, source=str, overwrite=bool, said=dict)
    _require_source(given["source"])
    if unknown := [str(name)[:40] for name in given["said"] if name not in TAKEN]:
        raise ConfigError(Problem("said", ", ".join(unknown), ", ".join(TAKEN), "Reload the page."))
    said = {name: value for name, value in given["said"].items() if value not in ("", None)}
    return CaptionOptions.made_from(
        None, {"source": (given["source"],), "overwrite": given["overwrite"], **said}
    )


def _require_source(name: str) -> None:
    if name not in KINDS:
        raise ConfigError(Problem("source", f"'{name[:40]}'", ", ".join(KINDS), "Reload the page."))
