"""A run's record tells how its LoRA is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maquette.deploying.chosen import checkpoint_of, chosen_of
from maquette.deploying.of_run import recipe_of as recipe_of_checkpoint
from maquette.deploying.recipe import Recipe, check_recipe
from maquette.errors import ConfigError, OutputError
from maquette.runs.choice import Choice
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


def recipe_of(record: RunRecord, **given: Any) -> Recipe:
    """Return the recipe of the run's last checkpoint."""
    return recipe_of_checkpoint(record, checkpoint_of(record), **given)


@pytest.mark.parametrize(("family", "clip_skip", "word"), [("sd1", 1, "SD1"), ("sdxl", 2, "SDXL")])
def test_the_recipe_is_the_runs_own(family: str, clip_skip: int, word: str) -> None:
    recipe = recipe_of(record_of(family), strength=0.8)
    check_recipe(recipe)
    scene, asked = recipe.scene, recipe.scene.request
    assert (scene.clip_skip, scene.family.webui_version) == (clip_skip, word)
    assert (asked.width_px, asked.height_px, asked.guidance, asked.steps) == (512, 768, 6.5, 30)
    assert (scene.base, scene.sampler, scene.strength) == ("base.safetensors", "dpmpp_2m", 0.8)
    assert recipe.prompts == ("zkw, standing", "zkw, sitting"), "captions that lack the trigger receive it"
    assert recipe.origin == "step 400 (zkw) of run zkw-001"


def test_sample_prompts_and_clip_skip_win() -> None:
    changed = record_of(
        settings={"samples": {"sample_prompts": ["{trigger}, waving"]}, "model": {"clip_skip": 2}}
    )
    recipe = recipe_of(changed, base_name="people/other.safetensors")
    assert recipe.prompts == ("zkw, waving", "zkw, standing", "zkw, sitting")
    assert recipe.scene.clip_skip == 2
    assert recipe.scene.base == "people/other.safetensors"


def test_the_template_opens_as_the_captions_do() -> None:
    record = record_of(settings={"subject": {"class_word": "man"}})
    assert recipe_of(record).template == "zkw, [pose], [view], [scene]"
    named = captioned(record, "zkw man, standing", "zkw man")
    assert recipe_of(named).template == "zkw man, [pose], [view], [scene]"


def test_the_template_says_what_the_profile_wants_said_each_time(tmp_path: Path) -> None:
    """One-sided details of a character, the words of a style; of another subject's profile nothing."""
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'kind = "character"\ntrigger = "zkw"\n[[details]]\nname = "red glove"\nside = "right"\npart = "hand"\n'
    )
    record = record_of(settings={"dataset": {"images": str(tmp_path)}})
    assert recipe_of(record).template == "zkw, [pose], [view], right hand red glove, [scene]"
    profile.write_text(profile.read_text().replace("zkw", "other"))
    assert recipe_of(record).template == "zkw, [pose], [view], [scene]"
    profile.write_text('kind = "style"\nstyle = ["pixel art", "24x24"]\ntrigger = "zkw"\n')
    assert recipe_of(record).template == "pixel art, 24x24, zkw, [subject], [scene]"
    profile.write_text('kind = "style"\nstyle = ["pixel art", "24x24"]\n')
    styled = record_of(
        settings={"dataset": {"images": str(tmp_path)}, "subject": {"trigger": "pixel art, 24x24"}}
    )
    assert recipe_of(styled).template == "pixel art, 24x24, [subject], [scene]"


def test_a_v_prediction_base_is_drawn_as_such() -> None:
    base = replace(record_of().base, prediction="v", zero_terminal_snr=True)
    scene = recipe_of(record_of(base=base)).scene
    assert (scene.prediction, scene.zero_terminal_snr) == ("v", True)


def test_a_style_without_trigger_is_drawn_by_its_captions() -> None:
    untold = record_of(settings={"subject": {"trigger": ""}})
    recipe = recipe_of(untold)
    assert (recipe.trigger, recipe.prompts) == ("", ("zkw, standing", "sitting"))
    assert recipe.template == "[pose], [view], [scene]"
    assert recipe_of(untold, trigger="ink").prompts == ("ink, zkw, standing", "ink, sitting")


def test_checkpoints_are_known_by_name() -> None:
    assert checkpoint_of(record_of()).step == 400
    assert checkpoint_of(record_of(), "zkw-step00000200.safetensors").step == 200
    with pytest.raises(ConfigError, match="Did you mean 'zkw-step00000200'"):
        checkpoint_of(record_of(), "zkw-step0000020")
    with pytest.raises(OutputError, match="no checkpoint"):
        checkpoint_of(record_of(checkpoints=()))


def test_the_chosen_checkpoint_goes_out(tmp_path: Path) -> None:
    """What was asked for, else what was chosen with its strength, else the last; and why."""
    record = record_of()
    last = chosen_of(tmp_path, record)
    assert (last.checkpoint.step, last.strength) == (400, 1.0) and "no choice was made" in last.why
    Choice(
        checkpoint="checkpoints/zkw-step00000200.safetensors", label="step 200", step=200, strength=0.8
    ).write(tmp_path)
    chosen = chosen_of(tmp_path, record)
    assert (chosen.checkpoint.step, chosen.strength) == (200, 0.8) and "by measures" in chosen.why
    assert chosen.is_the_choice and chosen_of(tmp_path, record, strength=0.5).strength == 0.5
    named = chosen_of(tmp_path, record, "zkw")
    assert (named.checkpoint.step, named.strength, named.is_the_choice) == (400, 1.0, False)


def test_a_choice_that_cannot_be_followed_is_said(tmp_path: Path) -> None:
    gone = Choice(checkpoint="checkpoints/zkw-step0000020.safetensors", label="x", step=20, strength=1.0)
    gone.write(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'zkw-step00000200'"):
        chosen_of(tmp_path, record_of())
    (tmp_path / "choice.json").write_text("nonsense", encoding="utf-8")
    with pytest.raises(OutputError, match=r"choice\.json"):
        chosen_of(tmp_path, record_of())
