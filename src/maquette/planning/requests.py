"""What a person asks of `maquette plan`, as settings and options: a target, flags, a preset, a size of memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.elsewhere.runs import is_run_of_a_trainer, runs_of
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem, nearest
from maquette.planning.options import PlanOptions
from maquette.planning.presets import Preset, preset_named
from maquette.project.config_file import CONFIG_NAME, RIVALS, load_settings
from maquette.project.places import found_path
from maquette.project.profile import PROFILE_NAME, Kind
from maquette.project.settings import SECTION_OF, Settings


def split_of_plan(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and options apart; an unknown name goes to where the most similar one is known."""
    options = {
        name: value
        for name, value in given.items()
        if name not in SECTION_OF
        and (name in PlanOptions.model_fields or nearest(name, PlanOptions.model_fields))
    }
    return {name: value for name, value in given.items() if name not in options}, options


def asked_of_plan(
    target: Path | None, flags: Mapping[str, Any], options: PlanOptions
) -> tuple[Settings, PlanOptions]:
    """Return the settings to plan for, the options' preset in them, and the options with the kind that the profile says."""
    preset = preset_named(options.preset) if options.preset is not None else None
    wanted = settings_for(target, flags, preset)
    return wanted, PlanOptions.made_from(options, {"kind": kind_of(target, options.kind)})


def settings_for(target: Path | None, flags: Mapping[str, Any], preset: Preset | None = None) -> Settings:
    """Return the settings that `target` means, a preset over them, flags over both.

    `target` is a project, a folder of pictures, a kohya dataset TOML, or a run of another trainer as `maquette init --from` takes
    it; without a project the base may be left out and
    is then empty. Raises ConfigError with every problem.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    chosen = dict(preset.values()) if preset else {}
    for name in given:
        chosen.pop(RIVALS.get(name, ""), None)
    values = {**chosen, **given}
    if target is not None and project_folder(target) is not None:
        return load_settings(target, values)
    if target is not None and "images" in values:
        raise ConfigError(
            Problem(
                str(target),
                "pictures given twice",
                "one place",
                "Name the folder either as PATH or with --images.",
            )
        )
    if target is not None and target.is_file() and is_run_of_a_trainer(target):
        return settings_of_run(target, values)
    if target is None and "images" not in values:
        remedy = "Give a project, a folder of pictures or a kohya dataset TOML."
        raise ConfigError(Problem("PATH", "not given", "pictures to plan for", remedy))
    images = {} if target is None else {"images": target}
    return load_settings(None, {"base": "", **values, **images})


def settings_of_run(file: Path, values: Mapping[str, Any]) -> Settings:
    """Return what the run in `file` comes to, with `values` over it; a base that is not here is left out."""
    from maquette.planning.takeover import take_over

    request = runs_of(file).requests[0]
    taken = take_over(request).settings()
    for name in values:
        taken.pop(RIVALS.get(name, ""), None)
    for field, setting in (
        ("base", "base"),
        ("regularization", "regularization"),
        ("metadata_file", "metadata_file"),
    ):
        named = getattr(request, field)
        here = found_path(Path(named), request.file) if named else None
        if here is not None:
            taken[setting] = str(here)
    only = request.folders[0] if len(request.folders) == 1 else None
    named = request.dataset_config or request.images or (only.path if only is not None else None)
    images = found_path(named, request.file) if named is not None else None
    if images is None and "images" not in values:
        given = f"{named} is not on this computer" if named is not None else f"{file} names no single folder"
        raise ConfigError(Problem("--images", given, "the pictures to plan for", "Add --images DIR."))
    if only is not None and only.repeats > 1:
        taken["repeats"] = only.repeats
    return load_settings(None, {"base": "", "images": images, **taken, **values})


def project_folder(target: Path) -> Path | None:
    """Return the folder of the project that `target` names, None when it is no project."""
    if (target / CONFIG_NAME).is_file():
        return target
    return target.parent if target.name == CONFIG_NAME and target.is_file() else None


def required_project(target: Path | None, what: str) -> Path:
    """Return the project's folder for what needs one."""
    folder = project_folder(target) if target is not None else None
    if folder is None:
        raise ConfigError(
            Problem(
                what,
                f"used on {target or 'nothing'}",
                f"a project with a {CONFIG_NAME}",
                "Make one: maquette init",
            )
        )
    return folder


def kind_of(target: Path | None, asked: Kind | None) -> Kind | None:
    """Return what is learned: as asked, else as the project's profile says; None when nobody says."""
    if asked is not None or target is None:
        return asked
    folder = project_folder(target) or target
    if not (folder / PROFILE_NAME).is_file():
        return None
    from maquette.project.profile_file import read_profile

    try:
        return read_profile(folder).kind
    except MaquetteError:
        return None  # what is wrong with it is for `maquette check` to say


def require_free(path: Path) -> None:
    """Raise OutputError when something is at `path` already: nothing is overwritten."""
    if path.exists():
        raise OutputError(Problem(str(path), "exists already", "a new file", "Choose another name."))
