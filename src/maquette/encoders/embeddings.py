"""Embeddings of pictures, each taken once for a content and an encoder, kept beside the pictures as float16.

Two files an encoder in DIR/.curation/embeddings/: NAME.rows (float16, D numbers a picture) and NAME.index (32 bytes
of SHA-256 a picture), both only ever appended to; row i belongs to hash i. A run that dies loses at most its last
block. 100,000 pictures × 768 numbers take 154 MB on the disk; rows are read in blocks, never all as float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.opening import picture_rgb
from maquette.encoders import Encoder
from maquette.errors import DatasetError

HASH_BYTES = 32
LOOKED_AT = "-upright"
"""Part of the stores' names: how pictures were shown to what looked at them."""
BLOCK_ROWS = 4096


class EmbeddingStore:
    """Rows by content hash; new ones are appended. Not for two writers at once."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dims = encoder.dims
        self._rows_path = folder / f"{encoder.fingerprint}{LOOKED_AT}.rows"
        self._index_path = folder / f"{encoder.fingerprint}{LOOKED_AT}.index"
        self._places = self._open()

    def __contains__(self, sha256: str) -> bool:
        return bytes.fromhex(sha256) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def append(self, hashes: Sequence[str], rows_ND: NDArray[Any]) -> None:
        """Add rows; the index follows the rows, so that a crash between leaves rows that nobody reads."""
        with self._rows_path.open("ab") as file:
            file.write(rows_ND.astype("<f2").tobytes())
        with self._index_path.open("ab") as file:
            file.write(b"".join(map(bytes.fromhex, hashes)))
        for sha256 in hashes:
            self._places[bytes.fromhex(sha256)] = len(self._places)

    def rows(self, hashes: Sequence[str]) -> NDArray[Any]:
        """Return float16 [N, D] in the order of `hashes`, all of which must be there."""
        places = np.fromiter((self._places[bytes.fromhex(sha)] for sha in hashes), np.int64, len(hashes))
        if not len(places):
            return np.zeros((0, self.dims), np.float16)
        table = np.memmap(self._rows_path, "<f2", "r", shape=(len(self._places), self.dims))
        picked: NDArray[Any] = table[places]
        return picked

    def _open(self) -> dict[bytes, int]:
        """Return hash → row of what is whole; a torn end is cut off both files."""
        if not (self._rows_path.exists() and self._index_path.exists()):
            self._rows_path.write_bytes(b"")
            self._index_path.write_bytes(b"")
            return {}
        row_bytes = 2 * self.dims
        count = min(
            self._rows_path.stat().st_size // row_bytes, self._index_path.stat().st_size // HASH_BYTES
        )
        for path, size in ((self._rows_path, row_bytes), (self._index_path, HASH_BYTES)):
            if path.stat().st_size != count * size:
                with path.open("r+b") as file:
                    file.truncate(count * size)
        data = self._index_path.read_bytes()
        places: dict[bytes, int] = {}
        for row in range(count):
            places.setdefault(data[row * HASH_BYTES : (row + 1) * HASH_BYTES], row)
        if len(places) != count:  # the same content twice: rows stay, numbers go on after the last
            return self._rewrite(places)
        return places

    def _rewrite(self, places: dict[bytes, int]) -> dict[bytes, int]:
        rows_path, index_path = self._rows_path, self._index_path
        count = index_path.stat().st_size // HASH_BYTES
        table = np.memmap(rows_path, "<f2", "r", shape=(count, self.dims))
        picked = np.asarray(table[list(places.values())])
        del table
        rows_path.write_bytes(picked.tobytes())
        index_path.write_bytes(b"".join(places))
        return {sha: row for row, sha in enumerate(places)}


def embed(
    store: EmbeddingStore, encoder: Encoder, pictures: Iterable[tuple[str, Path]], *, workers: int
) -> Iterator[tuple[int, list[Path]]]:
    """Encode the (sha256, path) that the store lacks; after each batch yield how many, and which could not be read.

    Pictures are decoded on `workers` threads, a few batches ahead of the encoder and no more.
    """
    todo = ((sha, path) for sha, path in dict(pictures).items() if sha not in store)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(todo, encoder.batch)):
            prepared = list(pool.map(lambda item: _prepared(encoder, item[1]), batch))
            sound = [(sha, row) for (sha, _), row in zip(batch, prepared, strict=True) if row is not None]
            if sound:
                store.append([sha for sha, _ in sound], encoder.encode([row for _, row in sound]))
            lost = [path for (_, path), row in zip(batch, prepared, strict=True) if row is None]
            yield len(batch), lost


def _prepared(encoder: Encoder, path: Path) -> NDArray[Any] | None:
    try:
        return encoder.prepare(picture_rgb(path))
    except DatasetError:  # changed or vanished since it was measured; the caller says so
        return None
