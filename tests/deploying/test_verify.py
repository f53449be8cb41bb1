"""Real HTTP servers on the loopback answer as ComfyUI and AUTOMATIC1111 do; nothing is believed but hashes and lists."""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from maquette.deploying import comfyui, webui
from maquette.deploying.nodes import NODES
from maquette.deploying.program import Installed
from maquette.deploying.recipe import Recipe
from maquette.deploying.verify import Verified, verify

from .conftest import write_lora


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
    """Answers from the server's table of bodies: JSON values, or bytes as they are."""

    def do_GET(self) -> None:
        body = self.server.bodies.get(self.path)  # type: ignore[attr-defined]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Server:
    """A server with its address and the bodies that it answers with."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.bodies({})
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def comfyui(self, loras: dict[str, str | None], checkpoints: list[str]) -> None:
        """Answer as a ComfyUI that has these LoRAs, each with the hash that its file carries."""
        metadata = {
            f"/view_metadata/loras?filename={quote(name, safe='')}": {"sshs_model_hash": digest}
            for name, digest in loras.items()
            if digest is not None
        }
        names = list(loras)
        self.bodies({"/object_info": object_info(names, checkpoints), "/models/loras": names, **metadata})

    def webui(self, loras: dict[str, str | None]) -> None:
        """Answer as an AUTOMATIC1111 with its API on."""
        told = [
            {"name": name, "alias": name, "path": f"/x/{name}", "metadata": {"sshs_model_hash": digest}}
            for name, digest in loras.items()
        ]
        self.bodies({"/sdapi/v1/loras": told, "/sdapi/v1/refresh-loras": {}})

    def bodies(self, bodies: dict[str, Any]) -> None:
        self._server.bodies = bodies  # type: ignore[attr-defined]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def rude_server(answer: bytes | None) -> Iterator[str]:
    """Listen and take a connection, then say `answer` and hang up; None says nothing and holds the line."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(4096)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for connection in held:
            connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def installed(lora: Path, comfy: Path, recipe: Recipe) -> Installed:
    return comfyui.install(lora, comfy, name="zkw", recipe=recipe)


@pytest.fixture
def in_webui(lora: Path, recipe: Recipe, tmp_path: Path) -> Installed:
    (tmp_path / "webui" / "models" / "Lora").mkdir(parents=True)
    return webui.install(lora, tmp_path / "webui", name="people/zkw", recipe=recipe)


def ask(url: str, *installed: Installed, timeout_s: float = 5.0) -> list[Verified]:
    return verify([url], installed, timeout_s=timeout_s)


def said(answers: list[Verified]) -> str:
    return "\n".join(str(problem) for answer in answers for problem in answer.problems)


def test_a_server_with_these_very_weights_agrees(server: Server, installed: Installed) -> None:
    server.comfyui({"zkv.safetensors": "0", "zkw.safetensors": installed.model_hash}, ["base.safetensors"])
    [answer] = ask(server.url.removeprefix("http://"), installed)
    assert answer.ok and answer.url == server.url and answer.problems == ()


def test_another_lora_of_that_name_is_found_out(
    server: Server, installed: Installed, comfy: Path, recipe: Recipe, tmp_path: Path
) -> None:
    other = comfyui.install(write_lora(tmp_path / "b.safetensors", seed=1), comfy, name="zkw", recipe=recipe)
    server.comfyui({"zkw.safetensors": other.model_hash}, ["base.safetensors"])
    answers = ask(server.url, installed)
    assert not answers[0].ok and "has other weights" in said(answers)


@pytest.mark.parametrize("digest", [None, ""])
def test_a_name_without_a_hash_proves_nothing(
    server: Server, installed: Installed, digest: str | None
) -> None:
    server.comfyui({"zkw.safetensors": digest}, ["base.safetensors"])
    answers = ask(server.url, installed)
    assert not answers[0].ok and "weights were not compared" in said(answers)


def test_a_file_that_carries_no_hash_is_not_compared(server: Server, installed: Installed) -> None:
    server.comfyui({"zkw.safetensors": "aa"}, ["base.safetensors"])
    answers = ask(server.url, replace(installed, model_hash=""))
    assert not answers[0].ok and "weights were not compared" in said(answers)


def test_a_lora_in_a_folder_that_the_server_does_not_read_is_found_out(
    server: Server, installed: Installed
) -> None:
    server.comfyui({"zkv.safetensors": "0"}, ["base.safetensors"])
    answers = ask(server.url, installed)
    assert not answers[0].ok
    assert "Did you mean 'zkv.safetensors'" in said(answers) and len(answers[0].problems) == 1


def test_a_base_that_the_server_lacks_is_found_out(server: Server, installed: Installed) -> None:
    server.comfyui({"zkw.safetensors": installed.model_hash}, ["sd15.safetensors"])
    answers = ask(server.url, installed)
    assert not answers[0].ok and "base.safetensors" in said(answers)


def test_a_web_ui_is_asked_for_the_hash_too(server: Server, in_webui: Installed) -> None:
    server.webui({"zkw": in_webui.model_hash})
    [answer] = ask(server.url, in_webui)
    assert answer.ok
    server.webui({"zkw": "0" * 64})
    assert "has other weights" in said(ask(server.url, in_webui))
    server.webui({"zkw": None})
    assert "weights were not compared" in said(ask(server.url, in_webui))
    server.webui({})
    assert "is not listed" in said(ask(server.url, in_webui))


def test_what_nobody_was_asked_about_is_not_in_order(
    server: Server, installed: Installed, in_webui: Installed
) -> None:
    server.comfyui({"zkw.safetensors": installed.model_hash}, ["base.safetensors"])
    first, second = ask(server.url, installed, in_webui)
    assert first.ok and not second.ok
    assert "AUTOMATIC1111 / Forge" in said([second]) and "no server of this program" in said([second])


def test_each_program_is_asked_at_its_own_address(
    server: Server, installed: Installed, in_webui: Installed
) -> None:
    other = Server()
    try:
        server.comfyui({"zkw.safetensors": installed.model_hash}, ["base.safetensors"])
        other.webui({"zkw": in_webui.model_hash})
        answers = verify([server.url, other.url], [installed, in_webui])
        assert [(answer.program, answer.ok) for answer in answers] == [
            ("ComfyUI", True),
            ("AUTOMATIC1111 / Forge", True),
        ]
    finally:
        other.stop()


def test_a_server_of_another_program_is_said(server: Server, installed: Installed) -> None:
    server.webui({"zkw": installed.model_hash})
    assert "nothing was installed for it" in said(ask(server.url, installed))


@pytest.mark.parametrize(
    ("bodies", "told"),
    [
        ({}, "HTTP 404"),
        ({"/object_info": b"<html>"}, "not JSON"),
        ({"/object_info": {"hello": 1}}, "neither as ComfyUI"),
        ({"/object_info": []}, "neither as ComfyUI"),
    ],
)
def test_what_is_none_of_them_is_said(
    server: Server, installed: Installed, bodies: dict[str, Any], told: str
) -> None:
    server.bodies(bodies)
    [answer] = ask(server.url, installed)
    assert not answer.ok and len(answer.problems) == 1 and told in said([answer])


def test_an_address_where_nothing_listens_is_said(server: Server, installed: Installed) -> None:
    server.stop()
    [answer] = ask(server.url, installed)
    assert len(answer.problems) == 1 and "no usable answer" in said([answer])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "no answer in time"),
        (b"", "no usable answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "no usable answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no usable answer"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "HTTP 401"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "redirects to /login"),
    ],
)
def test_hanging_up_and_hanging_on_are_one_line_each(
    installed: Installed, answer: bytes | None, told: str
) -> None:
    with rude_server(answer) as url:
        [found] = ask(url, installed, timeout_s=0.5)
    assert not found.ok and len(found.problems) == 1 and told in said([found])


@pytest.mark.parametrize(
    "address",
    [
        "ftp://somewhere",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://localhost:port",
        "http://[::1",
        "",
        "http://me:secret@host:1",
        "http://exa mple:1",
        "8188",
    ],
)
def test_an_address_that_is_none_is_one_line(installed: Installed, address: str) -> None:
    [found] = ask(address, installed, timeout_s=0.5)
    assert not found.ok and len(found.problems) == 1 and "secret" not in said([found])
