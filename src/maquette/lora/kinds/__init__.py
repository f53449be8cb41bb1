"""Kinds of adapters, one row each. A new kind is one small class, one file of how it computes, and one line in `KINDS`.

Outside this folder nothing names a kind's tensors: the layer keeps the trial axis, seeds and dropout; files and states ask the
kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from maquette.lora.kinds.lora import Lora
from maquette.lora.kinds.protocol import AdapterKind

KINDS: dict[str, AdapterKind] = {kind.name: kind for kind in (Lora(),)}
"""Every kind by name; the first is meant where nothing says another."""
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


def kind_of(tensors: Iterable[str]) -> AdapterKind | None:
    """Return the kind that a module with these tensors is of, by the most names in common; None where it has none of any."""
    names = set(tensors)
    best = max(KINDS.values(), key=lambda kind: len(names & set(kind.tensors)))
    return best if names & set(best.tensors) else None
