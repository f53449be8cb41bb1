"""What a release says of itself: in its own file, whose tensors stay as they are, and in a model card that claims nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

import maquette
from maquette.deploying.telling import stamped
from maquette.errors import LoraError
from maquette.families.protocol import BaseModel
from maquette.lora.files import inspect_lora, save_lora
from maquette.measuring.headlines import HEADLINES
from maquette.measuring.looks import Column
from maquette.measuring.scorecards import Score, Scorecard, Scorecards
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Choice, Ranked, Suspicion
from maquette.runs.folder import RunFolder
from tests.lora.test_diffusers import adapted_layers, pipeline, prediction

from .conftest import KEY, write_lora


def tensors_of(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def front_matter(card: str) -> dict[str, object]:
    table: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return table


def test_a_released_file_says_how_it_is_drawn_and_its_tensors_are_the_same(
    run: RunFolder, comfy: Path
) -> None:
    source = run.checkpoints / "zkw-001.safetensors"
    [entry] = maquette.deploy(run.path, comfyui=comfy, name="people/zkw")
    assert tensors_of(entry.lora) == tensors_of(source)
    before, after = inspect_lora(source).metadata, inspect_lora(entry.lora).metadata
    assert after["modelspec.trigger_phrase"] == "zkw"
    assert (
        "euler sgm_uniform, 2 steps" in after["modelspec.usage_hint"]
        and "[pose]" in after["modelspec.usage_hint"]
    )
    assert after["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    changed = {
        "modelspec.trigger_phrase",
        "modelspec.usage_hint",
        "modelspec.thumbnail",
        "modelspec.description",
    }
    assert {key: value for key, value in after.items() if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }


def test_what_the_file_says_of_itself_stays(comfy: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    own = {
        "modelspec.usage_hint": "gently",
        "modelspec.title": "Mine",
        "ss_sd_model_name": "base.safetensors",
    }
    save_lora(mine, loaded(write_lora(tmp_path / "a.safetensors")), own)
    [entry] = maquette.deploy(mine, comfyui=comfy, trigger="zkw")
    told = inspect_lora(entry.lora).metadata
    assert (told["modelspec.usage_hint"], told["modelspec.title"]) == ("gently", "Mine")
    assert told["modelspec.trigger_phrase"] == "zkw"


def loaded(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_stamping_keeps_places_and_hashes_what_has_no_hash(tmp_path: Path) -> None:
    """A stranger's file, whose header is laid out in its own way, and one whose thumbnail would be too long."""
    from safetensors.torch import save_file

    state = {"b": torch.arange(6.0), "a": torch.ones(2, 3, dtype=torch.float16)}
    save_file(state, tmp_path / "theirs.safetensors")
    out = stamped(tmp_path / "theirs.safetensors", tmp_path / "out.safetensors", {"x": "é"})
    assert tensors_of(out) == tensors_of(tmp_path / "theirs.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in loaded(out).items())
    with safe_open(out, "pt") as file:
        assert file.metadata()["x"] == "é" and len(file.metadata()["sshs_model_hash"]) == 64
    big = stamped(out, tmp_path / "big.safetensors", {"modelspec.thumbnail": "x" * (2 << 20)})
    assert big.stat().st_size == out.stat().st_size


def test_a_card_says_that_nobody_has_judged(run: RunFolder, comfy: Path) -> None:
    [entry] = maquette.deploy(run.path, comfyui=comfy)
    assert entry.card is not None and entry.card.parent == comfy / "maquette"
    card = entry.card.read_text(encoding="utf-8")
    head = front_matter(card)
    assert (
        head["instance_prompt"] == "zkw" and "stable-diffusion" in head["tags"] and "base_model" not in head
    )
    assert head["widget"] == [{"text": "zkw, waving", "output": {"url": "../models/loras/zkw-001.png"}}]
    assert "Nobody has judged it" in card and "because nothing was looked for" in card


def test_a_card_says_how_it_was_judged_and_its_faults(run: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "zkw-001"
    shutil.copytree(run.path, copy)
    file = "checkpoints/zkw-001-step00000002.safetensors"
    estimate = Estimate(mean=0.61, low=0.5, high=0.7, count=12)
    Scorecards(
        cards=(
            Scorecard(
                column=Column(label="step 2", step=2, strength=0.8, file=file),
                scores={"identity": Score(value=estimate, floor=0.1, ceiling=0.9)},
                total=estimate,
                failures=("variety below its floor",),
            ),
        ),
        headlines=HEADLINES,
        measures=(),
        weights={},
    ).write(copy / "evaluation")
    Choice(
        checkpoint=file,
        label="step 2",
        step=2,
        strength=0.8,
        headline="Step 2 is best.",
        reasons=("identity is highest",),
        suspicions=(Suspicion(kind="leak", told="the class word draws her too", remedy="…"),),
        runner_up="checkpoints/zkw-001-step4.safetensors",
        ranking=(
            Ranked(checkpoint="checkpoints/zkw-001-step4.safetensors", label="step 4", step=4, strength=1.0),
        ),
        distinguishable=False,
    ).write(copy)
    [entry] = maquette.deploy(copy, diffusers=tmp_path / "hub")
    assert entry.card is not None and entry.card == tmp_path / "hub" / "zkw-001" / "README.md"
    card = entry.card.read_text(encoding="utf-8")
    assert "Step 2 is best." in card and "- identity is highest" in card
    assert "| Identity | 0.610 (0.500 to 0.700) | 0.100 | 0.900 |" in card and "at strength 0.8" in card
    for fault in ("variety below its floor", "leak: the class word draws her too", "runner-up (step 4)"):
        assert f"- {fault}" in card or fault in card.split("## Known faults")[1]


@torch.no_grad()
def test_diffusers_loads_the_folder(run: RunFolder, tmp_path: Path) -> None:
    """`pipe.load_lora_weights(FOLDER)` finds the file, adapts every module and draws otherwise than the base."""
    from maquette import families

    [entry] = maquette.deploy(run.path, diffusers=tmp_path / "hub", name="zkw")
    folder = tmp_path / "hub" / "zkw"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "zkw.png",
        "zkw.prompts.txt",
        "zkw.safetensors",
    ]
    model: BaseModel = families.load(str(run.path.parent.parent / "base.safetensors"), dtype=torch.float32)
    before = prediction(model)
    pipe = pipeline(model)
    pipe.load_lora_weights(str(folder))
    assert adapted_layers(model) == len(inspect_lora(entry.lora).modules)
    assert not torch.allclose(prediction(model), before)
    with Image.open(folder / "zkw.png") as picture:
        assert np.asarray(picture).shape == (64, 64, 3)


def test_a_folder_of_that_name_is_never_written_over(run: RunFolder, tmp_path: Path) -> None:
    """The same file is found again; another one goes to NAME-v2; a card that a person changed stays."""
    [first] = maquette.deploy(run.path, diffusers=tmp_path, name="zkw")
    [again] = maquette.deploy(run.path, diffusers=tmp_path, name="zkw")
    assert again.already_installed and again.lora == first.lora
    assert first.card is not None
    first.card.write_text("mine", encoding="utf-8")
    [other] = maquette.deploy(run.path, diffusers=tmp_path, name="zkw", checkpoint="zkw-001-step00000002")
    assert other.lora == tmp_path / "zkw-v2" / "zkw-v2.safetensors"
    [third] = maquette.deploy(run.path, diffusers=tmp_path, name="zkw")
    assert first.card.read_text(encoding="utf-8") == "mine" and "README.md" in third.notes[-1]


def test_what_diffusers_would_draw_otherwise_is_refused(tmp_path: Path) -> None:
    state = loaded(write_lora(tmp_path / "a.safetensors"))
    dora = state | {f"{KEY}.dora_scale": torch.ones(8, 1, 1, 1)}
    save_lora(tmp_path / "dora.safetensors", dora, {"ss_base_model_version": "sd_v1"})
    with pytest.raises(LoraError, match="alone diffusers draws as trained"):
        maquette.deploy(
            tmp_path / "dora.safetensors", diffusers=tmp_path / "hub", base_name="base.safetensors"
        )
    assert not list((tmp_path / "hub").rglob("*.safetensors"))


def test_sidecars_tell_the_sampler(run: RunFolder, comfy: Path) -> None:
    [entry] = maquette.deploy(run.path, comfyui=comfy, name="s")
    assert entry.sidecar is not None
    told = json.loads(entry.sidecar.read_text(encoding="utf-8"))
    assert told["preferred weight"] == 1 and "2 steps" in told["notes"] and "Clip skip 1" in told["notes"]
