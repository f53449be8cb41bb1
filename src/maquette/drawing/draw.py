"""Draws pictures from requests, with any number of LoRAs in one batch.

A picture follows from its request alone: its noise comes from a CPU generator with the request's seed, the noise that
ancestral samplers add on the way from another one with the next seed, as ComfyUI on a CPU and AUTOMATIC1111 with "RNG: CPU,
ENSD: 1" draw theirs. So companions in the batch, other LoRAs on the trial axis and the device change a picture by rounding
at most.

Legend: P trials, b pictures of one trial in a batch, R = P · 2 · b rows (without and with the prompt), B = P
· b pictures, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from maquette.drawing.packing import pack_rows
from maquette.drawing.request import DrawRequest
from maquette.drawing.texts import EncodedTexts
from maquette.errors import ConfigError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started, run_stage
from maquette.families.protocol import BaseModel, Conditioning, PictureSize, Sampler
from maquette.words.prompts import literal

if TYPE_CHECKING:
    from maquette.lora.adapter import LoraAdapter

_DECODE_PX = 2**20


def draw(
    model: BaseModel,
    requests: Sequence[DrawRequest],
    *,
    adapter: LoraAdapter | None = None,
    options: Mapping[str, Any] | None = None,
    batch: int = 4,
) -> list[Image.Image]:
    """Return one picture per request, in their order. See `drawing`."""
    return run_stage(drawing(model, requests, adapter=adapter, options=options, batch=batch))


def drawing(
    model: BaseModel,
    requests: Sequence[DrawRequest],
    *,
    adapter: LoraAdapter | None = None,
    options: Mapping[str, Any] | None = None,
    batch: int = 4,
) -> Stage[list[Image.Image]]:
    """Draw `requests`; return the pictures in their order. See `drawing_each`."""
    pictures: dict[int, Image.Image] = {}
    yield from drawing_each(
        model, requests, pictures.__setitem__, adapter=adapter, options=options, batch=batch
    )
    return [pictures[index] for index in range(len(requests))]


def drawing_each(
    model: BaseModel,
    requests: Sequence[DrawRequest],
    keep: Callable[[int, Image.Image], None],
    *,
    adapter: LoraAdapter | None = None,
    options: Mapping[str, Any] | None = None,
    batch: int = 4,
) -> Stage[None]:
    """Draw `requests` and hand each picture, with its place among them, to `keep` as soon as its batch is done.

    `adapter` is the one that stands in `model`, if any; its trials share the batches. `options` are the family's own
    settings, of which those of its text count here. `batch` is the most pictures that are drawn together; where there are
    more trials than that, one of each is. Raises ConfigError naming every request that cannot be drawn.
    """
    trials = adapter.num_trials if adapter else 1
    check_requests(model, requests, trials)
    units = [_units_of(model, request) for request in requests]
    yield from (Message(text, "warning") for text in dict.fromkeys(text for _, text in units if text))
    keys = [_group_key(request, count) for request, (count, _) in zip(requests, units, strict=True)]
    packs = pack_rows(keys, [request.trial for request in requests], num_trials=trials, batch=batch)
    texts = {
        count: EncodedTexts(model, adapter, options or {}, model.text_unit * count)
        for count in {count for count, _ in units}
    }
    done = 0
    yield Started("draw", len(requests), "picture")
    for pack in packs:
        rows = [requests[index] for index in pack.rows]
        with _quiet(adapter):
            process = _Drawing(model, rows, trials, texts[units[pack.rows[0]][0]])
            for step in process.denoise():
                yield Progress("draw", done, len(requests), "picture", {"step": f"{step}/{rows[0].steps}"})
            drawn = process.pictures()
        for index, picture, wanted in zip(pack.rows, drawn, pack.wanted, strict=True):
            if wanted:
                keep(index, picture)
        done += sum(pack.wanted)
        yield Progress("draw", done, len(requests), "picture")
    yield Finished("draw")


def check_requests(model: BaseModel, requests: Sequence[DrawRequest], num_trials: int = 1) -> None:
    """Raise ConfigError with everything that keeps `requests` from being drawn by `model`."""
    factor = model.info.vae_factor
    problems = []
    for index, request in enumerate(requests):
        sizes = (("width_px", request.width_px), ("height_px", request.height_px))
        rules: list[tuple[bool, str, Any, str]] = [
            *((px < factor or px % factor != 0, name, px, f"a multiple of {factor}") for name, px in sizes),
            (request.steps < 1, "steps", request.steps, "1 or more"),
            (request.guidance < 0, "guidance", request.guidance, "0 or more"),
            (not 0 <= request.seed < 2**64, "seed", request.seed, "0 or more, below 2^64"),
            (not 0 <= request.trial < num_trials, "trial", request.trial, f"below {num_trials}"),
        ]
        problems += [
            Problem(f"picture {index + 1}: {name}", repr(value), required, "Change it.")
            for bad, name, value, required in rules
            if bad
        ]
    if problems:
        raise ConfigError(problems)
    for name in {request.sampler or model.spec.default_sampler for request in requests}:
        model.sampler(name)  # raises for an unknown name


def _units_of(model: BaseModel, request: DrawRequest) -> tuple[int, str | None]:
    """Return how many units of text the request's texts need, and a warning when even the most cut something."""
    texts = [literal(request.prompt), literal(request.negative)]
    most = model.spec.most_text_units
    for count in range(1, most + 1):
        dropped = model.tokenize(texts, max_tokens=model.text_unit * count).dropped
        if not any(dropped):
            return count, None
    return (
        most,
        f"The prompt “{request.prompt[:40]}…” is too long: its last {max(dropped)} tokens are not read.",
    )


def _group_key(request: DrawRequest, units: int) -> tuple[Any, ...]:
    """Return what pictures of one batch must share. Texts of more units would lengthen, and so change, the
    others.
    """
    guided = request.guidance != 1.0
    return request.width_px, request.height_px, request.steps, request.sampler, units, guided


@contextmanager
def _quiet(adapter: LoraAdapter | None) -> Iterator[None]:
    """Within, the adapter's dropout is off; afterwards it is as it was.

    Gradients are switched off step by step instead (in `_Drawing`): the caller runs between the steps of this
    generator, in a mode of its own.
    """
    was_training = adapter is not None and adapter.module.training
    if adapter is not None:
        adapter.train(False)
    try:
        yield
    finally:
        if adapter is not None:
            adapter.train(was_training)


class _Drawing:
    """One batch on its way from noise to pictures."""

    def __init__(
        self,
        model: BaseModel,
        rows: Sequence[DrawRequest],
        trials: int,
        texts: EncodedTexts,
    ) -> None:
        self.model, self.rows, self.trials = model, rows, trials
        first = rows[0]
        self.guided = first.guidance != 1.0
        self.scheduler = model.sampler(first.sampler or model.spec.default_sampler)
        self.scheduler.set_timesteps(first.steps, device=model.device)
        self.latent_BCHW = self._noise() * _first_level(self.scheduler)
        self.guidance_B = torch.tensor([row.guidance for row in rows], device=model.device).view(-1, 1, 1, 1)
        size = (first.height_px, first.width_px)
        self.sizes = [PictureSize(size, (0, 0), size)] * (len(rows) * (2 if self.guided else 1))
        self.conditioning = self._encode(texts)
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        self.step_options = (
            {"generator": [_generator(row.seed + 1) for row in rows]} if takes_generator else {}
        )

    def _noise(self) -> Tensor:
        info = self.model.info
        height, width = self.rows[0].height_px // info.vae_factor, self.rows[0].width_px // info.vae_factor
        shape = (1, info.latent_channels, height, width)
        return torch.cat([torch.randn(shape, generator=_generator(row.seed)) for row in self.rows]).to(
            self.model.device
        )

    def _doubled(self, without: Sequence[str], with_: Sequence[str]) -> list[str]:
        """Return rows such that each trial's are together: first without the prompt, then with it."""
        size = len(self.rows) // self.trials
        starts = range(0, len(self.rows), size)
        return [row for start in starts for part in (without, with_) for row in part[start : start + size]]

    def _encode(self, encoded: EncodedTexts) -> Conditioning:
        texts = [literal(row.prompt) for row in self.rows]
        if self.guided:
            texts = self._doubled([literal(row.negative) for row in self.rows], texts)
        each = len(texts) // self.trials
        return encoded.rows(texts, [index // each for index in range(len(texts))])

    def denoise(self) -> Iterator[int]:
        """Take one denoising step after the other; yield how many are done."""
        for index, timestep in enumerate(self.scheduler.timesteps):
            self._step(timestep)
            yield index + 1

    @torch.no_grad()
    def _step(self, timestep: Tensor) -> None:
        scaled_BCHW = self.scheduler.scale_model_input(self.latent_BCHW, timestep)
        prediction_BCHW = self._predict(scaled_BCHW, timestep).float()
        stepped = self.scheduler.step(
            prediction_BCHW, timestep, self.latent_BCHW, return_dict=False, **self.step_options
        )
        self.latent_BCHW = stepped[0]

    def _predict(self, scaled_BCHW: Tensor, timestep: Tensor) -> Tensor:
        if not self.guided:
            return self.model.predict(
                scaled_BCHW, timestep.expand(len(self.rows)), self.conditioning, self.sizes
            )
        grouped = scaled_BCHW.unflatten(0, (self.trials, -1))
        rows_RCHW = torch.stack([grouped, grouped], dim=1).flatten(0, 2)
        prediction_RCHW = self.model.predict(
            rows_RCHW, timestep.expand(len(rows_RCHW)), self.conditioning, self.sizes
        ).float()
        without, with_ = prediction_RCHW.unflatten(0, (self.trials, 2, -1)).unbind(dim=1)
        without_BCHW, with_BCHW = without.flatten(0, 1), with_.flatten(0, 1)
        return without_BCHW + self.guidance_B * (with_BCHW - without_BCHW)

    @torch.no_grad()
    def pictures(self) -> list[Image.Image]:
        """Return the decoded pictures, a few at a time so that memory stays small."""
        first = self.rows[0]
        at_once = max(1, _DECODE_PX // (first.width_px * first.height_px))
        decoded = [self.model.decode_latents(part) for part in self.latent_BCHW.split(at_once)]
        return [picture for part in decoded for picture in to_pictures(part)]


def _first_level(scheduler: Sampler) -> float:
    """Return what noise is multiplied with at the start.

    Where latents stand at their noise level sigma, diffusers leaves out the picture's own share of the variance in the spacing
    that is used here; with it, as in ComfyUI, every sampler begins at the same point.
    """
    level = float(scheduler.init_noise_sigma)
    return math.sqrt(level**2 + 1) if level > 1 else level


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed % 2**64)


def to_pictures(pixels_BCHW: Tensor) -> list[Image.Image]:
    """Return pixels in [-1, 1] as RGB pictures; values outside are cut off."""
    bytes_BHWC = ((pixels_BCHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(array) for array in bytes_BHWC.cpu().contiguous().numpy()]
