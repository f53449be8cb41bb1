"""Which pictures are to be captioned, and what their captions say now: a folder, a kohya folder or a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.captioning.records import Target
from maquette.dataset.below import advice, places
from maquette.dataset.captions import caption_candidates
from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import CaptionFact, DatasetFacts, DatasetInput, FolderFact
from maquette.dataset.folders import odd_names, with_dot
from maquette.dataset.reading import read_dataset
from maquette.dataset.unread import said_of_unread
from maquette.errors import ConfigError, DatasetError, Problem
from maquette.project.profile import PROFILE_NAME, Kind, Profile


@dataclass(frozen=True)
class Place:
    """A folder of pictures to caption, and the project that names it, if any."""

    root: Path
    """Where the history of its captions lies."""
    caption_extension: str
    project: Path | None = None
    trigger: str = ""
    class_word: str = ""


def find_place(directory: Path, caption_extension: str | None = None) -> Place:
    """Return the folder of pictures that `directory` means: itself, or the one its maquette.toml names.

    Raises ConfigError and DatasetError.
    """
    from maquette.project.config_file import CONFIG_NAME, load_settings

    directory = Path(directory)
    if not (directory / CONFIG_NAME).is_file():
        return Place(directory, with_dot(caption_extension or ".txt"))
    settings = load_settings(directory)
    images = Path(settings.dataset.images)
    if images.is_file():
        raise ConfigError(
            Problem(
                str(directory / CONFIG_NAME),
                f"images = {images.name}, a dataset TOML",
                "a folder",
                "Give the folder of pictures itself.",
            )
        )
    ending = caption_extension or settings.dataset.caption_extension or ".txt"
    return Place(images, with_dot(ending), directory, settings.subject.trigger, settings.subject.class_word)


def find_targets(place: Place) -> tuple[list[Target], list[str]]:
    """Return the pictures below a place with their present captions, and what is left aside.

    Raises DatasetError when there is no picture.
    """
    options = SubsetOptions(caption_extension=place.caption_extension)
    facts = read_dataset(DatasetInput(images=place.root, options=options), "listing")
    if facts.problems:
        raise DatasetError(facts.problems)
    for folder in facts.used_folders:
        listed_in = folder.subset.metadata_file if folder.subset is not None else None
        if listed_in is not None:
            given = "the captions of these pictures stand in it, and only caption files are written"
            remedy = "Rename it if its captions are not wanted; then caption the folder."
            raise DatasetError(
                Problem(str(listed_in), given, "a folder with a caption file a picture", remedy)
            )
    targets = [target for folder in facts.used_folders for target in _targets_of(folder, facts)]
    if odd := odd_names(target.picture for target in targets):
        raise DatasetError(odd)
    unread = [said_of_unread(folder.path, folder.others) for folder in facts.folders if folder.others]
    if not targets:
        raise DatasetError(
            Problem(
                str(place.root),
                "no pictures",
                "a folder of pictures, or of N_name folders with pictures",
                f"Pictures lie in {places(facts.below)}. {advice(facts.below)}"
                if facts.below
                else " ".join(["Check the path; pictures are .png, .jpg, .jpeg, .webp or .bmp.", *unread]),
            )
        )
    return targets, unread + [
        f"{folder.path}: its {folder.num_pictures} pictures are not captioned, since training does not look there."
        for folder in facts.folders
        if folder.subset is None and folder.num_pictures
    ]


def find_profile(
    place: Place, given: Path | None, trigger: str | None, kind: Kind
) -> tuple[Profile, Path | None]:
    """Return the subject's profile and its file: the one given, one lying by the pictures, or a bare one of a trigger.

    Raises ConfigError when the subject has no name at all.
    """
    from maquette.project.profile_file import read_profile

    path = given or next((path for path in _profile_places(place) if path.is_file()), None)
    if path is not None:
        profile = read_profile(path)
        if trigger and trigger not in profile.triggers:
            raise ConfigError(
                Problem(
                    "--trigger",
                    f"'{trigger}', while {path} names '{profile.trigger}'",
                    "one trigger",
                    "Leave --trigger out, or change the profile.",
                )
            )
        return profile, path
    trigger = trigger or place.trigger
    if not trigger:
        raise ConfigError(
            Problem(
                str(place.root),
                f"no {PROFILE_NAME} by these pictures and no trigger",
                "the subject's profile, or at least its trigger word",
                "Give --profile FILE or --trigger WORD; maquette init proposes a profile to fill in.",
            )
        )
    return Profile(kind=kind, trigger=trigger, class_word=place.class_word), None


def file_state(path: Path) -> str:
    """Return what tells one version of a file from another without reading it: size and time of change."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _profile_places(place: Place) -> list[Path]:
    folders = [place.project] if place.project else []
    root = place.root.resolve()
    folders += [root, root.parent, root.parent.parent]
    return [folder / PROFILE_NAME for folder in folders if folder is not None]


def _targets_of(folder: FolderFact, facts: DatasetFacts) -> list[Target]:
    assert folder.subset is not None, "only folders in use are captioned"
    first_of: dict[str, Path] = {}
    for picture in folder.files:
        first_of.setdefault(picture.stem, picture)
    targets = []
    for picture in folder.files:
        present = facts.caption_of(picture)
        first = first_of[picture.stem]
        problem = _why_unreadable(present)
        if first != picture:
            problem = problem or f"shares the caption file of {first.name}, which has the same name"
        targets.append(
            Target(
                picture=picture,
                name=picture.relative_to(facts.root).as_posix(),
                caption=caption_candidates(picture, folder.subset.caption_extension)[0],
                existing=present.text if present is not None else "",
                subset=folder.subset,
                problem=problem,
                lines_left_out=present.lines_left_out if present is not None else 0,
            )
        )
    return targets


def _why_unreadable(caption: CaptionFact | None) -> str:
    if caption is None or caption.problem is None:
        return ""
    given = f"is {caption.problem.given}" if caption.guessed_encoding else caption.problem.given
    return f"its caption {caption.path.name} {given}"
