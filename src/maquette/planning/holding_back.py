"""Which pictures a planned run should hold out of training, and the reminder where it holds none out."""

from __future__ import annotations

from pathlib import Path

from maquette.curating.references import FOLDER
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.reading import read_dataset
from maquette.evaluating.holding_back import HoldBack, proposed
from maquette.project.settings import Settings
from maquette.training.prepare import dataset_input


def proposal_for(settings: Settings) -> HoldBack:
    """Return which of the run's pictures to hold back; what it holds out as it is stays so."""
    facts = read_dataset(dataset_input(settings), "listing")
    captions = dict.fromkeys(facts.files, "")
    captions |= {each.picture: each.text for each in facts.captions if each.picture in captions and each.text}
    return proposed(captions, already=[*facts.held_out, *facts.held_elsewhere])


def reminder(settings: Settings, facts: DatasetFacts) -> tuple[str, ...]:
    """Return what to do where nothing unseen will say how good the LoRA is; nothing where something will."""
    wanted = settings.validation
    is_measured = facts.held_out or facts.held_elsewhere or wanted.validation_training
    folder = settings.dataset.images
    references = (folder.parent if folder.suffix else folder).parent / FOLDER
    if is_measured or _has_files(references):
        return ()
    return (
        "No picture is held out of training, so the run will be judged by the pictures that it saw, which rewards copies: "
        "`maquette plan --hold-back` says which to hold back.",
    )


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
