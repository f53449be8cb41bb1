"""A LoRA goes where it is drawn with: one of a run, whose record tells a drawing program all it must know, or a bare file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maquette.deploying.card import Judged
from maquette.deploying.chosen import ENDING, Chosen, chosen_of
from maquette.deploying.of_run import preview_of, recipe_of
from maquette.deploying.options import DeployOptions
from maquette.deploying.places import known_told, remember
from maquette.deploying.program import Installed
from maquette.deploying.recipe import Recipe
from maquette.deploying.redraw import SAMPLE_STRENGTH
from maquette.deploying.release import require_lora
from maquette.deploying.sidecars import Preview
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.events import Artifact, Message, Stage, run_stage
from maquette.files import sha256_file
from maquette.project.settings import Settings
from maquette.runs.deliveries import Delivered, note_delivery
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import RunRecord, read_record

if TYPE_CHECKING:
    from maquette.measuring.scorecards import Scorecards


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A LoRA file, the name that it is released under, and how it is drawn."""

    lora: Path
    name: str
    recipe: Recipe
    why: str = ""
    """Why these weights of the run and no others; empty for a bare file."""
    preview: Preview | None = None
    judged: Judged | None = None
    """What is known of them beside the file; None for a bare file."""
    run: RunFolder | None = None
    """The run that made it; None for a bare file."""
    is_base_found: bool = False
    """Whether nobody said the base model, and the program's only one of the family stands in."""
    settings: Settings | None = None
    """Of the run that made it, which say how its base model is loaded; None for a bare file."""


class PartlyInstalled(OutputError):
    """Some places took the LoRA (`installed`), the others did not: `problems` say why."""

    def __init__(self, installed: tuple[Installed, ...], problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.installed = installed


def deploy_events(source: Path, options: DeployOptions) -> Stage[list[Installed]]:
    """Install a checkpoint of a run, or a LoRA file, wherever `options` say; return what was installed.

    Raises PartlyInstalled where one place took it and another did not, the latter's own error where none did.
    """
    if (options.comfyui, options.webui, options.diffusers) == (None, None, None):
        remedy = f"Add --comfyui DIR, --webui DIR or --diffusers DIR.{known_told()}"
        raise ConfigError(Problem("deploy", "no place given", "a drawing program's folder", remedy))
    delivery = delivery_of(source, options)
    yield from (Message(text, "warning") for text in _drawn_otherwise(delivery))
    installed: list[Installed] = []
    errors: list[MaquetteError] = []
    with tempfile.TemporaryDirectory(prefix="maquette-") as folder:
        preview = yield from _preview(delivery, options, Path(folder))
        lora = yield from _telling(delivery, options, Path(folder))
        for install in _installers(delivery, options, lora, preview):
            try:
                entry = replace(install(), why=delivery.why)
            except MaquetteError as error:
                errors.append(error)
            else:
                installed.append(entry)
                if not entry.is_dry:
                    _note(delivery, entry)
                    yield Artifact("installed LoRA", entry.lora)
    if errors and installed:
        raise PartlyInstalled(tuple(installed), _problems(errors))
    if errors:
        raise type(errors[0])(_problems(errors))
    return installed


def pack(source: Path, options: DeployOptions, folder: Path) -> Installed:
    """Write into `folder`, which is nobody's, all that an installation into a ComfyUI would: to be taken elsewhere by hand.

    No preview is drawn anew, and nothing is noted.
    """
    delivery = delivery_of(source, options)
    own = options.model_copy(update={"comfyui": folder, "webui": None, "diffusers": None, "create": True})
    has_strength = delivery.recipe.scene.strength == SAMPLE_STRENGTH
    with tempfile.TemporaryDirectory(prefix="maquette-") as beside:
        lora = run_stage(_telling(delivery, own, Path(beside)))
        [install] = _installers(delivery, own, lora, delivery.preview if has_strength else None)
        return replace(install(), why=delivery.why)


def card_of(delivery: Delivery, name: str) -> str:
    """Return the model card of a delivery that goes out as `name`."""
    from maquette.deploying.card import CardFacts, model_card

    stem = PurePosixPath(name).name
    facts = CardFacts(
        name=stem,
        file=f"{stem}{ENDING}",
        lora=require_lora(delivery.lora),
        recipe=delivery.recipe,
        judged=delivery.judged,
    )
    return model_card(facts)


def _note(delivery: Delivery, entry: Installed) -> None:
    """Keep where it went: beside the run, and as a place of this user's."""
    if delivery.run is not None:
        note_delivery(delivery.run, _delivered(entry, delivery.lora))
    remember(entry.program, entry.root)


def _installers(
    delivery: Delivery, options: DeployOptions, lora: Path, preview: Preview | None
) -> list[Callable[[], Installed]]:
    """Return what installs the LoRA into each place that was asked for."""
    from maquette.deploying import comfyui, diffusers_folder, webui
    from maquette.deploying.posing import pose_of
    from maquette.deploying.workflows import Drawings

    common: dict[str, Any] = {
        "name": options.name or delivery.name,
        "recipe": delivery.recipe,
        "preview": preview,
        "judged": delivery.judged,
        "dry": options.dry_run,
    }
    found: list[Callable[[], Installed]] = []
    if options.comfyui is not None:
        drawings = Drawings(pose=pose_of(options.controlnet, options.pose), template=options.workflow)
        more: dict[str, Any] = {"create": options.create, "drawings": drawings}
        found.append(partial(comfyui.install, lora, options.comfyui, **more, **common))
    if options.webui is not None:
        found.append(partial(webui.install, lora, options.webui, create=options.create, **common))
    if options.diffusers is not None:
        found.append(partial(diffusers_folder.install, lora, options.diffusers, **common))
    return found


def _preview(delivery: Delivery, options: DeployOptions, folder: Path) -> Stage[Preview | None]:
    """Return the preview at the strength that goes out; it is drawn anew only where some place will take it."""
    from maquette.deploying.comfyui import COMFYUI
    from maquette.deploying.redraw import at_strength
    from maquette.deploying.webui import WEBUI

    places = ((COMFYUI, options.comfyui), (WEBUI, options.webui))
    is_taken = options.create or options.diffusers is not None
    is_taken = is_taken or any(place is not None and program.is_at(place) for program, place in places)
    if delivery.settings is None or not is_taken or options.dry_run:
        return delivery.preview
    return (
        yield from at_strength(delivery.preview, delivery.lora, delivery.recipe, delivery.settings, folder)
    )


def _telling(delivery: Delivery, options: DeployOptions, folder: Path) -> Stage[Path]:
    """Return a copy of the LoRA that says how it is drawn, under names that every program reads; its tensors stay the same."""
    from maquette.deploying.telling import stamped, told_by

    facts = require_lora(delivery.lora)
    source = delivery.lora
    if facts.unfound and not facts.strangers:
        source = yield from _renamed(source, folder)
    name = options.name or delivery.name
    told = told_by(delivery.recipe, PurePosixPath(name).name, facts.metadata, delivery.preview)
    return stamped(source, folder / delivery.lora.name, told)


def _renamed(source: Path, folder: Path) -> Stage[Path]:
    """Return the LoRA under kohya's names in `folder`."""
    from maquette.toolbox.convert import convert_lora_events
    from maquette.toolbox.options import ConvertOptions

    yield Message(
        f"{source.name} has names that drawing programs skip: the same weights go out under kohya's, which all of them read."
    )
    output = folder / "kohya" / source.name
    output.parent.mkdir()
    converted = yield from convert_lora_events(source, ConvertOptions(output=output))
    return converted.path


def _drawn_otherwise(delivery: Delivery) -> Iterator[str]:
    """Yield why the program that takes it will draw it otherwise than Maquette does."""
    from maquette.lora.reading import read_lora_facts
    from maquette.training.continuing import told_of_base_weights

    if delivery.settings is not None:
        yield from told_of_base_weights(delivery.settings.model)
    facts = read_lora_facts(delivery.lora, depth="header")
    if delivery.is_base_found:
        yield (
            f"{delivery.lora.name} does not say its base model: {delivery.recipe.scene.base}, the only "
            f"{delivery.recipe.scene.family.title} model there, stands in for it. --base-name names another."
        )
    if any(module.differs for module in facts.modules):
        yield (
            f"{delivery.lora.name} is {facts.titles} by outputs: ComfyUI draws it differently from training. Compare pictures, "
            "or train with --adapter dora, which goes by inputs, or plain LoRA."
        )


def _delivered(entry: Installed, source: Path) -> Delivered:
    return Delivered(
        program=entry.program,
        lora=str(entry.lora),
        lora_name=entry.lora_name,
        sha256=entry.sha256,
        weights=entry.weights,
        strength=f"{entry.strength:g}",
        workflow=str(entry.workflow or ""),
        prompts=str(entry.prompts),
        source_sha256=sha256_file(source),
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
        judged=Judged(record=record, chosen=chosen, scorecards=_scorecards(folder)),
        preview=preview_of(folder, record, chosen.checkpoint),
        run=folder,
        settings=record.settings,
    )


def _scorecards(folder: RunFolder) -> Scorecards | None:
    """Return what the run's evaluation measured, where there is one that can be read."""
    from maquette.measuring.scorecards import read_scorecards

    try:
        return read_scorecards(folder.evaluation)
    except MaquetteError:
        return None


def _of_file(source: Path, options: DeployOptions) -> Delivery:
    from maquette.deploying.bare import base_told, recipe_of_file
    from maquette.deploying.bases import bases_for
    from maquette.lora.files import inspect_lora

    recipe = recipe_of_file(
        source,
        base_name=options.base_name,
        bases=bases_for(options),
        strength=1.0 if options.strength is None else options.strength,
        trigger=options.trigger,
    )
    found = options.base_name is None and not base_told(inspect_lora(source).metadata)
    return Delivery(lora=source, name=source.stem, recipe=recipe, is_base_found=found)
