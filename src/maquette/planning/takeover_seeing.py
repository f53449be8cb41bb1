"""How another trainer's run was watched, as settings of Maquette: its held-out pictures, its trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken


def validation(taken: Taken) -> None:
    """Take over held-out pictures; sd-scripts measures them after each epoch where nothing else is said."""
    request = taken.request
    share = request.value("validation_split")
    if not share and not _by_toml(taken):
        why = "no pictures are held out"
        for name in (
            "validation_seed",
            "validate_every_steps",
            "validate_every_epochs",
            "max_validation_steps",
        ):
            taken.leave(name, why)
        return
    if share:
        taken.put("validation_split", share, "validation_split")
    if request.validation_seed is not None:
        taken.put("validation_seed", request.validation_seed, "validation_seed")
    if request.validate_every_steps is not None:
        taken.put("validate_every_steps", request.validate_every_steps, "validate_every_steps")
    taken.put("validate_every_epochs", request.validate_every_epochs or 1, "validate_every_epochs")
    if request.max_validation_steps is not None:
        most = request.max_validation_steps * (request.value("batch_size") or 1)
        taken.put("max_validation_pictures", most, "max_validation_steps")


def _by_toml(taken: Taken) -> bool:
    """Return whether the run's dataset TOML holds pictures out."""
    from maquette.dataset.kohya import plan_of_toml
    from maquette.project.places import found_path

    request = taken.request
    place = found_path(request.dataset_config, request.file) if request.dataset_config else None
    return place is not None and any(source.validation_split for source in plan_of_toml(place).datasets)


TRACKING = ("log_with", "logging_dir", "log_tracker_name", "wandb_run_name")
"""sd-scripts' options that `trackers` takes over or leaves by name."""


def trackers(taken: Taken) -> None:
    """Take over where curves are shown; as in sd-scripts a folder alone means TensorBoard."""
    other = taken.request.other
    asked, folder = other.get("log_with"), other.get("logging_dir")
    shown = asked or ("tensorboard" if folder else None)
    if shown in ("tensorboard", "all"):
        taken.put_as("tensorboard", True, "log_with" if asked else "logging_dir")
    if folder:
        taken.left[f"logging_dir = {folder}"] = (
            "events lie in each run's own folder; logging_dir in [saving] names another"
        )
    if shown in ("wandb", "all"):
        taken.put_as("trackers", ("wandb",), "log_with")
    named = {"log_tracker_name": "tracker_project", "wandb_run_name": "tracker_run"}
    for option, setting in named.items():
        if other.get(option) and shown in ("wandb", "all"):
            taken.put_as(setting, other[option], option)
        elif other.get(option):
            taken.left[f"{option} = {other[option]}"] = "only wandb would show it"
