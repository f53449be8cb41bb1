"""Evaluations whose truth is known: scores drawn around given means, by prompt and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from maquette.choosing.decide import Decision, decide, reading_of
from maquette.measuring.looks import FLOOR, Column, FirstLook, Look
from maquette.measuring.protocol import Measure
from maquette.measuring.scorecards import Scorecards, scorecards_of

IDENTITY = Measure(name="identity", title="Identity", definition="how alike.", low=-10.0, high=10.0)


def look_of(
    truths: Mapping[str, float],
    *,
    seed: int = 0,
    prompts: Sequence[tuple[str, str]] = (("a", "full"), ("b", "full"), ("c", "full")),
    seeds: int = 4,
    noise: float = 0.1,
    own: float = 0.0,
    measure: Measure = IDENTITY,
    floor: float | None = 0.0,
    strengths: Mapping[str, float] | None = None,
    folder: Path = Path(),
) -> FirstLook:
    """Return a look whose columns have the mean scores `truths`, in the order of steps 100, 200…

    `noise` is each picture's own; `own` is what a column does to a prompt and to a seed, whatever the picture.
    """
    draws = np.random.default_rng(seed)
    of_cell = {(text, number): draws.normal(0, 0.3) for text, _ in prompts for number in range(1, seeds + 1)}
    columns = [*([FLOOR] if floor is not None else []), *truths]
    looks, known = [], []
    for place, label in enumerate(columns):
        mean = floor if label == FLOOR else truths[label]
        assert mean is not None
        step = None if label == FLOOR else 100 * (place + (floor is None))
        strength = (strengths or {}).get(label, 1.0)
        file = (
            None if label == FLOOR else f"checkpoints/{label.split(' × ')[0].replace(' ', '-')}.safetensors"
        )
        known.append(Column(label=label, step=step, strength=strength, file=file))
        of_prompt = {text: draws.normal(0, own) for text, _ in prompts}
        of_seed = {number: draws.normal(0, own) for number in range(1, seeds + 1)}
        for text, role in prompts:
            for number in range(1, seeds + 1):
                score = (
                    mean + of_cell[text, number] + of_prompt[text] + of_seed[number] + draws.normal(0, noise)
                )
                looks.append(
                    Look(
                        checkpoint=label,
                        step=step,
                        prompt=text,
                        role=role,
                        seed=number,
                        path=f"pictures/{place}/{text}-{number}.png",
                        strength=strength,
                        scores={measure.name: float(score)},
                    )
                )
    return FirstLook(
        folder=folder,
        looks=tuple(looks),
        measures=(measure,),
        columns=tuple(known),
        ceilings={measure.name: 10.0},
    )


def decided(look: FirstLook) -> Decision:
    """Return the decision of a look."""
    cards = scorecards_of(look)
    found = decide(cards, reading_of(look, cards))
    assert found is not None
    return found


def cards_of(look: FirstLook) -> Scorecards:
    """Return a look's scorecards."""
    return scorecards_of(look)
