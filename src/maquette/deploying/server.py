"""What a running ComfyUI says about an installed LoRA and its workflow.

Only questions are asked (`/object_info`, `/models/loras`); nothing is queued, so nothing is drawn or changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maquette.deploying.nodes import Workflow, check_workflow
from maquette.errors import OutputError, Problem, did_you_mean
from maquette.web import Address, Http, NoAnswer, Refusal

LONGEST_ANSWER_BYTES = 128 << 20


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A server's answer: whether it lists the LoRA, and what it would refuse in the workflow."""

    url: str
    lora_listed: bool
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether the workflow would run there as it is."""
        return self.lora_listed and not self.problems


def verify(url: str, workflow: Workflow, *, timeout_s: float = 10.0) -> Verified:
    """Check `workflow` against the nodes and files of the ComfyUI at `url`, without queueing anything.

    Raises ConfigError for an unusable address and OutputError when no ComfyUI answers there.
    """
    address = Address.parse(
        url, where="ComfyUI address", required="http://HOST:PORT", remedy="Try http://127.0.0.1:8188"
    )
    # A server with many custom nodes describes them in tens of megabytes.
    http = Http(address, timeout_s=timeout_s, longest_bytes=LONGEST_ANSWER_BYTES)
    nodes, loras = _get(http, "/object_info"), _get(http, "/models/loras")
    http.close()
    if not isinstance(nodes, dict) or "KSampler" not in nodes or not isinstance(loras, list):
        raise _no_answer(address.text, "answers, but not as ComfyUI does")
    problems = list(check_workflow(workflow, nodes))
    listed = True
    for node_id, name in _lora_names(workflow):
        if name not in loras:
            listed = False
            problems.append(_not_listed(node_id, name, loras))
    return Verified(url=address.text, lora_listed=listed, problems=_once(problems))


def _lora_names(workflow: Workflow) -> list[tuple[str, str]]:
    nodes = [(node_id, node) for node_id, node in workflow.items() if node.get("class_type") == "LoraLoader"]
    return [(node_id, str(node.get("inputs", {}).get("lora_name"))) for node_id, node in nodes]


def _not_listed(node_id: str, name: str, loras: list[Any]) -> Problem:
    return Problem(
        f"node {node_id} (LoraLoader) LoRA '{name}'",
        "is not listed by the server",
        "a file in a folder that this server reads",
        did_you_mean(name, [str(lora) for lora in loras])
        if loras
        else "Its LoRA folder is empty: is it this one?",
    )


def _once(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems))


def _get(http: Http, path: str) -> Any:
    try:
        return http.get(path)
    except Refusal as error:
        raise _no_answer(http.address.text + path, f"answers {error}") from error
    except NoAnswer as error:
        raise _no_answer(http.address.text + path, f"gives no usable answer ({error})") from error


def _no_answer(address: str, given: str) -> OutputError:
    return OutputError(Problem(address, given, "a running ComfyUI", "Start it, or leave the address out."))
