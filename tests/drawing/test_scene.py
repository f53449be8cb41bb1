"""Laws of what a picture tells other programs: it names what drew it, and what it names draws the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maquette.drawing.draw import draw
from maquette.drawing.pictures import save_picture
from maquette.drawing.scene import (
    Companion,
    Scene,
    base_name_of,
    comfyui_workflow,
    picture_chunks,
    scene_of,
    stem_of,
)
from maquette.families import FAMILIES
from maquette.families.common.samplers import ALIASES, SAMPLERS
from maquette.families.protocol import FamilySpec
from tests.drawing.bases import request_of
from tests.drawing.elsewhere import SCHEDULERS, drawn_elsewhere, sigma_table

STEPS = 10
SAME_DB = 50.0
"""Rounding to 256 levels alone is 59 dB; the spacings agree to one timestep of 1000, which may cost some of that."""
FARTHER_DB = 10.0
WITH_NAMES = sorted(name for name, row in SAMPLERS.items() if row.elsewhere)


def likeness_db(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures."""
    error = ((np.asarray(one, dtype=float) - np.asarray(other, dtype=float)) ** 2).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def scene(**changes: Any) -> Scene:
    facts: dict[str, Any] = {
        "request": request_of(7, prompt="zkw (v2), wäre [schön]", sampler="euler", guidance=7.5),
        "family": FAMILIES["sd1"].spec,
        "base": "base.safetensors",
        "lora": "people/zkw.safetensors",
        "lora_hash": "0123456789abcdef" * 4,
        "strength": 0.8,
    }
    return Scene(**(facts | changes))


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [*(("sd1", name) for name in WITH_NAMES), ("sd1 v", "dpmpp_2m_karras"), ("sdxl", "euler")],
)
def test_the_sampler_that_is_named_draws_the_same(bases: dict[str, Any], kind: str, sampler: str) -> None:
    """Against an independent sampler in ComfyUI's form, the named schedule; another schedule is farther off."""
    model, request = bases[kind], request_of(3, sampler=sampler, steps=STEPS, width_px=32, height_px=32)
    [ours] = draw(model, [request])
    name, schedule = SAMPLERS[sampler].elsewhere.comfyui  # type: ignore[union-attr]
    same, other = (
        likeness_db(ours, drawn_elsewhere(model, request, name, each)) for each in (schedule, "normal")
    )
    assert same > SAME_DB and same > other + FARTHER_DB, (same, other)


@pytest.mark.parametrize("steps", [1, 7, 20, 25, 30, 50, 150])
@pytest.mark.parametrize("sampler", [name for name in WITH_NAMES if name != "heun"])
def test_timesteps_are_those_of_the_named_schedule(base: Any, sampler: str, steps: int) -> None:
    """Each of our timesteps lies within one of the schedule's, of 1000; karras rounds its levels to the nearest."""
    table = sigma_table(base)
    ours = base.sampler(sampler)
    ours.set_timesteps(steps)
    schedule = SAMPLERS[sampler].elsewhere.comfyui[1]  # type: ignore[union-attr]
    levels = SCHEDULERS[schedule](table, steps)[:-1]
    nearest = [int((table.log() - level.log()).abs().argmin()) for level in levels]
    assert len(ours.timesteps) == steps
    assert max(abs(float(one) - other) for one, other in zip(ours.timesteps, nearest, strict=True)) <= 1


def test_whatever_a_run_may_draw_with_is_known_elsewhere() -> None:
    for family in FAMILIES.values():
        assert family.spec.default_sampler in family.spec.samplers
        assert set(family.spec.samplers) <= set(family.spec.samplers_elsewhere)
    for alias, name in ALIASES.items():
        there = FAMILIES["sd1"].spec.samplers_elsewhere
        assert there.get(alias) == there.get(name)


@pytest.mark.parametrize(
    ("sampler", "comfyui", "webui"),
    [
        ("euler", ("euler", "sgm_uniform"), "Sampler: Euler, Schedule type: SGM Uniform"),
        (
            "euler_ancestral",
            ("euler_ancestral", "sgm_uniform"),
            "Sampler: Euler a, Schedule type: SGM Uniform",
        ),
        ("ddim", ("ddim", "sgm_uniform"), "Sampler: Euler, Schedule type: SGM Uniform"),
        ("dpmpp_2m", ("dpmpp_2m", "sgm_uniform"), "Sampler: DPM++ 2M, Schedule type: SGM Uniform"),
        ("dpmpp_2m_karras", ("dpmpp_2m", "karras"), "Sampler: DPM++ 2M, Schedule type: Karras"),
    ],
)
def test_workflow_and_parameters_name_one_sampler(sampler: str, comfyui: tuple[str, str], webui: str) -> None:
    drawn = scene(request=request_of(7, sampler=sampler))
    chunks = picture_chunks(drawn)
    [node] = [n["inputs"] for n in json.loads(chunks["prompt"]).values() if n["class_type"] == "KSampler"]
    assert (node["sampler_name"], node["scheduler"]) == comfyui
    last = chunks["parameters"].splitlines()[-1]
    assert webui in last and "RNG: CPU" in last
    assert ("ENSD: 1" in last) == (sampler == "euler_ancestral")


def test_a_picture_carries_both(tmp_path: Path) -> None:
    told = scene(options={"clip_skip": 2})
    path = save_picture(tmp_path / "a.png", Image.new("RGB", (64, 64)), picture_chunks(told))
    with Image.open(path) as opened:
        parameters, workflow = opened.info["parameters"], json.loads(opened.info["prompt"])
    assert workflow == comfyui_workflow(told, prefix="zkw")
    lines = parameters.splitlines()
    assert lines[0] == r"zkw \(v2\), wäre \[schön\] <lora:zkw:0.8>"
    assert lines[1] == "Negative prompt: blurry"
    for fact in ("Steps: 3", "CFG scale: 7.5", "Seed: 7", "Size: 64x64", "Clip skip: 2", "Model: base,"):
        assert fact in lines[2]
    assert 'Lora hashes: "zkw: 0123456789ab"' in lines[2]
    texts = [node["inputs"]["text"] for node in workflow.values() if node["class_type"] == "CLIPTextEncode"]
    assert texts == [r"zkw \(v2\), wäre [schön]", "blurry"]


def test_every_lora_that_is_active_is_told_with_its_strength() -> None:
    """A style beside a character: both loaders in one chain, both in the prompt and among the hashes."""
    style = Companion(name="ink.safetensors", strength=0.5, hash="fedcba9876543210" * 4)
    told = scene(beside=(style,))
    chunks = picture_chunks(told)
    nodes = json.loads(chunks["prompt"])
    own, other = [node["inputs"] for node in nodes.values() if node["class_type"] == "LoraLoader"]
    assert (own["strength_model"], own["strength_clip"], other["strength_model"]) == (0.8, 0.8, 0.5)
    assert nodes[other["model"][0]]["inputs"] == own
    lines = chunks["parameters"].splitlines()
    assert lines[0].endswith("<lora:zkw:0.8> <lora:ink:0.5>")
    assert 'Lora hashes: "zkw: 0123456789ab, ink: fedcba987654"' in lines[-1]
    alone = picture_chunks(scene(lora=None, lora_hash="", beside=(style,)))
    assert "<lora:ink:0.5>" in alone["parameters"] and "zkw:" not in alone["parameters"]


def test_without_negative_prompt_and_without_lora_it_opens_too() -> None:
    told = scene(request=request_of(7, negative=""), lora=None, lora_hash="")
    chunks = picture_chunks(told)
    assert chunks["parameters"].splitlines()[1] == "Negative prompt: "
    workflow = json.loads(chunks["prompt"])
    assert "LoraLoader" not in {node["class_type"] for node in workflow.values()}
    assert "<lora:" not in chunks["parameters"] and "Lora hashes" not in chunks["parameters"]


def test_what_comfyui_cannot_draw_has_no_workflow() -> None:
    plain = scene(request=request_of(7, sampler="pndm"))
    own = replace(FAMILIES["sd1"].spec, samplers_elsewhere={})
    assert list(picture_chunks(plain)) == ["parameters"]
    assert list(picture_chunks(scene(family=own))) == ["parameters"]
    assert list(picture_chunks(scene(prediction="flow"))) == ["parameters"]


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        ("single-file", "/models/sd-v1.5.safetensors", "sd-v1.5.safetensors"),
        ("diffusers", "/models/sd-v1.5", "sd-v1.5"),
        ("hub", "/cache/hub/models--runwayml--stable-diffusion-v1-5/snapshots/aa12", "stable-diffusion-v1-5"),
        ("hub", "runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5"),
    ],
)
def test_the_base_is_called_by_its_name(base: Any, source: Any, path: str, name: str) -> None:
    info = replace(base.info, source=source, path=path)
    assert base_name_of(info) == name
    assert scene_of(info, base.spec, request_of(1), {}).base == name


def test_a_dot_in_a_name_is_part_of_it() -> None:
    assert [stem_of(name) for name in ("a/sd-v1.5", "x\\zkw.v2.safetensors", "b.ckpt")] == [
        "sd-v1.5",
        "zkw.v2",
        "b",
    ]


def test_a_spec_stays_a_key() -> None:
    spec: FamilySpec = FAMILIES["sd1"].spec
    assert hash(spec) == hash(replace(spec))
