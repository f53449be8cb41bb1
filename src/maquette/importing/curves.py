"""Losses and rates of another trainer's run, step by step: from TensorBoard's events, ai-toolkit's database, or a log."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from maquette.errors import MaquetteError
from maquette.importing.found import EVENTS, LOSS_DATABASE
from maquette.logs.facts import LogFacts
from maquette.logs.metrics import MOST_STEPS
from maquette.logs.reading import read_log

MOST_ROWS = 2_000_000
TAGS = {
    # sd-scripts
    "loss/current": "loss", "loss/average": "loss_average", "loss/epoch_average": "loss_epoch",
    "loss/validation/epoch_average": "validation_loss", "loss/validation/step_average": "validation_loss",
    "lr/unet": "lr_denoiser", "lr/textencoder": "lr_text_encoder",
    # OneTrainer
    "loss/train_step": "loss", "smooth_loss/train_step": "loss_average",
    "loss/validation_step/total_average": "validation_loss", "lr/text_encoder": "lr_text_encoder",
    # ai-toolkit
    "loss": "loss", "loss/loss": "loss", "lr": "lr_denoiser", "learning_rate": "lr_denoiser",
}  # fmt: skip
COUNTED_FROM_0 = ("OneTrainer", "ai-toolkit")
"""Trainers that name a step by those before it."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What was found: rows as `metrics.jsonl` has them, steps from 1."""

    rows: tuple[Mapping[str, float], ...] = ()
    log: LogFacts | None = None
    files: tuple[Path, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def last_step(self) -> int:
        return max(int(self.rows[-1]["step"]) if self.rows else 0, self.log.last_step if self.log else 0)

    @property
    def validation(self) -> list[tuple[int, float]]:
        """Each step at which a loss of held-out pictures was measured, with it."""
        return [(int(row["step"]), row["validation_loss"]) for row in self.rows if "validation_loss" in row]


def curves_of(logs: Iterable[Path], trainer: str, accumulation: int = 1) -> Curves:
    """Return what the logs of a run tell. A log that cannot be read becomes something unknown."""
    values: dict[int, dict[str, float]] = {}
    text: LogFacts | None = None
    files, unknown = [], []
    for path in logs:
        try:
            if path.name == LOSS_DATABASE:
                _put(values, _of_database(path), trainer, 1)
            elif path.is_dir():
                if find_spec("tensorboard") is None:
                    unknown.append(
                        f"the curves in {path}: reading them takes pip install 'maquette[tensorboard]'"
                    )
                    continue
                _put(values, _of_events(path), trainer, accumulation if trainer == "OneTrainer" else 1)
            elif text is not None:
                unknown.append(
                    f"what {path.name} tells: {text.path.name} was taken; give the run's own log with --log"
                )
                continue
            else:
                text = read_log(path)
        except (MaquetteError, OSError, sqlite3.Error) as error:
            unknown.append(f"what {path} tells: {error}")
            continue
        files.append(path)
    if text is not None and not values:
        name = "loss_average" if text.averaged else "loss"
        _put(values, ((step, name, loss) for step, loss in text.losses), "", 1)
    rows = tuple({"step": step, **values[step]} for step in sorted(values))
    if rows and not any("loss" in row for row in rows):
        unknown.append("the loss of each step: the log has running means alone (loss_average)")
    return Curves(rows=rows, log=text, files=tuple(files), unknown=tuple(unknown))


def _put(
    values: dict[int, dict[str, float]],
    points: Iterable[tuple[int, str, float]],
    trainer: str,
    accumulation: int,
) -> None:
    for step, name, value in points:
        at = step // max(accumulation, 1) + 1 if trainer in COUNTED_FROM_0 else step
        if 0 <= at <= MOST_STEPS and math.isfinite(value):
            values.setdefault(at, {})[name] = value


def _name(tag: str) -> str | None:
    if tag in TAGS:
        return TAGS[tag]
    is_rate = tag.startswith("lr/") and "*" not in tag
    return f"lr_{tag[3:].replace('/', '_')}" if is_rate else None


def _of_events(folder: Path) -> Iterator[tuple[int, str, float]]:
    """Yield every scalar of TensorBoard's files in a folder that we have a name for."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    number = 0
    for path in sorted(folder.glob(EVENTS)):
        for event in LegacyEventFileLoader(str(path)).Load():
            for entry in event.summary.value:
                number += 1
                if number > MOST_ROWS:
                    return
                if (name := _name(entry.tag)) is not None:
                    is_tensor = entry.HasField("tensor") and len(entry.tensor.float_val)
                    yield (
                        int(event.step),
                        name,
                        float(entry.tensor.float_val[0] if is_tensor else entry.simple_value),
                    )


def _of_database(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield the values of ai-toolkit's loss_log.db, opened so that nothing beside it is written."""
    where = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(where, uri=True)) as database:
        rows = database.execute(
            "SELECT step, key, value_real FROM metrics WHERE value_real IS NOT NULL ORDER BY step LIMIT ?",
            (MOST_ROWS,),
        )
        for step, key, value in rows:
            if (
                isinstance(step, int)
                and isinstance(value, int | float)
                and (name := _name(str(key))) is not None
            ):
                yield step, name, float(value)
