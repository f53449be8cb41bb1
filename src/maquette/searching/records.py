"""A study as it is written down: its trials, and what they answer. PROJECT/search/STUDY/trial_results.json.

The database holds what workers share while they search; this file is the same for readers, rewritten whole at every change.

    search/STUDY/study.db            the database, where the storage is none of its own
    search/STUDY/space.toml          what was searched
    search/STUDY/trial_results.json  this record
    search/STUDY/trials/NNN/         each trial's run: record, metrics, checkpoints, state
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.errors import OutputError
from maquette.files import write_json
from maquette.project.validation import read_as
from maquette.reading import FileKind

VERSION = 1
RESULTS_NAME = "trial_results.json"
SPACE_NAME = "space.toml"
DATABASE_NAME = "study.db"
REPORT_NAME = "report.html"
TRIALS = "trials"
STUDIES = "search"
"""Folder of a project that holds its studies."""
FILE = FileKind(
    "the results of a search", "Name a study's folder: the one that holds trial_results.json.", OutputError
)

Value = str | int | float | bool | None
Role = Literal["baseline", "start", "search", "finalist"]
"""`baseline`: the project's own settings; `start`: drawn at random, before there is anything to learn from; `finalist`: settings
of an earlier trial with another seed."""
TrialState = Literal["waiting", "running", "pruned", "finished", "failed", "refused"]
"""`pruned`: ended early, since its validation loss fell behind, or since its pictures are worse than the best's (`behind`);
`refused`: a constraint spoke against it, nothing was trained."""
Objective = Literal["loss", "score"]
Direction = Literal["minimize", "maximize"]
StudyState = Literal["running", "stopped", "finished"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """The validation loss of a trial after `step` optimizer steps, with its standard error over pictures."""

    step: int
    loss: float
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One trial: what was proposed, what became of it."""

    number: int
    """The database's own; refused ones have a number too."""
    role: Role = "search"
    state: TrialState = "waiting"
    params: Mapping[str, Value] = field(default_factory=dict)
    """By the space's names: network_dim, network_alpha_ratio. Empty of a baseline that lies outside the space."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that they mean, by their names in maquette.toml: rank, alpha."""
    refused_by: tuple[str, ...] = ()
    """Names of the constraints that it breaks."""
    points: tuple[Point, ...] = ()
    value: float | None = None
    """Of the study's objective, of a finished trial alone."""
    score: float | None = None
    """Total of its scorecard, 0 to 1, more is better; where pictures are judged."""
    seed: int | None = None
    seconds: float | None = None
    """Of training; of a packed trial the time in which it stood there."""
    ended_s: float | None = field(default=None, compare=False)
    """Seconds of the search's own time (StudyRecord.seconds) after which it was over."""
    step: int = 0
    steps: int | None = None
    folder: str | None = None
    """Relative to the study's folder."""
    error: str | None = None
    behind: int | None = None
    """Of a trial that was pruned by its pictures: the one that they are worse than; `score` is then of what was drawn."""
    chance: float | None = None
    """Of a trial as good as that one to look so bad: Wilcoxon's p over `pairs` pictures."""
    pairs: int | None = None
    of: int | None = None
    """The trial whose settings a finalist repeats with another seed."""
    worker: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("pruned", "finished", "failed", "refused")

    @property
    def settings_of(self) -> int:
        """The trial that its settings were first tried in: its own number, but for a finalist."""
        return self.number if self.of is None else self.of


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the best settings' objective differs from the baseline's, over seeds. Below 0 is better where less is better."""

    difference: float | None = None
    interval: tuple[float, float] | None = None
    """95 %; None with fewer than two seeds in common."""
    seeds: int = 0
    """Seeds with which both were trained."""
    seeds_needed: int | None = None
    """How many would probably tell them apart; None where they are told apart, or nobody can say."""
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study with all its trials, and its answer so far."""

    study: str
    project: str
    created_at: str
    space: str
    """As TOML."""
    objective: Objective = "loss"
    direction: Direction = "minimize"
    seed: int = 0
    pack: int = 1
    sampler: str = "tpe"
    halving: int = 0
    """One trial in so many went on at a rung; 1: none was ended by its loss; 0: written before this was."""
    paired_level: float = 0.0
    """Of the test by which a trial's pictures were found worse than the best's; 0: none was ended by its pictures."""
    storage: str = ""
    """Address of its database, without a password."""
    trials_asked: int = 0
    """Settings to be trained, the baseline among them; refused ones and further seeds of finalists come on top."""
    state: StudyState = "running"
    trials: tuple[SearchTrial, ...] = ()
    best: int | None = None
    baseline: int | None = None
    beats_baseline: bool | None = None
    """None: it cannot be told, or was not yet asked."""
    comparison: Comparison | None = None
    seconds: float = 0.0
    """In which the search was at work, all its sessions together."""
    trials_per_hour: float | None = None
    pruned_by_constraint: int = 0
    """Proposals that were refused."""

    def trial(self, number: int) -> SearchTrial:
        """Return the trial of that number. Raises KeyError."""
        for each in self.trials:
            if each.number == number:
                return each
        raise KeyError(number)

    @property
    def best_trial(self) -> SearchTrial | None:
        return None if self.best is None else self.trial(self.best)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the difference between the best settings and the baseline."""
        return self.comparison.interval if self.comparison else None

    @property
    def searched(self) -> tuple[SearchTrial, ...]:
        """The trials that count among those asked for: neither refused ones nor further seeds."""
        return tuple(each for each in self.trials if each.state != "refused" and each.role != "finalist")

    @property
    def refused_share(self) -> float:
        """Share of the proposals that were refused."""
        proposed = [each for each in self.trials if each.role in ("start", "search")]
        return sum(each.state == "refused" for each in proposed) / len(proposed) if proposed else 0.0

    def by_state(self) -> dict[str, int]:
        """Return how many of the trials asked for are in each state; all together they are `trials_asked` at the end."""
        found: Counter[str] = Counter(each.state for each in self.searched)
        shown = ("finished", "pruned", "failed", *(each for each in ("running", "waiting") if found[each]))
        return {state: found[state] for state in shown}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {"results_version": VERSION, **asdict(self)}

    def write(self, folder: Path) -> Path:
        """Write trial_results.json into the study's `folder` and return its path."""
        return write_json(folder / RESULTS_NAME, self.to_json())


@dataclass(frozen=True, kw_only=True)
class _File(StudyRecord):
    results_version: Literal[1] = 1


def read_study(folder: Path) -> StudyRecord:
    """Return the study written into `folder`. Raises OutputError where there is none or it is damaged."""
    found = read_as(_File, folder / RESULTS_NAME, FILE)
    return StudyRecord(**{name: getattr(found, name) for name in StudyRecord.__dataclass_fields__})
