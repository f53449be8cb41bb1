"""Whether a run's LoRAs memorise, measured without drawing: their losses on training pictures and on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maquette.dataset.held_pictures import held_pictures, items_of, plainly
from maquette.dataset.planned import bucketed
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Picture
from maquette.dataset.strict import dataset_of
from maquette.errors import MaquetteError
from maquette.evaluating.validate import losses_of_pack
from maquette.events import Finished, Progress, Stage, Started
from maquette.families.options import family_options
from maquette.families.protocol import BaseModel
from maquette.measuring.looks import Column
from maquette.measuring.memorization import ENOUGH_HELD_OUT, LEAST_HELD_OUT, Memorization, memorization
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import Settings
from maquette.runs.record import RunRecord

STAGE = "memorisation"
PACK = 4
MOST_MEMBERS = 48
"""Training pictures that are asked: more tell little more of whether, only of which."""
SHARE = 0.02
"""Of the run's own arithmetic that one LoRA may cost."""
_PASSES_OF_A_STEP = 3
"""A step computes forward and twice as much backward."""
_FEWEST, _MOST = 2, 16
"""Levels of noise of each picture."""


@dataclass(frozen=True, kw_only=True)
class Memorizing:
    """What was found by column, and what a reader must know."""

    found: Mapping[str, Memorization]
    notes: tuple[str, ...] = ()


def memorizing(
    model: BaseModel, record: RunRecord, columns: Sequence[Column], states: Sequence[Any]
) -> Stage[Memorizing]:
    """Measure the LoRAs of `columns` (`states` their tensors) on the run's own pictures, trained and held out.

    A run that held out fewer than three pictures is not measured: `notes` say so.
    """
    settings = record.settings
    try:
        members, held, datasets = _pictures(settings)
    except MaquetteError as error:
        return Memorizing(found={}, notes=(f"Memorisation was not measured: {error}",))
    if len(held) < LEAST_HELD_OUT:
        return Memorizing(found={}, notes=(_too_few(len(held)),))
    validator = _validator(
        model, settings, [*members, *held], datasets, _levels(record, len(members) + len(held))
    )
    yield from validator.encode()
    yield Started(STAGE, len(states) + 1, "LoRA")
    names = [str(item.picture.path) for item in validator.items]
    trained = {str(picture.path) for picture in members}
    base = dict(zip(names, validator.measure_levels()[0].tolist(), strict=True))
    yield Progress(STAGE, 1, len(states) + 1, "LoRA")
    found: dict[str, Memorization] = {}
    for start in range(0, len(states), PACK):
        pack = states[start : start + PACK]
        for column, losses in zip(
            columns[start : start + PACK], losses_of_pack(model, pack, validator.measure_levels), strict=True
        ):
            under = dict(zip(names, losses.tolist(), strict=True))
            found[column.label] = memorization(
                {name: under[name] for name in names if name in trained},
                {name: under[name] for name in names if name not in trained},
                base,
            )
        yield Progress(STAGE, 1 + start + len(pack), len(states) + 1, "LoRA")
    yield Finished(STAGE)
    return Memorizing(found=found, notes=_few(len(held)))


def _pictures(settings: Settings) -> tuple[list[Picture], list[Picture], Any]:
    """Return the training pictures that are asked, those held out, and the tables that say at which size."""
    from maquette.training.prepare import dataset_input

    facts = read_dataset(dataset_input(settings))
    held = held_pictures(facts)
    own = (each for each in dataset_of(facts).pictures if not each.subset.is_regularization)
    members = plainly(own)  # in the order of their content: the first few are a draw
    kept = [picture for picture in held if picture.sha256 not in {member.sha256 for member in members}]
    return list(members[:MOST_MEMBERS]), kept, facts.plan.datasets


def _levels(record: RunRecord, pictures: int) -> int:
    """Return how many levels of noise the run's own length pays for, an even number."""
    batch = record.schedule.accumulation * record.settings.training.batch_size
    passes = SHARE * record.schedule.steps * batch * _PASSES_OF_A_STEP
    return max(_FEWEST, min(_MOST, int(passes / pictures) // 2 * 2))


def _validator(
    model: BaseModel, settings: Settings, pictures: Sequence[Picture], datasets: Any, levels: int
) -> Any:
    from maquette.devices import chosen
    from maquette.training.texts import CaptionEncoder
    from maquette.training.validation import Validator

    plain = [replace(picture, mask_path=None, mask_sha256=None) for picture in pictures]
    items, _, _ = bucketed(items_of(plain), datasets, request_of(settings, UNSAVED), model.info.vae_factor)
    placement = chosen(settings.training.device, settings.training.precision)
    options = family_options(model.spec, settings.family_values())
    return Validator(
        model,
        placement,
        items,
        timesteps=levels,
        seed=settings.validation.validation_seed,
        texts=CaptionEncoder(model, placement, options, trains=True),
        antithetic=True,
    )


def _too_few(count: int) -> str:
    held = {0: "no picture was", 1: "1 picture was"}.get(count, f"{count} pictures were")
    return (
        f"Whether pictures are memorised was not measured: {held} held out of training, and it takes "
        f"{LEAST_HELD_OUT}, better {ENOUGH_HELD_OUT}. Set validation_pictures = {ENOUGH_HELD_OUT} in [validation]."
    )


def _few(count: int) -> tuple[str, ...]:
    if count >= ENOUGH_HELD_OUT:
        return ()
    return (
        f"Memorisation stands on {count} held-out pictures; with {ENOUGH_HELD_OUT} or more it is told sooner.",
    )
