"""What looking at a folder's pictures will take, said before it is begun: measured on a few of those that are new."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from maquette.curating.decisions import read_decisions
from maquette.curating.listing import list_heap

TRIED = 4


@dataclass(frozen=True, kw_only=True)
class Price:
    """How much there is to do."""

    pictures: int
    unseen: int
    """Those that no run has decided on yet."""
    seconds: float
    """For measuring the unseen ones, from a few that were measured now; comparing with references comes on top."""


def price_of(directory: Path, *, workers: int | None = None) -> Price:
    """Return what a run over `directory` would take; what is measured for it is kept, so nothing is done twice."""
    from maquette.dataset.measuring import measure_pictures

    names = list_heap(directory).names
    known = read_decisions(directory)
    unseen = [name for name in names if known is None or name not in known.pictures]
    tried = unseen[:: max(1, len(unseen) // TRIED)][:TRIED]
    began = time.perf_counter()
    for _ in measure_pictures([directory / name for name in tried], workers=1):
        pass
    each = (time.perf_counter() - began) / max(1, len(tried))
    return Price(
        pictures=len(names),
        unseen=len(unseen),
        seconds=each * max(0, len(unseen) - len(tried)) / (workers or os.cpu_count() or 1),
    )
