"""What a person asks of a run while it is trained: a checkpoint now, samples now.

    RUN/.maquette/asked-save, asked-sample      empty files, written by whoever asks, in whichever process

The run looks after every step, does it, and takes the file away then; so what is asked just before a kill is done by who goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from maquette.errors import ConfigError, Problem
from maquette.files import cannot_write
from maquette.locking import OWN_FOLDER, holder_of
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import RunRecord, read_record

Wish = Literal["save", "sample"]
WISHES: tuple[Wish, ...] = get_args(Wish)


def ask_of_run(run: Path, wish: Wish) -> RunRecord:
    """Ask a run that is being trained to save a checkpoint, or to draw its samples, after the step that it is at.

    Return its record as it was then. Raises ConfigError where nobody trains it, or it draws nothing.
    """
    problem = _problem(run, wish)
    if problem is not None:
        raise ConfigError(problem)
    path = _file(run, wish)
    try:
        path.touch()
    except OSError as error:
        raise cannot_write(path, error) from error
    return read_record(run)


def wishes_of(run: Path) -> frozenset[Wish]:
    """Return what is asked of a run and not yet done."""
    return frozenset(wish for wish in WISHES if _file(run, wish).exists())


def done_as_asked(run: Path, wishes: Iterable[Wish]) -> None:
    """Take away what was asked and is done."""
    for wish in wishes:
        _file(run, wish).unlink(missing_ok=True)


def _file(run: Path, wish: Wish) -> Path:
    return run / OWN_FOLDER / f"asked-{wish}"


def _problem(run: Path, wish: Wish) -> Problem | None:
    """Return what keeps a wish from being heard."""
    required = "a run that is being trained"
    if not (run / RECORD_NAME).is_file():
        return Problem(str(run), f"holds no {RECORD_NAME}", required, "See: maquette queue list")
    record = read_record(run)
    if record.state != "running" or holder_of(run) is None:
        remedy = f"Go on with it first: maquette train --resume {run}"
        if record.state == "finished":
            remedy = "Its last LoRA is saved; maquette evaluate draws with any of its checkpoints."
        return Problem(str(run), f"is not being trained ({record.state})", required, remedy)
    if wish == "sample" and not record.settings.samples.sample_prompts:
        remedy = (
            "Set sample_prompts in [samples] for the next run; `queue save` keeps a checkpoint to draw with."
        )
        return Problem(str(run), "has no sample_prompts", "a run that draws samples", remedy)
    return None
