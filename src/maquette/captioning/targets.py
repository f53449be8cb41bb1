"""Which pictures are to be captioned, and what their captions say now: a folder, a kohya folder or a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.captioning.records import Target
from maquette.dataset.captions import caption_candidates, decode_caption, guess_encoding
from maquette.dataset.config import SubsetOptions, SubsetSource
from maquette.dataset.folders import Listing, Notes, list_folder, with_dot
from maquette.dataset.scan import plan_folders
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
    """Return the pictures below a place with their present captions, and warnings about what is left aside.

    Raises DatasetError when there is no picture.
    """
    plan = plan_folders(place.root, options=SubsetOptions(caption_extension=place.caption_extension))
    notes = Notes(warnings=list(plan.warnings))
    targets: list[Target] = []
    for subset in plan.subsets:
        targets += _targets_of(subset, list_folder(subset.path, notes), place.root)
    if notes.problems:
        raise DatasetError(notes.problems)
    if not targets:
        raise DatasetError(
            Problem(
                str(place.root),
                "no pictures",
                "a folder of pictures, or of N_name folders with pictures",
                "Check the path; pictures are .png, .jpg, .jpeg, .webp or .bmp.",
            )
        )
    return targets, [message.text for message in notes.warnings]


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


def _targets_of(subset: SubsetSource, listing: Listing, root: Path) -> list[Target]:
    present = {path for path in listing.files if path.suffix == subset.caption_extension}
    stems: dict[str, list[Path]] = {}
    for picture in listing.pictures:
        stems.setdefault(picture.stem, []).append(picture)
    targets = []
    for picture in listing.pictures:
        candidates = caption_candidates(picture, subset.caption_extension)
        source = next((path for path in candidates if path in present), None)
        text, problem, left_out = _present_caption(source)
        first = stems[picture.stem][0]
        if first != picture:
            problem = problem or f"shares the caption file of {first.name}, which has the same name"
        targets.append(
            Target(
                picture=picture,
                name=picture.relative_to(root).as_posix(),
                caption=candidates[0],
                existing=text,
                subset=subset,
                problem=problem,
                lines_left_out=left_out,
            )
        )
    return targets


def _present_caption(path: Path | None) -> tuple[str, str, int]:
    """Return a caption file's first line, why it cannot be read, and how many more lines it has."""
    if path is None:
        return "", "", 0
    try:
        data = path.read_bytes()
        read = decode_caption(data)
    except UnicodeDecodeError:
        return "", f"its caption {path.name} is not UTF-8; it looks like {guess_encoding(data)}", 0
    except OSError as error:
        return "", f"its caption {path.name} cannot be read ({error.strerror})", 0
    return read.text, "", read.lines_left_out
