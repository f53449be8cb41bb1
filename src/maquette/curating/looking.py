"""The steps of a run that look at pictures: measure, embed, find faces. Each yields progress and fills in looks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maquette.curating import identity as likeness
from maquette.curating.decisions import WORK_NAME
from maquette.curating.faces import judge_faces
from maquette.curating.job import Job
from maquette.curating.quality import look_of
from maquette.curating.records import Look
from maquette.encoders import Encoder, load_encoder
from maquette.encoders.choosing import PHOTOGRAPHS, encoder_for
from maquette.encoders.embeddings import EmbeddingStore, embed
from maquette.encoders.faces import FaceFinder, FaceStore, find_faces
from maquette.encoders.likeness import best_of, scores
from maquette.errors import ConfigError, DatasetError, ModelError, Problem
from maquette.events import Event, Finished, Message, Progress, Started

SCORED_AT_ONCE = 4096
MOST_SAID = 5


@dataclass
class Findings:
    """What a run has found so far."""

    looks: list[Look] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    identity: dict[str, Any] | None = None
    embedded_now: int = 0
    store: EmbeddingStore | None = None
    encoder: Encoder | None = None
    finder: FaceFinder | None = None

    def warn(self, text: str) -> Message:
        """Keep a sentence for the result and return it as an event."""
        self.warnings.append(text)
        return Message(text, "warning")

    def open_looks(self) -> list[Look]:
        return [look for look in self.looks if look.is_open and look.sha256]


def measure(job: Job, found: Findings, cache: Any) -> Iterator[Event]:
    """Take every picture's measures, in order; only slim records stay in memory."""
    from maquette.dataset.measuring import measure_pictures

    names = job.heap.names
    yield Started("measure", len(names), "picture")
    paths = [job.heap.path(name) for name in names]
    unread: list[Problem] = []
    for index, measured in enumerate(measure_pictures(paths, cache=cache, workers=job.workers), start=1):
        found.looks.append(look_of(names[index - 1], measured))
        if isinstance(measured.result, Problem):
            unread.append(measured.result)
        if index % 16 == 0 or index == len(names):
            yield Progress("measure", index, len(names), "picture")
    yield Finished("measure")
    for problem in unread[:MOST_SAID]:
        yield found.warn(f"{problem.where} is left out: {problem.given}. {problem.remedy}")
    if len(unread) > MOST_SAID:
        yield found.warn(f"{len(unread) - MOST_SAID} more cannot be read: curation.json says why.")


def make_ready(job: Job, found: Findings, device: str | None) -> Iterator[Event]:
    """Load the models and encode the references, before an hour is spent on pictures. Raises MaquetteError.

    Where references are given and no encoder is named, what they show decides (`encoder_for`); if the model for it is neither
    here nor to be had, pictures are judged without it and go to review.
    """
    if job.encoder:
        yield from _fit_for_it(job, found)
        found.encoder = load_encoder(job.encoder, device)
    elif job.references:
        yield _choose_encoder(job, found, device)
    if found.encoder is not None and found.encoder.name == PHOTOGRAPHS:
        yield from _no_faces_by_photographs(job, found)
    if found.encoder is not None:
        found.store = EmbeddingStore(job.heap.directory / WORK_NAME / "embeddings", found.encoder)
        _embed_references(job, found.encoder, found.store)
    if job.faces != "off":
        found.finder = FaceFinder(job.faces, job.options.face_models)


def _fit_for_it(job: Job, found: Findings) -> Iterator[Event]:
    """Say of the encoder that was named that it was not made for these pictures; raise ConfigError for the small world's judge
    before photographs.
    """
    from maquette.encoders.world import World, are_photographs, shows_the_small_world

    shown = job.references or tuple(job.heap.path(name) for name in job.heap.names)
    if job.encoder == PHOTOGRAPHS and not are_photographs(shown):
        yield found.warn(
            "These are drawings: to the encoder photo those of one style look alike whoever they show, so its threshold says "
            "little. Name clip, dinov2 or ccip, or set --threshold by the histogram."
        )
    if job.encoder != World.name or shows_the_small_world(shown):
        return
    if are_photographs(shown):
        raise ConfigError(
            Problem(
                f"--encoder {World.name}",
                f"{shown[0].name} and others, which are photographs",
                "pictures of the small world, the only ones that its judge can read",
                "Leave --encoder out, or name photo, clip, siglip, dinov2, ccip or face.",
            )
        )
    yield found.warn(
        "These are no pictures of the small world: its judge reads its own people into whatever it is shown."
    )


def _choose_encoder(job: Job, found: Findings, device: str | None) -> Message:
    name, why = encoder_for(job.references)
    try:
        found.encoder = load_encoder(name, device)
        return Message(f"Encoder: {found.encoder.name}, since none was named and {why}.")
    except ModelError as error:
        return found.warn(
            f"Nothing says who is on the pictures, so what is good otherwise goes to review: {error} "
            "Or name another with --encoder."
        )


def _no_faces_by_photographs(job: Job, found: Findings) -> Iterator[Event]:
    """Say of a person's photographs that faces decide, and that this encoder does not read them."""
    if job.faces != "match" and job.profile is not None and job.profile.kind == "person":
        yield found.warn(
            "The encoder photo knows people by clothes, hair and place rather than by their face: add --faces match."
        )


def _embed_references(job: Job, encoder: Encoder, store: EmbeddingStore) -> None:
    pairs = zip(_reference_hashes(job), job.references, strict=True)
    lost = [path for _, some in embed(store, encoder, pairs, workers=job.workers) for path in some]
    if lost:
        raise DatasetError(
            Problem(str(path), "cannot be decoded", "a sound picture", "Replace this reference.")
            for path in lost
        )


def leave_identity_open(found: Findings) -> None:
    """Send to review what nothing speaks against, where nothing could say who it is."""
    for look in found.open_looks():
        look.add("uncompared", "review", "not compared with the references: no encoder at hand")


def embed_open(job: Job, found: Findings) -> Iterator[Event]:
    """Encode what is still open, as far as it was not encoded before."""
    encoder, store = found.encoder, found.store
    assert encoder is not None and store is not None
    todo = {look.sha256: job.heap.path(look.name) for look in found.open_looks()}
    before = len(store)
    missing = [(sha, path) for sha, path in todo.items() if sha not in store]
    if missing:
        yield Started("embed", len(missing), "picture")
        done = 0
        for count, lost in embed(store, encoder, missing, workers=job.workers):
            done += count
            yield Progress("embed", done, len(missing), "picture")
            for path in lost:
                yield found.warn(f"{path} changed while it was looked at: run again.")
        yield Finished("embed")
    found.embedded_now = len(store) - before


def score_identity(job: Job, found: Findings) -> Iterator[Event]:
    """Measure every open picture's likeness to the references, judge it, and keep the histogram."""
    encoder, store = found.encoder, found.store
    assert encoder is not None and store is not None
    shas = _reference_hashes(job)
    references_RD = store.rows(shas).astype(np.float32)
    threshold = job.options.threshold if job.options.threshold is not None else encoder.threshold
    looks = [look for look in found.open_looks() if look.sha256 in store]
    names = _short_names(job.references)
    for start in range(0, len(looks), SCORED_AT_ONCE):
        _score(looks[start : start + SCORED_AT_ONCE], found, references_RD, shas, names)
    calibration = likeness.calibrate(encoder, references_RD, threshold)
    band = likeness.band_below(encoder, calibration, threshold, job.options.review_band)
    likeness.judge_identity(looks, threshold, band)
    values = [look.similarity for look in looks if look.similarity is not None]
    found.identity = {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "threshold": threshold,
        "review_band": band,
        "blind_to": encoder.blind_to,
        "best_of": best_of(len(job.references)),
        "references": names,
        "calibration": {
            "similarities": list(calibration.similarities),
            "proposed": calibration.proposed,
            "below": [names[index] for index in calibration.below],
        },
        "histogram": likeness.histogram(values, threshold),
    }
    is_measured = encoder.slack is not None
    for sentence in likeness.advice(calibration, names, threshold, values, is_measured=is_measured):
        yield found.warn(sentence)


def look_for_faces(job: Job, found: Findings) -> Iterator[Event]:
    """Find the faces on what is still open and on the references, and judge them."""
    finder = found.finder
    assert finder is not None
    store = FaceStore(job.heap.directory / WORK_NAME / "faces", finder)
    looks = found.open_looks()
    missing = [(look.sha256, job.heap.path(look.name)) for look in looks if look.sha256 not in store]
    yield Started("faces", len(missing), "picture")
    done = 0
    for count in find_faces(store, finder, missing, workers=job.workers):
        done += count
        yield Progress("faces", done, len(missing), "picture")
    yield Finished("faces")
    shas = _reference_hashes(job)
    for _ in find_faces(store, finder, zip(shas, job.references, strict=True), workers=job.workers):
        pass
    references = [store[sha] for sha in shas if sha in store]
    expected = job.profile is None or job.profile.kind == "person"
    for sentence in judge_faces(looks, store, references, mode=job.faces, expected=expected):
        yield found.warn(sentence)


def _score(
    looks: Sequence[Look], found: Findings, references_RD: Any, shas: list[str], names: list[str]
) -> None:
    """Fill in similarity and nearest reference; a picture that is itself a reference is measured by the others."""
    assert found.encoder is not None and found.store is not None
    rows_ND = found.store.rows([look.sha256 for look in looks]).astype(np.float32)
    table = np.array(found.encoder.similarity(rows_ND, references_RD), np.float32)
    places = {sha: index for index, sha in enumerate(shas)}
    for row, look in enumerate(looks):
        if look.sha256 in places:
            index = places[look.sha256]
            table[row, index] = -np.inf
            text = f"the same picture as the reference {names[index]}: a score against it would praise memory"
            look.add("reference", "note", text, other=names[index])
    values, nearest = scores(table)
    for look, value, index in zip(looks, values.tolist(), nearest.tolist(), strict=True):
        if np.isfinite(value):
            look.similarity, look.nearest_reference = round(value, 4), names[index]


def _reference_hashes(job: Job) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in job.references]


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the files' names, with their folder's where two are the same."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
