"""Laws of drawing: a picture follows from its request, whatever else is drawn beside it.

Pictures may differ by one of 255 levels: another batch size lets matrix products add up in another order
(about 1e-6), which can tip the rounding to bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maquette import families
from maquette.drawing.draw import draw, drawing, drawing_each, to_pictures
from maquette.drawing.request import DrawRequest
from maquette.errors import ConfigError
from maquette.events import Event, Finished, Message, Progress, Started, run_stage
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from tests.drawing.bases import request_of, strong_states

ONE_LEVEL = 1
SAMPLERS = ("euler_ancestral", "euler", "ddim", "dpmpp_2m")


def apart(one: Image.Image, other: Image.Image) -> int:
    """Return the largest difference of two pictures, in levels."""
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", ["sd1", "sd1 v", "sd2 v", "sdxl"])
def test_companions_in_a_batch_change_nothing(bases: dict[str, Any], kind: str, sampler: str) -> None:
    requests = [request_of(index, sampler=sampler) for index in range(3)]
    together = draw(bases[kind], requests, batch=3)
    alone = [draw(bases[kind], [request])[0] for request in requests]
    assert max(apart(one, other) for one, other in zip(together, alone, strict=True)) <= ONE_LEVEL
    assert apart(together[0], together[1]) > 10 * ONE_LEVEL


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_loras_on_the_trial_axis_draw_what_each_draws_alone(bases: dict[str, Any], kind: str) -> None:
    model = bases[kind]
    states = [None, *strong_states(model, (2, 4))]
    requests = [request_of(index, trial=index % 3) for index in range(7)]
    adapter = LoraAdapter.attach(model, states)
    packed = draw(model, requests, adapter=adapter, batch=6)
    adapter.detach()
    for request, picture in zip(requests, packed, strict=True):
        own = LoraAdapter.attach(model, [states[request.trial]]) if request.trial else None
        [alone] = draw(model, [request_of(request.seed)], adapter=own)
        if own:
            own.detach()
            assert apart(alone, draw(model, [request_of(request.seed)])[0]) > 10 * ONE_LEVEL
        assert apart(alone, picture) <= ONE_LEVEL


def test_unlike_requests_keep_their_own_settings(base: Any) -> None:
    """Sizes, steps, samplers, guidance and long texts cannot share a batch; each picture is as if drawn
    alone.
    """
    requests = [
        request_of(1),
        request_of(1, width_px=96),
        request_of(1, steps=5),
        request_of(1, sampler="euler"),
        request_of(1, guidance=1.0),
        request_of(1, guidance=6.0),
        request_of(1, prompt=" ".join(["word"] * 100)),
        request_of(2),
    ]
    together = draw(base, requests, batch=8)
    for request, picture in zip(requests, together, strict=True):
        assert picture.size == (request.width_px, request.height_px)
        assert apart(picture, draw(base, [request])[0]) <= ONE_LEVEL


def test_drawing_touches_neither_global_randomness_nor_training(base: Any) -> None:
    adapter = LoraAdapter.attach(base, [TrialSpec(rank=2, dropout=0.5, seed=1)])
    adapter.train(True)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (draw(base, [request_of(1)], adapter=adapter)[0] for _ in range(2))
    assert apart(first, second) == 0, "dropout stays off while drawing"
    assert torch.equal(torch.get_rng_state(), before)
    assert adapter.module.training and torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in adapter.parameters())
    adapter.detach()


def test_gradients_are_recorded_between_the_events(base: Any) -> None:
    """Whoever listens to the events keeps the gradient mode that it had."""
    for event in drawing(base, [request_of(1)]):
        assert torch.is_grad_enabled(), event


def test_guidance_of_one_draws_the_prompt_alone(base: Any) -> None:
    """without + 1 · (with − without) = with: the shortcut draws what the formula says."""
    [shortcut] = draw(base, [request_of(3, guidance=1.0)])
    [formula] = draw(base, [request_of(3, guidance=1.0 + 1e-7)])
    assert apart(shortcut, formula) <= ONE_LEVEL


def test_draws_as_diffusers_own_pipeline(base: Any) -> None:
    """The same noise, prompt and scheduler through StableDiffusionPipeline give the same picture."""
    from diffusers import StableDiffusionPipeline

    request = request_of(4, sampler="ddim", steps=4, negative="")
    [ours] = draw(base, [request])
    text = [base.encode_text(base.tokenize([words]), clip_skip=1).text_BTD for words in (request.prompt, "")]
    pipeline = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=None,
        tokenizer=None,
        unet=base.denoiser,
        scheduler=base.sampler("ddim"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    theirs = pipeline(
        prompt_embeds=text[0],
        negative_prompt_embeds=text[1],
        latents=noise,
        guidance_scale=request.guidance,
        num_inference_steps=4,
        height=64,
        width=64,
    ).images[0]
    assert apart(ours, theirs) <= ONE_LEVEL


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_a_half_precision_base_draws_nearly_the_same(bases: dict[str, Any], kind: str) -> None:
    """Noise, guidance and the sampler's steps stay in float32: only the networks round to bfloat16's 8 bits."""
    half = families.load(bases[kind].info.path, dtype=torch.bfloat16)
    [exact], [rounded] = (draw(model, [request_of(1)]) for model in (bases[kind], half))
    assert np.abs(np.asarray(exact, dtype=int) - np.asarray(rounded, dtype=int)).mean() < 4


def test_events_tell_how_far_it_is(base: Any) -> None:
    events: list[Event] = []
    pictures = run_stage(drawing(base, [request_of(index) for index in range(3)], batch=2), events.append)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert isinstance(events[0], Started) and events[0].total == 3
    assert done == sorted(done) and done[-1] == 3
    assert events[-1] == Finished("draw") and len(pictures) == 3


def test_a_text_that_is_cut_is_said(base: Any) -> None:
    endless = request_of(1, prompt=" ".join(["word"] * 400), steps=1)
    [warning] = [event for event in drawing(base, [endless]) if isinstance(event, Message)]
    assert warning.level == "warning" and "not read" in warning.text


def test_what_cannot_be_drawn_is_said_at_once(base: Any) -> None:
    broken = DrawRequest(prompt="x", seed=-1, width_px=65, height_px=0, steps=0, guidance=-1.0, trial=1)
    with pytest.raises(ConfigError) as caught:
        draw(base, [request_of(1), broken])
    assert len(caught.value.problems) == 6
    assert all("picture 2" in problem.where for problem in caught.value.problems)
    with pytest.raises(ConfigError, match="euler"):
        draw(base, [request_of(1, sampler="eulr")])


def test_pixels_are_rounded_and_cut_off() -> None:
    pixels_BCHW = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    [picture] = to_pictures(pixels_BCHW)
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_brackets_stand_for_themselves_escaped_or_not(base: Any) -> None:
    """Drawing programs need `\\(`; whoever writes that in a prompt here means the same."""
    plain, escaped, without = (
        draw(base, [request_of(5, prompt=text, negative=text)])[0]
        for text in ("asuka (eva)", r"asuka \(eva\)", "asuka eva")
    )
    assert plain.tobytes() == escaped.tobytes() != without.tobytes()


@pytest.mark.parametrize(("parts", "trials"), [(("denoiser",), 1), (("text_encoder", "denoiser"), 3)])
def test_a_text_is_encoded_once_however_often_it_is_drawn(
    base: Any, parts: Any, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two prompts and the negative; once for all trials where no text encoder is adapted, else once for each."""
    encoded: list[int] = []

    def counted(tokens: Any, *, own: Any = base.encode_text, **options: Any) -> Any:
        encoded.append(len(tokens.ids[0]))
        return own(tokens, **options)

    monkeypatch.setattr(base, "encode_text", counted)
    specs = [TrialSpec(rank=2, alpha=2, seed=index) for index in range(3)]
    adapter = LoraAdapter.attach(base, specs, parts=parts)
    requests = [
        request_of(index, seed=seed, prompt=f"picture number {index}", trial=trial)
        for index in range(2)
        for seed in range(2)
        for trial in range(3)
    ]
    draw(base, requests, adapter=adapter, batch=3)
    adapter.detach()
    assert sum(encoded) == trials * 3


def test_pictures_are_handed_over_batch_by_batch(base: Any) -> None:
    """Who keeps them as they come loses no more than a batch."""
    kept: list[int] = []
    stage = drawing_each(
        base, [request_of(index) for index in range(3)], lambda index, _: kept.append(index), batch=2
    )
    seen = [(len(kept), event.done) for event in stage if isinstance(event, Progress)]
    assert kept == [0, 1, 2]
    assert (2, 2) in seen
