"""The present caption itself: put under the strategy without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.source import Ask, Context, Source, no_argument


class Rewrite:
    """Says what the caption file says."""

    name = "rewrite"
    batch_size = 64
    is_parallel = False
    is_model = False
    is_literal = False
    from_existing = True
    learns_from_refusal = False
    sees_pictures = False

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        return [Answer(text=ask.target.existing) for ask in asks]

    def describe(self) -> Mapping[str, Any]:
        return {"source": self.name}

    def close(self) -> None:
        pass


def open_source(argument: str, context: Context) -> Source:
    """Return the source; it takes no argument."""
    no_argument("rewrite", argument)
    return Rewrite()
