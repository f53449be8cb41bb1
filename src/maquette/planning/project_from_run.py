"""`init --from`: a project out of a run that somebody has, a script, a TOML, or another trainer's settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.elsewhere.runs import Runs, runs_of
from maquette.errors import ConfigError, OutputError, Problem
from maquette.files import require_writable_folder, write_atomic
from maquette.planning.init_options import InitOptions, NewProjectResult, proposed_profile, require_opening
from maquette.planning.takeover import Taken, take_over
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.places import found_path, is_of_another_computer
from maquette.project.profile import PROFILE_NAME
from maquette.project.request import Folder, TrainingRequest
from maquette.project.settings_text import Reasoned, relative_to, settings_toml, toml_value

if TYPE_CHECKING:
    from maquette.dataset.facts import DatasetFacts
    from maquette.families.protocol import FamilySpec, ModelInfo

DATASET_NAME = "dataset.toml"
MODEL_ENDINGS = (".safetensors", ".ckpt", ".pt", ".bin")
LONGEST_COMMENT = 160


@dataclass(frozen=True)
class _Found:
    """What a run names, where it lies here; a flag wins."""

    base: str
    images: Path
    regularization: Path | None = None
    folders: tuple[Folder, ...] = ()
    """Folders that become a dataset TOML of the project, where one path cannot say them."""
    repeats: int | None = None
    caption_extension: str | None = None
    metadata_file: Path | None = None


def project_from_run(folder: Path, options: InitOptions) -> NewProjectResult:
    """Make a project folder out of the run that `options.source` describes.

    Settings are taken over with the names they had, and what has no counterpart is listed; pictures and base stay where they
    are, and flags win over the file. Raises MaquetteError with everything that is missing.
    """
    from maquette import families

    if (folder / CONFIG_NAME).exists():
        given = Problem(
            str(folder / CONFIG_NAME),
            "exists already",
            "a folder without a project",
            "Choose another folder.",
        )
        raise OutputError(given)
    assert options.source is not None, "only called for --from"
    _refuse_proposals(options)
    runs = runs_of(options.source)
    request = runs.requests[0]
    found = _places(request, options)
    info = families.inspect_or_known(found.base)
    with tempfile.TemporaryDirectory() as scratch:
        facts = _facts(found, Path(scratch), request)
    return _written(folder, options, runs, found, facts, info, families.FAMILIES[info.family].spec)


def _refuse_proposals(options: InitOptions) -> None:
    """Raise ConfigError for what the run says itself: its settings are taken over, none is proposed."""
    if options.changed:
        given = f"given together with {', '.join(options.changed)}"
        remedy = "Leave them out, and change them in the maquette.toml that is made."
        raise ConfigError(Problem("--from", given, "the run's own settings", remedy))


# --- where things lie ------------------------------------------------------------------------------------


def _places(request: TrainingRequest, options: InitOptions) -> _Found:
    """Return base and pictures as flags or the file name them. Raises ConfigError with all that is not here."""
    problems: list[Problem] = []
    base = options.base or _base(request, problems)
    if options.images is not None:
        return _all_or_raise(_Found(base, options.images, options.regularization), problems)
    regularization = options.regularization or (
        found_path(request.regularization, request.file) if request.regularization else None
    )
    if request.folders:
        return _all_or_raise(_of_folders(base, request, regularization, problems), problems)
    named = request.dataset_config or request.images
    images = found_path(named, request.file) if named is not None else None
    if images is None:
        problems.append(_missing("--images", named, "the folder of the pictures, or its dataset TOML"))
    listed_in = found_path(request.metadata_file, request.file) if request.metadata_file else None
    if request.metadata_file is not None and listed_in is None:
        given = f"{request.metadata_file} is not on this computer"
        remedy = "Put it where the file names it, or give --images DIR with captions beside the pictures."
        problems.append(Problem(request.said("metadata_file"), given, "the list of the pictures", remedy))
    return _all_or_raise(_Found(base, images or Path(), regularization, metadata_file=listed_in), problems)


def _all_or_raise(found: _Found, problems: list[Problem]) -> _Found:
    if problems:
        raise ConfigError(problems)
    return found


def _base(request: TrainingRequest, problems: list[Problem]) -> str:
    if request.base:
        here = found_path(Path(request.base), request.file)
        is_hub_name = request.base.count("/") == 1 and not request.base.endswith(MODEL_ENDINGS)
        if here is not None:
            return str(here)
        if (
            is_hub_name
            and not is_of_another_computer(request.base)
            and not request.base.startswith((".", "/", "~"))
        ):
            return request.base
    problems.append(
        _missing("--base", request.base, "the base model: a file, a diffusers folder or a hub name")
    )
    return ""


def _of_folders(
    base: str, request: TrainingRequest, regularization: Path | None, problems: list[Problem]
) -> _Found:
    placed = []
    for each in request.folders:
        here = found_path(each.path, request.file)
        if here is None:
            problems.append(_missing("--images", each.path, "the folder of the pictures"))
        else:
            placed.append(replace(each, path=here))
    if len(placed) == 1 and not placed[0].options and not placed[0].is_regularization:
        only = placed[0]
        return _Found(base, only.path, regularization, (), only.repeats, only.caption_extension)
    return _Found(base, Path(DATASET_NAME), None, tuple(placed))


def _missing(flag: str, named: Any, required: str) -> Problem:
    given = f"{named} is not on this computer" if named else "the file names none"
    return Problem(flag, given, required, f"Add {flag} with where it lies here.")


def _facts(found: _Found, scratch: Path, request: TrainingRequest) -> DatasetFacts:
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.planned import options_of
    from maquette.dataset.reading import read_dataset

    images = found.images
    if found.folders:
        images = scratch / DATASET_NAME
        images.write_text(_dataset_toml(found.folders, request), encoding="utf-8")
    options = options_of(request)
    if found.caption_extension:
        options = replace(options, caption_extension=found.caption_extension)
    given = DatasetInput(
        images=images,
        regularization=found.regularization,
        metadata_file=found.metadata_file,
        options=options,
        fallback_caption=request.caption_fallback,
    )
    return read_dataset(given, "measures", cache=None)


def _dataset_toml(folders: tuple[Folder, ...], request: TrainingRequest) -> str:
    """Return folders with their repeats as a kohya dataset TOML, which Maquette reads as sd-scripts does."""
    buckets = request.value("enable_bucket")
    lines = ["[general]", f"enable_bucket = {toml_value(buckets is not False)}", "", "[[datasets]]"]
    for folder in folders:
        lines += [
            "",
            "  [[datasets.subsets]]",
            f"  image_dir = {toml_value(folder.path.absolute().as_posix())}",
            f"  num_repeats = {folder.repeats}",
            f"  caption_extension = {toml_value(folder.caption_extension)}",
            *(["  is_reg = true"] if folder.is_regularization else []),
            *(f"  {name} = {toml_value(value)}" for name, value in _known_options(folder.options)),
        ]
    return "\n".join(lines) + "\n"


def _known_options(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    from maquette.dataset.kohya import UNSUPPORTED, WITHOUT_EFFECT
    from maquette.kohya.dataset_toml import Subset

    for name, value in options.items():
        if name in Subset.model_fields and name not in UNSUPPORTED and name not in WITHOUT_EFFECT:
            yield name, value


# --- what is written -------------------------------------------------------------------------------------


def _written(
    folder: Path,
    options: InitOptions,
    runs: Runs,
    found: _Found,
    facts: DatasetFacts,
    info: ModelInfo,
    spec: FamilySpec,
) -> NewProjectResult:
    from maquette.dataset.strict import dataset_of
    from maquette.dataset.subject_guess import subject_of
    from maquette.project.profile_file import read_profile
    from maquette.project.scaffold import write_profile
    from maquette.rules.verdict import clip_tokens, remarks

    request = runs.requests[0]
    subject = subject_of(None, request, facts, clip_tokens())
    trigger = options.trigger or request.trigger or (subject.triggers[0] if subject is not None else "")
    class_word = options.class_word or _class_word(facts, trigger)
    options = options.model_copy(update={"trigger": trigger, "class_word": class_word})
    has_profile = (folder / PROFILE_NAME).exists()
    proposed = read_profile(folder) if has_profile else proposed_profile(facts, options)
    require_opening(proposed, options)
    dataset = dataset_of(facts)
    taken = _taken(request, found, facts, spec, runs)
    _places_of_project(taken, folder, found, options if has_profile and trigger else None)
    require_writable_folder(folder)
    if found.folders:
        facts = replace(facts, given=replace(facts.given, images=folder / DATASET_NAME))
        write_atomic(folder / DATASET_NAME, _dataset_toml(found.folders, request))
    config = write_atomic(folder / CONFIG_NAME, _config_text(taken, runs, request, folder))
    settings = load_settings(config)
    profile, is_new = write_profile(folder, proposed)
    return NewProjectResult(
        config=config,
        pictures=sum(not picture.subset.is_regularization for picture in dataset.pictures),
        family=info.family,
        steps=_steps(taken, facts, request),
        profile=profile,
        profile_is_new=is_new,
        has_captions=any(picture.caption_path is not None for picture in dataset.pictures),
        guesses=proposed.notes if is_new else (),
        warnings=tuple(message.text for message in remarks(settings, facts)),
        taken=tuple(
            f"{name} = {toml_value(entry.value)} ({entry.reason})" for name, entry in taken.values.items()
        ),
        left=tuple(f"{name}: {why}" if why else name for name, why in taken.left.items()),
    )


def _class_word(facts: DatasetFacts, trigger: str) -> str:
    """Return what stands behind the trigger in a folder's name: `dog` in 10_mkvi dog."""
    from maquette.dataset.folders import prefix_of

    names = [prefix_of(each.path.name) for each in facts.used_folders if not each.is_regularization]
    own = [
        name[1].removeprefix(trigger).strip()
        for name in names
        if name is not None and trigger and name[1].startswith(trigger)
    ]
    return own[0] if own and len(set(own)) == 1 and own[0].replace(" ", "").isalpha() else ""


def _taken(
    request: TrainingRequest, found: _Found, facts: DatasetFacts, spec: FamilySpec, runs: Runs
) -> Taken:
    taken = take_over(request, spec)
    if found.repeats is not None and found.repeats > 1:
        taken.values["repeats"] = Reasoned(found.repeats, "repeats")
    if found.caption_extension not in (None, ".txt"):
        taken.values["caption_extension"] = Reasoned(found.caption_extension, "caption_extension")
    for each in found.folders:
        known = dict(_known_options(each.options))
        for name in [name for name in each.options if name not in known]:
            taken.left[f"{name} = {each.options[name]} in {each.path.name}"] = "Maquette has no such thing"
    for other in runs.requests[1:]:
        taken.left[f"the run in line {other.line}"] = "a project is made of the first run"
    return taken


def _steps(taken: Taken, facts: DatasetFacts, request: TrainingRequest) -> int:
    """Return the optimizer steps of the run; where its pictures cannot be planned, those that are written."""
    from maquette.dataset.planned import schedule_of

    schedule = schedule_of(facts, request)
    written = taken.values.get("steps")
    return schedule.steps if schedule is not None else (written.value if written is not None else 0)


def _places_of_project(taken: Taken, folder: Path, found: _Found, subject: InitOptions | None) -> None:
    base = relative_to(Path(found.base), folder) if Path(found.base).expanduser().exists() else found.base
    images = DATASET_NAME if found.folders else relative_to(found.images, folder)
    taken.values["base"] = Reasoned(base, "")
    taken.values["images"] = Reasoned(images, "")
    if found.regularization is not None:
        taken.values["regularization"] = Reasoned(relative_to(found.regularization, folder), "")
    if found.metadata_file is not None:
        taken.values["metadata_file"] = Reasoned(relative_to(found.metadata_file, folder), "")
    if subject is not None:
        taken.values["trigger"] = Reasoned(subject.trigger, "profile.toml must name the same")


def _config_text(taken: Taken, runs: Runs, request: TrainingRequest, folder: Path) -> str:
    values = {name: Reasoned(entry.value, _comment(entry.reason)) for name, entry in taken.values.items()}
    heading = f"A Maquette project, made from {request.file.name}, {runs.title}.\nBehind each setting: its name there."
    text = settings_toml(values, heading)
    if not taken.left:
        return text
    lines = [f"#   {_comment(f'{name}: {why}' if why else name)}" for name, why in taken.left.items()]
    return text + "\n# Not taken over:\n" + "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """Return a stranger's text as it may stand behind a #: one line, nothing that ends or hides it."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= LONGEST_COMMENT else f"{plain[: LONGEST_COMMENT - 1]}…"
