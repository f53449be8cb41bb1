"""Workflows as templates: named slots that are filled with what a LoRA is drawn with.

    {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "{{lora_name}}", "strength_model": "{{strength}}", …}}, …}

A value that is one slot and nothing else gets the slot's value with its type; within a longer text it is written out. Our own
workflows are such templates too: `as_template` opens the slots of one, `filled` closes them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maquette.deploying.nodes import NODES, Workflow, check_workflow
from maquette.drawing.scene import Scene, listed
from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.reading import FileKind, read_table
from maquette.words.prompts import escaped

_SLOT = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_FILE = FileKind("a workflow with slots, in ComfyUI's API format", "In ComfyUI: Workflow → Export (API).")
_PLACES: Mapping[str, Mapping[str, str]] = {
    "CheckpointLoaderSimple": {"ckpt_name": "checkpoint_name"},
    "LoraLoader": {"lora_name": "lora_name", "strength_model": "strength", "strength_clip": "strength"},
    "EmptyLatentImage": {"width": "width", "height": "height"},
    "KSampler": {
        "seed": "seed",
        "steps": "steps",
        "cfg": "cfg",
        "sampler_name": "sampler_name",
        "scheduler": "scheduler",
    },
    "LoadImage": {"image": "pose_image"},
    "ControlNetLoader": {"control_net_name": "controlnet_name"},
    "SaveImage": {"filename_prefix": "filename_prefix"},
}
"""Where a slot stands in our own workflows, by class of node and input."""
_TEXTS = {"positive": "prompt_text", "negative": "negative_prompt"}


def slots_of(scene: Scene, prefix: str, pose: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return every slot with its value; `pose` are those of a ControlNet (`pose_image`, `controlnet_name`)."""
    request, there = scene.request, scene.elsewhere
    assert scene.lora is not None and there is not None
    return {
        "lora_name": listed(scene.lora),
        "strength": scene.strength,
        "prompt_text": escaped(request.prompt),
        "negative_prompt": escaped(request.negative),
        "seed": request.seed,
        "checkpoint_name": listed(scene.base),
        "steps": request.steps,
        "cfg": request.guidance,
        "sampler_name": there.comfyui[0],
        "scheduler": there.comfyui[1],
        "width": request.width_px,
        "height": request.height_px,
        "clip_skip": scene.clip_skip,
        "filename_prefix": prefix,
        **(pose or {}),
    }


def as_template(workflow: Workflow) -> dict[str, Any]:
    """Return one of our own workflows with its slots open."""
    texts = _texts_of(workflow)
    return {
        node_id: {**node, "inputs": {**node["inputs"], **_opened(node_id, node, texts)}}
        for node_id, node in workflow.items()
    }


def _opened(node_id: str, node: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str]:
    names = _PLACES.get(node["class_type"], {})
    if node_id in texts:
        names = {"text": texts[node_id]}
    return {name: f"{{{{{slot}}}}}" for name, slot in names.items() if name in node["inputs"]}


def _texts_of(workflow: Workflow) -> dict[str, str]:
    """Return which slot each text is, told by the input of the sampler or the ControlNet that it goes to."""
    return {
        node["inputs"][name][0]: slot
        for node in workflow.values()
        for name, slot in _TEXTS.items()
        if isinstance(node["inputs"].get(name), list)
        and workflow[node["inputs"][name][0]]["class_type"] == "CLIPTextEncode"
    }


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Return the template with every slot filled; those that `values` do not name stay as they are."""
    if isinstance(template, dict):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = _SLOT.fullmatch(template)
    if whole and whole[1] in values:
        return values[whole[1]]
    return _SLOT.sub(lambda found: str(values.get(found[1], found[0])), template)


def filled_from(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workflow that a person's template at `path` gives.

    Raises ConfigError for what is no workflow in API format, for slots that do not exist, for one without the LoRA's, and, where
    all its nodes are known here, for whatever ComfyUI would refuse.
    """
    template = read_table(path, _FILE)
    if problems := list(_problems(path, template, values)):
        raise ConfigError(problems)
    workflow: dict[str, Any] = filled(template, values)
    if all(node["class_type"] in NODES for node in workflow.values()):
        found = check_workflow(workflow)
        if found:
            raise ConfigError(
                [Problem(f"{path}: {each.where}", each.given, each.required, each.remedy) for each in found]
            )
    return workflow


def _problems(path: Path, template: Any, values: Mapping[str, Any]) -> Iterator[Problem]:
    nodes = template.values()
    if "nodes" in template or not all(isinstance(node, dict) and "class_type" in node for node in nodes):
        given = "is in the editor's format" if "nodes" in template else "is no workflow"
        yield Problem(str(path), given, _FILE.required, _FILE.remedy)
        return
    found = list(dict.fromkeys(_found(template)))
    for slot in found:
        if slot not in values:
            given = "cannot be filled here" if slot in _POSE else "does not exist"
            remedy = "Give --controlnet and --pose." if slot in _POSE else did_you_mean(slot, values)
            yield Problem(f"{path}: slot {{{{{slot}}}}}", given, "one of the known slots", remedy)
    if "lora_name" not in found:
        yield Problem(
            str(path),
            "has no slot {{lora_name}}",
            "the LoRA in some node",
            "Write it where the LoRA's file is named.",
        )


_POSE = ("pose_image", "controlnet_name")


def _found(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _found(each)
    elif isinstance(value, str):
        yield from (found[1] for found in _SLOT.finditer(value))
