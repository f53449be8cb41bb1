"""What a running ComfyUI says about an installed LoRA and its workflow.

Only questions are asked (`/object_info`, `/models/loras`); nothing is queued, so nothing is drawn or changed.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from maquette.deploying.nodes import Workflow, check_workflow
from maquette.errors import ConfigError, OutputError, Problem, did_you_mean


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
    address = _address(url)
    nodes = _get(f"{address}/object_info", timeout_s)
    loras = _get(f"{address}/models/loras", timeout_s)
    if not isinstance(nodes, dict) or "KSampler" not in nodes or not isinstance(loras, list):
        raise _no_answer(address, "answers, but not as ComfyUI does")
    problems = list(check_workflow(workflow, nodes))
    listed = True
    for node_id, name in _lora_names(workflow):
        if name not in loras:
            listed = False
            problems.append(_not_listed(node_id, name, loras))
    return Verified(url=address, lora_listed=listed, problems=_once(problems))


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


def _address(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            Problem(
                f"ComfyUI address '{url}'",
                "is no web address",
                "http://HOST:PORT",
                "Try http://127.0.0.1:8188",
            )
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _get(address: str, timeout_s: float) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise _no_answer(address, f"answers HTTP {error.code}") from error
    except ValueError as error:
        raise _no_answer(address, "answers something that is not JSON") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise _no_answer(address, f"cannot be reached ({reason})") from error


def _no_answer(address: str, given: str) -> OutputError:
    return OutputError(Problem(address, given, "a running ComfyUI", "Start it, or leave the address out."))
