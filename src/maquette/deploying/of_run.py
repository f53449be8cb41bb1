"""How a run's checkpoint is drawn, as its record tells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from maquette.deploying.recipe import Recipe
from maquette.deploying.sidecars import Preview
from maquette.errors import MaquetteError
from maquette.kohya.drawn_prompts import drawn_prompt
from maquette.project.profile import Profile
from maquette.project.settings import Settings
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint, RunRecord

_EXAMPLES = 4


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
    from maquette.drawing.request import DrawRequest
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
    samples = [drawn_prompt(prompt).text.replace("{trigger}", trigger) for prompt in wanted]
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
