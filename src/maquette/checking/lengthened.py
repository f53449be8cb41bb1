"""What repairs do to the length of captions: a trigger put in front may push the end of one out of what is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from maquette.dataset.folders import names_of
from maquette.events import Message
from maquette.families.common.tokenizer import CHUNK, count_clip_tokens
from maquette.findings.records import Finding, WriteText


class Lengths:
    """The captions that repairs are about to change, as they were."""

    def __init__(self) -> None:
        self._before: dict[Path, int] = {}

    def note(self, findings: Iterable[Finding]) -> None:
        """Count the captions that the repairs of `findings` would write."""
        edits = (edit for finding in findings if finding.fix for edit in finding.fix.edits)
        for edit in edits:
            if isinstance(edit, WriteText) and edit.path not in self._before and edit.path.is_file():
                self._before[edit.path] = _tokens(edit.path)

    def messages(self) -> Iterator[Message]:
        """Say which captions are longer than one pass of the text encoder now and were not before."""
        pairs = {path: (before, _tokens(path)) for path, before in self._before.items() if path.is_file()}
        grown = {path: pair for path, pair in pairs.items() if pair[0] <= CHUNK < pair[1]}
        if grown:
            path, (before, after) = next(iter(grown.items()))
            yield Message(
                f"{len(grown)} of the repaired captions are now longer than {CHUNK} tokens ({names_of(list(grown))}; "
                f"{path.name} had {before} and has {after}): the end is not read unless max_token_length is 150 or more. "
                "Shorten them, or take the repairs back with maquette undo.",
                "warning",
            )


def _tokens(path: Path) -> int:
    """Return the tokens of the longest line, since each line may be a caption of its own."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return max((count_clip_tokens(line) for line in text.splitlines()), default=0)
