"""The Judge page: what every checkpoint draws, what it is worth, which one is chosen, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.choosing.options import SelectOptions, VoteOptions
from maquette.choosing.vote import Drawn as Ballot
from maquette.choosing.vote import evaluation_of, pairs_of
from maquette.choosing.vote_sheets import ANSWERS, open_pairs, pixels_of, store, withdraw
from maquette.drawing.pictures import chunks_of
from maquette.errors import ConfigError, Problem
from maquette.evaluating.options import EvaluateOptions
from maquette.events import run_stage
from maquette.jobs.ledger import Ledger
from maquette.measuring.copying import read_nearest
from maquette.runs.folder import RunFolder
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.judging import row_of, told_of, training_file
from maquette.studio.pages import page
from maquette.studio.queue_page import add_job
from maquette.studio.runs import run_of, runs_of
from maquette.studio.showing import small, whole
from maquette.studio.workspace import NotFound

ONE = "/api/p/{project}/judge/{run}"
BALLOT = VoteOptions()
KINDS: dict[str, type[SelectOptions] | type[EvaluateOptions]] = {
    "select": SelectOptions,
    "evaluate": EvaluateOptions,
}
ONWARD = (("use", "Use it"), ("compare", "Compare runs"))
"""Where a person goes from here: the pages of the project that follow."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/judge", show),
        Route("/api/p/{project}/judge", listed),
        Route(ONE, one_run),
        Route(ONE + "/price", price),
        Route(ONE + "/draw", answering(queued), methods=["POST"]),
        Route(ONE + "/choose", answering(chosen), methods=["POST"]),
        Route(ONE + "/ballot", ballot),
        Route(ONE + "/ballot/{key}", ballot_picture),
        Route(ONE + "/vote", answering(voted), methods=["POST"]),
        Route(ONE + "/unvote", answering(unvoted), methods=["POST"]),
        Route(ONE + "/thumbnail/{size:int}/{name:path}", thumbnail),
        Route(ONE + "/nearest/{size:int}/{name:path}", nearest),
        Route(ONE + "/picture/{name:path}", picture),
        Route(ONE + "/settings/{name:path}", settings),
    ]


def show(request: Request) -> Response:
    """Show the page; what it shows comes by itself."""
    pages = {route.path for route in request.app.routes if isinstance(route, Route)}
    return page(
        request,
        "judge.html.jinja",
        title="Judge",
        project=project_of(request),
        here="judge",
        onward=[(name, words) for name, words in ONWARD if f"/p/{{project}}/{name}" in pages],
    )


def listed(request: Request) -> Response:
    """Return the project's runs, those first that were judged last, and the jobs that are at work on any."""
    project = project_of(request)
    runs = [row_of(place) for place in runs_of(project)]
    order = sorted(runs, key=lambda run: (run["judged"], run.get("created_at", "")), reverse=True)
    with Ledger() as ledger:
        jobs = [
            job.to_json()
            for job in ledger.jobs()
            if job.project == project.root and job.kind in KINDS and not job.is_over
        ]
    return JSONResponse({"runs": order, "jobs": jobs})


def _run(request: Request) -> Path:
    return run_of(project_of(request), request.path_params["run"])


def one_run(request: Request) -> Response:
    """Return everything about a run, and the job that draws with it."""
    place = _run(request)
    with Ledger() as ledger:
        jobs = [job for job in ledger.jobs() if job.run == place.resolve() and job.kind in KINDS]
    job = next((job.to_json() for job in reversed(jobs) if not job.is_over), None)
    failed = jobs[-1].to_json() if jobs and jobs[-1].state == "failed" else None
    return JSONResponse({**told_of(project_of(request), place), "job": job, "failed": failed})


# --- pictures --------------------------------------------------------------------------------------------


def _drawing(request: Request) -> Path:
    """Return the file of a drawing that the address names."""
    folder, name = RunFolder(_run(request)).evaluation, request.path_params["name"]
    path = project_of(request).file(name, below=folder)
    if not path.is_relative_to(folder.resolve()):
        raise NotFound(Problem(name[:200], "no drawing of this run", "a drawing", "Reload the page."))
    return path


async def thumbnail(request: Request) -> Response:
    """Return a small version of a drawing."""
    return await small(request, _drawing(request), int(request.path_params["size"]))


def picture(request: Request) -> Response:
    """Return a drawing as it is."""
    return whole(_drawing(request))


def settings(request: Request) -> Response:
    """Return what a drawing says of itself: what was asked for, and with what it was drawn."""
    return JSONResponse({"settings": chunks_of(_drawing(request)).get("parameters", "")})


async def nearest(request: Request) -> Response:
    """Return the training picture that a drawing resembles most."""
    project, name = project_of(request), request.path_params["name"]
    known = read_nearest(RunFolder(_run(request)).evaluation).get(name)
    path = training_file(project, known.training) if known is not None else None
    if path is None:
        raise NotFound(
            Problem(name[:200], "no picture is known to be near it", "a drawing", "Reload the page.")
        )
    return await small(request, path, int(request.path_params["size"]))


# --- what drawing costs, and drawing ---------------------------------------------------------------------


def _asked(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the command that is meant and its options, those that were said. Raises ConfigError."""
    kind = given.get("kind", "")
    if kind not in KINDS:
        raise ConfigError(Problem("kind", str(kind)[:40], ", ".join(KINDS), "Reload the page."))
    return kind, {name: given[name] for name in ("suite", "seeds", "strengths") if given.get(name)}


def price(request: Request) -> Response:
    """Return what drawing will take."""
    from maquette.choosing.select import cost_of_selection
    from maquette.evaluating.costs import cost_of

    place = _run(request)
    kind, options = _asked(request.query_params)
    wanted = KINDS[kind](**options)
    cost = cost_of_selection(place, wanted) if isinstance(wanted, SelectOptions) else cost_of(place, wanted)
    return JSONResponse(cost.to_json())


def queued(request: Request, data: bytes) -> dict[str, Any]:
    """Put the drawing and judging of a run into the queue."""
    project, place = project_of(request), _run(request)
    kind, options = _asked(body_of(data, kind=str, suite=str, seeds=str, strengths=str))
    KINDS[kind](**options)  # what does not fit is said here, and no job of it fails later
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return add_job(kind, [str(place), *flags], project.root)


# --- choosing --------------------------------------------------------------------------------------------


def chosen(request: Request, data: bytes) -> dict[str, Any]:
    """Choose among what was drawn: a person's checkpoint with the reason, or, where none is named, the measures'."""
    from maquette.choosing.select import choose_events

    given = body_of(data, checkpoint=str, strength=str, reason=str)
    options = {name: value.strip() for name, value in given.items() if value.strip()}
    if "checkpoint" in options and "reason" not in options:
        raise ConfigError(
            Problem("reason", "none", "why you choose it, in a few words", "It is kept with the choice.")
        )
    found = run_stage(choose_events(_run(request), SelectOptions(**options)))
    return {"choice": found.choice.to_json()}


# --- voting ----------------------------------------------------------------------------------------------


def ballot(request: Request) -> Response:
    """Return the pairs that are still to be judged, without a word of who drew what."""
    place = _run(request)
    pairs = open_pairs(place, BALLOT)
    return JSONResponse({"pairs": [[one.key, other.key] for one, other in pairs]})


def _pairs(place: Path) -> list[tuple[Ballot, Ballot]]:
    return pairs_of(evaluation_of(place)[1], BALLOT.pairs, BALLOT.seed)


def _pair(place: Path, given: Mapping[str, Any]) -> tuple[Ballot, Ballot]:
    """Return the pair that a page means. Raises ConfigError where its pictures are not there any more."""
    for one, other in _pairs(place):
        if [one.key, other.key] == given["pair"]:
            return one, other
    raise ConfigError(
        Problem("pair", "pictures that were drawn anew since", "a pair of this ballot", "Reload the page.")
    )


async def ballot_picture(request: Request) -> Response:
    """Return a picture of the ballot by the hash that it goes by: its pixels alone."""
    place, key = _run(request), request.path_params["key"]
    data = await run_in_threadpool(_pixels, place, key)
    return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=3600"})


def _pixels(place: Path, key: str) -> bytes:
    path = next((each.path for pair in _pairs(place) for each in pair if each.key == key), None)
    if path is None:
        raise NotFound(
            Problem(key[:80], "no such picture on the ballot", "a picture of it", "Reload the page.")
        )
    return pixels_of(path)


def voted(request: Request, data: bytes) -> dict[str, Any]:
    """Keep a vote: left, right or neither."""
    place = _run(request)
    given = body_of(data, pair=list, answer=str)
    if given["answer"] not in ANSWERS:
        raise ConfigError(Problem("answer", given["answer"][:40], ", ".join(ANSWERS), "Reload the page."))
    new = store(place, _pair(place, given), ANSWERS[given["answer"]], BALLOT.voter)
    return {"new": new}


def unvoted(request: Request, data: bytes) -> dict[str, Any]:
    """Take a vote back."""
    place = _run(request)
    pair = _pair(place, body_of(data, pair=list))
    return {"taken_back": withdraw(place, pair, BALLOT.voter)}
