"""What curation is asked for; what is not said is as it was in the last run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from maquette.curating.limits import Limits
from maquette.curating.video import DEFAULT_EVERY_S
from maquette.encoders import TABLE
from maquette.errors import did_you_mean
from maquette.project.fields import Flag, Options
from maquette.project.validation import Unfit


class CurateOptions(Limits):
    """What is kept, what it is compared with, and what is made of it."""

    references: tuple[Path, ...] = Field(
        (),
        description="Folder of pictures (or one picture) that show who the subject is. Default: the profile's.",
    )
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least likeness to the references. Default: the encoder's own."
    )
    target: int | None = Field(None, ge=1, description="Keep N pictures: the most varied good ones.")
    apply: Annotated[Path | None, Flag(metavar="OUT")] = Field(
        None, description="Copy what is kept, with captions, to OUT."
    )
    encoder: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None,
        description="photo, clip, siglip, dinov2, csd, ccip, face, world; or NAME=HUB_NAME_OR_FOLDER. "
        "Default: photo for photographs, clip for drawings; world for its own pictures.",
    )
    profile: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The subject's profile.toml: its sides, references."
    )
    faces: Literal["off", "detect", "match"] | None = Field(
        None, description="Count faces; match: compare them with the references'. Default: off."
    )
    face_models: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="Folder with the YuNet and SFace files. Default: fetched from the hub once."
    )
    videos: Annotated[tuple[Path, ...], Flag("--video")] = Field(
        (), description="Take this film's frames into the folder first."
    )
    every_s: Annotated[float, Flag("--every", "S")] = Field(
        DEFAULT_EVERY_S, gt=0, description="The sharpest frame of every S seconds of a scene."
    )
    sheet_pages: int = Field(5, ge=0, description="Contact sheets a group; 0: none.")
    fresh: bool = Field(False, description="Forget what the last run here was asked for.")
    workers: int | None = Field(
        None,
        ge=1,
        description="Pictures that are looked at at once. Default: as many as the machine has cores.",
    )
    device: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="Where the encoder runs: cuda, mps or cpu. Default: the best there is."
    )

    @field_validator("encoder")
    @classmethod
    def _known_encoder(cls, value: Any) -> Any:
        kind = str(value).partition("=")[0]
        if kind not in TABLE:
            raise Unfit("a known encoder", did_you_mean(kind, TABLE))
        return value


class ReferenceOptions(Options):
    """Pictures that show who the subject is, and are not trained on."""

    to_references: Annotated[tuple[str, ...], Flag(metavar="NAME")] = Field(
        (), description="Move this picture of a project out of training into its references/."
    )
    from_references: Annotated[tuple[str, ...], Flag(metavar="NAME")] = Field(
        (), description="Move it back among the pictures."
    )


class DecideOptions(Options):
    """Your own decisions, which stand above every reason."""

    kept: Annotated[tuple[str, ...], Flag("--keep", "NAME")] = Field(
        (), description="Keep this picture (or pattern)."
    )
    rejected: Annotated[tuple[str, ...], Flag("--reject", "NAME")] = Field((), description="Reject it.")
    automatic: Annotated[tuple[str, ...], Flag("--automatic", "NAME")] = Field(
        (), description="Take your decision about it back."
    )
