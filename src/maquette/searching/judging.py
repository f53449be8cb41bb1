"""How good a finished trial's pictures are: the total of its last checkpoint's scorecard."""

from __future__ import annotations

from pathlib import Path

from maquette.choosing.decide import candidates_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import evaluate_events
from maquette.events import run_stage


def score_of_run(run: Path, options: EvaluateOptions | None = None) -> float | None:
    """Return the score of a run's last checkpoint, 0 to 1, over prompts and seeds; None where nothing can judge its pictures.

    What was drawn for it stays in the run's evaluation, so that no picture is drawn twice.
    """
    found = run_stage(evaluate_events([run], options or EvaluateOptions()))
    last = max(candidates_of(found.cards), key=lambda each: each.step, default=None)
    return None if last is None else last.score.mean
