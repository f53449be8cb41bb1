"""A run's record tells how its LoRA is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from maquette.deploying.run import checkpoint_of, recipe_of
from maquette.deploying.workflow import check_recipe
from maquette.errors import ConfigError, OutputError
from maquette.runs.record import Checkpoint, RunRecord
from tests.runs.making import captioned, run_record

SETTINGS = {
    "subject": {"trigger": "zkw", "class_word": ""},
    "dataset": {"resolution": [512, 768]},
    "samples": {"sample_prompts": [], "guidance": 6.5, "sampler": "dpmpp_2m", "sample_steps": 30},
}


def record_of(family: str = "sd1", settings: dict[str, Any] | None = None, **changes: Any) -> RunRecord:
    record = run_record(
        {section: values | (settings or {}).get(section, {}) for section, values in SETTINGS.items()}
        | {"model": (settings or {}).get("model", {})},
        run="zkw-001",
        checkpoints=(
            Checkpoint(path="checkpoints/zkw-step00000200.safetensors", step=200, epoch=1),
            Checkpoint(path="checkpoints/zkw.safetensors", step=400, epoch=2, final=True),
        ),
    )
    base = replace(record.base, family=family, path="/models/base.safetensors")
    return captioned(record.with_(base=base), "zkw, standing", "sitting").with_(**changes)


@pytest.mark.parametrize(("family", "clip_skip", "word"), [("sd1", 1, "SD1"), ("sdxl", 2, "SDXL")])
def test_the_recipe_is_the_runs_own(family: str, clip_skip: int, word: str) -> None:
    recipe = recipe_of(record_of(family), strength=0.8)
    check_recipe(recipe)
    assert (recipe.clip_skip, recipe.sd_version) == (clip_skip, word)
    assert (recipe.width_px, recipe.height_px, recipe.guidance, recipe.steps) == (512, 768, 6.5, 30)
    assert (recipe.base_checkpoint, recipe.sampler, recipe.strength) == ("base.safetensors", "dpmpp_2m", 0.8)
    assert recipe.prompts == ("zkw, standing", "zkw, sitting"), "captions that lack the trigger receive it"


def test_sample_prompts_and_clip_skip_win() -> None:
    changed = record_of(
        settings={"samples": {"sample_prompts": ["{trigger}, waving"]}, "model": {"clip_skip": 2}}
    )
    recipe = recipe_of(changed, base_checkpoint="people/other.safetensors")
    assert recipe.prompts == ("zkw, waving", "zkw, standing", "zkw, sitting")
    assert recipe.clip_skip == 2
    assert recipe.base_checkpoint == "people/other.safetensors"


def test_the_template_opens_as_the_captions_do() -> None:
    record = record_of(settings={"subject": {"class_word": "man"}})
    assert recipe_of(record).template == "zkw, [pose], [view], [scene]"
    named = captioned(record, "zkw man, standing", "zkw man")
    assert recipe_of(named).template == "zkw man, [pose], [view], [scene]"


def test_a_v_prediction_base_is_drawn_as_such() -> None:
    base = replace(record_of().base, prediction="v", zero_terminal_snr=True)
    recipe = recipe_of(record_of(base=base))
    assert (recipe.prediction, recipe.zero_terminal_snr) == ("v", True)


def test_a_run_without_trigger_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="trigger"):
        recipe_of(record_of(settings={"subject": {"trigger": ""}}))


def test_checkpoints_are_known_by_name() -> None:
    assert checkpoint_of(record_of()).step == 400
    assert checkpoint_of(record_of(), "zkw-step00000200.safetensors").step == 200
    with pytest.raises(ConfigError, match="Did you mean 'zkw-step00000200'"):
        checkpoint_of(record_of(), "zkw-step0000020")
    with pytest.raises(OutputError, match="no checkpoint"):
        checkpoint_of(record_of(checkpoints=()))
