"""Latents of pictures, encoded once and kept: in memory, or on disk between runs.

An entry is named by everything that decides it: the picture's bytes, its resizing, crop and mirroring, the
encoder's fingerprint and the seed. So nothing ever goes stale unnoticed, and moved or renamed pictures keep
their entries. Shapes: pixels_BCHW float32 in [-1, 1]; latent_CHW float32, as the encoder gives it.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from maquette.dataset.cache_folder import CacheFolder
from maquette.dataset.preprocess import Prepared, prepare_item, to_float_CHW
from maquette.dataset.records import LATENTS_IN_MEMORY_BYTES, Item
from maquette.errors import DatasetError, ModelError, Problem
from maquette.events import Event, Finished, Message, Progress, Stage, Started
from maquette.spoken import counted, disk_size

SCHEMA = 1
STAGE = "encode pictures"
AHEAD = 8  # pictures decoded while the encoder works on the ones before

Encode = Callable[[Tensor, Sequence[torch.Generator]], Tensor]
"""From pixels_BCHW to latent_BCHW, with randomness only from each picture's own generator (on the CPU)."""


@dataclass(frozen=True)
class Entry:
    """One picture as it is shown in one way."""

    item: Item
    flipped: bool
    key: str
    """Hex SHA-256 of all that decides the latent."""


@dataclass
class LatentCache:
    """Latents by picture and mirroring. Without a folder they live in memory only."""

    folder: CacheFolder | None
    encoder: str
    """Fingerprint of the encoder's weights and precision."""
    seed: int
    """Each latent is one sample of the encoder's distribution; the same seed draws the same sample."""
    memory_limit_bytes: int = LATENTS_IN_MEMORY_BYTES
    batch_size: int = 1
    """Pictures of one size that are encoded together. Above 1 a latent's last bits may depend on its company."""
    trusts_names: bool = False
    """Whether an entry counts as there by its name alone and is looked into only when it is shown."""
    _held: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _held_bytes: int = 0
    _keys: dict[tuple[object, ...], str] = field(default_factory=dict, repr=False)

    def fill(self, items: Sequence[Item], encode: Encode) -> Stage[int]:
        """Make every showing of `items` available; return how many had to be encoded, since the folder held none.

        Each picture has a generator of its own. Raises DatasetError naming the picture when a latent is not finite,
        OutputError when the folder cannot be written.
        """
        entries = self._entries(items)
        if self.folder is not None:
            self.folder.open()
            self.folder.need({entry.key for entry in entries})
        yield Started(STAGE, len(entries), "picture")
        missing = yield from self._missing(entries)
        done = len(entries) - len(missing)
        if done:
            yield Progress(STAGE, done, len(entries), "picture")
        for group in _prepared_ahead(_groups(missing, self.batch_size)):
            for (entry, _), latent_CHW in zip(group, self._encoded(group, encode), strict=True):
                is_kept = self.folder is not None and self.folder.write(entry.key, {"latent": latent_CHW})
                self._hold(entry.key, latent_CHW, must=not is_kept)
            done += len(group)
            yield Progress(STAGE, done, len(entries), "picture")
        if self.folder is not None:
            yield from _told_of_room(self.folder)
        yield Finished(STAGE)
        return len(missing)

    def _missing(self, entries: Sequence[Entry]) -> Stage[list[Entry]]:
        """Return the entries that have to be encoded; hold those that are there."""
        there = self.folder.names() if self.folder is not None and self.trusts_names else frozenset()
        missing = []
        for entry in entries:
            held = entry.key in there or entry.key in self._held
            found = True if held else self._stored(entry)
            if isinstance(found, Tensor):
                self._hold(entry.key, found)
            elif found is not True:
                missing.append(entry)
                if found is not None:
                    yield Message(
                        f"{entry.item.picture.path}: cached latents {found}; encoded again.", "warning"
                    )
        return missing

    def holds(self, item: Item, flipped: bool = False) -> bool:
        """Return whether a latent is in memory, so that nothing has to be read for it."""
        return self._key(item, flipped) in self._held

    def latent(self, item: Item, flipped: bool = False) -> Tensor:
        """Return latent_CHW of a showing that `fill` prepared. Raises DatasetError when its file was lost."""
        key = self._key(item, flipped)
        if key in self._held:
            return self._held[key]
        found = self._stored(Entry(item, flipped, key))
        if isinstance(found, Tensor):
            return found
        assert self.folder is not None, "fill comes before latent"
        raise DatasetError(
            Problem(
                str(self.folder.file_of(key)),
                f"cached latents {found or 'are missing'}",
                "the entries that were there when the run began",
                "Start again without skip_cache_check; they are encoded anew."
                if self.trusts_names
                else "Start again; they are encoded anew.",
            )
        )

    def _entries(self, items: Sequence[Item]) -> list[Entry]:
        """Return each different latent once, in order of first showing."""
        entries: dict[str, Entry] = {}
        for item in items:
            for flipped in (False, True) if item.picture.subset.options.flip_aug else (False,):
                key = self._key(item, flipped)
                entries.setdefault(key, Entry(item, flipped, key))
        return list(entries.values())

    def _key(self, item: Item, flipped: bool) -> str:
        assert item.fit is not None, "assign_buckets comes before the cache"
        options = item.picture.subset.options
        known = (item.picture.sha256, item.fit, flipped, options.resize_interpolation, options.background)
        if known not in self._keys:
            parts = {
                "schema": SCHEMA,
                "picture": item.picture.sha256,
                "resized": item.fit.resized_wh,
                "bucket": item.fit.bucket_wh,
                "interpolation": options.resize_interpolation,
                "flipped": flipped,
                "encoder": self.encoder,
                "seed": self.seed,
                **({} if options.background is None else {"background": options.background}),
            }
            self._keys[known] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return self._keys[known]

    def _hold(self, key: str, latent_CHW: Tensor, *, must: bool = False) -> None:
        size = latent_CHW.nbytes
        if must or self.folder is None or self._held_bytes + size <= self.memory_limit_bytes:
            self._held[key] = latent_CHW
            self._held_bytes += size

    def _encoded(self, group: Sequence[tuple[Entry, Prepared]], encode: Encode) -> Iterator[Tensor]:
        """Yield latent_CHW of each picture of a group of one size."""
        pixels_BCHW = torch.stack(
            [torch.from_numpy(to_float_CHW(prepared.pixels_HWC)) for _, prepared in group]
        )
        generators = [torch.Generator().manual_seed(int(entry.key[:15], 16)) for entry, _ in group]
        try:
            latent_BCHW = encode(pixels_BCHW, generators).detach().to("cpu", torch.float32)
        except ModelError as error:
            raise of_pictures(error, [entry.item.picture.path for entry, _ in group]) from error
        for (entry, _), latent_CHW in zip(group, latent_BCHW, strict=True):
            if not torch.isfinite(latent_CHW).all():
                raise DatasetError(
                    Problem(
                        str(entry.item.picture.path),
                        "encodes to values that are not numbers",
                        "finite latents",
                        "Encode in float32 (precision no): half precision overflows in some models' encoders.",
                    )
                )
            yield latent_CHW.contiguous().clone()

    def _stored(self, entry: Entry) -> Tensor | str | None:
        """Return the stored latent, None when there is none, or what is wrong with its file."""
        found = None if self.folder is None else self.folder.read(entry.key)
        if found is None or isinstance(found, str):
            return found
        if "latent" not in found:
            return "belong to something else"
        return _mismatch(found["latent"], entry) or found["latent"]


def of_pictures(error: ModelError, paths: Sequence[Path]) -> DatasetError:
    """Return what a VAE says of pictures that it cannot encode, at their names."""
    first, *others = map(str, paths)
    where = f"{first} and {len(others)} encoded with it" if others else first
    return DatasetError([Problem(where, each.given, each.required, each.remedy) for each in error.problems])


def _groups(entries: Sequence[Entry], size: int) -> list[list[Entry]]:
    """Return the entries in groups of at most `size` that share a bucket's size, in order of each group's first."""
    groups: list[list[Entry]] = []
    open_: dict[tuple[int, int], list[Entry]] = {}
    for entry in entries:
        assert entry.item.fit is not None
        group = open_.get(entry.item.fit.bucket_wh)
        if group is None or len(group) == size:
            group = open_[entry.item.fit.bucket_wh] = []
            groups.append(group)
        group.append(entry)
    return groups


def _prepared_ahead(groups: Sequence[Sequence[Entry]]) -> Iterator[list[tuple[Entry, Prepared]]]:
    """Yield each group with its pixels, a few pictures being decoded on other threads meanwhile."""
    ahead = max(1, AHEAD // max((len(group) for group in groups), default=1))
    with ThreadPoolExecutor(2) as pool:

        def begun(group: Sequence[Entry]) -> list[Future[Prepared]]:
            return [pool.submit(prepare_item, each.item, flipped=each.flipped) for each in group]

        pending = deque(begun(group) for group in groups[:ahead])
        try:
            for index, group in enumerate(groups):
                futures = pending.popleft()
                if index + ahead < len(groups):
                    pending.append(begun(groups[index + ahead]))
                yield [(entry, future.result()) for entry, future in zip(group, futures, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _told_of_room(folder: CacheFolder) -> Iterator[Event]:
    """Say what the limit of the folder meant, once it is filled."""
    limit = disk_size(folder.limit_bytes or 0)
    if folder.removed:
        files = counted(folder.removed, "file")
        yield Message(f"{folder.path}: {files} longest not used made room (cache_limit_gb: {limit}).")
    if folder.is_full:
        yield Message(
            f"{folder.path}: {limit} (cache_limit_gb) do not hold what the run needs; the rest is kept in memory, and "
            "the next run computes it again.",
            "warning",
        )


def _mismatch(latent_CHW: Tensor, entry: Entry) -> str | None:
    """Return why a tensor cannot be this entry's latent: type, shape against the bucket's, or values."""
    assert entry.item.fit is not None
    width, height = entry.item.fit.bucket_wh
    if latent_CHW.dtype != torch.float32 or latent_CHW.ndim != 3:
        return f"have another form ({latent_CHW.dtype}, {tuple(latent_CHW.shape)})"
    factor = height / latent_CHW.shape[1]
    if factor != width / latent_CHW.shape[2]:
        return f"have another size ({tuple(latent_CHW.shape)} for {width}x{height})"
    return None if torch.isfinite(latent_CHW).all() else "are not finite"
