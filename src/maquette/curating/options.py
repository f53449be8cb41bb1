"""What a run of curation is asked for, checked before anything is looked at; what is not said is as it was last time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from maquette.curating.decisions import Decisions
from maquette.curating.limits import Limits
from maquette.curating.listing import Heap, list_heap, list_references
from maquette.encoders import TABLE
from maquette.encoders.faces import MODES
from maquette.errors import ConfigError, MaquetteError, Problem, did_you_mean
from maquette.project.profile import Profile

REMEMBERED = ("references", "threshold", "target", "encoder", "profile", "faces", "face_models")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for in so many words; None: not said."""

    references: tuple[Path, ...] | None = None
    threshold: float | None = None
    target: int | None = None
    encoder: str | None = None
    profile: Path | None = None
    faces: str | None = None
    face_models: Path | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run whose input is checked."""

    heap: Heap
    options: Options
    references: tuple[Path, ...]
    """Every reference picture."""
    encoder: str
    """Its name; empty: none was named."""
    faces: str
    profile: Profile | None
    limits: Limits
    workers: int
    remembered: tuple[str, ...] = ()
    """Options that are as they were last time."""
    notes: tuple[str, ...] = ()


def with_last(given: Options, last: Decisions | None, fresh: bool) -> tuple[Options, tuple[str, ...]]:
    """Return the options with what was not said taken from the last run, and the names of what was."""
    if last is None or fresh:
        return given, ()
    stored = options_from(last.settings)
    values = {name: getattr(given, name) for name in REMEMBERED}
    names = [name for name in REMEMBERED if values[name] is None and getattr(stored, name) not in (None, ())]
    values |= {name: getattr(stored, name) for name in names}
    limits = {**stored.limits, **given.limits}
    names += [name for name in stored.limits if name not in given.limits]
    return Options(**values, limits=limits), tuple(names)


def check(
    directory: Path,
    options: Options,
    *,
    remembered: Sequence[str],
    workers: int | None,
    listed: bool = True,
) -> Job:
    """Return the run that `options` mean. Raises MaquetteError with every problem found.

    listed: False where the pictures are still to come (frames of a film), so that the folder may be empty.
    """
    problems: list[Problem] = []

    def attempt(make: Any) -> Any:
        try:
            return make()
        except MaquetteError as error:
            problems.extend(error.problems)
            return None

    _check_values(options, problems)
    limits = attempt(lambda: _limits(options.limits))
    profile = attempt(lambda: _profile(options.profile))
    places = options.references
    notes = []
    if places is None and profile is not None and profile.references:
        places = tuple(profile.references)
    references = attempt(lambda: list_references(places)) if places else []
    heap: Any = Heap(directory, ())
    if listed:
        heap = attempt(lambda: list_heap(directory, without=_left_out(places, references, directory)))
    if problems:
        raise ConfigError(problems)
    if options.references is None and references:
        notes.append(f"References: the profile's {len(references)}.")
    return Job(
        heap=heap,
        options=options,
        references=tuple(references),
        encoder=options.encoder or "",
        faces=options.faces or "off",
        profile=profile,
        limits=limits,
        workers=workers or os.cpu_count() or 1,
        remembered=tuple(remembered),
        notes=tuple(notes),
    )


def settings_of(options: Options) -> dict[str, Any]:
    """Return the options as curation.json keeps them, paths absolute, what was not said left out."""
    found: dict[str, Any] = {}
    for name in REMEMBERED:
        value = getattr(options, name)
        if isinstance(value, tuple):
            found[name] = [str(path.resolve()) for path in value]
        elif isinstance(value, Path):
            found[name] = str(value.resolve())
        elif value is not None:
            found[name] = value
    return found | ({"limits": dict(sorted(options.limits.items()))} if options.limits else {})


def options_from(settings: Mapping[str, Any]) -> Options:
    """Return the options that `settings_of` wrote."""
    values: dict[str, Any] = {name: settings.get(name) for name in REMEMBERED}
    if values["references"] is not None:
        values["references"] = tuple(Path(path) for path in values["references"])
    for name in ("profile", "face_models"):
        if values[name] is not None:
            values[name] = Path(values[name])
    return Options(**values, limits=settings.get("limits", {}))


def _check_values(options: Options, problems: list[Problem]) -> None:
    def wrong(flag: str, given: object, required: str, remedy: str) -> None:
        problems.append(Problem(flag, str(given), required, remedy))

    if options.threshold is not None and not 0 <= options.threshold <= 1:
        wrong("--threshold", options.threshold, "a similarity from 0 to 1", "0.75 is usual.")
    if options.target is not None and options.target < 1:
        wrong(
            "--target",
            options.target,
            "a number of pictures, 1 or more",
            "Leave it out to keep all good ones.",
        )
    if options.faces is not None and options.faces not in MODES:
        wrong(
            "--faces", repr(options.faces), f"one of {', '.join(MODES)}", did_you_mean(options.faces, MODES)
        )
    if options.encoder is not None and options.encoder.partition("=")[0] not in TABLE:
        kind = options.encoder.partition("=")[0]
        wrong("--encoder", repr(options.encoder), "a known encoder", did_you_mean(kind, TABLE))


def _limits(given: Mapping[str, float]) -> Limits:
    known = asdict(Limits())
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ConfigError(
            Problem(f"limit {name}", "unknown", "a limit of quality", did_you_mean(name, known))
            for name in unknown
        )
    whole = {each.name for each in fields(Limits) if "int" in str(each.type)}
    return Limits(**{name: int(value) if name in whole else float(value) for name, value in given.items()})  # type: ignore[arg-type]


def _profile(path: Path | None) -> Profile | None:
    if path is None:
        return None
    from maquette.project.profile_file import read_profile

    return read_profile(path)


def _left_out(
    places: Sequence[Path] | None, references: Iterable[Path] | None, directory: Path
) -> list[Path]:
    """References are no candidates: their pictures are left out, and their folders where those lie inside."""
    folders = [place for place in places or () if place.is_dir() and place.resolve() != directory.resolve()]
    return [*folders, *(references or ())]
