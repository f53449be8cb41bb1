"""What the pictures are of: the class word, the profile it comes from, and how many pictures balance a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import ConfigError, DatasetError, Problem
from maquette.project.profile import Profile
from maquette.regularizing.options import RegularizeOptions


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom the pictures do not show, and what they show instead."""

    profile: Profile | None
    word: str
    """The class word."""
    needed: int | None
    """Training items that the pictures balance, where a dataset is named."""


def subject_of(options: RegularizeOptions) -> Subject:
    """Return the subject that the options name, or the profile by the dataset or by the folder of the pictures.

    Raises ConfigError without a class word, and what is wrong with the profile or the dataset.
    """
    profile = _profile_of(options)
    return Subject(
        profile=profile,
        word=_class_word(options.class_word, profile),
        needed=train_items(options.dataset) if options.dataset is not None else None,
    )


def _profile_of(options: RegularizeOptions) -> Profile | None:
    from maquette.project.profile_file import profile_near, read_profile

    if options.profile is not None:
        return read_profile(options.profile)
    by_dataset = profile_near(options.dataset) if options.dataset is not None else None
    return by_dataset or profile_near(options.out)


def images_of(dataset: Path) -> Path:
    """Return where the pictures of a project, a folder or a dataset TOML are said."""
    return _wanted(dataset)[0]


def train_items(dataset: Path) -> int:
    """Return how many training items an epoch of `dataset` has: pictures × repeats. Opens no picture.

    `dataset` is a project, a kohya folder, a flat folder or a kohya dataset TOML. Raises MaquetteError.
    """
    from maquette.dataset.config import SubsetOptions
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.reading import read_dataset

    images, repeats = _wanted(Path(dataset))
    given = DatasetInput(images=images, options=SubsetOptions(num_repeats=repeats))
    facts = read_dataset(given, "listing", captions=False)
    if facts.problems:
        raise DatasetError(facts.problems)
    own = [folder for folder in facts.used_folders if folder.subset and not folder.is_regularization]
    counted = {f.path: f.num_pictures * f.subset.num_repeats for f in reversed(own) if f.subset}
    if not counted:
        required = "pictures, or folders N_name"
        raise ConfigError(
            Problem(str(images), "holds no training pictures", required, "Name the dataset itself.")
        )
    return sum(counted.values())


def _wanted(dataset: Path) -> tuple[Path, int]:
    """Return the pictures and repeats of a project, or `dataset` itself."""
    from maquette.project.config_file import CONFIG_NAME, load_settings

    if (dataset / CONFIG_NAME).is_file() or dataset.name == CONFIG_NAME:
        wanted = load_settings(dataset).dataset
        return wanted.images, wanted.repeats
    return dataset, 1


def _class_word(given: str, profile: Profile | None) -> str:
    word = given.strip() or (profile.class_word.strip() if profile else "")
    if not word:
        by = f"; {profile.source} has no class_word" if profile and profile.source else ""
        raise ConfigError(
            Problem(
                "--class-word",
                f"not given, and no profile says it{by}",
                "the class word, the ordinary word for the subject",
                "Give --class-word 'anime character', or class_word in the profile.",
            )
        )
    return word


def refuse_triggers(texts: Iterable[str], profile: Profile | None, where: str, remedy: str) -> None:
    """A trigger among the captions would teach it to mean the class: the opposite of what these pictures are for."""
    for trigger in profile.triggers if profile else ():
        if any(trigger.lower() in text.lower() for text in texts):
            raise ConfigError(Problem(where, f"they hold the trigger '{trigger}'", "the class alone", remedy))
