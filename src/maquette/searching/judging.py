"""How good a finished trial's pictures are: the total of its last checkpoint's scorecard, or that it is not worth drawing all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.choosing.decide import candidates_of, reading_of
from maquette.choosing.race import NOT_COUNTED
from maquette.evaluating.first_look import LookCheckpoint
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import Round, evaluate_events
from maquette.events import Stage, run_stage
from maquette.measuring.looks import FirstLook
from maquette.measuring.picture_scores import picture_scores, terms_of
from maquette.searching.paired import Behind, Pictures, Rival, behind, rounds_of


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a trial's pictures came to."""

    score: float | None
    """0 to 1, over prompts and seeds; None where nothing can judge its pictures."""
    pictures: Pictures | None = None
    behind: Behind | None = None
    """Where not all of it was drawn: `score` is then of what was."""


def judged(run: Path, rival: Rival | None = None, options: EvaluateOptions | None = None) -> Judged:
    """Return the score of a run's last checkpoint; with a `rival` it is drawn only as far as it may be as good.

    What was drawn for it stays in the run's evaluation, so that no picture is drawn twice.
    """
    watch = _Watch(rival)
    found = run_stage(evaluate_events([run], options or EvaluateOptions(), looking=watch))
    last = max(candidates_of(found.cards), key=lambda each: each.step, default=None)
    if last is None:
        return Judged(score=None)
    terms = terms_of(reading_of(found.look, found.cards), found.look, last.label)
    values = picture_scores(found.look, last.label, terms)
    return Judged(score=last.score.mean, pictures=Pictures(terms=terms, values=values), behind=watch.behind)


class _Watch:
    """Looks at a run in rounds, and no further once its last checkpoint is behind (`evaluating.run.Looking`)."""

    def __init__(self, rival: Rival | None) -> None:
        self.rival = rival
        self.behind: Behind | None = None

    def __call__(
        self, columns: Sequence[LookCheckpoint], seeds: tuple[int, ...], draw: Round
    ) -> Stage[FirstLook]:
        rounds = rounds_of(seeds) if self.rival else []
        for part in rounds:
            look = yield from draw(columns, part, NOT_COUNTED)
            self.behind = self._behind(look, columns[-1].label, len(rounds))
            if self.behind is not None:
                return look
        return (yield from draw(columns, seeds))

    def _behind(self, look: FirstLook, label: str, looks: int) -> Behind | None:
        assert self.rival is not None
        return behind(picture_scores(look, label, self.rival.pictures.terms), self.rival, looks)
