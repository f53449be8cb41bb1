"""What masks are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from maquette.project.fields import Flag, Options

MaskOf = Literal["subject", "face", "alpha", "text"]


class MasksOptions(Options):
    """What is to be learned of each picture, and who says where that is."""

    source: Annotated[MaskOf, Flag("--from")] = Field(
        "subject",
        description="What is white: the subject, its faces, what is opaque in transparent pictures, or all but lettering (text).",
    )
    segmenter: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="Network that finds the subject: u2net.onnx, isnet-general-use.onnx, BiRefNet. Default: by colours alone, "
        "which does for plain walls and subjects that stand free.",
    )
    face_models: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="Folder with the YuNet file. Default: fetched from the hub once."
    )
    text_model: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="Network that finds lettering, which --from text needs: text_detection_en_ppocrv3_2023may.onnx of "
        "OpenCV's zoo, ch_PP-OCRv4_det_infer.onnx.",
    )
    grow: float = Field(
        1.0,
        ge=0,
        le=20,
        description="Let what is found reach further, in percent of the longer side: hair, outlines, the rims of letters.",
    )
    invert: bool = Field(False, description="White is all but that.")
    overwrite: bool = Field(
        False, description="Make masks anew that this command made. One that somebody drew or changed stays."
    )
