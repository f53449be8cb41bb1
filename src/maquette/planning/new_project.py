"""`init`: a project folder for pictures and a base model, with settings that fit both and a profile to correct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from maquette.project.fields import Options

if TYPE_CHECKING:
    from maquette.dataset.records import Dataset
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.project.profile import Profile
    from maquette.project.scaffold import NewProject


class InitOptions(Options):
    """What a new project is made from."""

    images: Path = Field(description="Folder of pictures with captions beside them, or a kohya folder.")
    base: str = Field(description="The base model: .safetensors, diffusers folder or hub name.")
    trigger: str = Field(description="The invented word that will mean the subject.")
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
    guesses: tuple[str, ...] = ()
    """What the proposed profile was guessed from, and what is left to fill in."""
    warnings: tuple[str, ...] = ()


def make_project(folder: Path, options: InitOptions) -> NewProjectResult:
    """Make a project folder with a maquette.toml made for these pictures and this base; pictures stay where they are.

    A profile.toml beside it proposes the subject from captions and pictures; one that is there already is kept.
    Raises MaquetteError when the base or the pictures cannot be used, or a project is there already.
    """
    from maquette import families
    from maquette.dataset.scan import scan_dataset
    from maquette.project.scaffold import write_profile, write_project

    info = families.inspect(options.base)
    dataset = scan_dataset(options.images, fallback_caption=options.trigger)
    new = _project(folder, options, info, families.FAMILIES[info.family].spec, dataset)
    config = write_project(new)
    proposed = _proposed_profile(dataset, options)
    profile, is_new = write_profile(folder, proposed)
    return NewProjectResult(
        config=config,
        pictures=new.num_pictures,
        family=info.family,
        steps=new.steps,
        profile=profile,
        profile_is_new=is_new,
        guesses=proposed.notes if is_new else (),
        warnings=tuple(message.text for message in dataset.warnings),
    )


def _project(
    folder: Path, options: InitOptions, info: ModelInfo, spec: FamilySpec, dataset: Dataset
) -> NewProject:
    """Return the settings that the base's family and the number of pictures propose."""
    from maquette.project.scaffold import NewProject, proposed_steps

    pictures = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    return NewProject(
        folder=folder,
        images=options.images,
        base=options.base,
        trigger=options.trigger,
        class_word=options.class_word,
        resolution_px=info.resolution,
        bucket_step_px=min(spec.bucket_step_px, info.resolution),
        clip_skip=spec.default_clip_skip,
        num_pictures=pictures,
        without_captions=all(picture.caption_path is None for picture in dataset.pictures),
        steps=proposed_steps(pictures),
        regularization=options.regularization,
        sampler=spec.default_sampler,
        guidance=spec.default_guidance,
    )


def _proposed_profile(dataset: Dataset, options: InitOptions) -> Profile:
    """Return a profile guessed from the subject's captions and the colours of its pictures."""
    from maquette.dataset.measuring import measure_pictures
    from maquette.dataset.profile_proposal import propose_profile

    own = [picture for picture in dataset.pictures if not picture.subset.is_regularization]
    return propose_profile(
        [picture.caption for picture in own if picture.caption_path is not None],
        trigger=options.trigger,
        class_word=options.class_word,
        pictures=measure_pictures([picture.path for picture in own], cache=None),
    )
