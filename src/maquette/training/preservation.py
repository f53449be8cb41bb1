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
    from maquette.training.batches import Showing
    from maquette.training.config import TrialSettings

FORMS = 6
"""Shortened forms of a caption that keep some of its parts."""


def shown_captions(showings: Sequence[Showing]) -> list[str]:
    """Return the captions of R rows: each trial's batch's, some shortened where the trial asks for it."""
    return [caption for showing in showings for caption in _captions_of(showing)]


def _captions_of(showing: Showing) -> Sequence[str]:
    trial, batch = showing.trial, showing.batch
    if not trial.objective.shortened_captions_in_force:
        return batch.taken_of(batch.captions)
    regularization = batch.regularization_B.tolist()
    shown = batch.taken_of(list(enumerate(zip(batch.captions, regularization, strict=True))))
    return [
        caption if is_regularization else _cut(trial, showing.index, row, caption)
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
        base: BasePrediction,
        conditioning: Callable[[Sequence[str]], Conditioning],
    ) -> None:
        self._model = model
        self._base = base
        self._conditioning = conditioning

    def losses(self, rows: Rows, showings: Sequence[Showing]) -> torch.Tensor | None:
        """Return each trial's weighted loss, float32 [P]; None where none has a caption to hold to the base now.

        `rows` are what `showings` were shown as.
        """
        captions = shown_captions(showings)
        each = len(captions) // len(showings)
        of_rows = [showing for showing in showings for _ in range(each)]
        preserved = [
            class_caption(caption, showing.trial.subject.trigger, showing.trial.subject.class_word)
            for showing, caption in zip(of_rows, captions, strict=True)
        ]
        weights = [
            0.0 if caption is None or not is_held_now(showing) else showing.trial.objective.preservation
            for showing, caption in zip(of_rows, preserved, strict=True)
        ]
        if not any(weights):
            return None
        texts = [caption or shown for caption, shown in zip(preserved, captions, strict=True)]
        noisy = rows.noisy(self._model.objective)
        target = self._base.predict(noisy, rows.timesteps_R, texts, rows.sizes)
        prediction = self._model.predict(noisy, rows.timesteps_R, self._conditioning(texts), rows.sizes)
        error_R = (prediction.float() - target.float()).square().mean(dim=[1, 2, 3])
        error_R = error_R * torch.tensor(weights, device=error_R.device)
        error_R = error_R * timestep_weights(
            self._model, [showing.trial for showing in showings], rows.timesteps_R
        )
        return error_R.view(len(showings), -1).mean(dim=1)


def is_held_now(showing: Showing) -> bool:
    """Return whether a trial holds the class to the base at this micro-step of its."""
    wanted = showing.trial.objective
    return bool(wanted.preservation) and not showing.index % wanted.preservation_every
