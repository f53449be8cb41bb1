"""What the picture rules share: one finding for many pictures, and the size that training asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.measures import Measured, Measures, PictureFacts
from maquette.findings.records import Edit, Finding, Fix, SetAside, Severity
from maquette.findings.registry import Report
from maquette.project.request import TrainingRequest
from maquette.rules.picture_repairs import Repair, SavedAgain

LEAST_RESOLUTION = (512, 512)
"""Assumed where nothing says what is trained at: no family is trained at less."""


def sound(facts: DatasetFacts) -> list[tuple[Path, Measures]]:
    """Return the subject's pictures that could be measured, each once."""
    seen = {each.path: each.measures for each in facts.pictures if each.is_sound}
    return list(seen.items())


def sound_of_all(facts: DatasetFacts) -> list[tuple[Path, Measures]]:
    """Return the same of the subject's and of regularization pictures."""
    seen = {each.path: each.measures for each in (*facts.pictures, *facts.regularization) if each.is_sound}
    return list(seen.items())


def decoded(facts: DatasetFacts) -> list[tuple[Path, PictureFacts]]:
    """Return the pictures that were decoded whole, regularization pictures among them, measured or not."""
    every = dict.fromkeys((*facts.files, *facts.regularization_files))
    return [(path, facts.decoded[path]) for path in every if path in facts.decoded]


def unsound(facts: DatasetFacts) -> list[Measured]:
    """Return the pictures that could not be read, regularization pictures among them, each once."""
    return list(
        {each.path: each for each in (*facts.pictures, *facts.regularization) if not each.is_sound}.values()
    )


def many(
    report: Report,
    facts: DatasetFacts,
    paths: Sequence[Path],
    what: str,
    remedy: str,
    *,
    fix: Fix | None = None,
    severity: Severity | None = None,
) -> Iterator[Finding]:
    """Yield one finding for all `paths`, or none for none. `what` completes "fox_01.png …" or "12 pictures (…) …"."""
    if not paths:
        return
    where = paths[0] if len(paths) == 1 else common_folder(facts, paths)
    yield report(where, "", f"{subject_of(paths)} {what}", remedy, fix=fix, severity=severity)


def like_by_sight(
    own: Sequence[tuple[Path, Measures]], others: Sequence[tuple[Path, Measures]]
) -> dict[Path, tuple[Path, str]]:
    """Return which of `others` look like one of `own` or like its mirror image, each with that one and in what way."""
    from maquette.dataset.hashes import mirror_images, near_duplicates

    if not own or not others:
        return {}
    paths = [path for path, _ in (*own, *others)]
    measures: list[Measures] = [each for _, each in (*own, *others)]
    found: dict[Path, tuple[Path, str]] = {}
    for how, pairs in (("mirrors", mirror_images(measures)), ("is nearly", near_duplicates(measures))):
        for pair in pairs:
            first, second = sorted((pair.first, pair.second))
            if first < len(own) <= second and paths[first].resolve() != paths[second].resolve():
                found[paths[second]] = (paths[first], how)
    return found


def subject_of(paths: Sequence[Path]) -> str:
    """Return `fox_01.png`, or `12 pictures (a.png, b.png, c.png, …)`."""
    if len(paths) == 1:
        return paths[0].name
    names = ", ".join(path.name for path in paths[:3])
    return f"{len(paths)} pictures ({names}{', …' if len(paths) > 3 else ''})"


def common_folder(facts: DatasetFacts, paths: Sequence[Path]) -> Path:
    """Return the folder that holds all `paths`, or the dataset's root where they share none."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:
        return facts.root


def training_resolution(facts: DatasetFacts, request: TrainingRequest | None) -> tuple[int, int]:
    """Return width and height that pictures are fitted to: the dataset TOML's, the settings', else 512×512."""
    for source in facts.plan.datasets:
        if source.resolution_wh is not None:
            return source.resolution_wh
    asked = request.value("resolution_wh") if request is not None else None
    return asked or LEAST_RESOLUTION


def has_buckets(facts: DatasetFacts, request: TrainingRequest | None) -> bool | None:
    """Return whether pictures keep their shape; None where nothing says."""
    for source in facts.plan.datasets:
        if source.enable_bucket is not None:
            return source.enable_bucket
    return request.value("enable_bucket") if request is not None else None


def is_enlarging_off(facts: DatasetFacts, request: TrainingRequest | None) -> bool:
    """Return whether small pictures are trained at their own size (bucket_no_upscale)."""
    given = [source.no_upscale for source in facts.plan.datasets if source.no_upscale is not None]
    return given[0] if given else bool(request is not None and request.value("bucket_no_upscale"))


def enlargement(measures: Measures, resolution_wh: tuple[int, int]) -> float:
    """Return by which factor a picture is enlarged to reach the area trained at; below 1 it is shrunk."""
    return sqrt(resolution_wh[0] * resolution_wh[1] / (measures.width_px * measures.height_px))


def aside(summary: str, facts: DatasetFacts, pictures: Sequence[Path]) -> Fix | None:
    """Return the fix that sets pictures aside together with the captions that belong to them alone, or None.

    A picture that a list names is left to a person: without it the list would name what is not there.
    """
    edits: list[Edit] = []
    for path in pictures:
        caption = facts.caption_of(path)
        if caption is not None and caption.listed_in is not None:
            continue
        edits.append(SetAside(path))
        if caption is not None and not _is_shared(caption.path, path):
            edits.append(SetAside(caption.path))
    return Fix(summary, tuple(edits)) if edits else None


def _is_shared(caption: Path, picture: Path) -> bool:
    others = (
        picture.with_suffix(ending) for ending in PICTURE_EXTENSIONS if ending != picture.suffix.lower()
    )
    return any(other.exists() for other in others if caption.parent == picture.parent)


def repairs(summary: str, paths: Sequence[Path], repair: Repair) -> Fix:
    """Return one fix that saves all pictures again."""
    return Fix(summary, tuple(SavedAgain(path, repair) for path in paths))
