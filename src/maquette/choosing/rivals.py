"""What other rules would have chosen: the last checkpoint, the lowest losses, likeness to the training pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from maquette.choosing.decide import Candidate, Decision, held_out_losses
from maquette.measuring.scorecards import Scorecards
from maquette.measuring.training_likeness import LIKENESS
from maquette.runs.choice import Rival
from maquette.runs.validation import ValidationRecord

LAST = "the last checkpoint"
LOWEST_TRAINING_LOSS = "the lowest training loss"
LOWEST_VALIDATION_LOSS = "the lowest validation loss"
LIKEST_TO_TRAINING = "likeness to the training pictures"


def rivals_of(
    decision: Decision,
    metrics: Sequence[Mapping[str, Any]] = (),
    validation: ValidationRecord | None = None,
    cards: Scorecards | None = None,
) -> tuple[Rival, ...]:
    """Return what each other rule would have chosen among the same checkpoints; a rule without its numbers is left out."""
    everyone = sorted((decision.chosen, *(gap.other for gap in decision.gaps)), key=lambda each: each.step)
    wanted = [*_wanted(everyone, metrics, validation)]
    if cards is not None:
        wanted.append((LIKEST_TO_TRAINING, _likest(everyone, cards)))
    return tuple(_rival(decision, rule, each) for rule, each in wanted if each)


def _wanted(
    everyone: Sequence[Candidate],
    metrics: Sequence[Mapping[str, Any]],
    validation: ValidationRecord | None,
) -> Iterator[tuple[str, Candidate | None]]:
    yield LAST, everyone[-1]
    yield LOWEST_TRAINING_LOSS, _lowest(everyone, _training_losses(everyone, metrics))
    if losses := held_out_losses(validation):
        yield LOWEST_VALIDATION_LOSS, _lowest(everyone, losses)


def _training_losses(everyone: Sequence[Candidate], metrics: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the mean loss of the steps since the checkpoint before, by step: one step's loss alone says nothing."""
    rows = [(int(row["step"]), float(row["loss"])) for row in metrics if _is_loss(row)]
    found, before = {}, 0
    for step in sorted({each.step for each in everyone}):
        losses = [loss for at, loss in rows if before < at <= step]
        if losses:
            found[step] = fmean(losses)
        before = step
    return found


def _is_loss(row: Mapping[str, Any]) -> bool:
    loss = row.get("loss")
    return isinstance(loss, int | float) and math.isfinite(loss) and isinstance(row.get("step"), int)


def _lowest(everyone: Sequence[Candidate], losses: Mapping[int, float]) -> Candidate | None:
    """Return the candidate with the lowest loss; of one step the first."""
    known = [each for each in everyone if each.step in losses]
    return min(known, key=lambda each: losses[each.step], default=None)


def _likest(everyone: Sequence[Candidate], cards: Scorecards) -> Candidate | None:
    """Return the candidate whose drawings are most like what was trained on; of equal ones the first."""
    scores = {each.label: cards.card(each.label).scores.get(LIKENESS) for each in everyone}
    known = [(each, score.value.mean) for each in everyone if (score := scores[each.label]) is not None]
    return max(known, key=lambda pair: pair[1])[0] if known else None


def _rival(decision: Decision, rule: str, wanted: Candidate) -> Rival:
    gap = decision.gap_to(wanted.label)
    return Rival(
        rule=rule,
        checkpoint=wanted.column.file or wanted.label,
        label=wanted.label,
        is_chosen=gap is None,
        behind=gap.difference.mean if gap else None,
        behind_low=gap.difference.low if gap else None,
        behind_high=gap.difference.high if gap else None,
    )
