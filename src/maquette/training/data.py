"""Pictures on their way to the denoiser: encoded once (or at every step), grouped into each step's batches.

Which items meet in which batch, their captions and mirroring are pure functions of seed, epoch and position; so any step of a
run can be fed without having fed those before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch

from maquette.dataset.augment import shown_item
from maquette.dataset.buckets import epoch_batches
from maquette.dataset.cache import LatentCache, of_pictures
from maquette.dataset.captions import item_caption
from maquette.dataset.mask_grids import MaskGrids
from maquette.dataset.preprocess import Prepared, item_size_info, to_float_CHW
from maquette.dataset.records import Batch, Item
from maquette.errors import ModelError
from maquette.events import Event, Message
from maquette.families.protocol import PictureSize
from maquette.spoken import counted
from maquette.training.ahead import Ahead
from maquette.training.batches import MicroBatch
from maquette.training.randomness import generator_at
from maquette.training.texts import reading_of

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel, Randomness
    from maquette.training.job import TrainingDataset

STEPS_AHEAD = 2
"""This step and the next: so much is read before it is needed."""


class TrainingPictures:
    """A run's pictures behind one question: what does optimizer step N train on?"""

    def __init__(
        self, dataset: TrainingDataset, model: BaseModel, *, keep_vae: bool, cache: LatentCache | None = None
    ) -> None:
        """`cache`: where others have kept the latents of the same pictures; None: one of its own, where they are kept."""
        self.dataset = dataset
        self.model = model
        self.keep_vae = keep_vae or any(item.varies for item in dataset.items)
        self.cache = cache or cache_of(dataset, model)
        self._shares_cache = cache is not None
        self.masks = MaskGrids(dataset.seed)
        self._ahead: Ahead[torch.Tensor | Prepared] = Ahead()
        self._epoch_batches = lru_cache(maxsize=2)(
            partial(epoch_batches, dataset.items, dataset.batch_size, dataset.seed)
        )

    def cut_captions(self, options: Mapping[str, Any]) -> Iterator[Event]:
        """Say which captions are longer than the text encoders read, since their ends teach nothing."""
        pictures = self.dataset.dataset.pictures
        max_token_length = options.get("max_token_length")
        dropped = self.model.tokenize(
            [picture.caption for picture in pictures], **reading_of(options)
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
            for _, batch, _ in self._batches_of(step):
                shown |= {item.picture.path for item in batch.items}
        return [item for item in self.dataset.items if item.picture.path in shown]

    def captions_of(self, steps: range) -> Iterator[str]:
        """Yield the caption of every showing in `steps`, in order."""
        for step in steps:
            for _, batch, epoch in self._batches_of(step):
                yield from self._captions(batch, epoch, step)

    def micro_steps(self, step: int) -> list[tuple[int, Callable[[], MicroBatch]]]:
        """Return the micro-steps of 0-based optimizer step `step`: index over the whole run, and a loader of its batch.

        Pictures of this step and the next are read on other threads meanwhile, where they are not in memory.
        """
        for coming in range(step, min(step + STEPS_AHEAD, self.dataset.schedule.steps)):
            self._begin(coming)
        return [
            (index, partial(self._load, batch, epoch, index, step))
            for index, batch, epoch in self._batches_of(step)
        ]

    def close(self) -> None:
        """Give up what was read ahead; let go of the cache's entries, unless others use it."""
        self._ahead.close()
        if self.dataset.cache_folder is not None and not self._shares_cache:
            self.dataset.cache_folder.close()

    def _batches_of(self, step: int) -> list[tuple[int, Batch, int]]:
        """Return the batches of an optimizer step: index over the whole run, batch, epoch."""
        schedule = self.dataset.schedule
        epoch, group = divmod(step, schedule.steps_per_epoch)
        first = group * schedule.accumulation
        chosen = self._epoch_batches(epoch)[first : first + schedule.accumulation]
        offset = epoch * schedule.batches_per_epoch + first
        return [(offset + place, batch, epoch) for place, batch in enumerate(chosen)]

    def _begin(self, step: int) -> None:
        for index, batch, epoch in self._batches_of(step):
            for row, (item, flipped) in enumerate(zip(batch.items, batch.flipped, strict=True)):
                if self._is_kept(item) and self.cache is not None and self.cache.holds(item, flipped):
                    continue
                if self._ahead.has_room:
                    self._ahead.begin((index, row), partial(self._read, item, flipped, epoch))

    def _load(self, batch: Batch, epoch: int, index: int, step: int) -> MicroBatch:
        latents = [
            self._latent(item, flipped, epoch, index, row)
            for row, (item, flipped) in enumerate(zip(batch.items, batch.flipped, strict=True))
        ]
        return MicroBatch(
            clean_BCHW=torch.stack(latents),
            captions=tuple(self._captions(batch, epoch, step)),
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

    def _captions(self, batch: Batch, epoch: int, step: int) -> list[str]:
        seed, steps = self.dataset.seed, self.dataset.schedule.steps
        return [item_caption(item, seed, epoch, step, steps) for item in batch.items]

    def _is_kept(self, item: Item) -> bool:
        return self.cache is not None and not item.varies

    def _read(self, item: Item, flipped: bool, epoch: int) -> torch.Tensor | Prepared:
        """Return a showing's latent where it is kept, else its pixels."""
        if self.cache is not None and self._is_kept(item):
            return self.cache.latent(item, flipped)
        return shown_item(item, flipped=flipped, seed=self.dataset.seed, epoch=epoch)

    def _latent(self, item: Item, flipped: bool, epoch: int, index: int, row: int) -> torch.Tensor:
        read = self._ahead.take((index, row), partial(self._read, item, flipped, epoch))
        if isinstance(read, torch.Tensor):
            return read
        pixels_BCHW = torch.from_numpy(to_float_CHW(read.pixels_HWC)).unsqueeze(0)
        try:
            return self._encode(pixels_BCHW, generator_at(self.dataset.seed, "latent", index, row))[0]
        except ModelError as error:
            raise of_pictures(error, [item.picture.path]) from error

    def _encode(self, pixels_BCHW: torch.Tensor, generator: Randomness) -> torch.Tensor:
        return self.model.encode_pictures(pixels_BCHW, generator=generator).float().cpu()


def cache_of(dataset: TrainingDataset, model: BaseModel) -> LatentCache | None:
    """Return where a run's latents are kept; None where pictures are encoded at every step."""
    if not dataset.cached:
        return None
    return LatentCache(
        dataset.cache_folder,
        encoder_name(model),
        dataset.seed,
        batch_size=dataset.vae_batch_size,
        trusts_names=dataset.skip_cache_check,
    )


def picture_size(item: Item, flipped: bool) -> PictureSize:
    """Return what some families are told of a showing: original size, crop as sd-scripts counts it, size as trained."""
    info = item_size_info(item, flipped=flipped)
    return PictureSize(info.original_hw, info.crop_top_left, info.target_hw)


def encoder_name(model: BaseModel) -> str:
    """Return what tells latents of one encoder from those of another."""
    return f"{model.vae_fingerprint()} {model.vae_dtype} {model.latent_scale}"
