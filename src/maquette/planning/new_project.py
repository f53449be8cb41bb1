"""`init`: a project folder for pictures and a base model, with settings that fit both and a profile to correct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, Problem
from maquette.planning.init_options import InitOptions, NewProjectResult, proposed_profile, require_opening
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.dataset.facts import DatasetFacts
    from maquette.dataset.records import Dataset
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.project.profile import Profile
    from maquette.project.scaffold import NewProject


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A project that could be made, before anything is written."""

    new: NewProject
    profile: Profile
    has_profile: bool
    """Whether that profile is there already, and stays as it is."""
    info: ModelInfo
    facts: DatasetFacts

    @property
    def num_captioned(self) -> int:
        """How many of its pictures have a caption."""
        return sum(1 for each in self.facts.captions if each.picture is not None and each.text)


def make_project(folder: Path, options: InitOptions) -> NewProjectResult:
    """Make a project folder with a maquette.toml made for these pictures and this base; pictures stay where they are.

    A profile.toml beside it proposes the subject from captions and pictures; one that is there already is kept.
    Raises MaquetteError when the base or the pictures cannot be used, or a project is there already.
    """
    if options.source is not None:
        from maquette.planning.project_from_run import project_from_run

        return project_from_run(folder, options)
    from maquette.project.config_file import load_settings
    from maquette.project.scaffold import write_profile, write_project
    from maquette.rules.verdict import remarks

    proposed = propose_project(folder, options)
    config = write_project(proposed.new)
    profile, is_new = write_profile(folder, proposed.profile)
    return NewProjectResult(
        config=config,
        pictures=proposed.new.num_pictures,
        family=proposed.info.family,
        steps=proposed.new.steps,
        profile=profile,
        profile_is_new=is_new,
        has_captions=not proposed.new.without_captions,
        guesses=proposed.profile.notes if is_new else (),
        warnings=(
            *_of_captions(proposed),
            *(each.text for each in remarks(load_settings(config), proposed.facts)),
        ),
    )


def _of_captions(proposed: Proposed) -> tuple[str, ...]:
    """Return a warning where some captions are still to be written."""
    missing = proposed.new.num_pictures - proposed.num_captioned
    if proposed.new.without_captions or missing <= 0:
        return ()
    return (
        f"{counted(missing, 'picture')} of {proposed.new.num_pictures:,} without a caption: training waits for them.",
    )


def propose_project(folder: Path, options: InitOptions) -> Proposed:
    """Return what `make_project` would write into `folder`. Raises MaquetteError as it does, but for a project that is there."""
    from maquette import families
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.reading import read_dataset
    from maquette.dataset.strict import dataset_of
    from maquette.project.profile import PROFILE_NAME
    from maquette.project.profile_file import read_profile
    from maquette.project.scaffold import fallback_caption

    images = _required(options)
    has_profile = (folder / PROFILE_NAME).exists()
    info = families.inspect_or_known(options.base)
    fallback = fallback_caption(options.trigger, options.class_word)
    given = DatasetInput(images=images, fallback_caption=fallback)
    facts = read_dataset(given, "measures", cache=None)
    profile = read_profile(folder) if has_profile else proposed_profile(facts, options)
    require_opening(profile, options)
    _require_same_kind(profile, options)
    dataset = dataset_of(facts, captions_follow=True)
    new = _project(folder, options, info, families.FAMILIES[info.family].spec, dataset, profile)
    return Proposed(new=new, profile=profile, has_profile=has_profile, info=info, facts=facts)


def _required(options: InitOptions) -> Path:
    """Return the pictures. Raises ConfigError where they or the base are not given, and no run says them."""
    problems = [
        Problem(flag, "not given", required, f"Add {flag}, or --from FILE with a run that you have.")
        for flag, value, required in (
            ("--images", options.images, "the folder of the pictures"),
            ("--base", options.base, "the base model"),
        )
        if not value
    ]
    if problems or options.images is None:
        raise ConfigError(problems)
    return options.images


def _require_same_kind(profile: Profile, options: InitOptions) -> None:
    """Raise ConfigError where --kind is another than that of a profile that is kept."""
    if options.kind is not None and options.kind != profile.kind:
        given = f"{options.kind}, while {profile.source} says {profile.kind}"
        raise ConfigError(Problem("--kind", given, "one kind", "Leave --kind out, or change the profile."))


def _project(
    folder: Path, options: InitOptions, info: ModelInfo, spec: FamilySpec, dataset: Dataset, profile: Profile
) -> NewProject:
    """Return the settings that the base's family and the number of pictures propose, or that were asked for."""
    from maquette.dataset.targets import proposed_steps
    from maquette.project.profile import PROFILE_NAME
    from maquette.project.scaffold import DEFAULT_RANK, NewProject

    pictures = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    resolution_px = options.resolution or info.resolution
    return NewProject(
        folder=folder,
        images=_required(options),
        base=options.base,
        trigger=options.trigger,
        class_word=options.class_word,
        resolution_px=resolution_px,
        bucket_step_px=min(spec.bucket_step_px, resolution_px),
        clip_skip=spec.default("clip_skip"),
        num_pictures=pictures,
        without_captions=all(picture.caption_path is None for picture in dataset.pictures),
        steps=options.steps or proposed_steps(pictures, profile.kind),
        rank=options.rank or DEFAULT_RANK,
        regularization=options.regularization,
        sampler=spec.default_sampler,
        guidance=spec.default_guidance,
        states_subject=bool(options.trigger) and (folder / PROFILE_NAME).exists(),
        kind=profile.kind,
    )
