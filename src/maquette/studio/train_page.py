"""The Train page: what a run will take before it starts, starting it, and every run with its curve and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.jobs.following import is_trained
from maquette.jobs.ledger import Ledger
from maquette.runs.asked import WISHES, ask_of_run
from maquette.runs.record import RunRecord, read_record
from maquette.studio.asking import answering, body_of, project_of
from maquette.studio.failures import known_failures
from maquette.studio.pages import page
from maquette.studio.queue_page import add_job
from maquette.studio.runs import curve_of, losses_of, run_of, runs_of, validation_of
from maquette.studio.workspace import NotFound


def routes() -> list[Route]:
    """Return the addresses of this page."""
    return [
        Route("/p/{project}/train", show),
        Route("/api/p/{project}/plan", planned),
        Route("/api/p/{project}/runs", listed),
        Route("/api/p/{project}/run/{run}", one_run),
        Route("/api/p/{project}/run/{run}/findings", findings),
        Route("/api/p/{project}/run/{run}/sample/{name:path}", sample),
        Route("/api/p/{project}/run/{run}/ask/{wish}", answering(wished), methods=["POST"]),
        Route("/api/p/{project}/run/{run}/resume", answering(resumed), methods=["POST"]),
        Route("/api/p/{project}/train", answering(started), methods=["POST"]),
    ]


def show(request: Request) -> Response:
    """Show the page."""
    return page(request, "train.html.jinja", title="Train", project=project_of(request), here="train")


def planned(request: Request) -> Response:
    """Return what the next run will take, or what keeps it from starting."""
    from maquette.api import plan

    return JSONResponse(plan(project_of(request).root).to_json())


def started(request: Request, data: bytes) -> dict[str, Any]:
    """Put a training of the project into the queue."""
    project = project_of(request)
    body_of(data)
    return add_job("train", [str(project.root)], project.root)


def resumed(request: Request, data: bytes) -> dict[str, Any]:
    """Put going on with a run that nobody trains into the queue."""
    project = project_of(request)
    body_of(data)
    place = run_of(project, request.path_params["run"])
    return add_job("train", ["--resume", str(place)], project.root)


def wished(request: Request, data: bytes) -> dict[str, Any]:
    """Ask a run under way for a checkpoint or for its samples now."""
    body_of(data)
    place, wish = run_of(project_of(request), request.path_params["run"]), request.path_params["wish"]
    wanted = next((each for each in WISHES if each == wish), None)
    if wanted is None:
        raise NotFound(Problem("run", f"'{wish[:40]}'", ", ".join(WISHES), "Reload the page."))
    ask_of_run(place, wanted)
    return {"asked": wanted}


def findings(request: Request) -> Response:
    """Return what the rules know of a run that did not come to its end."""
    return JSONResponse({"findings": known_failures(run_of(project_of(request), request.path_params["run"]))})


def listed(request: Request) -> Response:
    """Return the project's runs, the newest first, and its jobs that are not over."""
    project = project_of(request)
    runs = [_row(place) for place in runs_of(project)]
    with Ledger() as ledger:
        jobs = [job.to_json() for job in ledger.jobs() if job.project == project.root and not job.is_over]
    return JSONResponse({"runs": sorted(runs, key=lambda run: run["created_at"], reverse=True), "jobs": jobs})


def _row(place: Path) -> dict[str, Any]:
    try:
        record = read_record(place)
    except MaquetteError as error:
        return {
            "name": place.name,
            "state": "unreadable",
            "problem": str(error.problems[0]),
            "created_at": "",
        }
    return {
        "name": place.name,
        "state": _state(place, record),
        "step": record.step,
        "steps": record.schedule.steps,
        "loss": record.final_loss,
        "created_at": record.created_at,
        "rank": record.settings.lora.rank,
        "learning_rate": record.settings.training.learning_rate,
        "problem": record.error or "",
    }


def _state(place: Path, record: RunRecord) -> str:
    """Return a run's state as it is: one whose process is gone is not running, whatever its record says."""
    if record.state in ("running", "prepared") and not is_trained(place):
        return "interrupted"
    return record.state


def one_run(request: Request) -> Response:
    """Return a run's curve, samples and checkpoints, and the job that is at work on it."""
    project = project_of(request)
    place = run_of(project, request.path_params["run"])
    record = read_record(place)
    rows = losses_of(place)
    with Ledger() as ledger:
        job = ledger.of_run(place)
    last = rows[-1] if rows else {}
    return JSONResponse(
        {
            **_row(place),
            "step": max(record.step, last.get("step", 0)),
            "curve": curve_of(rows),
            "validation": validation_of(record),
            "samples": [
                {"step": each.step, "prompt": each.prompt, "path": each.path} for each in record.samples
            ],
            "checkpoints": [{"step": each.step, "path": each.path} for each in record.checkpoints],
            "seconds_per_step": record.timings.get("seconds_per_step"),
            "peak_memory_bytes": record.peak_memory_bytes or last.get("peak_memory_bytes"),
            "draws": bool(record.settings.samples.sample_prompts),
            "notes": list(record.notes),
            "job": job.to_json() if job is not None else None,
        }
    )


def sample(request: Request) -> Response:
    """Return a picture that a run drew."""
    project = project_of(request)
    place = run_of(project, request.path_params["run"])
    path = project.file(request.path_params["name"], below=place)
    if path.suffix.lower() not in (".png", ".webp", ".jpg"):
        raise ConfigError(Problem(path.name, "no picture", "a sample of this run", "Reload the page."))
    return FileResponse(path, headers={"cache-control": "private, no-cache"})
