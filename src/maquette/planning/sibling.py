"""A project for another subject of the same film, series or artist: what is proven stays, what hangs on the pictures moves.

Kept are rank, alpha, dropout, optimizer, rates, schedule, min-SNR, noise offset, base and sizes. Epochs or steps follow
the number of pictures; trigger, class, profile and captions are the new subject's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Dataset, Item
from maquette.dataset.strict import sized_dataset
from maquette.errors import MaquetteError, OutputError, Problem
from maquette.files import require_writable_folder, write_atomic
from maquette.planning.proposals import interval_like
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import PROFILE_NAME, Profile
from maquette.project.profile_file import profile_toml, read_profile
from maquette.project.settings import DEFAULT_STEPS, Settings
from maquette.project.settings_text import (
    Reasoned,
    idle_settings,
    relative_to,
    settings_toml,
    values_seen_from,
)
from maquette.training.prepare import bucketed_items, dataset_input, schedule_of

DEFAULT_GRID_PX = 8
OWN = (
    "trigger",
    "class_word",
    "images",
    "name",
    "epochs",
    "steps",
    "caption_fallback",
    "cache_folder",
    "regularization",
    "output",
)
"""Settings that the new subject does not take over as they are."""


@dataclass(frozen=True, kw_only=True)
class Sibling:
    """A new project made from another."""

    folder: Path
    config: Path
    profile: Path
    pictures: int
    kept: tuple[str, ...]
    changed: tuple[str, ...]
    """Sentences about what was adjusted."""


def make_sibling(
    settings: Settings,
    project: Path,
    folder: Path,
    *,
    images: Path,
    trigger: str,
    class_word: str | None = None,
) -> Sibling:
    """Write FOLDER/maquette.toml and FOLDER/profile.toml for another subject. Raises MaquetteError if one is there."""
    config, profile_path = folder / CONFIG_NAME, folder / PROFILE_NAME
    taken = [path for path in (config, profile_path) if path.exists()]
    if taken:
        raise OutputError(
            Problem(str(path), "exists already", "a folder without a project", "Choose another folder.")
            for path in taken
        )
    old_profile = _profile_of(project)
    moved = settings.model_copy(
        update={"dataset": settings.dataset.model_copy(update={"images": images, "regularization": None})}
    )
    dataset = _pictures_of(moved)
    count = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    length, changed = _length(settings, moved, count)
    word = class_word if class_word is not None else settings.subject.class_word
    values = _values(settings, project, folder)
    values |= {"trigger": Reasoned(trigger, "the new subject's own"), "class_word": Reasoned(word, "")}
    values |= {"images": Reasoned(relative_to(images, folder), f"{count} pictures")}
    values |= {"name": Reasoned(_file_name(trigger), ""), **length}
    prompts = _prompts(settings, word)
    if prompts != settings.samples.sample_prompts:
        values |= {"sample_prompts": Reasoned(prompts, "of the new subject")}
        changed = (*changed, "sample prompts name the new subject.")
    for name in idle_settings({name: entry.value for name, entry in values.items()}):
        del values[name]
    require_writable_folder(folder)
    write_atomic(
        profile_path, profile_toml(_profile(old_profile, trigger, word), folder, _remarks(old_profile))
    )
    heading = (
        f"A sibling of {project.name}: same style, another subject.\nTrain it with:  maquette train {folder}"
    )
    write_atomic(config, settings_toml(values, heading))
    kept = tuple(name for name in values if name not in OWN and name not in length)
    return Sibling(
        folder=folder, config=config, profile=profile_path, pictures=count, kept=kept, changed=tuple(changed)
    )


def _prompts(settings: Settings, word: str) -> tuple[str, ...]:
    """Return the sample prompts with the new subject's trigger and class word where they name the old one's."""
    old = settings.subject

    def renamed(prompt: str) -> str:
        for before, after in ((old.trigger, "{trigger}"), (old.class_word, word)):
            if before:
                prompt = after.join(re.split(rf"(?<!\w){re.escape(before)}(?!\w)", prompt))
        return prompt

    return tuple(renamed(prompt) for prompt in settings.samples.sample_prompts)


def _values(settings: Settings, project: Path, folder: Path) -> dict[str, Reasoned]:
    """Return what is taken over, paths as they read from the new folder."""
    return {
        name: Reasoned(
            value, f"kept from {project.name}" if name in ("base", "rank", "learning_rate") else ""
        )
        for name, value in values_seen_from(settings, folder).items()
        if name not in OWN and value is not None
    }


def _length(old: Settings, new: Settings, count: int) -> tuple[dict[str, Reasoned], tuple[str, ...]]:
    """Return epochs for about as many showings of each picture as before, or the old steps in proportion; with intervals.

    The sentences say what moved.
    """
    training = old.training
    before = _counted(old)
    if before is None or count == 0:
        kept = Reasoned(
            training.epochs or training.steps or DEFAULT_STEPS, "the old pictures cannot be counted"
        )
        unit = "epochs" if training.epochs is not None else "steps"
        told = f"The old project's pictures are gone, so its {unit} were taken over: look at them."
        return {unit: kept}, (told,)
    old_count, old_epoch = before
    new_epoch = schedule_of(_by_epochs(new), *_items_of(new)).steps_per_epoch
    if training.epochs is not None:
        unit, was = "epochs", training.epochs
        factor = min(2.0, max(0.5, (old_count / count) ** 0.5))
        now = max(1, round(was * factor))
        why = f"was {was} for {old_count} pictures; {'fewer' if count < old_count else 'more'} pictures"
        why += f" want {'more' if now > was else 'fewer' if now < was else 'as many'}"
        lengths = Lengths(epochs=(was, now), steps=(was * old_epoch, now * new_epoch))
    else:
        unit, was = "steps", training.steps or DEFAULT_STEPS
        now = max(min(was, 800), max(1, round(was / old_epoch * new_epoch / 50) * 50))
        why = f"was {was} for {old_count} pictures: each is shown about as often"
        lengths = Lengths(epochs=(was / old_epoch, now / new_epoch), steps=(was, now))
    moved, sentences = _intervals(old, lengths)
    sentence = f"{unit} {was} → {now}, for {old_count} → {count} pictures."
    return {unit: Reasoned(now, why), **moved}, (sentence, *sentences)


class Lengths(NamedTuple):
    """How long a run was and will be."""

    epochs: tuple[float, float]
    steps: tuple[float, float]


def _intervals(old: Settings, lengths: Lengths) -> tuple[dict[str, Reasoned], tuple[str, ...]]:
    """Return the intervals of saving and drawing for as many files as before, and what moved in sentences."""
    moved: dict[str, Reasoned] = {}
    told: list[str] = []
    for name in ("save_every_steps", "save_every_epochs", "sample_every_steps", "sample_every_epochs"):
        every = getattr(old.saving if name.startswith("save") else old.samples, name)
        if every is not None:
            in_epochs = name.endswith("epochs")
            before, after = lengths.epochs if in_epochs else lengths.steps
            fitted = interval_like(every, before, after, in_epochs=in_epochs)
            moved[name] = Reasoned(
                fitted, "" if fitted == every else f"was {every}: as many checkpoints as before"
            )
            told += [f"{name} {every} → {fitted}."] * (fitted != every)
    return moved, tuple(told)


def _counted(settings: Settings) -> tuple[int, int] | None:
    """Return a project's pictures and steps an epoch, None where its pictures are not there."""
    try:
        dataset, items = _items_of(settings)
    except MaquetteError:
        return None
    count = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    return count, schedule_of(_by_epochs(settings), dataset, items).steps_per_epoch


def _items_of(settings: Settings) -> tuple[Dataset, tuple[Item, ...]]:
    """Return a project's pictures without regularization, and an epoch's items."""
    dataset = _pictures_of(settings)
    return dataset, bucketed_items(settings, dataset, DEFAULT_GRID_PX)[0]


def _pictures_of(settings: Settings) -> Dataset:
    given = replace(dataset_input(settings), regularization=None)
    return sized_dataset(read_dataset(given, "headers", captions=False))


def _by_epochs(settings: Settings) -> Settings:
    training = settings.training.model_copy(update={"epochs": 1, "steps": None})
    return settings.model_copy(update={"training": training})


def _profile_of(project: Path) -> Profile | None:
    return read_profile(project) if (project / PROFILE_NAME).is_file() else None


def _profile(old: Profile | None, trigger: str, class_word: str) -> Profile:
    """Return a profile to fill in: kind, style and what varies are the film's, the looks are the subject's own."""
    if old is None:
        return Profile(kind="character", trigger=trigger, class_word=class_word)
    return Profile(kind=old.kind, trigger=trigger, class_word=class_word, varies=old.varies, style=old.style)


def _remarks(old: Profile | None) -> tuple[str, ...]:
    if old is None:
        return (
            "Fill in appearance and one-sided details: captions must leave out what the trigger should carry.",
        )
    return (
        "Fill in appearance, palette and one-sided details of the new subject; those of the other are not taken over.",
    )


def _file_name(trigger: str) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in trigger).strip("._-")
        or "lora"
    )
