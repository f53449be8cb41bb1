"""A run's LoRA goes where it is drawn with; from the run's record comes what a drawing program must be told."""

from __future__ import annotations

from pathlib import Path

from maquette.deploying.comfyui import Installed
from maquette.deploying.options import DeployOptions
from maquette.deploying.workflow import Recipe
from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint, RunRecord, read_record

_EXAMPLES = 4


def deploy(run: Path, options: DeployOptions) -> list[Installed]:
    """Install a checkpoint of `run` into a ComfyUI and/or AUTOMATIC1111 folder; return what was installed."""
    from maquette.deploying import comfyui, webui

    places = [(comfyui.install, options.comfyui), (webui.install, options.webui)]
    if all(place is None for _, place in places):
        raise ConfigError(
            Problem(
                "deploy", "no place given", "a drawing program's folder", "Add --comfyui DIR or --webui DIR."
            )
        )
    folder = RunFolder(run)
    record = read_record(folder.path)
    chosen = checkpoint_of(record, options.checkpoint)
    recipe = recipe_of(record, base_checkpoint=options.base_name, strength=options.strength)
    drawn = [entry.path for entry in record.samples if entry.step == chosen.step]
    return [
        install(
            folder.path / chosen.path,
            place,
            name=options.name or record.run,
            recipe=recipe,
            preview=folder.path / drawn[-1] if drawn else None,
            create=options.create,
        )
        for install, place in places
        if place is not None
    ]


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
    stem = Path(name).name.removesuffix(".safetensors")
    if stem not in known:
        raise ConfigError(
            Problem(
                f"checkpoint '{name}'", f"is none of run {record.run}", "its name", did_you_mean(stem, known)
            )
        )
    return known[stem]


def recipe_of(record: RunRecord, *, base_checkpoint: str | None = None, strength: float = 1.0) -> Recipe:
    """Return how the run's LoRA is meant to be drawn: its trigger and captions, its samples' settings, its
    base.

    Raises ConfigError when the run has no trigger, or asks for what a drawing program would refuse.
    """
    from maquette.drawing.samples import sampling_of
    from maquette.families import FAMILIES

    settings, base, samples = record.settings, record.base, record.settings.samples
    spec = FAMILIES[base.family].spec
    trigger = settings.subject.trigger
    if not trigger:
        raise ConfigError(
            Problem(
                f"run {record.run}",
                "has no trigger",
                "the word that means the subject, for prompts and sidecar",
                "Train with --trigger WORD.",
            )
        )
    width_px, height_px = settings.dataset.resolution
    guidance, sampler = sampling_of(settings, spec)
    return Recipe(
        trigger=trigger,
        prompts=tuple(example_prompts(record, trigger)),
        template=template_of(record, trigger),
        base_checkpoint=base_checkpoint or Path(base.path).name,
        negative=samples.negative_prompt,
        strength=strength,
        width_px=_drawable(width_px),
        height_px=_drawable(height_px),
        steps=samples.sample_steps,
        guidance=guidance,
        sampler=sampler,
        seed=samples.sample_seed,
        clip_skip=settings.model.clip_skip or spec.default("clip_skip", 1),
        prediction=base.prediction,
        zero_terminal_snr=base.zero_terminal_snr,
        sd_version=spec.webui_version,
    )


def example_prompts(record: RunRecord, trigger: str) -> list[str]:
    """Return prompts to begin with: the run's samples, then some captions, each with the trigger in it."""
    wanted = record.settings.samples.sample_prompts
    samples = [prompt.replace("{trigger}", trigger) for prompt in wanted]
    texts = (*samples, *record.dataset.captions)
    told = [text if trigger in text else f"{trigger}, {text}" for text in texts]
    return list(dict.fromkeys(told))[:_EXAMPLES] or [trigger]


def template_of(record: RunRecord, trigger: str) -> str:
    """Return the pattern of a prompt: how the captions open, then the usual slots."""
    named = f"{trigger} {record.settings.subject.class_word}".strip()
    captions = record.dataset.captions
    opening = named if captions and all(caption.startswith(named) for caption in captions) else trigger
    return f"{opening}, [pose], [view], [scene]"


def _drawable(side_px: int) -> int:
    """Return the nearest side that drawing programs take: a multiple of 8."""
    return max(16, round(side_px / 8) * 8)
