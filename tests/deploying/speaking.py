"""A server on the loopback that speaks ComfyUI's protocol: HTTP and websocket on one port, and a picture in the end.

What it does was read off ComfyUI 0.8.0 (server.py, execution.py) and watched there; `comfyui_nodes.json` is that program's own
answer to /object_info. It refuses what the node check refuses, in ComfyUI's form.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

REAL_NODES: dict[str, Any] = json.loads(
    Path(__file__).with_name("comfyui_nodes.json").read_text(encoding="utf-8")
)["nodes"]
PROMPT_ID = "8d7f0a52-0f5e-4a0a-b9b1-1c57f7f0a001"


@dataclass
class Behaviour:
    """What the server has, and what it does wrong."""

    loras: dict[str, str] = field(default_factory=dict)
    """Name → the hash that its file carries."""
    checkpoints: list[str] = field(default_factory=list)
    picture: bytes = b""
    fails_at: str = ""
    """Class of the node at which the drawing fails."""
    hangs_up: bool = False
    """Whether the websocket breaks while it draws."""
    has_websocket: bool = True
    lacks: tuple[str, ...] = ()
    """Pages that it does not have."""
    skips: tuple[str, ...] = ()
    """Tensors that its log says it skipped."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        comfy: ComfyUI = self.server.comfy
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        comfy.asked.append(path)
        if path == "/ws" and comfy.does.has_websocket:
            self._upgrade(query["clientId"][0])
        elif path == "/view":
            comfy.viewed.append(query)
            self._answer(200, comfy.does.picture, "image/png")
        else:
            found = None if path in comfy.does.lacks else comfy.page(path, query)
            self._answer(404 if found is None else 200, json.dumps(found).encode())

    def do_POST(self) -> None:
        comfy: ComfyUI = self.server.comfy
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        comfy.asked.append(self.path)
        status, answer = comfy.queue(body)
        self._answer(status, json.dumps(answer).encode())
        if status == 200:
            comfy.posted.set()

    def _answer(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _upgrade(self, client: str) -> None:
        comfy: ComfyUI = self.server.comfy
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        comfy.clients.add(client)
        self._send(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}}
        )
        if comfy.posted.wait(5):
            for message in comfy.story():
                self._send(message)

    def _send(self, message: dict[str, Any] | bytes) -> None:
        """Send a frame of text, or of bytes, as a server does: unmasked, in one piece."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        mark = 0x82 if isinstance(message, bytes) else 0x81
        length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        self.wfile.write(bytes([mark]) + length + data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class ComfyUI:
    """The running server."""

    def __init__(self, does: Behaviour) -> None:
        self.does = does
        self.asked: list[str] = []
        """Paths in the order in which they were asked for."""
        self.viewed: list[dict[str, list[str]]] = []
        self.clients: set[str] = set()
        self.posted = threading.Event()
        self.workflow: dict[str, Any] = {}
        self.heard_by_client = False
        """Whether whoever queued the drawing held a websocket by then."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.comfy = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def nodes(self) -> dict[str, Any]:
        nodes = copy.deepcopy(REAL_NODES)
        nodes["LoraLoader"]["input"]["required"]["lora_name"][0] = list(self.does.loras)
        nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = self.does.checkpoints
        return nodes

    def page(self, path: str, query: dict[str, list[str]]) -> Any:
        metadata = {name: {"sshs_model_hash": digest} for name, digest in self.does.loras.items()}
        log = [f"lora key not loaded: {key}\n" for key in self.does.skips] if self.posted.is_set() else []
        pages = {
            "/system_stats": {"system": {"comfyui_version": "0.8.0"}, "devices": []},
            "/models/loras": list(self.does.loras),
            "/object_info": self.nodes(),
            "/view_metadata/loras": metadata.get(query.get("filename", [""])[0]),
            "/internal/logs/raw": {"entries": [{"t": "now", "m": line} for line in ["got prompt\n", *log]]},
            f"/history/{PROMPT_ID}": self.history() if self.posted.is_set() else {},
        }
        return pages.get(path)

    def queue(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        from maquette.deploying.nodes import check_workflow

        self.workflow = body["prompt"]
        self.heard_by_client = body.get("client_id") in self.clients
        if problems := check_workflow(self.workflow, self.nodes()):
            return 400, {
                "error": {
                    "type": "prompt_outputs_failed_validation",
                    "message": "Prompt outputs failed validation",
                },
                "node_errors": {
                    problem.where.split()[1]: {
                        "errors": [
                            {
                                "type": "value_not_in_list",
                                "message": "Value not in list",
                                "details": f"{problem.where.split(chr(39))[1]}: {problem.given}",
                                "extra_info": {"input_name": problem.where.split("'")[1]},
                            }
                        ],
                        "dependent_outputs": ["9"],
                        "class_type": self.workflow[problem.where.split()[1]]["class_type"],
                    }
                    for problem in problems
                },
            }
        return 200, {"prompt_id": PROMPT_ID, "number": 0, "node_errors": {}}

    def story(self) -> list[Any]:
        """Return what is told over the websocket while it draws."""
        told: list[Any] = [
            {"type": "execution_start", "data": {"prompt_id": PROMPT_ID}},
            b"\x00\x00\x00\x01preview",
        ]
        for node, each in self.workflow.items():
            told.append({"type": "executing", "data": {"node": node, "prompt_id": PROMPT_ID}})
            if each["class_type"] == self.does.fails_at:
                return [*told, {"type": "execution_error", "data": self._error(node, each["class_type"])}]
            if each["class_type"] == "KSampler":
                if self.does.hangs_up:
                    return told
                told += [
                    {
                        "type": "progress",
                        "data": {"value": step, "max": 2, "node": node, "prompt_id": PROMPT_ID},
                    }
                    for step in (1, 2)
                ]
        return [*told, {"type": "executing", "data": {"node": None, "prompt_id": PROMPT_ID}}]

    def _error(self, node: str, class_type: str) -> dict[str, Any]:
        return {
            "prompt_id": PROMPT_ID,
            "node_id": node,
            "node_type": class_type,
            "exception_type": "RuntimeError",
            "exception_message": "mat1 and mat2 shapes cannot be multiplied",
            "traceback": ["…"],
        }

    def history(self) -> dict[str, Any]:
        save = next(node for node, each in self.workflow.items() if each["class_type"] == "SaveImage")
        image = {"filename": f"{quote('zkw')}_00001_.png", "subfolder": "", "type": "output"}
        return {
            PROMPT_ID: {"outputs": {save: {"images": [image]}}, "status": {"completed": True, "messages": []}}
        }
