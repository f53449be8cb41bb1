"""What each tool is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from maquette.project.fields import Flag, Options

Names = Literal["kohya", "diffusers"]
Method = Literal["sv_ratio", "sv_fro", "sv_cumulative"]


def _text(value: Any) -> Any:
    """Return a base that is given as a path, from Python, as the text that it is on a command line."""
    return str(value) if isinstance(value, Path) else value


def _several(value: Any) -> Any:
    """Return one number as a list of it."""
    return (value,) if isinstance(value, int | float) else value


class WriteOptions(Options):
    """Where the result goes, and how it is stored."""

    output: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The new file. Default: a name beside the first FILE that says what was done."
    )
    dtype: Literal["fp16", "bf16", "fp32"] | None = Field(
        None, description="Precision of the new file. Default: the input's own."
    )
    overwrite: bool = Field(False, description="Replace a file that is there already.")


class InspectOptions(Options):
    """How closely a file is looked at."""

    quick: bool = Field(
        False, description="Read the header alone: no norms, no weights that are NaN or zero."
    )
    base: Annotated[str | None, BeforeValidator(_text), Flag(metavar="BASE")] = Field(
        None, description="The base that it was trained on: norms of DoRA and OFT need its weights."
    )
    chart: Annotated[Path | None, Flag(metavar="PNG")] = Field(
        None, description="Draw the norms by block into this picture."
    )
    overwrite: bool = Field(False, description="Replace a picture that is there already.")


class RankOptions(Options):
    """How much of each change is kept."""

    rank: int | None = Field(
        None, ge=1, description="Rank of the new LoRA, or the largest where another option chooses."
    )
    conv_rank: int | None = Field(
        None, ge=1, description="The same for 3×3 convolutions. Default: as --rank."
    )
    energy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="For each module the least rank that keeps this share of its change's squared norm.",
    )


class ConvertOptions(WriteOptions, RankOptions):
    """Under whose names, and as what kind of adapter."""

    to: Names = Field(
        "kohya",
        description="Whose names: kohya's are read by every drawing program, diffusers' by diffusers and PEFT.",
    )
    plain: bool = Field(
        False,
        description="Write DoRA, LoHa, LoKr or OFT as plain LoRA, by the singular values of their change.",
    )
    base: Annotated[str | None, BeforeValidator(_text), Flag(metavar="BASE")] = Field(
        None,
        description="The base that it was trained on: for --plain of DoRA and OFT, and for layers that no published model has.",
    )


class MergeOptions(WriteOptions):
    """What is merged into what."""

    base: Annotated[str | None, BeforeValidator(_text), Flag(metavar="BASE")] = Field(
        None, description="Merge into this single-file base model. Default: into one LoRA."
    )
    strengths: Annotated[tuple[float, ...], BeforeValidator(_several), Flag("--strength", "X")] = Field(
        (), description="Strength of each FILE in their order, or one for all. Default: 1."
    )
    rank: int | None = Field(
        None,
        ge=1,
        description="Rank of the LoRA that several become, by singular values. Default: all ranks together, exactly.",
    )
    conv_rank: int | None = Field(
        None, ge=1, description="The same for 3×3 convolutions. Default: as --rank."
    )


class ResizeOptions(WriteOptions, RankOptions):
    """How ranks are chosen."""

    method: Method | None = Field(
        None,
        description="Choose each module's rank as sd-scripts' --dynamic_method does: by the ratio of singular values, their "
        "squares, or their sum.",
    )
    value: float | None = Field(
        None, gt=0, description="What --method aims at (sd-scripts' --dynamic_param)."
    )


class ExtractOptions(WriteOptions):
    """What is taken of the difference between two models."""

    base: Annotated[str, BeforeValidator(_text), Flag(metavar="BASE")] = Field(
        description="The model that it was fine-tuned from."
    )
    rank: int = Field(32, ge=1, description="Rank of linear layers and 1×1 convolutions.")
    conv_rank: int | None = Field(
        None, ge=1, description="Rank of 3×3 convolutions. Default: they are left out, as sd-scripts does."
    )
    clamp_quantile: float = Field(
        1.0,
        gt=0.5,
        le=1,
        description="Clamp the factors' values to this quantile of theirs; sd-scripts takes 0.99.",
    )
    min_difference: float = Field(
        0.0,
        ge=0,
        description="Leave out the text encoders where none of their weights differs by more; sd-scripts takes 0.01.",
    )


class CompareOptions(Options):
    """What the comparison may read."""

    base: Annotated[str | None, BeforeValidator(_text), Flag(metavar="BASE")] = Field(
        None, description="The base that a DoRA or OFT was trained on, whose weights its change depends on."
    )


class StripOptions(Options):
    """What is taken out of the metadata."""

    private: bool = Field(
        False,
        description="Only what tells of your machine and pictures: folder and file names, captions' tags, paths, comments.",
    )
    output: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The new file. Default: a name beside FILE that says what was done."
    )
    overwrite: bool = Field(False, description="Replace a file that is there already.")


class PruneOptions(WriteOptions):
    """Which blocks are taken out."""

    block: Annotated[tuple[str, ...], Flag("--block", "NAME")] = Field(
        (),
        description="Take out these layers: a block (IN01, MID, OUT05, text_encoder), a kind of layers (attention), a pattern.",
    )
    keep: Annotated[tuple[str, ...], Flag("--keep", "NAME")] = Field(
        (), description="Take out all layers but these."
    )
    below: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Take out every block whose change has less than this share of the whole's squared norm.",
    )
