"""A run of curation, checked before anything is looked at; what was not said is as it was last time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.curating.decisions import Decisions
from maquette.curating.limits import Limits
from maquette.curating.listing import Heap, list_heap, list_references
from maquette.curating.options import CurateOptions
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.project.profile import Profile

LIMITS = tuple(Limits.model_fields)
REMEMBERED = ("references", "threshold", "target", "encoder", "profile", "faces", "face_models")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run whose input is checked."""

    heap: Heap
    options: CurateOptions
    references: tuple[Path, ...]
    """Every reference picture."""
    encoder: str
    """Its name; empty: none was named."""
    faces: str
    profile: Profile | None
    workers: int
    remembered: tuple[str, ...] = ()
    """Options that are as they were last time."""
    notes: tuple[str, ...] = ()


def with_last(
    given: CurateOptions, last: Decisions | None, fresh: bool
) -> tuple[CurateOptions, tuple[str, ...]]:
    """Return the options with what was not said taken from the last run, and the names of what was."""
    if last is None or fresh:
        return given, ()
    said, stored = given.given(), options_from(last.settings).given()
    taken = [
        name for name in (*REMEMBERED, *LIMITS) if name not in said and stored.get(name) not in (None, ())
    ]
    return CurateOptions(**{name: stored[name] for name in taken}, **said), tuple(taken)


def check(
    directory: Path,
    options: CurateOptions,
    *,
    remembered: Sequence[str],
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

    profile = attempt(lambda: _profile(options.profile))
    places = options.references
    notes = []
    own_references = "references" in options.given()
    if not own_references and profile is not None and profile.references:
        places = tuple(profile.references)
    references = attempt(lambda: list_references(places)) if places else []
    heap: Any = Heap(directory, ())
    if listed:
        heap = attempt(lambda: list_heap(directory, without=_left_out(places, references, directory)))
    if problems:
        raise ConfigError(problems)
    if not own_references and references:
        notes.append(f"References: the profile's {len(references)}.")
    return Job(
        heap=heap,
        options=options,
        references=tuple(references),
        encoder=options.encoder or "",
        faces=options.faces or "off",
        profile=profile,
        workers=options.workers or os.cpu_count() or 1,
        remembered=tuple(remembered),
        notes=tuple(notes),
    )


def settings_of(options: CurateOptions) -> dict[str, Any]:
    """Return the options as curation.json keeps them, paths absolute, what was not said left out."""
    said = options.given()
    found: dict[str, Any] = {}
    for name in (name for name in REMEMBERED if name in said):
        value = said[name]
        if isinstance(value, tuple):
            found[name] = [str(path.resolve()) for path in value]
        else:
            found[name] = str(value.resolve()) if isinstance(value, Path) else value
    limits = {name: said[name] for name in sorted(LIMITS) if name in said}
    return found | ({"limits": limits} if limits else {})


def options_from(settings: Mapping[str, Any]) -> CurateOptions:
    """Return the options that `settings_of` wrote."""
    return CurateOptions(
        **{name: settings.get(name) for name in REMEMBERED}, **dict(settings.get("limits", {}))
    )


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
