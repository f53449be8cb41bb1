"""Pictures on their way to the denoiser: encoded once (or at every step), grouped into each step's batches.

Which items meet in which batch, their captions and mirroring are pure functions of seed, epoch and position; so any step of a
run can be fed without having fed those before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch

from maquette.dataset.augment import shown_item
from maquette.dataset.buckets import epoch_batches
from maquette.dataset.cache import LatentCache
from maquette.dataset.captions import item_caption
from maquette.dataset.mask_grids import MaskGrids
from maquette.dataset.preprocess import item_size_info, to_float_CHW
from maquette.dataset.records import Batch, Item
from maquette.events import Event, Message
from maquette.families.protocol import PictureSize
from maquette.spoken import counted
from maquette.training.batches import MicroBatch
from maquette.training.randomness import generator_at

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.training.job import TrainingDataset


class TrainingPictures:
    """A run's pictures behind one question: what does optimizer step N train on?"""

    def __init__(self, dataset: TrainingDataset, model: BaseModel, *, keep_vae: bool) -> None:
        self.dataset = dataset
        self.model = model
        self.keep_vae = keep_vae or any(item.varies for item in dataset.items)
        self.cache = (
            LatentCache(dataset.cache_folder, encoder_name(model), dataset.seed) if dataset.cached else None
        )
        self.masks = MaskGrids(dataset.seed)
        self._epoch_batches = lru_cache(maxsize=2)(
            partial(epoch_batches, dataset.items, dataset.batch_size, dataset.seed)
        )

    def cut_captions(self, max_token_length: int | None) -> Iterator[Event]:
        """Say which captions are longer than the text encoders read, since their ends teach nothing."""
        pictures = self.dataset.dataset.pictures
        dropped = self.model.tokenize(
            [picture.caption for picture in pictures], max_tokens=max_token_length
        ).dropped
        cut = [
            (picture.path.name, tokens) for picture, tokens in zip(pictures, dropped, strict=True) if tokens
        ]
        if cut:
            worst, tokens = max(cut, key=lambda entry: entry[1])
            option = self.model.spec.option("max_token_length")
            longer = (
                [choice for choice in option.choices if choice > (max_token_length or 0)] if option else []
            )
            also = f", or set max_token_length to {' or '.join(map(str, longer))}" if longer else ""
            read = f"longer than {max_token_length} tokens" if max_token_length else "too long"
            yield Message(
                f"{len(cut)} of {len(pictures)} captions are {read} and lose their ends "
                f"({worst} loses {counted(tokens, 'token')}). Shorten them{also}.",
                "warning",
            )

    def encode_all(self, steps: range) -> Iterator[Event]:
        """Encode each picture that `steps` show, once, where latents are cached; then free the VAE unless it is kept."""
        if self.cache is None:
            return
        yield from self.cache.fill([item for item in self._items_of(steps) if not item.varies], self._encode)
        if not self.keep_vae:
            # On the meta device it keeps its shape and costs nothing.
            self.model.vae.to("meta")

    def _items_of(self, steps: range) -> list[Item]:
        """Return the items that optimizer steps `steps` show, in an epoch's order: a short run encodes few of many."""
        schedule = self.dataset.schedule
        if len(steps) >= schedule.steps_per_epoch:
            return list(self.dataset.items)
        shown = set()
        for step in steps:
            epoch, group = divmod(step, schedule.steps_per_epoch)
            first = group * schedule.accumulation
            for batch in self._epoch_batches(epoch)[first : first + schedule.accumulation]:
                shown |= {item.picture.path for item in batch.items}
        return [item for item in self.dataset.items if item.picture.path in shown]

    def micro_steps(self, step: int) -> list[tuple[int, Callable[[], MicroBatch]]]:
        """Return the micro-steps of 0-based optimizer step `step`: index over the whole run, and a loader of its batch."""
        schedule = self.dataset.schedule
        epoch, group = divmod(step, schedule.steps_per_epoch)
        batches = self._epoch_batches(epoch)
        first = group * schedule.accumulation
        chosen = batches[first : first + schedule.accumulation]
        offset = epoch * schedule.batches_per_epoch + first
        return [
            (offset + place, partial(self._load, batch, epoch, offset + place, step))
            for place, batch in enumerate(chosen)
        ]

    def _load(self, batch: Batch, epoch: int, index: int, step: int) -> MicroBatch:
        latents = [
            self._latent(item, flipped, epoch, index, row)
            for row, (item, flipped) in enumerate(zip(batch.items, batch.flipped, strict=True))
        ]
        return MicroBatch(
            clean_BCHW=torch.stack(latents),
            captions=tuple(
                item_caption(item, self.dataset.seed, epoch, step, self.dataset.schedule.steps)
                for item in batch.items
            ),
            sizes=tuple(
                picture_size(item, flipped) for item, flipped in zip(batch.items, batch.flipped, strict=True)
            ),
            regularization_B=torch.tensor([item.is_regularization for item in batch.items]),
            names=tuple(str(item.picture.path) for item in batch.items),
            masks_B1HW=self._masks(batch, epoch, latents[0]),
        )

    def _masks(self, batch: Batch, epoch: int, latent_CHW: torch.Tensor) -> torch.Tensor | None:
        """Return the masks of a batch on the latent's grid; None where none of its pictures has one."""
        if all(item.picture.mask_path is None for item in batch.items):
            return None
        grid_hw = (latent_CHW.shape[-2], latent_CHW.shape[-1])
        shown = zip(batch.items, batch.flipped, strict=True)
        return torch.stack([self.masks.grid(item, flipped, epoch, grid_hw) for item, flipped in shown])

    def _latent(self, item: Item, flipped: bool, epoch: int, index: int, row: int) -> torch.Tensor:
        if self.cache is not None and not item.varies:
            return self.cache.latent(item, flipped)
        prepared = shown_item(item, flipped=flipped, seed=self.dataset.seed, epoch=epoch)
        pixels_CHW = to_float_CHW(prepared.pixels_HWC)
        generator = generator_at(self.dataset.seed, "latent", index, row)
        return self._encode(torch.from_numpy(pixels_CHW).unsqueeze(0), generator)[0]

    def _encode(self, pixels_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.model.encode_pictures(pixels_BCHW, generator=generator).float().cpu()


def picture_size(item: Item, flipped: bool) -> PictureSize:
    """Return what some families are told of a showing: original size, crop as sd-scripts counts it, size as trained."""
    info = item_size_info(item, flipped=flipped)
    return PictureSize(info.original_hw, info.crop_top_left, info.target_hw)


def encoder_name(model: BaseModel) -> str:
    """Return what tells latents of one encoder from those of another."""
    return f"{model.vae_fingerprint()} {model.vae_dtype} {model.latent_scale}"
