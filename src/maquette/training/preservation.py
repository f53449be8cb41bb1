"""Differential output preservation: the subject is learned as the difference that the trigger makes, and nothing else.

    shown       "tovaki character, standing"  ─► adapter ─► the picture's own target
    preserved   "a character, standing"       ─► adapter ─► what the base predicts for the same noisy picture

Both passes share picture, noise, timestep and all words but one, so that what they teach apart is that one. A share of the
showings has a shortened caption, the trigger with few other words or none: else the subject is learned as the trigger *together
with* the words of a scene, and neither does the trigger alone draw it nor do other words free the class from it.

Trials are held to their own settings in one pass; R = P * B rows, trial by trial.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from maquette.training.objective import Rows, timestep_weights
from maquette.words.class_words import class_caption
from maquette.words.text import has_word

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel, Conditioning
    from maquette.training.base_prediction import BasePrediction
    from maquette.training.batches import MicroBatch
    from maquette.training.config import TrialSettings

FORMS = 6
"""Shortened forms of a caption that keep some of its parts."""


def shown_captions(trials: Sequence[TrialSettings], index: int, batch: MicroBatch) -> list[str]:
    """Return the captions of R rows: the batch's for every trial, some shortened where the trial asks for it."""
    regularization = batch.regularization_B.tolist()
    shown = batch.taken_of(list(enumerate(zip(batch.captions, regularization, strict=True))))
    return [
        caption if is_regularization else _cut(trial, index, row, caption)
        for trial in trials
        for row, (caption, is_regularization) in shown
    ]


def _cut(trial: TrialSettings, index: int, row: int, caption: str) -> str:
    """Return `caption`, or now and then a shortened one."""
    share = trial.objective.shortened_captions_in_force
    forms = _shortened(caption, trial.subject.trigger, trial.subject.class_word) if share else ()
    if not forms:
        return caption
    chance = random.Random(f"maquette shortened caption {trial.seed} {index} {row}")
    return chance.choice(forms) if chance.random() < share else caption


@lru_cache(maxsize=1 << 15)
def _shortened(caption: str, trigger: str, class_word: str) -> tuple[str, ...]:
    """Return the shortened forms of a caption: the trigger (with the class word or without), half of them with nothing else.

    The others hold some of the other parts, in an order of their own. They are few and the same for every showing, so that what
    text encoders make of them can be kept. None where the trigger does not stand in it.
    """
    if not has_word(caption, trigger):
        return ()
    heads = [trigger, f"{trigger} {class_word}".strip()]
    parts = [part.strip() for part in caption.split(",")]
    others = [part for part in parts if part and not has_word(part, trigger)]
    chance = random.Random(f"maquette shortened forms {caption}")
    if len(others) < 2:
        return tuple(heads)
    rests = [chance.sample(others, chance.randrange(1, len(others))) for _ in range(FORMS)]
    alone = heads * (FORMS // len(heads))
    return (*alone, *(", ".join([heads[number % 2], *rest]) for number, rest in enumerate(rests)))


def needed_captions(trials: Sequence[TrialSettings], captions: Iterable[str]) -> Iterator[str]:
    """Yield `captions`, and after each what any trial may make of it: shortened forms, the class in the trigger's place."""
    for caption in captions:
        yield caption
        for trial in trials:
            trigger, class_word = trial.subject.trigger, trial.subject.class_word
            shown = [caption]
            if trial.objective.shortened_captions_in_force:
                shown += _shortened(caption, trigger, class_word)
            yield from dict.fromkeys(shown[1:])
            if trial.objective.preservation:
                preserved = (class_caption(each, trigger, class_word) for each in dict.fromkeys(shown))
                yield from (each for each in preserved if each is not None)


class Preservation:
    """The second pass of a micro-step, for the trials that ask for it."""

    def __init__(
        self,
        model: BaseModel,
        trials: Sequence[TrialSettings],
        base: BasePrediction,
        conditioning: Callable[[Sequence[str]], Conditioning],
    ) -> None:
        self._model = model
        self._trials = tuple(trials)
        self._base = base
        self._conditioning = conditioning

    def losses(self, index: int, rows: Rows, batch: MicroBatch) -> torch.Tensor | None:
        """Return each trial's weighted loss, float32 [P]; None where none has a caption to hold to the base now.

        `rows` are what `batch` was shown as.
        """
        captions = shown_captions(self._trials, index, batch)
        trials = self._trial_of_rows(len(captions))
        preserved = [
            class_caption(caption, trial.subject.trigger, trial.subject.class_word)
            for trial, caption in zip(trials, captions, strict=True)
        ]
        weights = [
            0.0
            if caption is None or index % trial.objective.preservation_every
            else trial.objective.preservation
            for trial, caption in zip(trials, preserved, strict=True)
        ]
        if not any(weights):
            return None
        texts = [caption or shown for caption, shown in zip(preserved, captions, strict=True)]
        noisy = rows.noisy(self._model.objective)
        target = self._base.predict(noisy, rows.timesteps_R, texts, rows.sizes)
        prediction = self._model.predict(noisy, rows.timesteps_R, self._conditioning(texts), rows.sizes)
        error_R = (prediction.float() - target.float()).square().mean(dim=[1, 2, 3])
        error_R = error_R * torch.tensor(weights, device=error_R.device)
        error_R = error_R * timestep_weights(self._model, self._trials, rows.timesteps_R)
        return error_R.view(len(self._trials), -1).mean(dim=1)

    def _trial_of_rows(self, num_rows: int) -> list[TrialSettings]:
        each = num_rows // len(self._trials)
        return [trial for trial in self._trials for _ in range(each)]


def preserves(trials: Sequence[TrialSettings]) -> bool:
    """Return whether any trial holds the class to the base."""
    return any(trial.objective.preservation for trial in trials)
