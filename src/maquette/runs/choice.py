"""Which checkpoint of a run was chosen, and why: RUN/choice.json, which deploying and the report read.

A file of its own, since the record belongs to whoever trains the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from maquette.errors import OutputError
from maquette.files import write_json
from maquette.project.validation import read_as
from maquette.reading import FileKind

VERSION = 1
NAME = "choice.json"
FILE = FileKind("the choice among a run's checkpoints", "Choose again: maquette select.", OutputError)
DecidedBy = Literal["measures", "votes", "person", "early stop", "nobody"]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A checkpoint at its best strength. `behind` is by how much its score falls short of the chosen one's, paired."""

    checkpoint: str
    """Its LoRA file, relative to the run."""
    label: str
    step: int | None
    strength: float
    score: float | None = None
    low: float | None = None
    high: float | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    failures: tuple[str, ...] = ()

    @property
    def is_undecided(self) -> bool:
        """Whether it cannot be told apart from the chosen one."""
        return self.behind is not None and (self.behind_low is None or self.behind_low <= 0)


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What another rule would have chosen: the last checkpoint, the lowest loss."""

    rule: str
    checkpoint: str
    label: str
    is_chosen: bool
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What speaks against the run, whatever was chosen: in a word, in a sentence with its numbers, and what to do."""

    kind: Literal[
        "over-trained", "never learned", "trigger decoupled", "leak", "failed floor", "person disagrees"
    ]
    told: str
    remedy: str
    step: int | None = None
    words: tuple[str, ...] = ()
    """Of the captions, where they are at fault."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a word of the captions draws with the trigger, in drawings made to find out. `gain` is identity above the trigger's
    alone; `of_base` is what the word adds to the base alone.
    """

    word: str
    share: float
    """Of the captions."""
    label: str
    """Whose drawings: the checkpoint's column."""
    gain: float
    low: float | None = None
    high: float | None = None
    of_base: float = 0.0
    pictures: int = 0

    @property
    def is_at_fault(self) -> bool:
        """Whether the word draws more of the subject than the trigger does, by more than noise."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True, kw_only=True)
class More:
    """How many more pictures would probably tell the best two apart."""

    pictures: int
    seeds: int
    prompts: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The decision as it is kept."""

    checkpoint: str
    """The LoRA file, relative to the run."""
    label: str
    step: int | None
    strength: float
    score: float | None = None
    low: float | None = None
    high: float | None = None
    runner_up: str | None = None
    distinguishable: bool = True
    more: More | None = None
    decided_by: DecidedBy = "measures"
    headline: str = ""
    reasons: tuple[str, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    rivals: tuple[Rival, ...] = ()
    probes: tuple[Probe, ...] = ()
    """Where the trigger is decoupled from its subject: the captions' words, drawn one by one; all of them together last."""
    ranking: tuple[Ranked, ...] = ()
    weights: Mapping[str, float] | None = None
    pictures: int = 0
    """Drawn for it, those of the base alone included."""
    pictures_of_all: int | None = None
    """What drawing all seeds of all columns would have taken, where fewer were enough."""
    evaluation: str = ""
    """SHA-256 of the first_look.json that it rests on."""
    time: str = ""

    @property
    def runner_up_label(self) -> str | None:
        """The runner-up as people call it ("step 400")."""
        labels = {each.checkpoint: each.label for each in self.ranking}
        return self.runner_up and labels.get(self.runner_up, self.runner_up)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {"choice_version": VERSION, **asdict(self)}

    def write(self, folder: Path) -> Path:
        """Write choice.json into `folder` and return its path."""
        return write_json(folder / NAME, self.to_json())


@dataclass(frozen=True, kw_only=True)
class _File(Choice):
    choice_version: Literal[1] = 1


def read_choice(folder: Path) -> Choice | None:
    """Return the choice written into `folder`, None where there is none. Raises OutputError for one that is damaged."""
    if not (folder / NAME).is_file():
        return None
    found = read_as(_File, folder / NAME, FILE)
    return Choice(**{name: getattr(found, name) for name in Choice.__dataclass_fields__})
