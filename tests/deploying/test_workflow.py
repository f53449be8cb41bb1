"""Laws of the drawing workflow: it is what ComfyUI accepts, and says what the recipe says."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from typing import Any

import pytest

from maquette.deploying.nodes import NODES, SAMPLERS, check_workflow
from maquette.deploying.workflow import Recipe, build_workflow, prompt_template, sampler_name
from maquette.errors import ConfigError
from maquette.families.common.samplers import SAMPLERS as OWN_SAMPLERS


def workflow_of(recipe: Recipe) -> dict[str, Any]:
    return build_workflow(recipe, "zkw.safetensors", prefix="zkw")


def node(workflow: dict[str, Any], class_type: str) -> dict[str, Any]:
    [found] = [entry["inputs"] for entry in workflow.values() if entry["class_type"] == class_type]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_skip": 2},
        {"prediction": "v"},
        {"prediction": "v", "zero_terminal_snr": True},
        {"width_px": 1024, "height_px": 768, "guidance": 5, "sampler": "dpmpp_2m_karras"},
        {"seed": 2**64 - 1, "negative": 'ünïcode "quoted"\nline', "strength": -0.5},
    ],
)
def test_every_recipe_gives_a_sound_workflow(recipe: Recipe, changes: dict[str, Any]) -> None:
    workflow = workflow_of(replace(recipe, **changes))
    assert check_workflow(workflow) == ()
    assert json.loads(json.dumps(workflow)) == workflow


def test_the_workflow_says_what_the_recipe_says(recipe: Recipe) -> None:
    told = replace(recipe, clip_skip=2, strength=0.8, negative="blurry", seed=9, steps=31, guidance=5.5)
    workflow = workflow_of(told)
    texts = [
        entry["inputs"]["text"] for entry in workflow.values() if entry["class_type"] == "CLIPTextEncode"
    ]
    sampler = node(workflow, "KSampler")
    assert texts == ["zkw, standing, front view", "blurry"]
    assert node(workflow, "CLIPSetLastLayer")["stop_at_clip_layer"] == -2
    assert node(workflow, "CheckpointLoaderSimple")["ckpt_name"] == "base.safetensors"
    assert {node(workflow, "LoraLoader")[f"strength_{part}"] for part in ("model", "clip")} == {0.8}
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (9, 31, 5.5)
    assert workflow[sampler["positive"][0]]["inputs"]["text"] == "zkw, standing, front view"
    assert workflow[sampler["negative"][0]]["inputs"]["text"] == "blurry"
    assert "ModelSamplingDiscrete" not in {entry["class_type"] for entry in workflow.values()}


def test_a_v_prediction_model_draws_through_its_sampling_node(recipe: Recipe) -> None:
    workflow = workflow_of(replace(recipe, prediction="v", zero_terminal_snr=True))
    sampling = node(workflow, "ModelSamplingDiscrete")
    assert (sampling["sampling"], sampling["zsnr"]) == ("v_prediction", True)
    source = node(workflow, "KSampler")["model"][0]
    assert workflow[source]["class_type"] == "ModelSamplingDiscrete"


def test_lora_names_carry_the_systems_separator(recipe: Recipe) -> None:
    workflow = build_workflow(recipe, "people/zkw.safetensors", prefix="zkw")
    assert node(workflow, "LoraLoader")["lora_name"] == f"people{os.sep}zkw.safetensors"


@pytest.mark.parametrize(
    ("given", "meant"), [("euler_a", "euler_ancestral"), ("DPM++ 2M", "dpmpp_2m"), ("unipc", "uni_pc")]
)
def test_samplers_are_known_by_their_common_names(given: str, meant: str) -> None:
    assert sampler_name(given) == meant


def test_what_samples_can_be_drawn_with_exists_in_comfyui() -> None:
    from maquette.families import FAMILIES

    for name in {name for family in FAMILIES.values() for name in family.spec.samplers}:
        assert name in OWN_SAMPLERS
        assert sampler_name(name) in SAMPLERS


def test_unusable_recipes_name_everything_that_is_wrong(recipe: Recipe) -> None:
    broken = replace(recipe, seed=-1, width_px=100, sampler="eulr", trigger=" ", prompts=())
    with pytest.raises(ConfigError) as caught:
        workflow_of(broken)
    told = str(caught.value)
    assert len(caught.value.problems) == 5
    assert all(word in told for word in ("seed", "width_px", "Did you mean 'euler'", "trigger", "prompts"))


def broken(workflow: dict[str, Any], class_type: str, **inputs: Any) -> dict[str, Any]:
    changed = copy.deepcopy(workflow)
    node(changed, class_type).update(inputs)
    return changed


@pytest.mark.parametrize(
    ("class_type", "inputs", "said"),
    [
        ("KSampler", {"seed": -1}, "between 0"),
        ("KSampler", {"seed": True}, "INT"),
        ("KSampler", {"sampler_name": "euler_a"}, "not in the list"),
        ("KSampler", {"cfg": "7"}, "FLOAT"),
        ("KSampler", {"model": ["99", 0]}, "node 99"),
        ("KSampler", {"model": ["1", 1]}, "receives a CLIP"),
        ("KSampler", {"model": ["1", 3]}, "output 3"),
        ("KSampler", {"model": ["1", 0, 0]}, "malformed"),
        ("KSampler", {"model": "sd15"}, "a link to a MODEL"),
        ("KSampler", {"scheduller": "normal"}, "Did you mean 'scheduler'"),
        ("CLIPSetLastLayer", {"stop_at_clip_layer": 1}, "between -24 and -1"),
        ("EmptyLatentImage", {"width": 512.5}, "INT"),
    ],
)
def test_the_check_finds_what_comfyui_would_refuse(
    recipe: Recipe, class_type: str, inputs: dict[str, Any], said: str
) -> None:
    problems = check_workflow(broken(workflow_of(recipe), class_type, **inputs))
    assert len(problems) == 1 and said in str(problems[0])


@pytest.mark.parametrize("class_type", NODES)
def test_every_required_input_is_required(recipe: Recipe, class_type: str) -> None:
    workflow = workflow_of(replace(recipe, prediction="v"))
    for name in NODES[class_type]["input"]["required"]:
        changed = copy.deepcopy(workflow)
        for entry in changed.values():
            if entry["class_type"] == class_type:
                del entry["inputs"][name]
        assert any(f"input '{name}' is missing" in str(problem) for problem in check_workflow(changed))


def test_the_check_finds_what_comfyui_would_quietly_ignore(recipe: Recipe) -> None:
    workflow = workflow_of(recipe)
    dangling = {
        **workflow,
        "20": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    }
    unsaved = {key: entry for key, entry in workflow.items() if entry["class_type"] != "SaveImage"}
    editor = {"nodes": [], "links": []}
    unknown = {**workflow, "20": {"class_type": "LoraLoadr", "inputs": {}}}
    assert "reaches no output" in str(check_workflow(dangling)[0])
    assert "saves no picture" in str(check_workflow(unsaved)[0])
    assert "API format" in str(check_workflow(editor)[0])
    assert "Did you mean 'LoraLoader'" in str(check_workflow(unknown)[0])


def test_the_check_finds_circles() -> None:
    table = {"Blend": {"input": {"required": {"a": ("MODEL",)}}, "output": ["MODEL"], "output_node": True}}
    circle = {
        "1": {"class_type": "Blend", "inputs": {"a": ["2", 0]}},
        "2": {"class_type": "Blend", "inputs": {"a": ["1", 0]}},
    }
    assert "circle" in str(check_workflow(circle, table)[0])


def test_the_template_tells_all_that_drawing_needs(recipe: Recipe) -> None:
    text = prompt_template(replace(recipe, strength=0.8, negative="blurry", clip_skip=2), "zkw.safetensors")
    for fact in (
        "zkw.safetensors",
        "base.safetensors",
        "0.8",
        "blurry",
        "zkw, jumping",
        "<lora:zkw:0.8>",
        "512 × 512",
    ):
        assert fact in text
