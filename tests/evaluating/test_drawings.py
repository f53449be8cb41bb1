"""Laws of resuming: a picture is drawn once, from what it says it was drawn from, whatever ends the evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from maquette.api import lora_convert
from maquette.drawing.draw import draw
from maquette.drawing.pictures import chunks_of
from maquette.errors import LoraError
from maquette.evaluating.drawings import CHUNK
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, PlannedPrompt, first_look
from maquette.events import Message, Progress, run_stage
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import read_lora, save_lora
from maquette.measuring.looks import FLOOR, FirstLook, LookPrompt
from tests.drawing.bases import write_strong

PLAN = LookPlan(
    prompts=(LookPrompt(text="zkw", role="bare"), LookPrompt(text="zkw, standing", role="pose")),
    seeds=(3, 1),
    width_px=32,
    height_px=32,
    steps=2,
    guidance=3.0,
    batch=4,
)


@pytest.fixture
def columns(base: Any, tmp_path: Path) -> list[LookCheckpoint]:
    """Two LoRAs, the second at two strengths."""
    one, two = write_strong(base, tmp_path, (2, 3))
    return [
        LookCheckpoint(label="step 100", step=100, path=one),
        LookCheckpoint(label="step 200", step=200, path=two),
        LookCheckpoint(label="step 200 × 0.5", step=200, path=two, strength=0.5),
    ]


def looked(model: Any, columns: list[LookCheckpoint], folder: Path, plan: LookPlan = PLAN) -> FirstLook:
    return run_stage(first_look(model, columns, plan, folder))


def written(look: FirstLook) -> dict[str, int]:
    """Return when each picture was written."""
    return {entry.path: (look.folder / entry.path).stat().st_mtime_ns for entry in look.looks}


def pixels(look: FirstLook, label: str, prompt: str = "zkw", seed: int = 1) -> bytes:
    with Image.open(look.folder / look.find(label, prompt, seed).path) as picture:
        return picture.tobytes()


def apart(one: bytes, other: bytes) -> int:
    """Return the largest difference of two pictures, in levels."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_what_was_drawn_before_the_end_is_not_drawn_again(
    base: Any, columns: list[LookCheckpoint], tmp_path: Path
) -> None:
    """Ended behind the first batch: the rest is drawn, and all is as if it had not been ended."""
    whole = looked(base, columns, tmp_path / "whole")
    stage = first_look(base, columns, PLAN, tmp_path / "ended")
    for event in stage:
        if isinstance(event, Progress) and event.done:
            break
    stage.close()
    assert not any("forward" in target.module.__dict__ for target in base.lora_targets())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ended").rglob("*.png")}
    assert 0 < len(before) < len(whole.looks)
    events: list[Any] = []
    look = run_stage(first_look(base, columns, PLAN, tmp_path / "ended"), events.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert look.looks == whole.looks and look.columns == whole.columns
    assert f"{len(before)} of them there already" in next(e.text for e in events if isinstance(e, Message))
    for entry in whole.looks:
        one, other = (Image.open(folder / entry.path).tobytes() for folder in (whole.folder, look.folder))
        assert apart(one, other) <= 1


def test_nothing_is_drawn_twice(base: Any, columns: list[LookCheckpoint], tmp_path: Path) -> None:
    first = looked(base, columns, tmp_path / "look")
    before = written(first)
    assert written(looked(base, columns, tmp_path / "look")) == before
    fewer = replace(PLAN, prompts=PLAN.prompts[:1], seeds=(1,))
    look = looked(base, columns[:1], tmp_path / "look", fewer)
    assert {entry.path for entry in look.looks} < before.keys() and len(look.looks) == 2
    assert written(looked(base, columns, tmp_path / "look")) == before, "another suite leaves pictures alone"


def test_what_is_stale_or_damaged_is_drawn_again(
    base: Any, columns: list[LookCheckpoint], tmp_path: Path
) -> None:
    """A file that was overwritten under its name, a picture cut short, other settings."""
    look = looked(base, columns, tmp_path / "look")
    before = written(look)
    state = read_lora(columns[1].path).state
    save_lora(columns[0].path, state, {}, dtype="fp32")
    cut = look.folder / look.find(FLOOR, "zkw", 1).path
    cut.write_bytes(cut.read_bytes()[:-200])
    after = written(looked(base, columns, tmp_path / "look"))
    again = {path for path in before if after[path] != before[path]}
    own = {entry.path for entry in look.looks if entry.checkpoint == "step 100"}
    assert again == own | {look.find(FLOOR, "zkw", 1).path}
    assert apart(pixels(look, "step 100"), pixels(look, "step 200")) <= 1
    other = looked(base, columns, tmp_path / "look", replace(PLAN, steps=3))
    assert not {entry.path for entry in other.looks} & before.keys()
    told = [chunks_of(other.folder / entry.path)[CHUNK] for entry in other.looks]
    assert len(set(told)) == 3 * len(PLAN.cells()), "two columns hold the same LoRA at the same strength now"


def test_another_base_draws_all_of_it_again(base: Any, columns: list[LookCheckpoint], tmp_path: Path) -> None:
    """A base that changed a little under the same name is another base."""
    before = written(looked(base, columns, tmp_path / "look"))
    weight = base.denoiser.conv_in.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight += 1e-3
    try:
        after = written(looked(base, columns, tmp_path / "look"))
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert all(after[path] != before[path] for path in before)


def test_a_strength_is_a_column_that_draws_with_it(
    base: Any, columns: list[LookCheckpoint], tmp_path: Path
) -> None:
    look = looked(base, columns, tmp_path / "look")
    assert look.checkpoints() == (FLOOR, "step 100", "step 200", "step 200 × 0.5")
    assert [column.strength for column in look.columns] == [1.0, 1.0, 1.0, 0.5]
    entry = look.find("step 200 × 0.5", "zkw", 1)
    adapter = LoraAdapter.attach(base, [read_lora(columns[1].path, base.lora_targets()).state])
    adapter.set_multiplier(0.5)
    [alone] = draw(base, [PLAN.request(PLAN.prompts[0], 1)], adapter=adapter)
    adapter.detach()
    drawn = pixels(look, entry.checkpoint)
    assert apart(alone.tobytes(), drawn) <= 1
    assert drawn != pixels(look, "step 200")
    told = chunks_of(look.folder / entry.path)
    assert f"<lora:{columns[1].path.stem}:0.5>" in told["parameters"]
    assert '"strength_model": 0.5' in told["prompt"]


def test_adapters_of_other_kinds_and_names_are_drawn_beside(base: Any, tmp_path: Path) -> None:
    """A LoHa cannot share a pass with LoRAs; diffusers' names mean the same layers."""
    [plain] = write_strong(base, tmp_path, (2,))
    loha = tmp_path / "loha.safetensors"
    adapter = LoraAdapter.attach(base, [TrialSpec(rank=2, alpha=2, kind="loha", seed=1)])
    save_lora(loha, adapter.state_dict(0), {}, dtype="fp32")
    adapter.detach()
    renamed = lora_convert(plain, to="diffusers", output=tmp_path / "renamed.safetensors").path
    paths = {"plain": plain, "loha": loha, "renamed": renamed}
    columns = [LookCheckpoint(label=name, step=1, path=path) for name, path in paths.items()]
    look = looked(base, columns, tmp_path / "look", replace(PLAN, seeds=(1,)))
    assert look.checkpoints() == (FLOOR, "plain", "loha", "renamed")
    assert apart(pixels(look, "plain"), pixels(look, "renamed")) <= 1
    assert pixels(look, "plain") != pixels(look, FLOOR)


def test_prompts_keep_settings_of_their_own(base: Any, tmp_path: Path) -> None:
    own = PlannedPrompt(text="a tree", seeds=(9,), width_px=96, guidance=1.0, steps=1, negative="grey")
    look = looked(base, [], tmp_path / "look", replace(PLAN, prompts=(*PLAN.prompts, own), seeds=(1,)))
    assert look.seeds("a tree") == (9,)
    with Image.open(look.folder / look.find(FLOOR, "a tree", 9).path) as picture:
        assert picture.size == (96, 32)
        assert "Steps: 1" in picture.info["parameters"] and "grey" in picture.info["parameters"]


def test_every_file_that_does_not_fit_is_named(bases: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "xl").mkdir()
    paths = write_strong(bases["sdxl"], tmp_path / "xl", (2, 3))
    columns = [LookCheckpoint(label=path.stem, step=1, path=path) for path in paths]
    with pytest.raises(LoraError) as caught:
        looked(bases["sd1"], columns, tmp_path / "look")
    assert {str(path) for path in paths} <= {problem.where for problem in caught.value.problems}
    assert not (tmp_path / "look").exists()
