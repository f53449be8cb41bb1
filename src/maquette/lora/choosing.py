"""Which layers an adapter takes, at what size and rate: patterns over the names of layers.

    include ["attention"], exclude ["text_encoder_2"], blocks ["IN0[1-4]: rank=4, lr=0.5", "MID: off", "attn2: rank=32"]

A pattern means every layer in whose name it is a run of whole parts: `attn2`, `down_blocks.0`, `unet.mid_block.*.to_q`; or the
whole kohya name; or a name that the family gives to a set of layers (`FamilySpec.layer_sets`: IN01, MID, attention). `*`, `?` and
`[1-4]` stand for letters as in file names. Of the blocks that mean a layer the later ones win, each in what it says. Torch-free.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from maquette.families.protocol import LayerKind, LoraPart

if TYPE_CHECKING:
    from maquette.lora.kinds.protocol import AdapterKind

LayerSets = Mapping[str, Sequence[str]]


class Layer(Protocol):
    """A layer that an adapter may stand on: a LoraTarget of a model, a LoraModule of a family."""

    @property
    def key(self) -> str: ...
    @property
    def diffusers_key(self) -> str: ...
    @property
    def part(self) -> LoraPart: ...
    @property
    def kind(self) -> LayerKind: ...
    @property
    def default(self) -> bool: ...


@dataclass(frozen=True)
class LayerSize:
    """An adapter's size on one layer, and its rate there."""

    rank: int
    alpha: float
    lr_factor: float = 1.0
    form: AdapterKind | None = None
    """The kind's form there, where a file decides it; None: as a new adapter has it."""


@dataclass(frozen=True, kw_only=True)
class BlockRule:
    """What one entry of `blocks` says of the layers that its pattern means; None where it says nothing."""

    rank: int | None = None
    alpha: float | None = None
    conv_rank: int | None = None
    """0 leaves the 3×3 convolutions out."""
    conv_alpha: float | None = None
    lr: float | None = None
    """What the learning rate is multiplied with."""
    off: bool | None = None
    """The layers are left out."""

    def under(self, other: BlockRule) -> BlockRule:
        """Return both as one, where `other` wins; an alpha belongs to the rank that it was said with."""
        mine, said = vars(self).copy(), vars(other)
        for rank, alpha in (("rank", "alpha"), ("conv_rank", "conv_alpha")):
            if said[rank] is not None:
                mine[alpha] = None
        return BlockRule(**{**mine, **{name: value for name, value in said.items() if value is not None}})


@dataclass(frozen=True, kw_only=True)
class LayerChoice:
    """Layers, by patterns."""

    include: tuple[str, ...] = ()
    """Empty: every layer."""
    exclude: tuple[str, ...] = ()
    blocks: tuple[tuple[str, BlockRule], ...] = ()
    sets: LayerSets = field(default_factory=dict, hash=False)
    """Names that the family gives to sets of layers, with the patterns that they stand for."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every pattern that was said."""
        return (*self.include, *self.exclude, *(pattern for pattern, _ in self.blocks))

    @property
    def adds_convolutions(self) -> bool:
        """Whether an entry gives 3×3 convolutions a rank."""
        return any(rule.conv_rank for _, rule in self.blocks)

    def rule_for(self, layer: Layer) -> BlockRule | None:
        """Return what all entries together say of a layer; None where it is left out."""
        if self.include and not any(self.means(pattern, layer) for pattern in self.include):
            return None
        if any(self.means(pattern, layer) for pattern in self.exclude):
            return None
        found = BlockRule()
        for pattern, rule in self.blocks:
            if self.means(pattern, layer):
                found = found.under(replace(rule, off=bool(rule.off)))
        return None if found.off else found

    def means(self, pattern: str, layer: Layer) -> bool:
        """Return whether `pattern` means `layer`."""
        by_name = (one for name, own in self.sets.items() if fnmatchcase(name, pattern) for one in own)
        return any(_matches(each, layer) for each in (pattern, *by_name))

    def unmatched(self, layers: Iterable[Layer]) -> list[str]:
        """Return the patterns that mean none of `layers`."""
        known = list(layers)
        return [pattern for pattern in self.patterns if not any(self.means(pattern, each) for each in known)]


ALL_LAYERS = LayerChoice()


def _matches(pattern: str, layer: Layer) -> bool:
    machine = _machine(pattern)
    return bool(machine.match(f".{layer.diffusers_key}.")) or fnmatchcase(layer.key, pattern)


@lru_cache(maxsize=4096)
def _machine(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(f"*.{pattern}.*"))


def choice_of(
    include: Sequence[str],
    exclude: Sequence[str],
    blocks: Iterable[tuple[str, Mapping[str, Any]]],
    sets: LayerSets,
) -> LayerChoice:
    """Return the choice that settings make, `blocks` as pattern and values, with the family's names for sets of layers."""
    rules = tuple((pattern, BlockRule(**values)) for pattern, values in blocks)
    return LayerChoice(include=tuple(include), exclude=tuple(exclude), blocks=rules, sets=sets)
