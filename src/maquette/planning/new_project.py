"""`init`: a project folder for pictures and a base model, with settings that fit both and a profile to correct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from maquette.errors import ConfigError, Problem
from maquette.project.fields import Options

if TYPE_CHECKING:
    from maquette.dataset.facts import DatasetFacts
    from maquette.dataset.records import Dataset
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.project.profile import Profile
    from maquette.project.scaffold import NewProject


class InitOptions(Options):
    """What a new project is made from."""

    images: Path = Field(description="Folder of pictures with captions beside them, or a kohya folder.")
    base: str = Field(description="The base model: .safetensors, diffusers folder or hub name.")
    trigger: str = Field(
        "",
        description="The invented word that will mean the subject. Needed, but for a style whose captions all begin alike.",
    )
    class_word: str = Field("", description="The ordinary word for it: man, dog, anime character.")
    regularization: Path | None = Field(None, description="Folder of class pictures.")


@dataclass(frozen=True, kw_only=True)
class NewProjectResult:
    """A project folder that was made."""

    config: Path
    pictures: int
    family: str
    steps: int
    profile: Path
    profile_is_new: bool
    """False where a profile.toml was there already: it is left as it is."""
    has_captions: bool = True
    guesses: tuple[str, ...] = ()
    """What the proposed profile was guessed from, and what is left to fill in."""
    warnings: tuple[str, ...] = ()


def make_project(folder: Path, options: InitOptions) -> NewProjectResult:
    """Make a project folder with a maquette.toml made for these pictures and this base; pictures stay where they are.

    A profile.toml beside it proposes the subject from captions and pictures; one that is there already is kept.
    Raises MaquetteError when the base or the pictures cannot be used, or a project is there already.
    """
    from maquette import families
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.reading import read_dataset
    from maquette.dataset.strict import dataset_of
    from maquette.project.config_file import load_settings
    from maquette.project.profile import PROFILE_NAME
    from maquette.project.profile_file import read_profile
    from maquette.project.scaffold import fallback_caption, write_profile, write_project
    from maquette.rules.verdict import remarks

    has_profile = (folder / PROFILE_NAME).exists()
    info = families.inspect_or_known(options.base)
    fallback = fallback_caption(options.trigger, options.class_word)
    given = DatasetInput(images=options.images, fallback_caption=fallback)
    facts = read_dataset(given, "measures", cache=None)
    proposed = read_profile(folder) if has_profile else _proposed_profile(facts, options)
    _require_opening(proposed, options)
    dataset = dataset_of(facts)
    new = _project(folder, options, info, families.FAMILIES[info.family].spec, dataset, proposed)
    config = write_project(new)
    profile, is_new = write_profile(folder, proposed)
    return NewProjectResult(
        config=config,
        pictures=new.num_pictures,
        family=info.family,
        steps=new.steps,
        profile=profile,
        profile_is_new=is_new,
        has_captions=not new.without_captions,
        guesses=proposed.notes if is_new else (),
        warnings=tuple(message.text for message in remarks(load_settings(config), facts)),
    )


def _require_opening(profile: Profile, options: InitOptions) -> None:
    """Raise ConfigError where nothing would mean the subject: no trigger, and no words of a style."""
    if not options.trigger and not profile.opening:
        raise ConfigError(
            Problem(
                "--trigger",
                "not given",
                "the invented word that will mean the subject (a style whose captions all begin alike needs none)",
                "Add for example: --trigger zkw_fox",
            )
        )


def _project(
    folder: Path, options: InitOptions, info: ModelInfo, spec: FamilySpec, dataset: Dataset, profile: Profile
) -> NewProject:
    """Return the settings that the base's family and the number of pictures propose."""
    from maquette.dataset.targets import proposed_steps
    from maquette.project.profile import PROFILE_NAME
    from maquette.project.scaffold import NewProject

    pictures = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    return NewProject(
        folder=folder,
        images=options.images,
        base=options.base,
        trigger=options.trigger,
        class_word=options.class_word,
        resolution_px=info.resolution,
        bucket_step_px=min(spec.bucket_step_px, info.resolution),
        clip_skip=spec.default("clip_skip"),
        num_pictures=pictures,
        without_captions=all(picture.caption_path is None for picture in dataset.pictures),
        steps=proposed_steps(pictures),
        regularization=options.regularization,
        sampler=spec.default_sampler,
        guidance=spec.default_guidance,
        states_subject=bool(options.trigger) and (folder / PROFILE_NAME).exists(),
        kind=profile.kind,
    )


def _proposed_profile(facts: DatasetFacts, options: InitOptions) -> Profile:
    """Return a profile guessed from the subject's captions and the colours of its pictures."""
    from maquette.dataset.profile_proposal import propose_profile

    return propose_profile(
        [caption.text for caption in facts.captions if caption.picture is not None],
        trigger=options.trigger,
        class_word=options.class_word,
        pictures=facts.pictures,
    )
