"""`[masks]`: which places of a picture are learned from; what an error outside weighs stands in `[objective]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from maquette.project.fields import Section

MaskSource = Literal["none", "alpha", "folder", "beside"]


class MaskSettings(Section):
    """`[masks]`: where each picture's mask is: grey, white what is learned, black what is not."""

    mask_source: MaskSource | None = Field(
        None,
        description="Where masks are: a picture's transparency (alpha), mask_folder (folder), or masks/NAME.png, "
        "NAME-masklabel.png, NAME.mask.png or NAME_mask.png by the pictures (beside). Default: folder where mask_folder is "
        "given, else none.",
    )
    mask_folder: Path | None = Field(None, description="Folder of masks that are named like the pictures.")

    @property
    def source_in_force(self) -> MaskSource:
        """Where masks are."""
        return self.mask_source or ("none" if self.mask_folder is None else "folder")
