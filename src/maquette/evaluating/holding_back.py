"""Which training pictures to hold back, by name and with reasons, looked at with the encoder that suits them and is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.holding_back import (
    FEWEST,
    MOST_PICTURES,
    HeldBack,
    hold_back,
    name_of,
    number_to_hold_back,
)
from maquette.dataset.opening import picture_rgb
from maquette.encoders import Encoder, cosine
from maquette.errors import DatasetError
from maquette.measuring.copying import likeness_of_thumbnails
from maquette.measuring.embedder import Embedder
from maquette.measuring.references import ENOUGH
from maquette.project.config_file import CONFIG_NAME
from maquette.spoken import counted

COPY = 0.98
"""Correlation of thumbnails from which a picture is another's copy or mirror image."""


@dataclass(frozen=True, kw_only=True)
class HoldBack:
    """What to hold back and why; no pictures where there are too few to spare any."""

    pictures: tuple[HeldBack, ...]
    of: int
    already: tuple[Path, ...] = ()
    """Those that are held out as it is."""
    looked_at: str = ""

    @property
    def setting(self) -> str:
        """The line of `maquette.toml` that holds them out."""
        names = [_as_named(path) for path in (*self.already, *(each.picture for each in self.pictures))]
        return f"validation_images = [{', '.join(json.dumps(name, ensure_ascii=False) for name in names)}]"

    @property
    def told(self) -> tuple[str, ...]:
        """The proposal in sentences: which, how they are held out, why these."""
        if not self.pictures:
            return (_none_to_spare(self.of),)
        names = ", ".join(name_of(each.picture) for each in self.pictures)
        few = "" if len(self.pictures) + len(self.already) >= ENOUGH else _few(len(self.pictures))
        return (
            f"Hold back {names} ({counted(len(self.pictures), 'picture')} of {self.of}): in [validation], {self.setting}",
            f"They stand for the whole set: {'; '.join(each.told for each in self.pictures)}.{few}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "pictures": [str(each.picture) for each in self.pictures],
            "reasons": [each.told for each in self.pictures],
            "setting": self.setting if self.pictures else None,
            "looked_at": self.looked_at,
            "told": list(self.told),
        }


def _as_named(path: Path) -> str:
    """Return a picture as the settings of its project name it, which read paths from their own folder."""
    full = path.absolute()
    home = next((folder for folder in full.parents if (folder / CONFIG_NAME).is_file()), None)
    return full.as_posix() if home is None else full.relative_to(home).as_posix()


def _none_to_spare(number: int) -> str:
    return (
        f"Of {counted(number, 'training picture')} none can be spared (they are fewer than {FEWEST}, or each shows what no other "
        f"does): put {ENOUGH} other pictures of the subject into references/ of the project; they are never trained on."
    )


def _few(count: int) -> str:
    return (
        f" {counted(count, 'picture')} say little: {ENOUGH} or more others in references/ of the project say more, and cost "
        "training nothing."
    )


def proposed(
    captions: Mapping[Path, str],
    *,
    already: Sequence[Path] = (),
    loaded: dict[str, Encoder] | None = None,
    count: int | None = None,
) -> HoldBack:
    """Return which of the training pictures (path → caption) to hold back beside those that `already` are.

    `loaded` has encoders by name, those in memory. Pictures that cannot be read are passed over.
    """
    every = list(captions)
    shown = every[:: -(-len(every) // MOST_PICTURES)] if every else []
    opened = []
    for path in shown:
        try:
            opened.append((path, picture_rgb(path)))
        except DatasetError:  # said by whoever trains on it
            continue
    paths = [path for path, _ in opened]
    wanted = number_to_hold_back(len(every)) - len(already) if count is None else count
    if len(paths) < FEWEST or wanted < 1:
        return HoldBack(pictures=(), of=len(every), already=tuple(already))
    pictures = [picture for _, picture in opened]
    thumbnails_NN = likeness_of_thumbnails(pictures)
    encoder = _encoder(paths, {} if loaded is None else loaded)
    likeness_NN = thumbnails_NN if encoder is None else _likeness(encoder, pictures)
    np.fill_diagonal(thumbnails_NN, 0.0)
    copies = set(np.flatnonzero(thumbnails_NN.max(axis=1) >= COPY).tolist())
    found = hold_back(paths, likeness_NN, [captions[path] for path in paths], wanted, copies=copies)
    looked_at = "thumbnails" if encoder is None else encoder.name
    return HoldBack(pictures=found, of=len(every), already=tuple(already), looked_at=looked_at)


def _likeness(encoder: Encoder, pictures: Sequence[Any]) -> NDArray[Any]:
    """Return how alike the pictures are as a whole, not only in who is on them: views and poses are to stay in training."""
    rows_ND = Embedder(encoder).of_pictures(pictures)
    return cosine(rows_ND, rows_ND)


def _encoder(paths: Sequence[Path], loaded: dict[str, Encoder]) -> Encoder | None:
    """Return the encoder that suits the pictures and needs no download; None where there is none."""
    from maquette.encoders import load_encoder
    from maquette.encoders.choosing import DRAWINGS, encoder_for
    from maquette.encoders.transformers_vision import is_here

    name, _ = encoder_for(paths)
    if name == DRAWINGS and not is_here(name):
        return None
    if name not in loaded:
        loaded[name] = load_encoder(name)
    return loaded[name]
