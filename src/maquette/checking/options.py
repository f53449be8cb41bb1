"""What a check is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from maquette.project.fields import Flag, Options
from maquette.project.request import Trainer


class CheckOptions(Options):
    """Which rules are asked, of what, and whether they repair."""

    profile: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None, description="The subject's profile. Default: the profile.toml beside the pictures."
    )
    trainer: Trainer | None = Field(
        None,
        description="Whose meaning of folders, repeats and captions counts. "
        "Default: as the files say; for a plain folder maquette.",
    )
    trigger: Annotated[str | None, Flag(metavar="WORD")] = Field(
        None,
        description="The trigger, where no profile and no settings name it. Default: what folders and captions show.",
    )
    select: Annotated[tuple[str, ...], Flag(metavar="CODE")] = Field(
        (), description="Only these rules: CAP010, PIC, a name."
    )
    ignore: Annotated[tuple[str, ...], Flag(metavar="CODE")] = Field((), description="Not these rules.")
    fix: bool = Field(
        False, description="Repair what can be repaired without loss, and say what was changed."
    )
    machine: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="Check for another machine, described in this JSON file. `--machine this` prints this one's.",
    )
