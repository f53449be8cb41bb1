"""What every trial of a search has in common: the project's settings as trials have them, its base, its pictures.

Trials keep one checkpoint and their state, draw nothing, and are measured on pictures that none of them sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.dataset.records import Dataset, Item, Picture
from maquette.dataset.repeats import Schedule
from maquette.errors import ConfigError, Problem
from maquette.events import Message
from maquette.project.config_file import with_changes
from maquette.project.settings import Settings
from maquette.searching.names import values_of
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.training.prepare import Judge

OF_TRIALS: dict[str, Any] = {
    "save_every_steps": None,
    "save_every_epochs": None,
    "tensorboard": False,
    "trackers": (),
    "logging_dir": None,
    "sample_prompts": (),
    "sample_at_first": False,
    "sample_every_steps": None,
    "sample_every_epochs": None,
    "early_stop": 0,
    "validate_every_steps": None,
    "validate_every_epochs": None,
}
"""Settings that trials have whatever the project says: they are judged by the search, and 60 of them lie on one disk."""
HELD_OUT_SHARE = 8
"""One picture in so many is held out where the project holds none out."""
FEWEST_HELD_OUT, MOST_HELD_OUT = 2, 16
FEWEST_PICTURES = 6


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What trials share, checked through."""

    project: Path
    settings: Settings
    """The baseline's."""
    info: ModelInfo
    spec: FamilySpec
    dataset: Dataset
    items: tuple[Item, ...]
    measured: tuple[Picture, ...]
    """Pictures that are held out of every trial, by which it is judged."""
    messages: tuple[Message, ...] = ()

    def schedule(self, settings: Settings) -> Schedule:
        """Return the arithmetic of a trial of `settings`."""
        from maquette.training.prepare import bucketed_items, schedule_of

        alike = settings.dataset == self.settings.dataset
        items = self.items if alike else bucketed_items(settings, self.dataset, self.info.vae_factor)[0]
        return schedule_of(settings, self.dataset, items)

    def values(self, settings: Settings) -> dict[str, Any]:
        """Return what conditions see of a trial of `settings`."""
        return values_of(settings, self.schedule(settings))


def basis_of(project: Path, settings: Settings, judge: Judge) -> Basis:
    """Return what the trials of a search over `settings` share. Raises MaquetteError with everything that is wrong."""
    from maquette.training.prepare import prepare

    wanted, messages = trial_settings(settings)
    with prepare(wanted, judge=judge, smoke_steps=1) as job:
        if job.validation is None:
            raise ConfigError(_nothing_to_measure(0))
        return Basis(
            project=project,
            settings=wanted,
            info=job.info,
            spec=job.spec,
            dataset=job.dataset.dataset,
            items=job.dataset.items,
            measured=tuple(item.picture for item in job.validation.items),
            messages=(*messages, *job.messages),
        )


def trial_settings(settings: Settings) -> tuple[Settings, tuple[Message, ...]]:
    """Return `settings` as trials have them, and what a person should know of it. Raises ConfigError."""
    changes = dict(OF_TRIALS)
    messages: tuple[Message, ...] = ()
    if settings.validation.validation_training:
        raise ConfigError(
            Problem(
                "[validation] validation_training",
                "measures the pictures that are trained on, which always fit better the longer one trains",
                "held-out pictures to judge trials by",
                "Set validation_split or validation_images instead.",
            )
        )
    if not settings.validation.is_on:
        count = _pictures(settings)
        held = held_out_of(count)
        changes["validation_pictures"] = held
        messages = (
            Message(
                f"{counted(held, 'picture')} of {count} held out of every trial to judge them by; [validation] says otherwise. "
                "The settings that are found are for training on all of them."
            ),
        )
    return with_changes(settings, changes), messages


def held_out_of(pictures: int) -> int:
    """Return how many of so many pictures are held out. Raises ConfigError where there are too few."""
    if 0 < pictures < FEWEST_PICTURES:
        raise ConfigError(_nothing_to_measure(pictures))
    return min(MOST_HELD_OUT, max(FEWEST_HELD_OUT, round(pictures / HELD_OUT_SHARE)))


def _pictures(settings: Settings) -> int:
    from maquette.dataset.reading import read_dataset
    from maquette.training.prepare import dataset_input

    facts = read_dataset(dataset_input(settings), "listing", captions=False)
    return sum(len(folder.files) for folder in facts.used_folders if not folder.is_regularization)


def _nothing_to_measure(pictures: int) -> Problem:
    given = (
        f"{counted(pictures, 'picture')}, none held out" if pictures else "no picture is held out of training"
    )
    return Problem(
        "[validation]",
        given,
        f"held-out pictures to judge trials by (of {FEWEST_PICTURES} pictures or more some are held out by themselves)",
        'Name pictures of the subject that are not trained on: validation_images = ["FOLDER"]; or set validation_split.',
    )


def problems_of(settings: Sequence[Settings], basis: Basis) -> list[Problem]:
    """Return what the base's layers and family say against any of `settings`, each thing once."""
    from maquette.errors import MaquetteError
    from maquette.training.adapting import require_layers

    found: list[Problem] = []
    for each in settings:
        try:
            require_layers(each, basis.spec, basis.info)
        except MaquetteError as error:
            found += error.problems
    return list(dict.fromkeys(found))
