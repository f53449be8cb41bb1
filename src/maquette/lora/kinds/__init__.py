"""Kinds of adapters, one row each. A new kind is one small class, one file of how it computes, and one line in `KINDS`.

Outside this folder nothing names a kind's tensors: the layer keeps the trial axis, seeds and dropout; files and states ask the
kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from maquette.lora.kinds.dora import Dora
from maquette.lora.kinds.loha import Loha
from maquette.lora.kinds.lokr import Lokr
from maquette.lora.kinds.lora import Lora
from maquette.lora.kinds.oft import Oft
from maquette.lora.kinds.protocol import AdapterKind, Shape

_ALL: tuple[AdapterKind, ...] = (
    Lora(), Dora(), Loha(), Lokr(), Oft(),
    Dora(by_outputs=True), Lokr(whole_2=True), Lokr(whole_1=False), Lokr(whole_1=False, whole_2=True),
)  # fmt: skip
KINDS: dict[str, AdapterKind] = {kind.name: kind for kind in _ALL}
"""Every kind and every form of one by name; the first is meant where nothing says another."""
DEFAULT_KIND = next(iter(KINDS))
ALPHA = "alpha"
"""The tensor that any kind may have beside its own: one number, the scale's numerator."""


def endings() -> tuple[tuple[str, str], ...]:
    """Return how a tensor's name may end, and which tensor of a kind's (or alpha) that means; kohya's own spelling first."""
    return _endings(tuple(KINDS))


@lru_cache(maxsize=8)
def _endings(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    kinds = [KINDS[name] for name in names]
    own = [(f".{tensor}", tensor) for kind in kinds for tensor in kind.tensors]
    spelt = [spelling for kind in kinds for spelling in kind.spellings]
    return (*own, (f".{ALPHA}", ALPHA), *spelt)


def rows() -> tuple[str, ...]:
    """Return the names of kinds as settings say them."""
    return tuple(dict.fromkeys(kind.row for kind in KINDS.values()))


def kind_of(tensors: Iterable[str], shapes: Mapping[str, Shape] | None = None) -> AdapterKind | None:
    """Return the kind that a module with these tensors is of, by the most names in common; None where it has none of any.

    Among kinds that have as many, the one that lacks the fewest. With `shapes` it is the very form.
    """
    names = set(tensors)
    best = max(
        KINDS.values(), key=lambda kind: (len(names & set(kind.tensors)), -len(set(kind.tensors) - names))
    )
    if not names & set(best.tensors):
        return None
    return best.form_of(shapes) if shapes is not None else best
