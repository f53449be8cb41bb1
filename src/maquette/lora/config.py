"""What one trial's LoRA is: a torch-free record, beside the layers that read it."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.protocol import LayerKind, LoraPart
from maquette.lora.kinds import DEFAULT_KIND, KINDS

PARTS: tuple[LoraPart, ...] = ("text_encoder", "denoiser")
"""The parts of a model that can carry a LoRA, in the order of parameter groups and of keys in a file."""


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
    seed: int = 0
    """Seed of the first weights and of dropout."""
    kind: str = DEFAULT_KIND
    """What is trained: a name of `kinds/`."""
    parts: tuple[LoraPart, ...] = PARTS
    """Parts of the model that carry this LoRA."""

    def __post_init__(self) -> None:
        problems = [*_rank_problems(self), *_other_problems(self)]
        if problems:
            raise ConfigError(problems)

    def rank_of(self, kind: LayerKind, *, default: bool = True) -> int | None:
        """Return the rank of a target of `kind`, or None when this trial leaves it alone.

        `default` is False for targets of the residual and resampling blocks, which only `conv_rank` adds;
        their 1×1 and linear modules take the ordinary rank, as in sd-scripts.
        """
        if not default and self.conv_rank is None:
            return None
        return self.conv_rank if kind == "conv3x3" else self.rank

    def alpha_of(self, kind: LayerKind) -> float:
        """Return the scale numerator of a target of `kind` (the rank itself where 0 was asked for)."""
        if kind != "conv3x3":
            return float(self.alpha or self.rank)
        asked = 1.0 if self.conv_alpha is None else self.conv_alpha
        return float(asked or self.conv_rank or 1)


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
    if not 0.0 <= spec.dropout < 1.0:
        problems.append(Problem("dropout", repr(spec.dropout), "at least 0, below 1", "0.1 is usual."))
    if spec.kind not in KINDS:
        remedy = did_you_mean(spec.kind, KINDS)
        problems.append(Problem("kind", repr(spec.kind), "a kind of adapter", remedy))
    strangers = [part for part in spec.parts if part not in PARTS]
    if strangers or not spec.parts:
        remedy = "Name at least one of them."
        problems.append(Problem("parts", repr(spec.parts), f"some of {', '.join(PARTS)}", remedy))
    return problems
