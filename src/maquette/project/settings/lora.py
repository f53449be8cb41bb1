"""`[lora]`: the adapter's kind, size and dropout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from maquette.project.adapter_kinds import ADAPTER_KINDS, DEFAULT_ADAPTER_KIND
from maquette.project.fields import Section
from maquette.project.layer_blocks import parse_blocks


def half_the_rank(rank: int) -> float:
    """Return the usual alpha, which makes the adapter's scale one half."""
    return rank / 2


if TYPE_CHECKING:
    AdapterKindName = str
else:
    AdapterKindName = Literal[tuple(ADAPTER_KINDS)]  # so that flags, help and docs list the table's names


class LoraSettings(Section):
    """`[lora]`: the adapter's size."""

    adapter: AdapterKindName = Field(
        DEFAULT_ADAPTER_KIND,
        description="What is trained. lora is drawn by every program; dora, loha, lokr and oft by those that read LyCORIS.",
    )
    rank: int = Field(
        16, ge=1, le=1024, description="Rank of every adapter layer: its capacity and file size."
    )
    alpha: float | None = Field(
        None, gt=0, description="Strength of the adapter: scale = alpha / rank. Default: half the rank."
    )
    conv_rank: int | None = Field(
        None, ge=1, le=1024, description="Also adapt 3x3 convolutions at this rank (LoCon). Default: off."
    )
    conv_alpha: float | None = Field(
        None, gt=0, description="Alpha of the convolutions. Default: half of conv_rank."
    )
    lokr_factor: int = Field(
        -1,
        ge=-1,
        description="LoKr: size of its small matrix; -1 makes both as alike as they can be. 8 or 16 is usual.",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inner values dropped at each step."
    )
    rank_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the ranks dropped at each step, chosen for each picture."
    )
    module_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's layers that are left out of a step."
    )
    network_weights: Path | None = Field(
        None,
        description="LoRA file that training goes on from; rank and alpha must be its own. Default: begin anew.",
    )
    dim_from_weights: bool = Field(
        False, description="Take the layers, ranks and alphas from network_weights."
    )
    include_layers: tuple[str, ...] = Field(
        (),
        description="Adapt these layers alone: names or patterns, such as attention, IN0[1-8], up_blocks.0.attentions.1. "
        "Default: all.",
    )
    exclude_layers: tuple[str, ...] = Field((), description="Leave these layers out: names or patterns.")
    blocks: tuple[str, ...] = Field(
        (),
        description='Other sizes and rates for some layers, PATTERN: RULE. "IN0[1-4]: rank=4, alpha=2, lr=0.5", "MID: off", '
        '"attn2: 32". rank, alpha, conv_rank, conv_alpha; lr is a factor. Of several that mean a layer the later wins.',
    )
    scale_weight_norms: float | None = Field(
        None,
        gt=0,
        description="Longest change that a layer's weight may take (Frobenius norm); longer ones are shrunk after each step. "
        "1 is usual. Default: no limit.",
    )

    @field_validator("blocks")
    @classmethod
    def _known_rules(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        parse_blocks(given)
        return given

    @property
    def alpha_in_force(self) -> float:
        """Alpha as given, else half the rank."""
        return half_the_rank(self.rank) if self.alpha is None else self.alpha

    @property
    def conv_alpha_in_force(self) -> float | None:
        """Alpha of the convolutions as given, else half their rank; None where they are not adapted."""
        if not self.conv_rank:
            return None
        return half_the_rank(self.conv_rank) if self.conv_alpha is None else self.conv_alpha
