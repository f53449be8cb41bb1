"""How long a run should be, and the ways to get there: epochs, repeats, and an interval of saving that leaves a choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from maquette.dataset.records import Dataset, Picture
from maquette.dataset.repeats import Schedule
from maquette.dataset.targets import StepTarget, step_target
from maquette.project.profile import Kind

FEW_CHECKPOINTS = 5
"""With fewer there is too little to choose from: the best one is rarely the last."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One way to reach the target."""

    setting: str
    value: int
    steps: int
    sum: str
    how: str
    """What to type or change."""

    def to_json(self) -> dict[str, object]:
        return {
            "setting": self.setting,
            "value": self.value,
            "steps": self.steps,
            "sum": self.sum,
            "how": self.how,
        }


def target_steps(
    pictures: int, kind: Kind | None, pictures_per_step: int, asked: int | None = None
) -> StepTarget:
    """Return how many optimizer steps so many pictures want; `asked` overrules, within a tenth."""
    if asked is not None:
        return StepTarget(math.ceil(asked * 0.9), math.floor(asked * 1.1), asked)
    return step_target(pictures, kind, pictures_per_step)


def propose(
    target: StepTarget,
    schedule: Schedule,
    dataset: Dataset,
    schedule_with: Callable[[Dataset, int | None], Schedule],
    *,
    is_toml: bool = False,
) -> tuple[Proposal, ...]:
    """Return epochs at the present repeats, and repeats at the present epochs, that come nearest to the target.

    `schedule_with` gives the arithmetic of a changed dataset for a number of epochs (None: as planned); `is_toml`: repeats
    stand in a dataset TOML.
    """
    epochs = max(1, round(target.best / schedule.steps_per_epoch))
    by_epochs = schedule_with(dataset, epochs)
    found = [
        Proposal(
            setting="epochs",
            value=epochs,
            steps=by_epochs.steps,
            sum=by_epochs.explain(),
            how=f"--epochs {epochs}",
        )
    ]
    if schedule.by_steps:
        return tuple(found)
    factor = target.best / schedule.steps
    repeats = sorted(
        {picture.subset.num_repeats for picture in dataset.pictures if not picture.subset.is_regularization}
    )
    if len(repeats) == 1:
        wanted = max(1, round(repeats[0] * factor))
        by_repeats = schedule_with(with_repeats(dataset, wanted), schedule.epochs)
        found.append(
            Proposal(
                setting="repeats",
                value=wanted,
                steps=by_repeats.steps,
                sum=by_repeats.explain(),
                how=_how_to_repeat(dataset, wanted, is_toml=is_toml),
            )
        )
    return tuple(proposal for proposal in found if proposal.steps != schedule.steps)


def with_repeats(dataset: Dataset, repeats: int) -> Dataset:
    """Return the dataset with every training picture shown `repeats` times an epoch."""
    changed: dict[int, Picture] = {}
    for index, picture in enumerate(dataset.pictures):
        if not picture.subset.is_regularization:
            changed[index] = replace(picture, subset=replace(picture.subset, num_repeats=repeats))
    pictures = tuple(changed.get(index, picture) for index, picture in enumerate(dataset.pictures))
    return replace(dataset, pictures=pictures)


def _how_to_repeat(dataset: Dataset, repeats: int, *, is_toml: bool) -> str:
    """Return where repeats are set: a folder's name, a TOML, or the setting."""
    subset = next(picture.subset for picture in dataset.pictures if not picture.subset.is_regularization)
    number, _, rest = subset.path.name.partition("_")
    if is_toml:
        return f"num_repeats = {repeats} in the dataset TOML"
    if number.isdigit() and rest:
        return f"rename {subset.path.name} to {repeats}_{rest}"
    return f"--repeats {repeats}"


def saving_interval(steps: int, checkpoints: int = FEW_CHECKPOINTS) -> int:
    """Return every how many steps to save for at least so many checkpoints, the final one included: a round number."""
    exact = max(1, steps // checkpoints)
    for unit in (100, 50, 10):
        rounded = exact // unit * unit
        if rounded and math.ceil(steps / rounded) >= checkpoints and rounded >= exact * 0.7:
            return rounded
    return exact


def interval_like(every: int, before: float, after: float, *, in_epochs: bool = False) -> int:
    """Return every how many steps (or epochs) of a run as long as `after` to save, for as many files as `every` of `before`."""
    if in_epochs:
        return max(1, round(every * after / before))
    return saving_interval(max(1, round(after)), max(1, math.ceil(before / every)))


def length_advice(
    schedule: Schedule, target: StepTarget, pictures: int, num_checkpoints: int
) -> Sequence[str]:
    """Return what a person should know about the length and the choice that will be there at the end."""
    advice = []
    if schedule.steps not in target:
        side = "fewer" if schedule.steps < target.low else "more"
        advice.append(
            f"{schedule.steps:,} steps are {side} than the {target} that suit {pictures:,} pictures."
        )
    if schedule.regularization_items:
        share = schedule.items_per_epoch / schedule.train_items
        advice.append(
            f"Regularization pictures make an epoch {share:.3g} times as long: {schedule.train_items:,} training items are "
            f"met by {schedule.regularization_items:,} of the class, however many pictures the folder holds."
        )
    if num_checkpoints < FEW_CHECKPOINTS:
        every = saving_interval(schedule.steps)
        advice.append(
            f"{num_checkpoints} checkpoint{'s' if num_checkpoints != 1 else ''} to choose from: the best one is often at "
            f"half to two thirds of the way. Add --save-every-steps {every}."
        )
    return advice
