"""The Queue page: jobs of all projects, and what a person may ask of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from maquette.errors import ConfigError, Problem
from maquette.jobs.changing import cancel_now, forget_over, what_is_lost
from maquette.jobs.following import tail_of
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job
from maquette.jobs.starting import wake_runner
from maquette.reading import parse_json
from maquette.studio.asking import answering, body_of, studio_of
from maquette.studio.failures import known_failures
from maquette.studio.pages import page

ADDING_S = 120
_MAQUETTE = "from maquette.cli import main; main()"
ASKED: dict[str, Callable[[Ledger, int], Job]] = {
    "pause": Ledger.pause,
    "resume": Ledger.resume,
    "cancel": Ledger.cancel,
    "kill": cancel_now,
    "first": Ledger.move,
    "up": lambda ledger, job: ledger.shift(job, -1),
    "down": lambda ledger, job: ledger.shift(job, 1),
}
MOST_LINES = 400
"""Of a job's log: its end says what happened."""


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/queue", show),
        Route("/api/jobs", listed),
        Route("/api/jobs/stream", queue_stream),
        Route("/api/jobs/clear", answering(cleared), methods=["POST"]),
        Route("/api/jobs/{job:int}/stream", job_stream),
        Route("/api/jobs/{job:int}/log", logged),
        Route("/api/jobs/{job:int}/loss", loss),
        Route("/api/jobs/{job:int}/{asked}", answering(asked), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page; its jobs come by themselves."""
    return page(request, "queue.html.jinja", title="Queue")


def listed(request: Request) -> Response:
    """Return the jobs in their order."""
    with Ledger() as ledger:
        return JSONResponse({"jobs": [job.to_json() for job in ledger.jobs()]})


def cleared(request: Request, data: bytes) -> dict[str, Any]:
    """Forget the jobs that are over."""
    body_of(data)
    with Ledger() as ledger:
        return {"cleared": forget_over(ledger)}


def logged(request: Request) -> Response:
    """Return the end of what a job printed; of a failed one also what the rules know of it."""
    with Ledger() as ledger:
        job = ledger.job(int(request.path_params["job"]))
        path = ledger.job_folder(job.id) / "output.log"
    known = known_failures(path) if job.state in ("failed", "interrupted") and path.is_file() else []
    return JSONResponse({"job": job.id, "lines": tail_of(path, MOST_LINES), "findings": known})


def loss(request: Request) -> Response:
    """Return in words what ending a job at once loses."""
    with Ledger() as ledger:
        return JSONResponse({"lost": what_is_lost(ledger.job(int(request.path_params["job"])))})


def asked(request: Request, data: bytes) -> dict[str, Any]:
    """Ask something of a job: pause, resume, cancel, kill (at once), first (to the front), up, down."""
    body_of(data)
    what, job = request.path_params["asked"], int(request.path_params["job"])
    if what not in ASKED:
        raise ConfigError(Problem("job", f"'{what[:40]}'", ", ".join(ASKED), "Reload the page."))
    with Ledger() as ledger:
        ledger.job(job)
        ASKED[what](ledger, job)
        wake_runner(ledger)
        return {"job": ledger.job(job).to_json()}


async def queue_stream(request: Request) -> Response:
    """Tell the queue whenever it changes."""
    return _stream(request, None)


async def job_stream(request: Request) -> Response:
    """Tell a job's events; a browser that comes back says which it heard last."""
    return _stream(request, int(request.path_params["job"]))


def _stream(request: Request, job: int | None) -> Response:
    last = request.headers.get("last-event-id", request.query_params.get("after", "-1"))
    after = int(last) if last.lstrip("-").isdigit() and len(last) < 16 else -1
    events = studio_of(request).feed.listen(job, after)
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def add_job(kind: str, arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Put a command into the queue as a person would: `maquette queue add`. Raises ConfigError with what it refuses."""
    command = [sys.executable, "-P", "-c", _MAQUETTE, "queue", "add", "--json", kind, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=ADDING_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    lines = done.stdout.strip().splitlines()
    answer: dict[str, Any] = parse_json(lines[-1].encode(), any_text=True) if lines else {}
    if done.returncode != 0:
        told = [Problem(**problem) for problem in answer.get("error", [])]
        raise ConfigError(
            told
            or [Problem("queue", done.stderr.strip()[-500:] or "no answer", "a job", "Try it in a terminal.")]
        )
    return answer
