"""Two LoRA files bit for bit, and two runs' losses step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.families.common.header import TensorEntry, read_header
from maquette.logs.metrics import read_metrics

BLOCK_BYTES = 1 << 20
OF_THE_CLOCK = ("seconds", "peak_memory_bytes")
"""What a row of metrics says of the machine's time and memory: no two runs agree in it."""


@dataclass(frozen=True, kw_only=True)
class WeightsCompared:
    """A LoRA file beside the one that was made again."""

    name: str
    step: int
    tensors: int
    differing: tuple[str, ...] = ()
    """Names of tensors whose bits differ, or that one file alone has."""
    largest: float | None = None
    """The largest difference between two values; None where there is none, or shapes differ."""

    @property
    def is_identical(self) -> bool:
        return not self.differing


@dataclass(frozen=True, kw_only=True)
class StepDifference:
    """The first step whose values differ, by name: as recorded, and as made again."""

    step: int
    values: Mapping[str, tuple[Any, Any]]


def compare_weights(name: str, step: int, one: Path, other: Path) -> WeightsCompared:
    """Return whether two LoRA files hold the same bits, whatever their metadata say. Raises ModelError for no such file."""
    left, right = read_header(one).tensors, read_header(other).tensors
    differing = sorted({*left, *right} - {*_same(left, right)})
    return WeightsCompared(
        name=name,
        step=step,
        tensors=len(left),
        differing=tuple(differing),
        largest=_largest(one, other, [each for each in differing if each in left and each in right]),
    )


def _same(left: Mapping[str, TensorEntry], right: Mapping[str, TensorEntry]) -> Iterator[str]:
    for name, entry in left.items():
        other = right.get(name)
        if other is None or (entry.dtype, entry.shape) != (other.dtype, other.shape):
            continue
        if all(a == b for a, b in zip(_blocks(entry), _blocks(other), strict=True)):
            yield name


def _blocks(entry: TensorEntry) -> Iterator[bytes]:
    with entry.path.open("rb") as file:
        file.seek(entry.start)
        left = entry.num_bytes
        while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block


def _largest(one: Path, other: Path, names: Sequence[str]) -> float | None:
    from safetensors import safe_open

    largest: float | None = None
    with safe_open(one, "pt") as left, safe_open(other, "pt") as right:
        for name in names:
            a, b = left.get_tensor(name), right.get_tensor(name)
            if a.shape == b.shape and a.numel():
                found = float((a.double() - b.double()).abs().max())
                largest = found if largest is None else max(largest, found)
    return largest


def first_difference(one: Path, other: Path, up_to: int | None = None) -> StepDifference | None:
    """Return the first step (no later than `up_to`) in which two runs' metrics differ; None where they agree as far as both
    go.
    """
    rows = {row["step"]: row for row in read_metrics(other)}
    for row in read_metrics(one):
        again = rows.get(row["step"])
        if again is None or (up_to is not None and row["step"] > up_to):
            continue
        values = {
            name: (row[name], again[name])
            for name in row.keys() & again.keys()
            if name not in OF_THE_CLOCK and name != "shown" and row[name] != again[name]
        }
        shown = _shown_differ(row.get("shown"), again.get("shown"))
        if values or shown:
            return StepDifference(step=row["step"], values={**values, **shown})
    return None


def _shown_differ(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """Return the pictures of a step, where others were shown."""
    if not isinstance(one, list) or not isinstance(other, list):
        return {}
    pictures = [[each[0] for each in rows if isinstance(each, list) and each] for rows in (one, other)]
    return {"pictures": (pictures[0], pictures[1])} if pictures[0] != pictures[1] else {}
