"""Masks as training takes them: on the latent's grid, each made once and kept in memory.

An entry is named by all that decides it: the mask file's bytes, resizing, crop, mirroring and the grid; a crop that changes with
each showing is made anew. So latents may be cached
and masks changed between runs without either meeting the other's old state. Shapes: mask_1HW float32 in [0, 1].
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from maquette.dataset.augment import picture_rng, placed
from maquette.dataset.masks import Mask, decode_mask
from maquette.dataset.opening import read_file
from maquette.dataset.records import Item
from maquette.errors import DatasetError, Problem

MEMORY_LIMIT_BYTES = 256 << 20
"""Of grids that are kept; a further one takes the place of the one that was not asked for longest."""


class MaskGrids:
    """The masks of a run's items, each decoded once as long as memory holds it."""

    def __init__(self, seed: int, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._seed = seed
        self._limit = memory_limit_bytes
        self._held: OrderedDict[Any, Tensor] = OrderedDict()
        self._held_bytes = 0

    def grid(self, item: Item, flipped: bool, epoch: int, grid_hw: tuple[int, int]) -> Tensor:
        """Return mask_1HW of a showing in an epoch (from 0); of a picture without a mask all of it counts.

        Raises DatasetError when the mask's file changed since the run began.
        """
        picture = item.picture
        if picture.mask_path is None:
            return torch.ones(1, *grid_hw)
        if item.fit is not None and item.fit.crop != "centre":
            return self._made(item, flipped, epoch, grid_hw)
        key = (picture.mask_sha256, item.fit, picture.subset.options.resize_interpolation, flipped, grid_hw)
        if key not in self._held:
            self._hold(key, self._made(item, flipped, epoch, grid_hw))
        self._held.move_to_end(key)
        return self._held[key]

    def _made(self, item: Item, flipped: bool, epoch: int, grid_hw: tuple[int, int]) -> Tensor:
        return grid_of(shown_mask(item, flipped=flipped, seed=self._seed, epoch=epoch), grid_hw)

    def _hold(self, key: Any, mask_1HW: Tensor) -> None:
        self._held[key] = mask_1HW
        self._held_bytes += mask_1HW.nbytes
        while self._held_bytes > self._limit and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= oldest.nbytes


def shown_mask(item: Item, *, flipped: bool, seed: int, epoch: int) -> Mask:
    """Return mask_HW of an item as `shown_item` shows its picture: resized, cropped at the same place, mirrored."""
    mask_HW = placed(read_mask(item), item, picture_rng(seed, epoch, item.index))
    return np.ascontiguousarray(mask_HW[:, ::-1]) if flipped else mask_HW


def read_mask(item: Item) -> Mask:
    """Return mask_HW of an item in its picture's size as stored. Raises DatasetError when its file changed."""
    picture = item.picture
    assert picture.mask_path is not None, "asked for a mask of a picture that has none"
    data = read_file(picture.mask_path)
    if hashlib.sha256(data).hexdigest() != picture.mask_sha256:
        raise DatasetError(
            Problem(
                str(picture.mask_path),
                "another mask than when it was scanned",
                "masks that stay as they are during a run",
                "Start again.",
            )
        )
    return decode_mask(picture.path, picture.mask_path, data)


def grid_of(mask_HW: NDArray[np.uint8], grid_hw: tuple[int, int]) -> Tensor:
    """Return mask_1HW on the latent's grid, each cell the mean of what lies in it, as sd-scripts scales masks down."""
    unit_11HW = torch.from_numpy(np.ascontiguousarray(mask_HW)).float().div(255)[None, None]
    return functional.interpolate(unit_11HW, size=grid_hw, mode="area")[0]
