"""Laws of the drawing workflow: it is what ComfyUI accepts, and says what the recipe says."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from typing import Any

import pytest

from maquette.deploying.editor import editor_workflow
from maquette.deploying.nodes import NODES, SAMPLERS, SCHEDULERS, check_workflow
from maquette.deploying.posing import with_pose
from maquette.deploying.recipe import Recipe, check_recipe, prompt_template
from maquette.drawing.scene import comfyui_workflow, webui_parameters
from maquette.errors import ConfigError
from maquette.families import FAMILIES

from .conftest import with_scene


def workflow_of(recipe: Recipe, lora: str = "zkw.safetensors") -> dict[str, Any]:
    return comfyui_workflow(recipe.scene_of(lora), prefix="zkw")


def node(workflow: dict[str, Any], class_type: str) -> dict[str, Any]:
    [found] = [entry["inputs"] for entry in workflow.values() if entry["class_type"] == class_type]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"options": {"clip_skip": 2}},
        {"prediction": "v"},
        {"prediction": "v", "zero_terminal_snr": True},
        {"width_px": 1024, "height_px": 768, "guidance": 5, "sampler": "dpmpp_2m_karras"},
        {"seed": 2**64 - 1, "negative": 'ünïcode "quoted"\nline', "strength": -0.5},
    ],
)
def test_every_recipe_gives_a_sound_workflow(recipe: Recipe, changes: dict[str, Any]) -> None:
    workflow = workflow_of(with_scene(recipe, **changes))
    assert check_workflow(workflow) == ()
    assert json.loads(json.dumps(workflow)) == workflow


def test_the_workflow_says_what_the_recipe_says(recipe: Recipe) -> None:
    asked = {"negative": "blurry", "seed": 9, "steps": 31, "guidance": 5.5}
    told = with_scene(recipe, options={"clip_skip": 2}, strength=0.8, **asked)
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
    workflow = workflow_of(with_scene(recipe, prediction="v", zero_terminal_snr=True))
    sampling = node(workflow, "ModelSamplingDiscrete")
    assert (sampling["sampling"], sampling["zsnr"]) == ("v_prediction", True)
    source = node(workflow, "KSampler")["model"][0]
    assert workflow[source]["class_type"] == "ModelSamplingDiscrete"


def test_zero_terminal_snr_is_named_in_the_web_uis_words(recipe: Recipe) -> None:
    told = webui_parameters(with_scene(recipe, prediction="v", zero_terminal_snr=True).scene)
    assert "Noise Schedule: Zero Terminal SNR" in told
    assert "Noise Schedule" not in webui_parameters(with_scene(recipe, prediction="v").scene)


def test_lora_names_carry_the_systems_separator(recipe: Recipe) -> None:
    workflow = workflow_of(recipe, "people/zkw.safetensors")
    assert node(workflow, "LoraLoader")["lora_name"] == f"people{os.sep}zkw.safetensors"


def test_what_samples_can_be_drawn_with_exists_in_comfyui() -> None:
    for family in FAMILIES.values():
        for there in family.spec.samplers_elsewhere.values():
            sampler, scheduler = there.comfyui
            assert sampler in SAMPLERS and scheduler in SCHEDULERS


def test_unusable_recipes_name_everything_that_is_wrong(recipe: Recipe) -> None:
    broken = replace(with_scene(recipe, seed=-1, width_px=100, sampler="eulr", base=" "), prompts=())
    with pytest.raises(ConfigError) as caught:
        check_recipe(broken)
    told = str(caught.value)
    assert len(caught.value.problems) == 5
    assert all(word in told for word in ("seed", "width_px", "eulr", "base", "prompts"))


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
    workflow = with_pose(workflow_of(with_scene(recipe, prediction="v")), "pose.safetensors", "pose.png")
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
    text = prompt_template(
        with_scene(recipe, strength=0.8, negative="blurry", options={"clip_skip": 2}), "zkw.safetensors"
    )
    for fact in (
        "zkw.safetensors",
        "base.safetensors",
        "0.8",
        "blurry",
        "zkw, jumping",
        "<lora:zkw:0.8>",
        "512 × 512",
        "euler / sgm_uniform",
        "Euler / SGM Uniform",
        "step 200 (zkw-step00000200) of run zkw-001",
    ):
        assert fact in text


def test_brackets_are_no_emphasis_anywhere(recipe: Recipe) -> None:
    """In the workflow, the template, its examples, the negative prompt and the line for the web UIs."""
    told = with_scene(
        replace(
            recipe,
            trigger="asuka_(eva)",
            template="asuka_(eva), [pose]",
            prompts=("asuka_(eva), boots (red, gold and white)", r"asuka_\(eva\), [sic]"),
        ),
        negative="(worst quality)",
    )
    texts = [
        entry["inputs"]["text"]
        for entry in workflow_of(told).values()
        if entry["class_type"] == "CLIPTextEncode"
    ]
    assert texts == [r"asuka_\(eva\), boots \(red, gold and white\)", r"\(worst quality\)"]
    lines = [line.strip() for line in prompt_template(told, "zkw.safetensors").splitlines()]
    for line in (
        r"Trigger    asuka_\(eva\)",
        r"asuka_\(eva\), [pose]",
        r"asuka_\(eva\), boots \(red, gold and white\)",
        r"asuka_\(eva\), [sic]",
        r"\(worst quality\)",
        r"asuka_\(eva\), boots \(red, gold and white\) <lora:zkw:1>",
    ):
        assert line in lines


@pytest.mark.parametrize(
    "changes", [{}, {"prediction": "v", "zero_terminal_snr": True, "negative": "blurry"}]
)
def test_the_editors_form_means_the_same(recipe: Recipe, changes: dict[str, Any]) -> None:
    """Read back as the editor sends it: linked inputs by their links, the others in the order of the values."""
    workflow = workflow_of(with_scene(recipe, seed=9, **changes))
    edited = json.loads(json.dumps(editor_workflow(workflow)))
    assert (edited["version"], edited["last_link_id"]) == (0.4, len(edited["links"]))
    links = {link[0]: link for link in edited["links"]}
    assert len(links) == len(edited["links"])
    for placed in edited["nodes"]:
        sockets = {entry["name"]: links[entry["link"]] for entry in placed["inputs"]}
        values = iter(placed["widgets_values"])
        inputs: dict[str, Any] = {}
        for name in NODES[placed["type"]]["input"]["required"]:
            if name in sockets:
                _, source, output, target, slot, kind = sockets[name]
                assert (target, placed["inputs"][slot]["name"]) == (placed["id"], name)
                assert placed["inputs"][slot]["type"] == kind
                inputs[name] = [str(source), output]
            else:
                inputs[name] = next(values)
                if name == "seed":
                    assert next(values) == "fixed"
        assert next(values, None) is None
        assert inputs == workflow[str(placed["id"])]["inputs"]
        for slot, output in enumerate(placed["outputs"]):
            assert output["links"] == [n for n, link in links.items() if link[1:3] == [placed["id"], slot]]
    assert {str(entry["id"]) for entry in edited["nodes"]} == set(workflow)
    assert sorted(entry["order"] for entry in edited["nodes"]) == list(range(len(workflow)))
    places = [tuple(entry["pos"]) for entry in edited["nodes"]]
    assert len(set(places)) == len(places), "no node lies on another"
