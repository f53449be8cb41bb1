"""A real HTTP server on the loopback answers as ComfyUI does; the check believes only its lists."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from maquette.deploying.nodes import NODES
from maquette.deploying.server import verify
from maquette.deploying.workflow import Recipe, build_workflow
from maquette.errors import ConfigError, OutputError


def object_info(loras: list[str], checkpoints: list[str]) -> dict[str, Any]:
    """Return a body as ComfyUI 0.3 sends it: choices as lists in one node, as COMBO options in another."""
    nodes = copy.deepcopy(dict(NODES))
    for name, node in nodes.items():
        required = node["input"]["required"]
        node.update(
            name=name,
            display_name=name,
            category="x",
            python_module="nodes",
            input_order={"required": list(required)},
        )
    nodes["LoraLoader"]["input"]["required"]["lora_name"] = [loras, {"tooltip": "The name of the LoRA."}]
    nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = ["COMBO", {"options": checkpoints}]
    return nodes


class Answers(BaseHTTPRequestHandler):
    """Answers GET requests from the server's table of bodies."""

    def do_GET(self) -> None:
        body = self.server.bodies.get(self.path)  # type: ignore[attr-defined]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server:
    """A server with its address and the bodies that it answers with."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def lists(self, loras: list[str], checkpoints: list[str]) -> None:
        self.bodies({"/object_info": object_info(loras, checkpoints), "/models/loras": loras})

    def bodies(self, bodies: dict[str, Any]) -> None:
        self._server.bodies = bodies  # type: ignore[attr-defined]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def workflow(recipe: Recipe) -> dict[str, Any]:
    return build_workflow(recipe, "zkw.safetensors", prefix="zkw")


def test_a_server_that_lists_everything_agrees(server: Server, workflow: dict[str, Any]) -> None:
    server.lists(["other.safetensors", "zkw.safetensors"], ["base.safetensors"])
    verified = verify(server.url.removeprefix("http://"), workflow)
    assert verified.ok and verified.lora_listed and verified.url == server.url


def test_a_lora_in_a_folder_that_the_server_does_not_read_is_found_out(
    server: Server, workflow: dict[str, Any]
) -> None:
    server.lists(["zkv.safetensors"], ["base.safetensors"])
    verified = verify(server.url, workflow)
    assert not verified.ok and not verified.lora_listed
    assert "Did you mean 'zkv.safetensors'" in "\n".join(map(str, verified.problems))


def test_a_base_that_the_server_lacks_is_found_out(server: Server, workflow: dict[str, Any]) -> None:
    server.lists(["zkw.safetensors"], ["sd15.safetensors"])
    verified = verify(server.url, workflow)
    assert verified.lora_listed and not verified.ok
    assert "base.safetensors" in str(verified.problems[0])


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ({}, "HTTP 404"),
        ({"/object_info": b"<html>", "/models/loras": []}, "not JSON"),
        ({"/object_info": {"hello": 1}, "/models/loras": []}, "not as ComfyUI does"),
    ],
)
def test_what_is_no_comfyui_is_said(
    server: Server, workflow: dict[str, Any], bodies: dict[str, Any], said: str
) -> None:
    server.bodies(bodies)
    with pytest.raises(OutputError, match=said):
        verify(server.url, workflow)


def test_an_address_where_nothing_listens_is_said(server: Server, workflow: dict[str, Any]) -> None:
    server.stop()
    with pytest.raises(OutputError, match="no usable answer"):
        verify(server.url, workflow, timeout_s=2)


def test_an_address_that_is_none_is_said(workflow: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no web address"):
        verify("ftp://somewhere", workflow)
