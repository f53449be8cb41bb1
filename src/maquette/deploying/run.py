"""A LoRA goes where it is drawn with: one of a run, whose record tells a drawing program all it must know, or a bare file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maquette.deploying.options import DeployOptions
from maquette.deploying.program import Installed
from maquette.deploying.recipe import Recipe
from maquette.deploying.sidecars import Preview
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem, did_you_mean
from maquette.events import Artifact, Message, Stage
from maquette.project.profile import Profile
from maquette.project.settings import Settings
from maquette.runs.deliveries import Delivered, note_delivery
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import Checkpoint, RunRecord, read_record

_EXAMPLES = 4
ENDING = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A LoRA file, the name that it is released under, and how it is drawn."""

    lora: Path
    name: str
    recipe: Recipe
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
        return _of_run(source, record, checkpoint_of(record, options.checkpoint), options)
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
                return _of_run(run, record, entry, options)
    return _of_file(source, options)


def _of_run(run: Path, record: RunRecord, chosen: Checkpoint, options: DeployOptions) -> Delivery:
    recipe = recipe_of(
        record,
        chosen,
        base_name=options.base_name,
        strength=options.strength,
        trigger=options.trigger,
    )
    folder = RunFolder(run)
    return Delivery(
        lora=folder.path / chosen.path,
        name=record.run,
        recipe=recipe,
        preview=preview_of(folder, record, chosen),
        run=folder,
        settings=record.settings,
    )


def _of_file(source: Path, options: DeployOptions) -> Delivery:
    from maquette.deploying.bare import recipe_of_file

    recipe = recipe_of_file(
        source, base_name=options.base_name, strength=options.strength, trigger=options.trigger
    )
    return Delivery(lora=source, name=source.stem, recipe=recipe)


def checkpoint_of(record: RunRecord, name: str | None = None) -> Checkpoint:
    """Return the run's checkpoint called `name` (its file's name, with or without suffix), or its last one.

    Raises OutputError when the run has none, ConfigError naming those that there are.
    """
    last = record.last_checkpoint
    if last is None:
        raise OutputError(
            Problem(
                f"run {record.run}",
                "has no checkpoint yet",
                "a run with LoRA files",
                "Train it further: maquette train --resume",
            )
        )
    known = {Path(entry.path).stem: entry for entry in record.checkpoints}
    if name is None:
        return last
    stem = Path(name).name.removesuffix(ENDING)
    if stem not in known:
        raise ConfigError(
            Problem(
                f"checkpoint '{name}'", f"is none of run {record.run}", "its name", did_you_mean(stem, known)
            )
        )
    return known[stem]


def preview_of(folder: RunFolder, record: RunRecord, chosen: Checkpoint) -> Preview | None:
    """Return the last sample that the checkpoint drew, if it is there."""
    from maquette.drawing.pictures import chunks_of

    for sample in reversed(record.samples):
        path = folder.path / sample.path
        if sample.step == chosen.step and path.is_file():
            told = "prompt" in chunks_of(path)
            return Preview(path=path, prompt=sample.prompt, seed=sample.seed, told=told)
    return None


def recipe_of(
    record: RunRecord,
    chosen: Checkpoint,
    *,
    base_name: str | None = None,
    strength: float = 1.0,
    trigger: str | None = None,
) -> Recipe:
    """Return how the checkpoint of the run is meant to be drawn: its trigger and captions, its samples' settings, its base.

    Raises ConfigError when the run asks for what a drawing program would refuse.
    """
    from maquette.drawing.draw import DrawRequest
    from maquette.drawing.samples import sampling_of
    from maquette.drawing.scene import Scene, base_name_of
    from maquette.families import FAMILIES

    settings, base, samples = record.settings, record.base, record.settings.samples
    spec = FAMILIES[base.family].spec
    word = settings.subject.trigger if trigger is None else trigger
    guidance, sampler = sampling_of(settings, spec)
    width_px, height_px = (_drawable(side) for side in settings.dataset.resolution)
    prompts = tuple(example_prompts(record, word))
    request = DrawRequest(
        prompt=prompts[0],
        negative=samples.negative_prompt,
        seed=samples.sample_seed,
        width_px=width_px,
        height_px=height_px,
        steps=samples.sample_steps,
        guidance=guidance,
        sampler=sampler,
    )
    return Recipe(
        trigger=word,
        prompts=prompts,
        template=template_of(record, word),
        origin=f"step {chosen.step} ({Path(chosen.path).stem}) of run {record.run}",
        scene=Scene(
            request=request,
            family=spec,
            base=base_name or base_name_of(base),
            options=settings.family_values(),
            prediction=base.prediction,
            zero_terminal_snr=base.zero_terminal_snr,
            strength=strength,
        ),
    )


def example_prompts(record: RunRecord, trigger: str) -> list[str]:
    """Return prompts to begin with: the run's samples, then some captions, each with the trigger in it."""
    wanted = record.settings.samples.sample_prompts
    samples = [prompt.replace("{trigger}", trigger) for prompt in wanted]
    texts = (*samples, *record.dataset.captions)
    told = [text if trigger in text else f"{trigger}, {text}" for text in texts]
    return list(dict.fromkeys(told))[:_EXAMPLES] or [trigger]


def template_of(record: RunRecord, trigger: str) -> str:
    """Return the pattern of a prompt: how the captions open, the usual slots, and what the profile wants said each time.

    A style is meant by its words; what a subject has on one side only is drawn where the prompt names it.
    """
    profile = _profile_of(record.settings)
    if profile is not None and profile.kind == "style":
        word = trigger if trigger in profile.triggers else ""  # without a trigger the words stand for it
        opening = ", ".join(filter(None, dict.fromkeys((*profile.style, word))))
        return ", ".join(filter(None, (opening, "[subject], [scene]")))
    named = f"{trigger} {record.settings.subject.class_word}".strip()
    captions = record.dataset.captions
    opening = named if captions and all(caption.startswith(named) for caption in captions) else trigger
    details = [detail.phrase for detail in profile.details] if profile is not None else []
    return ", ".join(filter(None, (opening, "[pose], [view]", *details, "[scene]")))


def _profile_of(settings: Settings) -> Profile | None:
    """Return the profile by the run or by its pictures, where one is there, can be read, and is of the run's trigger."""
    from maquette.project.profile_file import profile_near

    for place in (settings.saving.output, settings.dataset.images):
        with suppress(MaquetteError):
            found = profile_near(place)
            if found is not None and settings.subject.trigger in (found.opening, *found.triggers):
                return found
    return None


def _drawable(side_px: int) -> int:
    """Return the nearest side that drawing programs take: a multiple of 8."""
    return max(16, round(side_px / 8) * 8)
