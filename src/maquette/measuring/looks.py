"""The records of a first look: which picture was drawn with what, its scores, their summaries, and the
choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.errors import OutputError
from maquette.files import write_json
from maquette.measuring.protocol import Measure
from maquette.measuring.statistics import Estimate, difference, estimate
from maquette.project.validation import read_as
from maquette.reading import FileKind

LOOK = "first_look.json"
"""The file of a first look in its folder."""
UNDER_WAY = "under_way.json"
"""While it is drawn: every picture that is wanted, in the same form."""
FLOOR = "no LoRA"
"""The label of pictures that the base model drew alone: the floor that a LoRA has to leave."""
LEADING = "identity"
"""The name of the measure that says whether the subject was learned."""
LOOK_VERSION = 1
FILE = FileKind(
    "a first_look.json", "Draw the first look again.", OutputError, damaged="Draw the first look again."
)


@dataclass(frozen=True, kw_only=True)
class LookPrompt:
    """A prompt that is drawn, and what it is there for.

    Roles: "bare" the trigger word alone; "pose" with a pose; "novel" in what no caption names (clothes, scenes,
    styles); "asymmetry" where a detail on one side must show; "full" the full description; "leak" the class word
    without the trigger; "bleed" other subjects; "drift" what has nothing to do with the subject; "edit" a change to
    the subject; "prompt" a person's own.
    """

    text: str
    role: str = "prompt"
    num_seeds: int | None = None
    """How many of the look's seeds it is drawn with; None is all."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One drawn picture.

    `checkpoint` is its column's label; `step` is None for the base model alone; `path` is relative to the look's file.
    """

    checkpoint: str
    step: int | None
    prompt: str
    role: str
    seed: int
    path: str
    strength: float = 1.0
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """What all pictures of one column and prompt score together."""

    checkpoint: str
    prompt: str
    role: str
    measure: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Column:
    """A LoRA at one strength, all of whose pictures stand under `label`; the base alone has no file."""

    label: str
    step: int | None = None
    strength: float = 1.0
    file: str | None = None
    """The LoRA file, as it was given; relative to the run where it belongs to one."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One measure of one checkpoint over all prompts of one role: mean, 95 % interval, and the change to the
    floor.
    """

    checkpoint: str
    step: int | None
    role: str
    measure: str
    score: Estimate
    change: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """Everything that was drawn and scored. `folder` holds the pictures and first_look.json."""

    folder: Path
    looks: tuple[Look, ...]
    measures: tuple[Measure, ...] = ()
    drawing: Mapping[str, Any] = field(default_factory=dict)
    grid: str | None = None
    columns: tuple[Column, ...] = ()
    sets: tuple[SetScore, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """What the references themselves score, by measure."""

    def checkpoints(self) -> tuple[str, ...]:
        """Return the columns in order: the floor first, then checkpoints as they were given."""
        return tuple(dict.fromkeys(look.checkpoint for look in self.looks))

    def step_of(self, checkpoint: str) -> int | None:
        """Return the optimizer step of a checkpoint, None for the floor."""
        return next(look.step for look in self.looks if look.checkpoint == checkpoint)

    @property
    def leading(self) -> Measure | None:
        """The measure that says whether the subject was learned; None where nothing measured it."""
        return next((measure for measure in self.measures if measure.name == LEADING), None)

    def prompts(self, role: str | None = None) -> tuple[str, ...]:
        """Return the prompts in order, of one role or all."""
        return tuple(dict.fromkeys(look.prompt for look in self.looks if role in (None, look.role)))

    def roles(self) -> tuple[str, ...]:
        """Return the roles in order."""
        return tuple(dict.fromkeys(look.role for look in self.looks))

    def seeds(self, prompt: str) -> tuple[int, ...]:
        """Return the seeds that a prompt was drawn with."""
        return tuple(dict.fromkeys(look.seed for look in self.looks if look.prompt == prompt))

    def seeds_of_all(self, prompt: str) -> tuple[int, ...]:
        """Return the seeds that every column drew a prompt with: a column that left a race has fewer."""
        drawn = {(look.checkpoint, look.seed) for look in self.looks if look.prompt == prompt}
        columns = self.checkpoints()
        return tuple(seed for seed in self.seeds(prompt) if all((name, seed) in drawn for name in columns))

    def find(self, checkpoint: str, prompt: str, seed: int) -> Look:
        """Return the picture in one cell."""
        wanted = (checkpoint, prompt, seed)
        return next(look for look in self.looks if (look.checkpoint, look.prompt, look.seed) == wanted)

    def column(self, checkpoint: str) -> Column:
        """Return the column with this label."""
        known = next((column for column in self.columns if column.label == checkpoint), None)
        return known or Column(label=checkpoint, step=self.step_of(checkpoint))

    def scores(self, checkpoint: str, role: str, measure: str) -> list[list[float]]:
        """Return one measure as a table [prompt][seed]; empty when it was not judged."""
        return [list(row.values()) for row in self._table(checkpoint, role, measure).values()]

    def paired(
        self, checkpoint: str, other: str, role: str, measure: str
    ) -> tuple[list[list[float]], list[list[float]]]:
        """Return one measure of two columns as tables [prompt][seed] of the pictures that both have."""
        one, two = (self._table(label, role, measure) for label in (checkpoint, other))
        shared = {
            prompt: [seed for seed in row if seed in two[prompt]]
            for prompt, row in one.items()
            if prompt in two
        }
        tables = tuple(
            [[table[prompt][seed] for seed in seeds] for prompt, seeds in shared.items() if seeds]
            for table in (one, two)
        )
        return tables[0], tables[1]

    def _table(self, checkpoint: str, role: str, measure: str) -> dict[str, dict[int, float]]:
        table: dict[str, dict[int, float]] = {}
        for look in self.looks:
            if look.checkpoint == checkpoint and look.role == role and measure in look.scores:
                table.setdefault(look.prompt, {})[look.seed] = look.scores[measure]
        return table

    def summaries(self) -> tuple[Summary, ...]:
        """Return every measure of every checkpoint and role, each with its change to the floor."""
        found = []
        for role in self.roles():
            for measure in self.measures:
                for checkpoint in self.checkpoints():
                    scores = self.scores(checkpoint, role, measure.name)
                    if scores:
                        found.append(self._summary(checkpoint, role, measure, scores))
        return tuple(found)

    def _summary(
        self,
        checkpoint: str,
        role: str,
        measure: Measure,
        scores: list[list[float]],
    ) -> Summary:
        limits = (measure.low, measure.high)
        pairs = self.paired(checkpoint, FLOOR, role, measure.name)
        change = difference(*pairs, limits=limits) if pairs[0] and checkpoint != FLOOR else None
        score = estimate(scores, limits=limits)
        step = self.step_of(checkpoint)
        return Summary(
            checkpoint=checkpoint, step=step, role=role, measure=measure.name, score=score, change=change
        )

    def summary(self, checkpoint: str, role: str, measure: str) -> Summary | None:
        """Return one summary, None where nothing was judged."""
        wanted = (checkpoint, role, measure)
        return next((s for s in self.summaries() if (s.checkpoint, s.role, s.measure) == wanted), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, summaries included."""
        return {
            "look_version": LOOK_VERSION,
            "drawing": dict(self.drawing),
            "measures": [asdict(measure) for measure in self.measures],
            "ceilings": dict(self.ceilings),
            "grid": self.grid,
            "columns": [asdict(column) for column in self.columns],
            "sets": [asdict(score) for score in self.sets],
            "looks": [asdict(look) for look in self.looks],
            "summaries": [asdict(summary) for summary in self.summaries()],
        }

    def write(self) -> Path:
        """Write first_look.json into the look's folder and return its path."""
        return write_json(self.folder / LOOK, self.to_json())


def read_first_look(path: Path) -> FirstLook:
    """Return the first look written at `path` (first_look.json). Raises OutputError when it is none."""
    found = read_as(_File, path, FILE)
    return FirstLook(
        folder=path.parent,
        looks=found.looks,
        measures=found.measures,
        drawing=found.drawing,
        grid=found.grid,
        columns=found.columns,
        sets=found.sets,
        ceilings=found.ceilings,
    )


@dataclass(frozen=True, kw_only=True)
class _File:
    """What `FirstLook.to_json` writes; summaries follow from the rest."""

    look_version: Literal[1]
    drawing: Mapping[str, Any]
    measures: tuple[Measure, ...]
    grid: str | None
    looks: tuple[Look, ...]
    columns: tuple[Column, ...] = ()
    sets: tuple[SetScore, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)
    summaries: Any = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The checkpoint that a measure speaks for, and those that it cannot tell apart from it."""

    checkpoint: str
    role: str
    measure: str
    undecided: tuple[str, ...]


def choose(look: FirstLook, *, measure: str, role: str = "bare") -> Choice | None:
    """Return the checkpoint with the best mean of `measure`, None when nothing was judged.

    `undecided` names the checkpoints whose paired difference to it includes zero.
    """
    tables = {
        name: scores
        for name in look.checkpoints()
        if name != FLOOR and (scores := look.scores(name, role, measure))
    }
    if not tables:
        return None
    best = max(tables, key=lambda name: estimate(tables[name]).mean)
    undecided = [
        name
        for name in tables
        if name != best and not difference(*look.paired(best, name, role, measure)).shows_difference_from(0.0)
    ]
    return Choice(checkpoint=best, role=role, measure=measure, undecided=tuple(undecided))
