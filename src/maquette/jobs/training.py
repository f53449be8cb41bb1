"""A training as a stage of the pipeline: begun, gone on with, or found to be done already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maquette.api import resolve_settings, settings_of_run
from maquette.errors import MaquetteError
from maquette.events import Stage
from maquette.project.settings import Settings
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import read_record
from maquette.stopping import Stop


def train_events(
    project: Path, going_on: Path | None, begun: Callable[[Path], None], stop: Stop | None
) -> Stage[Path]:
    """Train the project, or go on with a run; `begun` is told its folder before the first step. Return the folder."""
    from maquette.choosing.early import judge_checkpoint
    from maquette.drawing.samples import draw_samples
    from maquette.rules.verdict import judge
    from maquette.training.loop import run_job
    from maquette.training.prepare import prepare

    settings = resolve_settings(project) if going_on is None else settings_of_run(going_on)
    with prepare(settings, judge=judge, resume=going_on, next_name=True) as job:
        begun(job.folder.path)
        result = yield from run_job(job, draw=draw_samples, judge=judge_checkpoint, stop=stop)
    return result.run


def resumable(run: Path) -> bool:
    """Return whether a run was begun and did not come to its end."""
    try:
        return (run / RECORD_NAME).is_file() and read_record(run).state != "finished"
    except MaquetteError:
        return False


def finished_like(settings: Settings, project: Path) -> Path | None:
    """Return a finished run beside those of the project that was trained with the very same; None where there is none."""
    from maquette.files import sha256_file
    from maquette.rules.verdict import judge
    from maquette.training.prepare import prepare

    finished = []
    for path in sorted(settings.saving.output.glob(f"*/{RECORD_NAME}")):
        try:
            record = read_record(path)
        except MaquetteError:
            continue
        if record.state == "finished" and record.foreign is None and record.last_checkpoint is not None:
            finished.append((path.parent, record))
    if not finished:
        return None
    with prepare(settings, judge=judge, next_name=True) as job:
        wanted, base = job.trials[0].digest, job.base_file
    alike = [(run, record) for run, record in finished if record.digest == wanted]
    for run, record in reversed(alike):
        last = record.last_checkpoint
        is_there = last is not None and (run / last.path).is_file()
        same_base = base is None or not record.base_sha256 or sha256_file(base) == record.base_sha256
        if is_there and same_base:
            return run
    return None
