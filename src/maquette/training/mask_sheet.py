"""What a run's masks hide, shown before its first step: every masked picture as trained, its mask over it, the latent's grid."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from maquette.dataset.augment import shown_item
from maquette.dataset.mask_grids import grid_of, shown_mask
from maquette.events import Artifact, Event
from maquette.masking.sheet import Shown, spread, write_mask_sheet

if TYPE_CHECKING:
    from maquette.dataset.records import Item
    from maquette.training.job import Job


def masks_shown(job: Job) -> Iterator[Event]:
    """Write the sheet into the folder of every trial where there is none yet; a smoke run and one without masks have none."""
    masked = {item.picture.path: item for item in job.dataset.items if item.picture.mask_path is not None}
    missing = [trial.folder.masks for trial in job.trials if not trial.folder.masks.exists()]
    if not masked or not missing or job.smoke_steps is not None:
        return
    items = list(masked.values())
    shown = [_shown(items[place], job.dataset.seed, job.info.vae_factor) for place in spread(len(items))]
    first = write_mask_sheet(shown, missing[0])
    for other in missing[1:]:
        shutil.copyfile(first, other)
    yield Artifact("masks over pictures", first)


def _shown(item: Item, seed: int, cell_px: int) -> Shown:
    pixels = shown_item(item, flipped=False, seed=seed, epoch=0).pixels_HWC
    mask = np.ascontiguousarray(shown_mask(item, flipped=False, seed=seed, epoch=0))
    grid = grid_of(mask, (mask.shape[0] // cell_px, mask.shape[1] // cell_px))[0].numpy()
    return Shown(item.picture.path.name, pixels, mask, grid)
