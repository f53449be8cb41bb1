"""What captioning speaks of: the pictures to do, what a source answers, what became of each, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.captioning.words_diff import Difference
from maquette.dataset.config import SubsetSource


@dataclass(frozen=True, kw_only=True)
class Target:
    """One picture and the caption file that is its own."""

    picture: Path
    name: str
    """The picture's path below the captioned folder, with forward slashes."""
    caption: Path
    """Where its caption is written; the file may not exist yet."""
    existing: str
    """Its present caption's first line; empty when there is none."""
    subset: SubsetSource
    problem: str = ""
    """Why its caption file cannot be read; such a file is never written over."""
    lines_left_out: int = 0
    """Lines after the first, which no trainer reads."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a source said of one picture, as it said it."""

    text: str = ""
    refused: str = ""
    """Why there is no usable text, in words for the person: cut off, refused, not understood."""
    failed: str = ""
    """Why nothing was said at all (no connection, a busy server): asked again by the next run."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The caption proposed for one picture, or the reasons against it."""

    target: Target
    said: str = ""
    """The source's own words."""
    text: str = ""
    """The caption under the strategy."""
    reasons: tuple[str, ...] = ()
    """Why it is not used; empty for a good one."""
    is_final: bool = True
    """Whether asking again would bring the same: False where the source could not be reached."""

    @property
    def is_good(self) -> bool:
        return not self.reasons

    @property
    def changes(self) -> bool:
        return self.is_good and self.text != self.target.existing


@dataclass(frozen=True, kw_only=True)
class CaptionResult:
    """What a captioning run did. Names are the pictures' paths below the captioned folder."""

    directory: Path
    strategy: str
    source: str
    captions: dict[str, str] = field(default_factory=dict)
    """The caption of every picture that got or kept a good one from this run."""
    written: tuple[str, ...] = ()
    """Those whose caption file changed (with --dry-run: would change)."""
    unchanged: tuple[str, ...] = ()
    """Left as they are: already captioned, or the caption came out the same."""
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Pictures without a good answer, with the reasons; they keep their old caption."""
    preview: tuple[Draft, ...] = ()
    diff: tuple[Difference, ...] = ()
    dry_run: bool = False
    stopped_at_preview: bool = False
    """The person said no to the preview: nothing was written, the answers are kept for the next run."""
    change: int | None = None
    """Number of the recorded change that `undo` takes back; None when nothing was written."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "directory": str(self.directory),
            "strategy": self.strategy,
            "source": self.source,
            "written": list(self.written),
            "unchanged": list(self.unchanged),
            "refused": {name: list(reasons) for name, reasons in self.refused.items()},
            "captions": self.captions,
            "preview": [
                {
                    "picture": draft.target.name,
                    "caption": draft.text,
                    "said": draft.said,
                    "before": draft.target.existing or None,
                    "refused": list(draft.reasons),
                }
                for draft in self.preview
            ],
            "diff": [difference.to_json() for difference in self.diff],
            "dry_run": self.dry_run,
            "stopped_at_preview": self.stopped_at_preview,
            "change": self.change,
            "seconds": round(self.seconds, 3),
        }
