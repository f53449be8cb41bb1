"""A trial of a pack before it stands in the base: its own job, checked as a run's is, in the folder that is its own.

Trials share one base in one process, so they must agree on what that is and how it is computed with; in all else they may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, Problem
from maquette.project.config_file import dump_settings
from maquette.project.settings import Settings
from maquette.runs.folder import RECORD_NAME
from maquette.training.directing import PackTrial
from maquette.training.job import Job
from maquette.training.prepare import dataset_input, prepare

if TYPE_CHECKING:
    from maquette.dataset.facts import DatasetFacts, DatasetInput
    from maquette.training.prepare import Judge

OF_THE_BASE: dict[str, tuple[str, ...]] = {
    "objective": ("prediction", "zero_terminal_snr"),
    "lora": ("adapter",),
    "training": (
        "device", "precision", "base_precision", "attention", "deterministic", "compile_blocks", "compile_mode",
    ),
}  # fmt: skip
"""Settings that say what the base is and how one pass over it computes; all of [model] does."""


@dataclass
class LaneJobs:
    """Prepares the trials of a pack. What is read of a dataset is read once: all trials train on it as it was then."""

    shared: Settings
    judge: Judge
    _facts: list[tuple[DatasetInput, DatasetFacts]] = field(default_factory=list)

    def prepare(self, trial: PackTrial) -> Job:
        """Return the trial's job, which goes on from its newest state where its folder has one; it holds the folder.

        Raises MaquetteError with every problem.
        """
        settings = _in_its_folder(trial)
        problems = [*self._apart(settings), *_alone_only(settings)]
        if problems:
            raise ConfigError(problems)
        begun = (trial.folder / RECORD_NAME).is_file()
        resume = trial.folder if begun else None
        job = prepare(settings, judge=self.judge, resume=resume, facts=self._read(settings))
        if job.validation is None:
            job.claim.close()
            raise ConfigError(
                Problem(
                    "validation",
                    "no picture is measured",
                    "pictures to measure a trial by",
                    "Hold some out (--validation-split 0.1), or measure those that are trained on (--validation-training).",
                )
            )
        return job

    def _read(self, settings: Settings) -> DatasetFacts:
        from maquette.dataset.reading import read_dataset

        asked = dataset_input(settings)
        for known, facts in self._facts:
            if known == asked:
                return facts
        facts = read_dataset(asked)
        self._facts.append((asked, facts))
        return facts

    def _apart(self, settings: Settings) -> Iterator[Problem]:
        """Yield every setting of the base in which a trial differs from the pack."""
        common, own = _of_the_base(self.shared), _of_the_base(settings)
        for name, value in own.items():
            if value != common[name]:
                given = f"{value!r}, where the pack has {common[name]!r}"
                remedy = "Train this one by itself, or in a pack of its own."
                yield Problem(name, given, "the same for all trials over one base", remedy)


def _in_its_folder(trial: PackTrial) -> Settings:
    settings = trial.settings
    saving = settings.saving.model_copy(update={"output": trial.folder.parent, "name": trial.folder.name})
    return settings.model_copy(update={"saving": saving})


def _of_the_base(settings: Settings) -> dict[str, Any]:
    tables = dump_settings(settings)
    return {
        f"[{section}] {name}": value
        for section, table in tables.items()
        for name, value in table.items()
        if section == "model" or name in OF_THE_BASE.get(section, ())
    }


def _alone_only(settings: Settings) -> Iterator[Problem]:
    """Yield what only a run of its own has."""
    if settings.training.processes > 1:
        given = f"{settings.training.processes} processes"
        yield Problem("processes", given, "1 in a pack", "Start a pack for each device.")
    if settings.validation.early_stop:
        given, required = (
            f"{settings.validation.early_stop}",
            "none in a pack: its director ends trials early",
        )
        yield Problem("early_stop", given, required, "Leave it out.")
