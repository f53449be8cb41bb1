"""How pictures become items and items become steps, with sd-scripts' meaning of repeats and regularization.

An epoch shows each training picture `num_repeats` times. Regularization pictures are then topped up to the
number of training items, and those beyond it are left out: a regularization set doubles an epoch, whatever
its size. Repeats never multiply: a folder's N_ prefix and a TOML's `num_repeats` are never both in force.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.buckets import count_batches, items_by_bucket
from maquette.dataset.records import Item, Picture
from maquette.errors import ConfigError, DatasetError, Problem


def plan_items(pictures: Sequence[Picture]) -> tuple[Item, ...]:
    """Return the items of one epoch, training before regularization in each dataset, without buckets yet."""
    shown: list[tuple[Picture, int]] = []
    for dataset in sorted({picture.subset.dataset for picture in pictures}):
        members = [picture for picture in pictures if picture.subset.dataset == dataset]
        training = [(p, p.subset.num_repeats) for p in members if not p.subset.is_regularization]
        _require_countable(training)
        regularization = [p for p in members if p.subset.is_regularization]
        shown += training + top_up(regularization, sum(repeats for _, repeats in training))
    pairs = [(picture, repeat) for picture, repeats in shown for repeat in range(repeats)]
    return tuple(Item(index, picture, repeat) for index, (picture, repeat) in enumerate(pairs))


MAX_ITEMS = 2_000_000
"""Of one epoch; each is kept in memory. A picture shown so often in one epoch was never meant."""


def _require_countable(training: Sequence[tuple[Picture, int]]) -> None:
    """Refuse repeats that make an epoch too long to be laid out. Raises DatasetError that names the largest."""
    total = sum(repeats for _, repeats in training)
    if total > MAX_ITEMS:
        picture, repeats = max(training, key=lambda pair: pair[1])
        given = f"{len(training):,} pictures, some {repeats:,} times an epoch: {total:,} in all"
        required = f"at most {MAX_ITEMS:,} an epoch"
        raise DatasetError(
            Problem(str(picture.path.parent), given, required, "Lower num_repeats, or the folder's number.")
        )


def top_up(regularization: Sequence[Picture], num_train_items: int) -> list[tuple[Picture, int]]:
    """Return the regularization pictures that are used and how often, to balance `num_train_items`.

    The first round gives each picture its own repeats, later rounds one more each, and all stops as soon as
    the number is reached. So the first round may overshoot, and pictures it does not reach are not used.
    """
    repeats: dict[Path, int] = {}
    missing = num_train_items
    while regularization and missing > 0:
        for picture in regularization:
            added = 1 if picture.path in repeats else picture.subset.num_repeats
            repeats[picture.path] = repeats.get(picture.path, 0) + added
            missing -= added
            if missing <= 0:
                break
    return [(picture, repeats[picture.path]) for picture in regularization if picture.path in repeats]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """From items to optimizer steps. `explain()` writes the sum out."""

    terms: tuple[tuple[int, int], ...]
    """(pictures, repeats) of the training folders, in order."""
    train_items: int
    regularization_items: int
    batch_sizes: tuple[int, ...]
    """Of all processes together."""
    num_buckets: int
    batches_per_epoch: int
    accumulation: int
    steps_per_epoch: int
    epochs: int
    """Epochs begun: the last may be cut short when steps were asked for."""
    steps: int
    by_steps: bool
    """True when steps were asked for, False when epochs were."""
    processes: int = 1
    """Processes that share each batch."""

    def batch_of_one(self, dataset: int, pictures: int) -> int:
        """Return how many pictures of a dataset one process computes at once, where a bucket has so many `pictures`."""
        sizes = self.batch_sizes
        return math.ceil(min(pictures, sizes[dataset if len(sizes) > 1 else 0]) / self.processes)

    @property
    def items_per_epoch(self) -> int:
        return self.train_items + self.regularization_items

    def explain(self) -> str:
        """Return the whole sum as one line of text."""
        batch = "/".join(str(size) for size in self.batch_sizes)
        text = f"{self._items_text()} / batch {batch}"
        if self.processes > 1:
            each = "/".join(str(size // self.processes) for size in self.batch_sizes)
            text += f" ({self.processes} processes × {each})"
        if self.num_buckets > 1 and max(self.batch_sizes) > 1:
            text += f" in {self.num_buckets} buckets"
        if self.accumulation > 1:
            text += (
                f" = {_plural(self.batches_per_epoch, 'batch', 'batches')} / accumulation {self.accumulation}"
            )
        text += f" = {_plural(self.steps_per_epoch, 'step', 'steps')}"
        if self.by_steps:
            share = self.steps / self.steps_per_epoch
            return f"{text} an epoch; {_plural(self.steps, 'step', 'steps')} = {share:.4g} epochs"
        return f"{text} × {_plural(self.epochs, 'epoch', 'epochs')} = {_plural(self.steps, 'step', 'steps')}"

    def _items_text(self) -> str:
        parts = [f"{pictures:,} × {repeats:,}" for pictures, repeats in self.terms]
        if self.regularization_items:
            parts.append(f"{self.regularization_items:,} regularization")
        joined = " + ".join(parts)
        return f"({joined})" if len(parts) > 1 else joined


def make_schedule(
    items: Sequence[Item],
    *,
    batch_size: int | Sequence[int] = 1,
    accumulation: int = 1,
    epochs: int | None = None,
    steps: int | None = None,
    processes: int = 1,
    deals_whole: bool = False,
) -> Schedule:
    """Return the arithmetic of a run over `items` (with buckets), for a number of epochs or of steps.

    An accumulation group that an epoch's end cuts short still makes a step. `deals_whole`: a batch is one process's, as with
    sd-scripts; else it is shared out among all. Raises ConfigError when both or
    neither of `epochs` and `steps` are given, or a number is below 1.
    """
    of_one = (batch_size,) if isinstance(batch_size, int) else tuple(batch_size)
    _require_numbers(of_one, accumulation, epochs, steps)
    sizes = tuple(size * processes for size in of_one)
    batches = (
        math.ceil(count_batches(items, of_one) / processes) if deals_whole else count_batches(items, sizes)
    )
    steps_per_epoch = math.ceil(batches / accumulation)
    by_steps = steps is not None
    total = steps if steps is not None else (epochs or 0) * steps_per_epoch
    return Schedule(
        terms=_terms(items),
        train_items=sum(not item.is_regularization for item in items),
        regularization_items=sum(item.is_regularization for item in items),
        batch_sizes=sizes,
        num_buckets=len(items_by_bucket(items)),
        batches_per_epoch=batches,
        accumulation=accumulation,
        steps_per_epoch=steps_per_epoch,
        epochs=math.ceil(total / steps_per_epoch) if by_steps and steps_per_epoch else (epochs or 0),
        steps=total,
        by_steps=by_steps,
        processes=processes,
    )


def _terms(items: Sequence[Item]) -> tuple[tuple[int, int], ...]:
    """Return (pictures, repeats) per training folder, in order of appearance."""
    repeats_of = Counter(
        (item.picture.subset.dataset, item.picture.subset.path, item.picture.path)
        for item in items
        if not item.is_regularization
    )
    terms = Counter((dataset, folder, repeats) for (dataset, folder, _), repeats in repeats_of.items())
    return tuple((pictures, repeats) for (_, _, repeats), pictures in terms.items())


def _require_numbers(
    sizes: tuple[int, ...], accumulation: int, epochs: int | None, steps: int | None
) -> None:
    problems = []
    if (epochs is None) == (steps is None):
        given = "both" if steps is not None else "neither"
        problems.append(
            Problem("steps and epochs", f"{given} given", "exactly one of them", "Give steps or epochs.")
        )
    named: list[tuple[str, int | None]] = [("batch_size", size) for size in sizes]
    named += [("accumulation", accumulation), ("epochs", epochs), ("steps", steps)]
    problems += [
        Problem(name, str(number), "a whole number from 1", "Raise it to at least 1.")
        for name, number in named
        if number is not None and number < 1
    ]
    if problems:
        raise ConfigError(problems)


def _plural(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
