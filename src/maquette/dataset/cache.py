"""Latents of pictures, encoded once and kept: in memory, or on disk between runs.

An entry is named by everything that decides it: the picture's bytes, its resizing, crop and mirroring, the
encoder's fingerprint and the seed. So nothing ever goes stale unnoticed, and moved or renamed pictures keep
their entries. Shapes: pixels_BCHW float32 in [-1, 1]; latent_CHW float32, as the encoder gives it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maquette.dataset.preprocess import Prepared, prepare_item, to_float_CHW
from maquette.dataset.records import Item
from maquette.errors import DatasetError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.files import remove_stale_partials, require_writable_folder, write_atomic

SCHEMA = 1
STAGE = "encode pictures"
AHEAD = 8  # pictures decoded while the encoder works on the one before

Encode = Callable[[Tensor, torch.Generator], Tensor]
"""From pixels_BCHW to latent_BCHW, with randomness only from the generator (on the CPU)."""


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

    folder: Path | None
    encoder: str
    """Fingerprint of the encoder's weights and precision."""
    seed: int
    """Each latent is one sample of the encoder's distribution; the same seed draws the same sample."""
    memory_limit_bytes: int = 2 << 30
    """Latents beyond this are read from the folder each time."""
    _held: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _held_bytes: int = 0

    def fill(self, items: Sequence[Item], encode: Encode) -> Stage[int]:
        """Make every showing of `items` available; return how many had to be encoded, since the folder held none.

        Pictures are encoded one by one with a generator of their own, so a latent does not depend on its
        company. Raises DatasetError naming the picture when a latent is not finite, OutputError when the
        folder is not writable.
        """
        if self.folder is not None:
            require_writable_folder(self.folder)
            remove_stale_partials(self.folder)
        entries = self._entries(items)
        yield Started(STAGE, len(entries), "picture")
        missing = []
        for entry in entries:
            found = self._stored(entry)
            if isinstance(found, Tensor):
                self._hold(entry.key, found)
            else:
                missing.append(entry)
                if found is not None:
                    yield Message(
                        f"{entry.item.picture.path}: cached latents {found}; encoded again.", "warning"
                    )
        done = len(entries) - len(missing)
        if done:
            yield Progress(STAGE, done, len(entries), "picture")
        for entry, prepared in _prepared_ahead(missing):
            latent_CHW = self._encoded(entry, prepared, encode)
            self._store(entry, latent_CHW)
            self._hold(entry.key, latent_CHW)
            done += 1
            yield Progress(STAGE, done, len(entries), "picture")
        yield Finished(STAGE)
        return len(missing)

    def latent(self, item: Item, flipped: bool = False) -> Tensor:
        """Return latent_CHW of a showing that `fill` prepared. Raises DatasetError when its file was lost."""
        key = self._key(item, flipped)
        if key in self._held:
            return self._held[key]
        found = self._stored(Entry(item, flipped, key))
        if isinstance(found, Tensor):
            return found
        raise DatasetError(
            Problem(
                str(self._path(key) or item.picture.path),
                f"cached latents {found or 'are missing'}",
                "the entries that were there when the run began",
                "Start again; they are encoded anew.",
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
        parts = {
            "schema": SCHEMA,
            "picture": item.picture.sha256,
            "resized": item.fit.resized_wh,
            "bucket": item.fit.bucket_wh,
            "interpolation": item.picture.subset.options.resize_interpolation,
            "flipped": flipped,
            "encoder": self.encoder,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / f"{key}.safetensors"

    def _hold(self, key: str, latent_CHW: Tensor) -> None:
        size = latent_CHW.nbytes
        if self.folder is None or self._held_bytes + size <= self.memory_limit_bytes:
            self._held[key] = latent_CHW
            self._held_bytes += size

    def _encoded(self, entry: Entry, prepared: Prepared, encode: Encode) -> Tensor:
        pixels_BCHW = torch.from_numpy(to_float_CHW(prepared.pixels_HWC)).unsqueeze(0)
        generator = torch.Generator().manual_seed(int(entry.key[:15], 16))
        latent_CHW = encode(pixels_BCHW, generator)[0].detach().to("cpu", torch.float32).contiguous().clone()
        if not torch.isfinite(latent_CHW).all():
            raise DatasetError(
                Problem(
                    str(entry.item.picture.path),
                    "encodes to values that are not numbers",
                    "finite latents",
                    "Encode in float32 (precision no): half precision overflows in some models' encoders.",
                )
            )
        return latent_CHW

    def _store(self, entry: Entry, latent_CHW: Tensor) -> None:
        path = self._path(entry.key)
        if path is not None:
            metadata = {"key": entry.key, "sha256": _digest(latent_CHW)}
            write_atomic(path, save({"latent": latent_CHW}, metadata))

    def _stored(self, entry: Entry) -> Tensor | str | None:
        """Return the stored latent, None when there is none, or what is wrong with its file."""
        path = self._path(entry.key)
        if path is None or not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                latent_CHW = file.get_tensor("latent").clone()
        except (SafetensorError, OSError) as error:
            return f"could not be read ({error})"
        if metadata.get("key") != entry.key:
            return "belong to something else"
        if metadata.get("sha256") != _digest(latent_CHW):
            return "were damaged"
        return _mismatch(latent_CHW, entry) or latent_CHW


def _prepared_ahead(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Prepared]]:
    """Yield each entry with its pixels, a few being decoded on other threads meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(prepare_item, e.item, flipped=e.flipped) for e in entries[:AHEAD]]
        for index, entry in enumerate(entries):
            prepared = pending.pop(0).result()
            if index + AHEAD < len(entries):
                later = entries[index + AHEAD]
                pending.append(pool.submit(prepare_item, later.item, flipped=later.flipped))
            yield entry, prepared


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


def _digest(latent_CHW: Tensor) -> str:
    return hashlib.sha256(latent_CHW.contiguous().numpy().tobytes()).hexdigest()
