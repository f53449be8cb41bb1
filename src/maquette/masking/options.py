"""What masks are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from maquette.project.fields import Flag, Options

MaskOf = Literal["subject", "face", "alpha"]


class MasksOptions(Options):
    """What is to be learned of each picture, and who says where that is."""

    source: Annotated[MaskOf, Flag("--from")] = Field(
        "subject",
        description="What is white: the subject, its faces, or what is opaque in transparent pictures.",
    )
    segmenter: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="Network that finds the subject: u2net.onnx, isnet-general-use.onnx, BiRefNet. Default: by colours alone, "
        "which does for plain walls and subjects that stand free.",
    )
    face_models: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="Folder with the YuNet file. Default: fetched from the hub once."
    )
    grow: float = Field(
        1.0,
        ge=0,
        le=20,
        description="Let the white reach further, in percent of the longer side: hair and outlines.",
    )
    invert: bool = Field(False, description="White is all but that.")
    overwrite: bool = Field(
        False, description="Make masks anew that this command made. One that somebody drew or changed stays."
    )
