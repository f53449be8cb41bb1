"""The pictures that are drawn while a LoRA trains: at every checkpoint the same prompts and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from maquette.drawing.draw import drawing
from maquette.drawing.pictures import save_picture
from maquette.drawing.request import DrawRequest
from maquette.drawing.samplers import sampler_named
from maquette.drawing.scene import picture_chunks, scene_of
from maquette.events import Stage
from maquette.families.protocol import BaseModel, FamilySpec
from maquette.kohya.drawn_prompts import drawn_prompt
from maquette.project.settings import Settings
from maquette.runs.record import Sample

if TYPE_CHECKING:
    from maquette.lora.adapter import LoraAdapter

T = TypeVar("T")


def draw_samples(
    model: BaseModel,
    adapter: LoraAdapter,
    trial: int,
    settings: Settings,
    step: int,
    lora: str,
    folder: Path,
) -> Stage[list[Sample]]:
    """Draw the settings' sample prompts with one trial into `folder`; return a record of each, paths relative to the run.

    `lora` is the name of the file that holds the trial's weights of this step, for whoever draws a sample again.
    """
    options = settings.family_values()
    requests = sample_requests(settings, model.spec, model.info.vae_factor, trial)
    pictures = yield from drawing(model, requests, adapter=adapter, options=options)
    name = folder.parent.name
    records = []
    for index, (request, picture) in enumerate(zip(requests, pictures, strict=True)):
        path = folder / f"{name}-step{step:08d}-{index:02d}.png"
        scene = scene_of(model.info, model.spec, request, options, lora=lora)
        save_picture(path, picture, picture_chunks(scene))
        place = path.relative_to(folder.parent).as_posix()
        records.append(Sample(path=place, step=step, prompt=request.prompt, seed=request.seed))
    return records


def sample_requests(
    settings: Settings, spec: FamilySpec, vae_factor: int, trial: int = 0
) -> list[DrawRequest]:
    """Return the settings' samples as requests: each as its own options say, else at the training size with the next seed;
    drawn by `trial` of the adapter."""
    samples = settings.samples
    guidance, sampler = sampling_of(settings, spec)
    width_px, height_px = (
        max(vae_factor, side // vae_factor * vae_factor) for side in settings.dataset.resolution
    )
    return [
        DrawRequest(
            prompt=prompt.text.replace("{trigger}", settings.subject.trigger),
            negative=_given(prompt.negative, samples.negative_prompt),
            seed=_given(prompt.seed, samples.sample_seed + index),
            width_px=_given(prompt.width_px, width_px),
            height_px=_given(prompt.height_px, height_px),
            steps=_given(prompt.steps, samples.sample_steps),
            guidance=_given(prompt.guidance, guidance),
            sampler=sampler_named(spec, prompt.sampler) if prompt.sampler else sampler,
            trial=trial,
        )
        for index, prompt in enumerate(map(drawn_prompt, samples.sample_prompts))
    ]


def _given(own: T | None, common: T) -> T:
    return common if own is None else own


def sampling_of(settings: Settings, spec: FamilySpec) -> tuple[float, str]:
    """Return guidance scale and sampler of the settings' samples: as given, else the family's."""
    samples = settings.samples
    guidance = spec.default_guidance if samples.guidance is None else samples.guidance
    return guidance, samples.sampler or spec.default_sampler
