"""Workflows with slots: ours opened and closed again, a person's own, and a pose taken over by a ControlNet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import maquette
from maquette.deploying.editor import editor_workflow
from maquette.deploying.nodes import check_workflow
from maquette.deploying.posing import with_pose
from maquette.deploying.recipe import Recipe
from maquette.deploying.slots import as_template, filled, slots_of
from maquette.drawing.scene import comfyui_workflow
from maquette.errors import ConfigError
from maquette.runs.folder import RunFolder

from .conftest import with_scene
from .speaking import REAL_NODES

POSE = {"controlnet_name": "openpose.safetensors", "pose_image": "pose.png"}


def real_nodes() -> dict[str, Any]:
    """Return ComfyUI's own table with the names of these files in its lists."""
    nodes = json.loads(json.dumps(REAL_NODES))
    for name, key, files in (
        ("LoraLoader", "lora_name", ["zkw.safetensors", "zkw-001.safetensors"]),
        ("CheckpointLoaderSimple", "ckpt_name", ["base.safetensors"]),
        ("ControlNetLoader", "control_net_name", ["openpose.safetensors"]),
        ("LoadImage", "image", ["pose.png", "zkw-001.pose.png"]),
    ):
        nodes[name]["input"]["required"][key][0] = files
    return nodes


def workflows(recipe: Recipe) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return our workflows of a recipe, without and with a pose, each with its slots."""
    scene = recipe.scene_of("zkw.safetensors")
    plain = comfyui_workflow(scene, prefix="zkw")
    return [
        (plain, slots_of(scene, "zkw")),
        (with_pose(plain, POSE["controlnet_name"], POSE["pose_image"]), slots_of(scene, "zkw", POSE)),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prediction": "v", "zero_terminal_snr": True, "strength": 0.7},
        {"negative": "blurry (ugly)", "seed": 2**63, "options": {"clip_skip": 2}},
    ],
)
def test_opened_and_filled_a_workflow_is_itself_and_comfyui_takes_it(
    recipe: Recipe, changes: dict[str, Any]
) -> None:
    for workflow, slots in workflows(with_scene(recipe, **changes)):
        template = as_template(workflow)
        assert filled(template, slots) == workflow
        assert check_workflow(workflow, real_nodes()) == ()
        names = set(re.findall(r"{{(\w+)}}", json.dumps(template)))
        named = {"lora_name", "prompt_text", "negative_prompt", "seed", "checkpoint_name"}
        assert named | (POSE.keys() & slots.keys()) <= names <= slots.keys()


def test_a_pose_stands_between_texts_and_sampler(recipe: Recipe) -> None:
    (plain, _), (posed, _) = workflows(recipe)
    by_class = {node["class_type"]: (number, node["inputs"]) for number, node in posed.items()}
    number, apply = by_class["ControlNetApplyAdvanced"]
    sampler = by_class["KSampler"][1]
    assert (sampler["positive"], sampler["negative"]) == ([number, 0], [number, 1])
    before = next(node["inputs"] for node in plain.values() if node["class_type"] == "KSampler")
    assert (apply["positive"], apply["negative"]) == (before["positive"], before["negative"])
    assert apply["image"] == [by_class["LoadImage"][0], 0] and len(posed) == len(plain) + 3


def test_the_editors_form_of_a_pose_links_what_the_api_links(recipe: Recipe) -> None:
    _, (posed, _) = workflows(recipe)
    edited = editor_workflow(posed)
    kinds = {node["id"]: node for node in edited["nodes"]}
    links = {
        (kinds[target]["type"], kinds[target]["inputs"][slot]["name"]): (kinds[source]["type"], output)
        for _, source, output, target, slot, _ in edited["links"]
    }
    assert links["KSampler", "negative"] == ("ControlNetApplyAdvanced", 1)
    assert links["ControlNetApplyAdvanced", "control_net"] == ("ControlNetLoader", 0)
    apply = next(node for node in edited["nodes"] if node["type"] == "ControlNetApplyAdvanced")
    assert [each["name"] for each in apply["outputs"]] == ["positive", "negative"]
    assert apply["widgets_values"] == [1.0, 0.0, 1.0]
    pictures = next(node for node in edited["nodes"] if node["type"] == "LoadImage")
    assert pictures["widgets_values"] == ["pose.png", "image"]


def test_a_pose_is_deployed_with_its_picture(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "black").save(tmp_path / "skeleton.png")
    [entry] = maquette.deploy(
        run.path, comfyui=comfy, controlnet="openpose.safetensors", pose=tmp_path / "skeleton.png"
    )
    assert entry.pose_workflow is not None and entry.pose_editor_workflow is not None
    assert entry.to_draw == entry.pose_workflow
    assert (comfy / "input/zkw-001.pose.png").read_bytes() == (tmp_path / "skeleton.png").read_bytes()
    posed = json.loads(entry.pose_workflow.read_text(encoding="utf-8"))
    assert check_workflow(posed, real_nodes()) == ()
    assert any("openpose.safetensors is not in" in note for note in entry.notes)
    assert entry.pose_editor_workflow.parent == comfy / "user/default/workflows"
    for name in ("zkw-001.template.json", "zkw-001.pose.template.json"):
        assert "{{lora_name}}" in (comfy / "maquette" / name).read_text(encoding="utf-8")


def test_without_its_picture_a_pose_is_left_to_a_person(run: RunFolder, comfy: Path) -> None:
    [entry] = maquette.deploy(run.path, comfyui=comfy, controlnet="openpose.safetensors")
    assert entry.to_draw == entry.workflow and entry.pose_workflow is not None
    assert any("choose one in the workflow" in note for note in entry.notes)


def test_a_persons_own_template_is_filled(run: RunFolder, comfy: Path, tmp_path: Path) -> None:
    """With nodes that nobody here knows, too: then only ComfyUI can tell whether they are right."""
    mine = {
        "1": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "{{lora_name}}", "strength": "{{strength}}"},
        },
        "2": {"class_type": "ShowText", "inputs": {"text": "best, {{prompt_text}} #{{ seed }}"}},
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(mine), encoding="utf-8")
    [entry] = maquette.deploy(run.path, comfyui=comfy, workflow=path, strength=0.5)
    assert entry.workflow is not None and entry.editor_workflow is None
    told = json.loads(entry.workflow.read_text(encoding="utf-8"))
    assert told["1"]["inputs"] == {"lora_name": entry.lora_name, "strength": 0.5}
    assert re.fullmatch(r"best, zkw, waving #\d+", told["2"]["inputs"]["text"])
    ours = comfy / "maquette/zkw-001.template.json"
    [again] = maquette.deploy(run.path, comfyui=comfy, workflow=ours, name="again")
    assert again.editor_workflow is not None
    loader = json.loads(Path(str(again.workflow)).read_text(encoding="utf-8"))
    assert any(node["inputs"].get("lora_name") == "again.safetensors" for node in loader.values())


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"nodes": [], "links": []}, "is in the editor's format"),
        ({"1": {"class_type": "X", "inputs": {"a": "{{lora_nam}}"}}}, "Did you mean 'lora_name'"),
        ({"1": {"class_type": "X", "inputs": {"a": "{{lora_name}} {{pose_image}}"}}}, "Give --controlnet"),
        ({"1": {"class_type": "X", "inputs": {}}}, "has no slot"),
        (
            {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "{{lora_name}}"}}},
            "'images' is missing",
        ),
    ],
)
def test_a_template_that_cannot_be_filled_installs_nothing(
    run: RunFolder, comfy: Path, tmp_path: Path, template: dict[str, Any], said: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(template), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        maquette.deploy(run.path, comfyui=comfy, workflow=path)
    assert not list((comfy / "models/loras").iterdir())


def test_a_pose_without_its_network_or_its_picture_is_refused(
    run: RunFolder, comfy: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="Add --controlnet"):
        maquette.deploy(run.path, comfyui=comfy, pose=tmp_path / "a.png")
    with pytest.raises(ConfigError, match="a picture of a pose"):
        maquette.deploy(run.path, comfyui=comfy, pose=tmp_path / "a.png", controlnet="x.safetensors")
    assert not list((comfy / "models/loras").iterdir())
