"""`init`: a project folder for pictures and a base model, with settings that fit both and a profile to correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, Problem
from maquette.planning.init_options import InitOptions, NewProjectResult, proposed_profile, require_opening

if TYPE_CHECKING:
    from maquette.dataset.records import Dataset
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.project.profile import Profile
    from maquette.project.scaffold import NewProject


def make_project(folder: Path, options: InitOptions) -> NewProjectResult:
    """Make a project folder with a maquette.toml made for these pictures and this base; pictures stay where they are.

    A profile.toml beside it proposes the subject from captions and pictures; one that is there already is kept.
    Raises MaquetteError when the base or the pictures cannot be used, or a project is there already.
    """
    if options.source is not None:
        from maquette.planning.project_from_run import project_from_run

        return project_from_run(folder, options)
    images = _required(options)
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
    given = DatasetInput(images=images, fallback_caption=fallback)
    facts = read_dataset(given, "measures", cache=None)
    proposed = read_profile(folder) if has_profile else proposed_profile(facts, options)
    require_opening(proposed, options)
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
        images=_required(options),
        base=options.base,
        trigger=options.trigger,
        class_word=options.class_word,
        resolution_px=info.resolution,
        bucket_step_px=min(spec.bucket_step_px, info.resolution),
        clip_skip=spec.default("clip_skip"),
        num_pictures=pictures,
        without_captions=all(picture.caption_path is None for picture in dataset.pictures),
        steps=proposed_steps(pictures, profile.kind),
        regularization=options.regularization,
        sampler=spec.default_sampler,
        guidance=spec.default_guidance,
        states_subject=bool(options.trigger) and (folder / PROFILE_NAME).exists(),
        kind=profile.kind,
    )
