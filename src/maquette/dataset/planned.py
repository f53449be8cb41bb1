"""What a planned run makes of its pictures: the options it gives them, and the sum from pictures to steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.config import (
    BucketSettings,
    DatasetSource,
    SubsetOptions,
    SubsetSource,
    bucket_settings,
)
from maquette.dataset.facts import DatasetFacts, DatasetInput, HeldOut
from maquette.dataset.mask_files import MASK_FOLDER
from maquette.dataset.records import Fit, Item, Picture
from maquette.dataset.repeats import Schedule, make_schedule, plan_items
from maquette.errors import MaquetteError
from maquette.events import Message
from maquette.project.places import found_path
from maquette.project.request import TrainingRequest

DEFAULT_GRID_PX = 8
"""Pixels of a latent's cell, where the base model is not known."""
UNKNOWN_SIZE_WH = (512, 512)
"""Stands in for the size of a picture that cannot be read, and for a resolution that nobody says."""


def options_of(request: TrainingRequest) -> SubsetOptions:
    """Return what `request` says about showing and captioning pictures, where folder names and a TOML are silent."""
    return SubsetOptions(
        num_repeats=request.value("repeats") or 1,
        caption_extension=request.caption_extension,
        shuffle_caption=bool(request.value("shuffle_caption")),
        keep_tokens=request.value("keep_tokens") or 0,
        keep_tokens_separator=request.keep_tokens_separator or "",
        caption_separator=request.caption_separator or ",",
        secondary_separator=request.secondary_separator or "",
        enable_wildcard=bool(request.enable_wildcard),
        caption_prefix=request.caption_prefix or "",
        caption_suffix=request.caption_suffix or "",
        caption_dropout_rate=request.caption_dropout_rate or 0.0,
        caption_dropout_every_n_epochs=request.caption_dropout_every_n_epochs or 0,
        caption_tag_dropout_rate=request.caption_tag_dropout_rate or 0.0,
        token_warmup_min=1 if request.token_warmup_min is None else request.token_warmup_min,
        token_warmup_step=request.token_warmup_step or 0,
        flip_aug=bool(request.flip_aug),
        color_aug=bool(request.color_aug),
        random_crop=bool(request.random_crop),
        face_crop_aug_range=request.face_crop_aug_range,
        resize_interpolation=request.resize_interpolation,
        background=request.background,
        alpha_mask=bool(request.alpha_mask),
        mask_folder=_mask_folder(request),
        masks_beside=request.mask_source == "beside",
    )


def _mask_folder(request: TrainingRequest) -> Path | None:
    """Return the folder of masks that is asked for; `masks` by the pictures where only their kind is."""
    if request.mask_source != "folder":
        return None
    return request.mask_folder or ((request.images or Path()) / MASK_FOLDER)


def input_of(request: TrainingRequest, images: Path, regularization: Path | None = None) -> DatasetInput:
    """Return the dataset that `request` asks for, whose folders were found at `images` and `regularization`."""
    return DatasetInput(
        images=images,
        regularization=regularization,
        options=options_of(request),
        fallback_caption=request.caption_fallback,
        regularization_caption=request.class_word or None,
        metadata_file=_list_of(request),
        more_resolutions_wh=request.more_resolutions_wh or (),
        trainer="sd-scripts" if request.trainer == "sd-scripts" else "maquette",
        held_out=_held_out(request),
    )


def _held_out(request: TrainingRequest) -> HeldOut | None:
    """Return which pictures the run keeps to measure with; sd-scripts holds out as many, chosen by chance."""
    share, count = request.value("validation_split") or 0.0, request.validation_pictures
    if request.validation_training or not (0 < share < 1 or count or request.validation_images):
        return None
    return HeldOut(
        share=share, count=count, paths=request.validation_images, fold=request.validation_fold or 1
    )


def _list_of(request: TrainingRequest) -> Path | None:
    """Return the list of pictures that a request names, where it lies here."""
    named = request.metadata_file
    return None if named is None else found_path(named, request.file) or named


def schedule_of(
    facts: DatasetFacts, request: TrainingRequest, grid_px: int = DEFAULT_GRID_PX
) -> Schedule | None:
    """Return the run's arithmetic as its trainer does it, or None where it has no pictures or impossible settings.

    Regularization pictures are topped up to the training items or cut off at them, as both trainers do. With
    sd-scripts epochs win over steps. Several processes count as one with so many times the batch; sd-scripts deals whole
    batches out to them, which makes fewer steps where buckets do not fill them.

    grid_px: what the base model needs sides to be a multiple of.
    """
    try:
        items = epoch_items(facts)
        if not any(not item.is_regularization for item in items):
            return None
        fitted, _, _ = bucketed(items, facts.plan.datasets, request, grid_px)
        return schedule_over(fitted, facts.plan.datasets, request)
    except MaquetteError:
        return None


def schedule_over(
    fitted: Sequence[Item], datasets: Sequence[DatasetSource], request: TrainingRequest
) -> Schedule:
    """Return the arithmetic of `request` over an epoch's items, which have buckets. Raises ConfigError."""
    epochs, steps = request.epochs, request.value("steps")
    if epochs is not None and request.trainer == "sd-scripts":
        steps = None
    return make_schedule(
        fitted,
        processes=request.value("processes") or 1,
        deals_whole=request.trainer == "sd-scripts",
        batch_size=tuple(source.batch_size or request.value("batch_size") or 1 for source in datasets),
        accumulation=request.value("accumulation") or 1,
        epochs=epochs,
        steps=steps,
    )


def epoch_items(facts: DatasetFacts) -> tuple[Item, ...]:
    """Return what one epoch shows, without buckets."""
    return plan_items(
        [
            _picture(path, folder.subset, facts)
            for folder in facts.folders
            if folder.subset is not None
            for path in folder.files
        ]
    )


def bucketed(
    items: Sequence[Item], datasets: Sequence[DatasetSource], request: TrainingRequest, grid_px: int
) -> tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]]:
    """Return the items with their buckets, each dataset's bucket settings, and what a person should know.

    `grid_px` is what the base model needs sides to be a multiple of; sd-scripts does not ask it. Raises ConfigError for
    impossible settings.
    """
    buckets: list[BucketSettings] = []
    messages: list[Message] = []
    for source in datasets:
        bucket, said = bucket_settings(
            request.resolution_wh or UNKNOWN_SIZE_WH,
            source=source,
            enabled=bool(request.value("enable_bucket")),
            min_bucket_px=request.value("min_bucket_px"),
            max_bucket_px=request.value("max_bucket_px"),
            step_px=request.value("bucket_step_px") or 64,
            no_upscale=bool(request.value("bucket_no_upscale")),
            grid_px=1 if request.trainer == "sd-scripts" else grid_px,
        )
        buckets.append(bucket)
        messages += said
    return assign_buckets(items, buckets), tuple(buckets), messages


def fit_of(
    path: Path, size_wh: tuple[int, int], facts: DatasetFacts, request: TrainingRequest, grid_px: int
) -> Fit | None:
    """Return how one picture of `facts`, of this size, comes to its bucket; None where it is not trained on.

    Raises MaquetteError where it fits none, or the settings are impossible.
    """
    subset = next((folder.subset for folder in facts.used_folders if path in folder.files), None)
    if subset is None:
        return None
    picture = replace(_picture(path, subset, facts), width_px=size_wh[0], height_px=size_wh[1])
    items, _, _ = bucketed(plan_items([picture]), facts.plan.datasets, request, grid_px)
    return items[0].fit


def _picture(path: Path, subset: SubsetSource, facts: DatasetFacts) -> Picture:
    width, height = facts.sizes_wh.get(path, UNKNOWN_SIZE_WH)
    return Picture(
        path=path,
        width_px=width,
        height_px=height,
        caption="",
        caption_path=None,
        subset=subset,
        sha256="",
        caption_sha256=None,
    )
