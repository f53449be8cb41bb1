"""What one trial's LoRA is: a torch-free record, beside the layers that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.protocol import LoraPart
from maquette.lora.choosing import ALL_LAYERS, Layer, LayerChoice, LayerSize
from maquette.lora.kinds import DEFAULT_KIND, KINDS, rows
from maquette.lora.kinds.protocol import AdapterKind, Sizes

PARTS: tuple[LoraPart, ...] = ("text_encoder", "denoiser")
"""The parts of a model that can carry a LoRA, in the order of parameter groups and of keys in a file."""
Baked = tuple[Path, float]
"""A LoRA file and its strength."""


def with_strengths(paths: Sequence[Path], strengths: Sequence[float]) -> tuple[Baked, ...]:
    """Return each file with its strength; 1 where none is said."""
    return tuple(zip(paths, (*strengths, *([1.0] * (len(paths) - len(strengths)))), strict=False))


DROPOUTS = ("dropout", "rank_dropout", "module_dropout")


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One adapter over the base; a LoRA's weight delta is `up @ down * alpha / rank`.

    Defaults of `alpha` and `conv_alpha` are those of sd-scripts: 1.0 each.
    """

    rank: int
    """Rank of linear and 1×1 modules."""
    alpha: float = 1.0
    """Scale numerator of linear and 1×1 modules; 0 means `rank`, a scale of one."""
    conv_rank: int | None = None
    """Rank of 3×3 convolutions; None leaves the residual and resampling blocks without LoRA."""
    conv_alpha: float | None = None
    """Scale numerator of 3×3 convolutions; None means 1.0, 0 means `conv_rank`."""
    dropout: float = 0.0
    """Chance in [0, 1) that an element between down and up is dropped while training."""
    rank_dropout: float = 0.0
    """Chance in [0, 1) that one of the ranks is dropped, for a row of the batch."""
    module_dropout: float = 0.0
    """Chance in [0, 1) that a module is left out of a training pass."""
    seed: int = 0
    """Seed of the first weights and of dropout."""
    kind: str = DEFAULT_KIND
    """What is trained: a name of `kinds/`."""
    factor: int = -1
    """LoKr's: how large the small matrix is; -1 makes both as alike as they can be."""
    parts: tuple[LoraPart, ...] = PARTS
    """Parts of the model that carry this LoRA."""
    choice: LayerChoice = ALL_LAYERS
    """Which layers carry it, and what holds for some of them instead of the above."""
    modules: Mapping[str, LayerSize] | None = None
    """Sizes by kohya key, where a file decides them and no other layer carries it."""

    def __post_init__(self) -> None:
        problems = [*_rank_problems(self), *_other_problems(self)]
        if problems:
            raise ConfigError(problems)

    @property
    def adds_convolutions(self) -> bool:
        """Whether layers of the residual and resampling blocks carry it too."""
        return self.conv_rank is not None or self.choice.adds_convolutions or self.modules is not None

    def form_on(self, size: LayerSize, sizes: Sizes) -> AdapterKind:
        """Return the kind's form on a layer of these sizes."""
        return size.form or KINDS[self.kind].on(sizes, size.rank, self.factor)

    def size_of(self, layer: Layer) -> LayerSize | None:
        """Return the adapter's size on `layer`, or None when this trial leaves it alone.

        Layers of the residual and resampling blocks carry one only where convolutions have a rank; their 1×1 and linear
        modules take the ordinary rank, as in sd-scripts.
        """
        rule = self.choice.rule_for(layer) if layer.part in self.parts else None
        if rule is None:
            return None
        lr = 1.0 if rule.lr is None else rule.lr
        if self.modules is not None:
            found = self.modules.get(layer.key)
            return replace(found, lr_factor=lr) if found and lr else None
        if not lr or (not layer.default and not self.adds_convolutions):
            return None
        if layer.kind == "conv3x3":
            common = 1.0 if self.conv_alpha is None else self.conv_alpha
            return _size(rule.conv_rank, rule.conv_alpha, self.conv_rank, common, lr)
        return _size(rule.rank, rule.alpha, self.rank, self.alpha, lr)


def _size(
    rank: int | None, alpha: float | None, common_rank: int | None, common_alpha: float, lr: float
) -> LayerSize | None:
    """Return the size that a layer's own rank and alpha come to beside the common ones; an alpha of 0 means the rank."""
    own = common_rank if rank is None else rank
    if not own:
        return None
    if alpha is None:
        # A rank that is said alone keeps the common strength.
        share = (common_alpha or common_rank) / common_rank if common_rank else 0.5
        alpha = float(common_alpha) if rank is None else own * share
    return LayerSize(own, float(alpha or own), lr)


def _rank_problems(spec: TrialSpec) -> list[Problem]:
    problems = []
    for name, value in (("rank", spec.rank), ("conv_rank", spec.conv_rank)):
        if name == "conv_rank" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(Problem(name, repr(value), "a whole number, 1 or more", "4 to 64 are usual."))
    return problems


def _other_problems(spec: TrialSpec) -> list[Problem]:
    problems = []
    for name, value in (("alpha", spec.alpha), ("conv_alpha", spec.conv_alpha)):
        if value is not None and not 0 <= value < float("inf"):
            problems.append(Problem(name, repr(value), "a number, 0 or more", "Half the rank is usual."))
    if spec.conv_alpha is not None and spec.conv_rank is None:
        problems.append(Problem("conv_alpha", repr(spec.conv_alpha), "needs conv_rank", "Set conv_rank too."))
    for name in DROPOUTS:
        value = getattr(spec, name)
        if not 0.0 <= value < 1.0:
            problems.append(Problem(name, repr(value), "at least 0, below 1", "0.1 is usual."))
        elif value and spec.kind in rows() and name not in KINDS[spec.kind].dropouts:
            required = " or ".join(KINDS[spec.kind].dropouts) or "none"
            remedy = f"Leave {name} at 0 for {KINDS[spec.kind].title}."
            problems.append(Problem(name, repr(value), required, remedy))
    if spec.kind not in rows():
        remedy = did_you_mean(spec.kind, rows())
        problems.append(Problem("kind", repr(spec.kind), "a kind of adapter", remedy))
    strangers = [part for part in spec.parts if part not in PARTS]
    if strangers or not spec.parts:
        remedy = "Name at least one of them."
        problems.append(Problem("parts", repr(spec.parts), f"some of {', '.join(PARTS)}", remedy))
    return problems
