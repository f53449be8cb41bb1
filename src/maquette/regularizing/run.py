"""Regularization pictures: what the base model draws for the class, without the subject. They keep the class as it is.

A picture that lies in OUT with its entry in the manifest is not drawn again, so an interrupted run goes on, and asking for
more adds. The manifest is written before the first picture and says how many are coming: OUT is this command's own wherever it
was killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, Problem
from maquette.events import Artifact, Finished, Message, Stage, Started, as_part
from maquette.files import sha256_file
from maquette.locking import held
from maquette.project.fields import flag_of
from maquette.regularizing.options import DrawingOptions, RegularizeOptions
from maquette.regularizing.prompts import TEMPLATES, prompts_for
from maquette.regularizing.sheet import write_sheet
from maquette.regularizing.store import Regularized, Sampling, Store
from maquette.regularizing.subject import refuse_triggers, subject_of
from maquette.regularizing.taking import taken

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec

DEFAULT_COUNT = 100


def regularize_events(base: str | Path | None, options: RegularizeOptions) -> Stage[Regularized]:
    """Make a folder of class pictures: drawn with `base`, or copied from the folder that the options name.

    Raises MaquetteError before anything is drawn: an unusable base, a trigger among the prompts, a folder that holds
    another set.
    """
    if options.source is not None:
        _refuse_idle(options)
    elif base is None:
        remedy = "Name the model that you train on, or a folder with --from DIR."
        raise ConfigError(Problem("BASE", "not given", "a base model", remedy))
    with held(options.out, what="regularize"):
        if options.source is not None:
            return (yield from taken(options.source, options))
        assert base is not None
        return (yield from _drawn(base, options))


def _refuse_idle(options: RegularizeOptions) -> None:
    """Refuse options that pictures of a folder do not heed."""
    idle = [name for name in options.given() if name in DrawingOptions.model_fields]
    if idle:
        raise ConfigError(
            Problem(
                flag_of(name, DrawingOptions.model_fields[name]),
                "given together with --from",
                "pictures that are drawn",
                "Leave it out.",
            )
            for name in idle
        )


def _drawn(base: str | Path, options: RegularizeOptions) -> Stage[Regularized]:
    from maquette import families

    began = time.perf_counter()
    subject = subject_of(options)
    word, needed = subject.word, subject.needed
    wanted = options.count or needed or DEFAULT_COUNT
    info = families.inspect(base, families.stated_by(options))
    sampling = _sampling(options, info.resolution, families.FAMILIES[info.family].spec)
    templates = options.prompts or TEMPLATES[subject.profile.kind if subject.profile else "character"]
    texts = prompts_for(templates, word, wanted, options.seed)
    remedy = "Leave the trigger out: these pictures are of everyone else."
    refuse_triggers((word, *texts), subject.profile, "prompts", remedy)
    store = Store(options.out, word)
    made_by = {"base": _base_of(info.path), "sampling": asdict(sampling), "class_word": word}
    if families.stated_by(options) != families.Stated():
        made_by["stated"] = asdict(families.stated_by(options))
    store.claim(made_by, wanted)
    plan = [(store.name(index), text, options.seed + index - 1) for index, text in enumerate(texts, start=1)]
    missing = [entry for entry in plan if not store.holds(*entry)]
    yield Message(_told(wanted, needed, len(plan) - len(missing), texts))
    if missing:
        yield from _draw(base, sampling, missing, store, options)
    store.end()
    sheet = write_sheet([store.pictures / name for name, _, _ in plan], store.sheet)
    yield Artifact("contact sheet", sheet)
    return store.result(wanted, len(missing), time.perf_counter() - began, needed)


def _sampling(options: RegularizeOptions, native_px: int, spec: FamilySpec) -> Sampling:
    """Return how every picture is drawn; what was not said is the family's."""
    return Sampling(
        size_px=options.size_px or native_px,
        steps=options.steps,
        guidance=spec.default_guidance if options.guidance is None else options.guidance,
        sampler=options.sampler or spec.default_sampler,
        negative=options.negative,
        clip_skip=options.clip_skip or spec.default("clip_skip"),
    )


def _base_of(path: str) -> dict[str, str]:
    file = Path(path)
    return {"path": path, "sha256": sha256_file(file) if file.is_file() else ""}


def _told(wanted: int, needed: int | None, kept: int, texts: Sequence[str]) -> str:
    parts = [
        f"{wanted} pictures of the class; {kept} are there already"
        if kept
        else f"{wanted} pictures of the class"
    ]
    if needed is not None:
        shown = "each is shown once an epoch" if wanted == needed else f"of which an epoch shows {needed}"
        if wanted < needed:
            shown = f"each is shown {needed / wanted:.1f} times an epoch"
        parts.append(f"{needed} training items, so {shown}, and an epoch has {2 * needed}")
    return f"{'; '.join(parts)}. The first prompt: {texts[0]}"


def _draw(
    base: str | Path,
    sampling: Sampling,
    missing: Sequence[tuple[str, str, int]],
    store: Store,
    options: DrawingOptions,
) -> Stage[None]:
    """Draw what is missing, a batch at a time; each batch is on disk before the next begins."""
    from maquette import families
    from maquette.devices import chosen
    from maquette.drawing.draw import drawing
    from maquette.drawing.packing import batch_on
    from maquette.drawing.request import DrawRequest
    from maquette.drawing.scene import picture_chunks, scene_of

    place = chosen(options.device, options.precision)
    yield Started("load")
    model = families.load(
        base, dtype=place.weight_dtype, device=str(place.device), stated=families.stated_by(options)
    )
    yield Finished("load")
    size = options.batch or batch_on(model.device, sampling.size_px, sampling.size_px)
    yield Started("draw", len(missing), "picture")
    for start in range(0, len(missing), size):
        part = missing[start : start + size]
        requests = [
            DrawRequest(
                prompt=text,
                negative=sampling.negative,
                seed=seed,
                width_px=sampling.size_px,
                height_px=sampling.size_px,
                steps=sampling.steps,
                guidance=sampling.guidance,
                sampler=sampling.sampler,
            )
            for _, text, seed in part
        ]
        own = {"clip_skip": sampling.clip_skip}
        drawn = yield from as_part(
            drawing(model, requests, options=own, batch=size), "draw", start, len(missing)
        )
        chunks = [picture_chunks(scene_of(model.info, model.spec, request, own)) for request in requests]
        store.save(part, drawn, chunks)
    yield Finished("draw")
