"""A LoRA goes where it is drawn with: one of a run, whose record tells a drawing program all it must know, or a bare file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.deploying.chosen import ENDING, Chosen, chosen_of
from maquette.deploying.of_run import preview_of, recipe_of
from maquette.deploying.options import DeployOptions
from maquette.deploying.program import Installed
from maquette.deploying.recipe import Recipe
from maquette.deploying.sidecars import Preview
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.events import Artifact, Message, Stage
from maquette.project.settings import Settings
from maquette.runs.deliveries import Delivered, note_delivery
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import RunRecord, read_record


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A LoRA file, the name that it is released under, and how it is drawn."""

    lora: Path
    name: str
    recipe: Recipe
    why: str = ""
    """Why these weights of the run and no others; empty for a bare file."""
    preview: Preview | None = None
    run: RunFolder | None = None
    """The run that made it; None for a bare file."""
    settings: Settings | None = None
    """Of the run that made it, which say how its base model is loaded; None for a bare file."""


class PartlyInstalled(OutputError):
    """Some places took the LoRA (`installed`), the others did not: `problems` say why."""

    def __init__(self, installed: tuple[Installed, ...], problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.installed = installed


def deploy_events(source: Path, options: DeployOptions) -> Stage[list[Installed]]:
    """Install a checkpoint of a run, or a LoRA file, into a ComfyUI and/or AUTOMATIC1111 folder; return what was installed.

    Raises PartlyInstalled where one place took it and another did not, the latter's own error where none did.
    """
    from maquette.deploying import comfyui, webui
    from maquette.deploying.redraw import at_strength

    wanted = [
        (comfyui.COMFYUI, comfyui.install, options.comfyui),
        (webui.WEBUI, webui.install, options.webui),
    ]
    places = [(program, install, place) for program, install, place in wanted if place is not None]
    if not places:
        raise ConfigError(
            Problem(
                "deploy", "no place given", "a drawing program's folder", "Add --comfyui DIR or --webui DIR."
            )
        )
    delivery = delivery_of(source, options)
    yield from (Message(text, "warning") for text in _drawn_otherwise(delivery))
    installed: list[Installed] = []
    errors: list[MaquetteError] = []
    with tempfile.TemporaryDirectory(prefix="maquette-") as folder:
        preview = delivery.preview
        if delivery.settings is not None and (
            options.create or any(program.is_at(place) for program, _, place in places)
        ):
            drawn = (preview, delivery.lora, delivery.recipe, delivery.settings, Path(folder))
            preview = yield from at_strength(*drawn)
        for _, install, place in places:
            try:
                entry = install(
                    delivery.lora,
                    place,
                    name=options.name or delivery.name,
                    recipe=delivery.recipe,
                    preview=preview,
                    create=options.create,
                )
            except MaquetteError as error:
                errors.append(error)
            else:
                entry = replace(entry, why=delivery.why)
                installed.append(entry)
                if delivery.run is not None:
                    note_delivery(delivery.run, _delivered(entry))
                yield Artifact("installed LoRA", entry.lora)
    if errors and installed:
        raise PartlyInstalled(tuple(installed), _problems(errors))
    if errors:
        raise type(errors[0])(_problems(errors))
    return installed


def _drawn_otherwise(delivery: Delivery) -> Iterator[str]:
    """Yield why the program that takes it will draw it otherwise than Maquette does."""
    from maquette.lora.reading import read_lora_facts
    from maquette.training.continuing import told_of_base_weights

    if delivery.settings is not None:
        yield from told_of_base_weights(delivery.settings.model)
    facts = read_lora_facts(delivery.lora, depth="header")
    if any(module.differs for module in facts.modules):
        yield (
            f"{delivery.lora.name} is {facts.titles} by outputs: ComfyUI draws it differently from training. Compare pictures, "
            "or train with --adapter dora, which goes by inputs, or plain LoRA."
        )


def _delivered(entry: Installed) -> Delivered:
    return Delivered(
        program=entry.program,
        lora=str(entry.lora),
        lora_name=entry.lora_name,
        sha256=entry.sha256,
        weights=entry.weights,
        strength=f"{entry.strength:g}",
        workflow=str(entry.workflow or ""),
        prompts=str(entry.prompts),
    )


def _problems(errors: list[MaquetteError]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problem for error in errors for problem in error.problems))


def delivery_of(source: Path, options: DeployOptions) -> Delivery:
    """Return what `source`, a run's folder or a LoRA file, is delivered as. A run's own file is delivered as that run's."""
    if source.name == RECORD_NAME:
        source = source.parent
    if source.is_dir():
        record = read_record(source)
        chosen = chosen_of(source, record, options.checkpoint, options.strength)
        return _of_run(source, record, chosen, options)
    if source.suffix != ENDING:
        raise ConfigError(
            Problem(
                str(source),
                "is no run's folder and no LoRA file" if source.exists() else "does not exist",
                f"the folder of a run (with {RECORD_NAME}), or a LoRA file ({ENDING})",
                "Name one of them.",
            )
        )
    if options.checkpoint is not None:
        raise ConfigError(
            Problem(
                "--checkpoint",
                f"'{options.checkpoint}' beside the file {source.name}",
                "a checkpoint of a run, or a file",
                "Leave one of them out.",
            )
        )
    run = source.absolute().parent.parent
    if (run / RECORD_NAME).is_file():
        record = read_record(run)
        for entry in record.checkpoints:
            if (run / entry.path) == source.absolute():
                strength = 1.0 if options.strength is None else options.strength
                chosen = Chosen(checkpoint=entry, strength=strength, why="the file that was given")
                return _of_run(run, record, chosen, options)
    return _of_file(source, options)


def _of_run(run: Path, record: RunRecord, chosen: Chosen, options: DeployOptions) -> Delivery:
    recipe = recipe_of(
        record,
        chosen.checkpoint,
        base_name=options.base_name,
        strength=chosen.strength,
        trigger=options.trigger,
    )
    folder = RunFolder(run)
    return Delivery(
        lora=folder.path / chosen.checkpoint.path,
        name=record.run,
        recipe=recipe,
        why=chosen.why,
        preview=preview_of(folder, record, chosen.checkpoint),
        run=folder,
        settings=record.settings,
    )


def _of_file(source: Path, options: DeployOptions) -> Delivery:
    from maquette.deploying.bare import recipe_of_file

    recipe = recipe_of_file(
        source,
        base_name=options.base_name,
        strength=1.0 if options.strength is None else options.strength,
        trigger=options.trigger,
    )
    return Delivery(lora=source, name=source.stem, recipe=recipe)
