"""`[validation]`: pictures that tell what the LoRA makes of what it never saw, and when they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from maquette.project.fields import Section
from maquette.project.validation import Unfit


class ValidationSettings(Section):
    """`[validation]`: the loss of pictures that are held out of training, at fixed noise."""

    validation_split: float = Field(
        0.0, ge=0, lt=1, description="Share of each folder's pictures that is held out to measure with."
    )
    validation_pictures: int | None = Field(
        None,
        ge=1,
        description="Number of pictures that are held out; with validation_training, that are measured.",
    )
    validation_images: tuple[Path, ...] = Field(
        (),
        description="Pictures or folders to measure with; those that belong to the dataset are held out of it.",
    )
    validation_training: bool = Field(
        False,
        description="Hold nothing out and measure the training pictures: this tells how well they are fitted, no more.",
    )
    validation_fold: int = Field(
        1,
        ge=1,
        description="Which part of them validation_split holds out, from 1: runs of all parts hold out each picture once.",
    )
    validate_every_steps: int | None = Field(
        None, ge=1, description="Measure every N steps. Default: with each checkpoint."
    )
    validate_every_epochs: int | None = Field(
        None, ge=1, description="Measure every N epochs. Default: with each checkpoint."
    )
    validation_timesteps: int = Field(
        8, ge=1, le=100, description="Levels of noise at which each picture is measured, spread evenly."
    )
    validation_seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Seed of the fixed noise. Losses compare only between runs that have the same.",
    )
    max_validation_pictures: int | None = Field(
        None, ge=1, description="Measure at most so many of the held-out pictures. Default: all."
    )

    early_stop: int = Field(
        0,
        ge=0,
        description="Draw and judge every checkpoint, and end the run when so many in a row are no better than the best before "
        "by more than noise. 0: never.",
    )

    @field_validator("validation_pictures", "validation_images", "validation_training", "validation_fold")
    @classmethod
    def _one_way(cls, given: Any, others: ValidationInfo) -> Any:
        """Refuse two answers to the same question: which pictures are measured."""
        known = {name: value for name, value in others.data.items() if value and name in WAYS}
        own, name = given not in (None, (), False), others.field_name or ""
        if name == "validation_fold":
            _require_fold(given, known)
        elif own and (rivals := [each for each in known if {each, name} != TOGETHER]):
            raise Unfit(
                f"one of {', '.join(WAYS)}", f"Leave out this one or {', '.join(rivals)}.", str(given)
            )
        return given

    @property
    def is_on(self) -> bool:
        """Whether anything is measured."""
        return bool(
            self.validation_split
            or self.validation_pictures
            or self.validation_images
            or self.validation_training
        )


WAYS = ("validation_split", "validation_pictures", "validation_images", "validation_training")
TOGETHER = {"validation_pictures", "validation_training"}


def _require_fold(fold: int, known: dict[str, Any]) -> None:
    if fold == 1:
        return
    share = known.get("validation_split")
    if not share:
        raise Unfit("a share to take the fold of", "Set validation_split, or leave it out.", str(fold))
    most = round(1 / share)
    if fold > most:
        raise Unfit(f"at most {most}, as validation_split is {share:g}", "Lower it.", str(fold))
