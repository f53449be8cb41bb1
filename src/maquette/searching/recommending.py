"""What a search recommends: the project's settings with those of the best trial, as a maquette.toml that trains.

STUDY/best/ is a project like any other: `maquette train STUDY/best` trains with them, and `maquette plan STUDY/best
--sibling NEW` makes another subject's project of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.files import require_writable_folder, write_atomic
from maquette.project.config_file import CONFIG_NAME, RIVALS, load_settings, with_changes
from maquette.project.settings import SECTION_OF, Settings
from maquette.project.settings_text import Reasoned, idle_settings, settings_toml, values_seen_from
from maquette.searching.records import SearchTrial, StudyRecord
from maquette.spoken import counted, duration

BEST = "best"
"""Folder of a study that is a project with the recommended settings."""
SEARCHED_HERE = "searched; the project has the same"
HEADING_WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class Change:
    """One searched setting: what the project has and what is recommended."""

    name: str
    before: Any
    after: Any
    """None: off, or the default."""

    @property
    def is_other(self) -> bool:
        return bool(self.before != self.after)


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The settings of a study's best trial."""

    trial: SearchTrial
    settings: Settings | None
    """In full; None where the project cannot be read any more."""
    project: Settings | None
    """The project's own, as they were written."""
    changes: tuple[Change, ...]
    heading: str
    cost: str
    """What they take beside the baseline, in words; empty where nobody measured it."""
    problem: str = ""
    """Why the project's own settings are not in it."""

    def toml(self, folder: Path) -> str:
        """Return the settings as a maquette.toml that stands in `folder`."""
        values: dict[str, Reasoned] = {}
        if self.project is not None:
            values = {
                name: Reasoned(value, "")
                for name, value in values_seen_from(self.project, folder).items()
                if value is not None
            }
        for each in self.changes:
            values.pop(each.name, None)
            if each.after is not None:
                values[each.name] = Reasoned(each.after, _reason(each, self.project is not None))
        for name in idle_settings({name: entry.value for name, entry in values.items()}):
            if name not in {each.name for each in self.changes}:
                del values[name]
        return settings_toml(values, self.heading)

    def write(self, folder: Path) -> Path:
        """Write the study's best/maquette.toml and return its path."""
        require_writable_folder(folder / BEST)
        return write_atomic(folder / BEST / CONFIG_NAME, self.toml(folder / BEST))


def project_of(record: StudyRecord, study: Path) -> Path:
    """Return the project of the study in folder `study`: the one it lies in, wherever that was moved to."""
    around = study.resolve().parent.parent
    return around if (around / CONFIG_NAME).is_file() else Path(record.project)


def recommendation(record: StudyRecord, project: Path) -> Recommendation | None:
    """Return what a study recommends for `project`; None where no trial was finished."""
    trial = record.best_trial
    if trial is None:
        return None
    changes = {name: value for name, value in trial.settings.items() if name in SECTION_OF}
    # The project's own settings may lie outside the space: what was searched beside them is shown as it stays.
    searched = {name for each in record.trials for name in each.settings if name in SECTION_OF}
    stays = sorted(searched - changes.keys()) if trial.number == record.baseline else []
    try:
        before = load_settings(project)
        after, problem = with_changes(before, changes), ""
    except MaquetteError as error:
        before, after, problem = None, None, str(error.problems[0])
    told = record.comparison.told if record.comparison else ""
    said = [f"What {record.study} recommends: {_named(trial, record)}.", *filter(None, (told,))]
    heading = "\n".join(line for each in said for line in _wrapped(each))
    return Recommendation(
        trial=trial,
        settings=after,
        project=before,
        changes=(*_changes(before, changes), *_kept(before, stays)),
        heading=heading,
        cost=cost_of(trial, record),
        problem=problem,
    )


def cost_of(trial: SearchTrial, record: StudyRecord) -> str:
    """Return what a training of `trial` took, beside the baseline's, in words."""
    if trial.seconds is None or not trial.steps:
        return ""
    beside = f", in a pack of up to {record.pack}" if record.pack > 1 else ""
    told = f"{counted(trial.steps, 'step')} took {duration(trial.seconds)} here{beside}"
    base = None if record.baseline is None else record.trial(record.baseline)
    if base is None or base.number == trial.number or not base.seconds or not base.steps:
        return f"{told}."
    return f"{told}; the baseline's {counted(base.steps, 'step')} took {duration(base.seconds)}."


def _wrapped(text: str) -> list[str]:
    """Return a text in lines, none of which begins with a percent sign."""
    lines = textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), HEADING_WIDTH)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _named(trial: SearchTrial, record: StudyRecord) -> str:
    if trial.number == record.baseline:
        return "the baseline, that is the project's own settings"
    return f"the settings of trial {trial.number}, of {counted(len(record.searched), 'trial')}"


def _changes(before: Settings | None, changes: Mapping[str, Any]) -> list[Change]:
    found = []
    for name, value in changes.items():
        own = None if before is None else in_force(before, name)
        found.append(Change(name=name, before=own, after=tuple(value) if isinstance(value, list) else value))
        rival = RIVALS.get(name)
        if before is not None and rival is not None and in_force(before, rival) is not None:
            found.append(Change(name=rival, before=in_force(before, rival), after=None))
    return found


def _kept(before: Settings | None, names: Sequence[str]) -> list[Change]:
    if before is None:
        return []
    return [Change(name=name, before=in_force(before, name), after=in_force(before, name)) for name in names]


def in_force(settings: Settings, name: str) -> Any:
    """Return a setting as it holds, where a silent one follows from others."""
    section = getattr(settings, SECTION_OF[name])
    return getattr(section, f"{name}_in_force", getattr(section, name))


def _reason(change: Change, is_known: bool) -> str:
    if not is_known:
        return "found by the search"
    if not change.is_other:
        return SEARCHED_HERE
    return f"found by the search; was {_short(change.before)}"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
