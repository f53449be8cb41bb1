"""Several sources for one caption: each is asked, their words are joined in the order given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.source import Ask, Source
from maquette.words.phrases import slot_of, split_parts


class Chain:
    """Asks every source; a picture that one of them refuses or cannot answer for has no caption."""

    is_literal = False

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self.name = " + ".join(source.name for source in sources)
        self.batch_size = min(source.batch_size for source in sources)
        self.is_parallel = all(source.is_parallel for source in sources)
        self.is_model = any(source.is_model for source in sources)
        self.from_existing = any(source.from_existing for source in sources)
        self.learns_from_refusal = any(source.learns_from_refusal for source in sources)
        self.sees_pictures = any(source.sees_pictures for source in sources)

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        rows = [source.ask(asks) for source in self._sources]
        return [_joined(answers) for answers in zip(*rows, strict=True)]

    def describe(self) -> Mapping[str, Any]:
        return {"chain": [dict(source.describe()) for source in self._sources]}

    def close(self) -> None:
        for source in self._sources:
            source.close()


def _joined(answers: Sequence[Answer]) -> Answer:
    """Return the answers as one. What an earlier one said of the background stands; a later one does not say it again."""
    parts: list[str] = []
    for answer in answers:
        has_background = any(slot_of(part) == "background" for part in parts)
        said = split_parts(answer.text.strip(" ,.\n"))
        parts += [part for part in said if not (has_background and slot_of(part) == "background")]
    failed = next((answer.failed for answer in answers if answer.failed), "")
    refused = next((answer.refused for answer in answers if answer.refused), "")
    return Answer(text=", ".join(parts), failed=failed, refused=refused)
