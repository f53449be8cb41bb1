"""ComfyUI's nodes as this program uses them, and a check of workflows against such a table.

The table has the shape of a server's `/object_info` answer (`input.required`, `output`, `output_node`), so
the same check runs against the built-in table and against a live server. ComfyUI answers "success" to much
that does nothing; the check finds what it would refuse, and dangling parts that it would ignore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from maquette.errors import Problem, did_you_mean

Workflow = Mapping[str, Mapping[str, Any]]
NodeTable = Mapping[str, Mapping[str, Any]]

SAMPLERS = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "ddpm",
    "lcm",
    "deis",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
)
SCHEDULERS = ("normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta")
MAX_SEED = 2**64 - 1
MAX_SIZE_PX = 16384

_ANY_FILE: tuple[Any, ...] = ("COMBO", {"options": None})  # names that only a server knows


def _size(default: int) -> tuple[str, dict[str, int]]:
    return ("INT", {"default": default, "min": 16, "max": MAX_SIZE_PX, "step": 8})


def _node(
    required: dict[str, Any],
    output: tuple[str, ...],
    *,
    output_node: bool = False,
    names: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    return {
        "input": {"required": required},
        "output": list(output),
        "output_name": list(names or output),
        "output_node": output_node,
    }


NODES: NodeTable = {
    "CheckpointLoaderSimple": _node({"ckpt_name": _ANY_FILE}, ("MODEL", "CLIP", "VAE")),
    "LoraLoader": _node(
        {
            "model": ("MODEL",),
            "clip": ("CLIP",),
            "lora_name": _ANY_FILE,
            "strength_model": ("FLOAT", {"min": -100.0, "max": 100.0}),
            "strength_clip": ("FLOAT", {"min": -100.0, "max": 100.0}),
        },
        ("MODEL", "CLIP"),
    ),
    "ModelSamplingDiscrete": _node(
        {
            "model": ("MODEL",),
            "sampling": (["eps", "v_prediction", "lcm", "x0"],),
            "zsnr": ("BOOLEAN", {"default": False}),
        },
        ("MODEL",),
    ),
    "CLIPSetLastLayer": _node(
        {"clip": ("CLIP",), "stop_at_clip_layer": ("INT", {"min": -24, "max": -1})}, ("CLIP",)
    ),
    "CLIPTextEncode": _node({"text": ("STRING", {"multiline": True}), "clip": ("CLIP",)}, ("CONDITIONING",)),
    "EmptyLatentImage": _node(
        {"width": _size(512), "height": _size(512), "batch_size": ("INT", {"min": 1, "max": 4096})},
        ("LATENT",),
    ),
    "KSampler": _node(
        {
            "model": ("MODEL",),
            "seed": ("INT", {"min": 0, "max": MAX_SEED}),
            "steps": ("INT", {"min": 1, "max": 10000}),
            "cfg": ("FLOAT", {"min": 0.0, "max": 100.0}),
            "sampler_name": (list(SAMPLERS),),
            "scheduler": (list(SCHEDULERS),),
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "latent_image": ("LATENT",),
            "denoise": ("FLOAT", {"min": 0.0, "max": 1.0}),
        },
        ("LATENT",),
    ),
    "VAEDecode": _node({"samples": ("LATENT",), "vae": ("VAE",)}, ("IMAGE",)),
    "LoadImage": _node({"image": _ANY_FILE}, ("IMAGE", "MASK")),
    "ControlNetLoader": _node({"control_net_name": _ANY_FILE}, ("CONTROL_NET",)),
    "ControlNetApplyAdvanced": _node(
        {
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "control_net": ("CONTROL_NET",),
            "image": ("IMAGE",),
            "strength": ("FLOAT", {"min": 0.0, "max": 10.0}),
            "start_percent": ("FLOAT", {"min": 0.0, "max": 1.0}),
            "end_percent": ("FLOAT", {"min": 0.0, "max": 1.0}),
        },
        ("CONDITIONING", "CONDITIONING"),
        names=("positive", "negative"),
    ),
    "SaveImage": _node({"images": ("IMAGE",), "filename_prefix": ("STRING", {})}, (), output_node=True),
}


def check_workflow(workflow: Workflow, nodes: NodeTable = NODES) -> tuple[Problem, ...]:
    """Return everything that ComfyUI would refuse or quietly ignore in an API-format workflow; empty when
    sound.
    """
    if not isinstance(workflow, Mapping) or "nodes" in workflow:
        return (
            Problem(
                "the workflow",
                "is not in the API format",
                'an object {"id": {"class_type", "inputs"}}',
                "In ComfyUI use Workflow → Export (API).",
            ),
        )
    problems = [problem for node_id in workflow for problem in _check_node(node_id, workflow, nodes)]
    if problems:
        return tuple(problems)
    return (*_check_cycles(workflow), *_check_reach(workflow, nodes))


def _check_node(node_id: str, workflow: Workflow, nodes: NodeTable) -> Iterator[Problem]:
    node = workflow[node_id]
    if (
        not isinstance(node_id, str)
        or not isinstance(node, Mapping)
        or not isinstance(node.get("inputs"), Mapping)
    ):
        yield Problem(
            f"node {node_id!r}",
            "is malformed",
            "a text id with 'class_type' and 'inputs'",
            "Repair the workflow.",
        )
        return
    class_type = str(node.get("class_type"))
    if class_type not in nodes:
        yield Problem(
            f"node {node_id}",
            f"class_type {class_type!r} is unknown",
            "an installed node",
            did_you_mean(class_type, nodes),
        )
        return
    required = nodes[class_type].get("input", {}).get("required", {})
    optional = nodes[class_type].get("input", {}).get("optional", {})
    where = f"node {node_id} ({class_type})"
    for name, declared in required.items():
        if name not in node["inputs"]:
            yield Problem(
                where, f"input '{name}' is missing", f"a {kind_of(declared)}", "Connect or fill it."
            )
    for name, value in node["inputs"].items():
        declared = required.get(name) or optional.get(name)
        if declared is None:
            yield Problem(
                where,
                f"input '{name}' does not exist",
                f"one of {', '.join(required)}",
                did_you_mean(name, [*required, *optional]),
            )
        else:
            yield from _check_input(f"{where} input '{name}'", value, declared, workflow, nodes)


def kind_of(declared: Any) -> str:
    """Return the type name of a declared input: MODEL, INT, COMBO…"""
    return "COMBO" if isinstance(declared[0], list | tuple) else str(declared[0])


def _choices(declared: Any) -> list[Any] | None:
    """Return the allowed values of a choice, in either of the forms servers use, or None when it is open."""
    if isinstance(declared[0], list | tuple):
        return list(declared[0])
    if declared[0] == "COMBO" and len(declared) > 1:
        options = declared[1].get("options")
        return None if options is None else list(options)
    return None


def _check_input(
    where: str, value: Any, declared: Any, workflow: Workflow, nodes: NodeTable
) -> Iterator[Problem]:
    kind = kind_of(declared)
    if isinstance(value, list | tuple):
        yield from _check_link(where, value, kind, workflow, nodes)
    elif kind in _WIDGETS:
        yield from _check_value(where, value, kind, declared)
    else:
        yield Problem(
            where, f"is the value {value!r}", f"a link to a {kind}", 'Write ["node id", output index].'
        )


def _check_link(
    where: str, link: list[Any] | tuple[Any, ...], kind: str, workflow: Workflow, nodes: NodeTable
) -> Iterator[Problem]:
    if len(link) != 2 or not isinstance(link[0], str) or type(link[1]) is not int:
        yield Problem(where, f"link {link!r} is malformed", '["node id", output index]', "Repair the link.")
        return
    source = workflow.get(link[0])
    if source is None:
        yield Problem(
            where, f"links to node {link[0]}", "a node of this workflow", "Link to an existing node."
        )
        return
    outputs = nodes.get(str(source.get("class_type")), {}).get("output")
    if outputs is None:
        return  # the source's unknown class is reported with the source
    if not 0 <= link[1] < len(outputs):
        yield Problem(
            where,
            f"links to output {link[1]} of node {link[0]}",
            f"an output below {len(outputs)}",
            "Choose an existing output.",
        )
    elif outputs[link[1]] != kind:
        yield Problem(
            where,
            f"receives a {outputs[link[1]]} from node {link[0]}",
            f"a {kind}",
            "Link the matching output.",
        )


_WIDGETS: Mapping[str, tuple[type, ...]] = {
    "INT": (int,),
    "FLOAT": (int, float),
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "COMBO": (str, int, float, bool),
}


def _check_value(where: str, value: Any, kind: str, declared: Any) -> Iterator[Problem]:
    if not isinstance(value, _WIDGETS[kind]) or (
        isinstance(value, bool) and kind in ("INT", "FLOAT", "STRING")
    ):
        yield Problem(where, f"is {value!r}", f"a {kind}", "Give a value of that type.")
        return
    choices = _choices(declared)
    if choices is not None and value not in choices:
        yield Problem(
            where,
            f"{value!r} is not in the list",
            "one of the listed names",
            did_you_mean(str(value), [str(choice) for choice in choices]),
        )
    limits = declared[1] if len(declared) > 1 and isinstance(declared[1], Mapping) else {}
    if kind in ("INT", "FLOAT"):
        low, high = limits.get("min", value), limits.get("max", value)
        if not low <= value <= high:
            yield Problem(where, f"is {value}", f"between {low} and {high}", "Choose a value in that range.")


def _links(node: Mapping[str, Any]) -> Iterator[str]:
    for value in node["inputs"].values():
        if isinstance(value, list | tuple):
            yield value[0]


def _check_cycles(workflow: Workflow) -> Iterator[Problem]:
    waiting = {node_id: set(_links(node)) for node_id, node in workflow.items()}
    while ready := [node_id for node_id, sources in waiting.items() if not sources & waiting.keys()]:
        for node_id in ready:
            del waiting[node_id]
    if waiting:
        yield Problem(
            f"nodes {', '.join(sorted(waiting))}",
            "feed each other in a circle",
            "a workflow without circles",
            "Remove one of the links.",
        )


def _check_reach(workflow: Workflow, nodes: NodeTable) -> Iterator[Problem]:
    """Report a workflow that saves nothing, and nodes that reach no output: a server ignores them without a
    word.
    """
    front = [node_id for node_id, node in workflow.items() if nodes[node["class_type"]].get("output_node")]
    if not front:
        yield Problem("the workflow", "saves no picture", "an output node such as SaveImage", "Add one.")
        return
    reached = set(front)
    while front:
        for source in _links(workflow[front.pop()]):
            if source not in reached:
                reached.add(source)
                front.append(source)
    for node_id in workflow.keys() - reached:
        yield Problem(
            f"node {node_id} ({workflow[node_id]['class_type']})",
            "reaches no output and would be ignored",
            "a link towards an output node",
            "Connect or remove it.",
        )
