"""What choosing is asked for."""

from __future__ import annotations

from pydantic import Field

from maquette.project.fields import Options


class SelectOptions(Options):
    """Who decides, and on which pictures."""

    checkpoint: str | None = Field(
        None,
        description="Choose this checkpoint yourself, by its file's name; what the measures say is kept beside it.",
    )
    strength: float | None = Field(
        None,
        ge=-2,
        le=2,
        description="With --checkpoint: the strength it is to be used at. Default: its best.",
    )
    reason: str = Field("", description="With --checkpoint: why, for the record.")
    redraw: bool = Field(
        False, description="Evaluate anew, even where these checkpoints were evaluated before."
    )
