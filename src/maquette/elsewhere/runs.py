"""One door to a run that somebody has: a script, a --config_file, or another trainer's settings, as requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.elsewhere.kinds import START_FROM_IT, recognise
from maquette.elsewhere.other_trainers import read_diffusers
from maquette.errors import ConfigError, Problem
from maquette.kohya.config_file import is_config_file, read_config_file
from maquette.kohya.request import has_training_command, read_commands
from maquette.project.request import TrainingRequest

ACCEPTED = "a training script, a --config_file, or the settings of kohya_ss' GUI, OneTrainer, ai-toolkit or another trainer"


@dataclass(frozen=True)
class Runs:
    """The runs that a file describes."""

    title: str
    """What it is, as a sentence goes on: `a settings file of OneTrainer`."""
    requests: tuple[TrainingRequest, ...]


def is_run_of_a_trainer(path: Path) -> bool:
    """Return whether a file describes a training run of another program. Never raises."""
    foreign = recognise(path)
    if foreign is not None:
        return foreign.kind.read is not None
    is_table = path.suffix.lower() in (".toml", ".json", ".yaml", ".yml")
    return path.is_file() and (is_config_file(path) if is_table else has_training_command(path))


def runs_of(path: Path) -> Runs:
    """Return the runs that `path` describes. Raises ConfigError when it is nothing of the kind, with what it is."""
    foreign = recognise(path)
    if foreign is not None:
        request = foreign.request()
        if request is None:
            given = f"it is {foreign.kind.title}"
            raise ConfigError(Problem(str(path), given, ACCEPTED, foreign.kind.then or START_FROM_IT))
        return Runs(foreign.kind.title, (request,))
    if is_config_file(path):
        return Runs("a --config_file of sd-scripts", (read_config_file(path),))
    requests = read_commands(path, read_diffusers)
    by_others = any(request.trainer == "other" for request in requests)
    return Runs(
        "a command of diffusers' example scripts" if by_others else "a training script", tuple(requests)
    )
