"""One workflow drawn by a running ComfyUI: queued, followed, its picture fetched; what goes wrong there is said in words.

    GET  /ws?clientId=…       opened before anything is queued: what is told before it is open is lost
    POST /prompt              {"prompt": workflow, "client_id": …} → {"prompt_id"}, or 400 with what is wrong at which node
    GET  /history/ID          what became of it; asked whenever the line falls silent or breaks
    GET  /view?filename=…     the picture

Source: ComfyUI 0.8.0, read (server.py, execution.py), and drawn with.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from maquette.deploying.nodes import Workflow
from maquette.deploying.servers import asked, no_answer
from maquette.errors import MaquetteError, OutputError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.reading import Unreadable, parse_json
from maquette.web import LOOPBACK, Http, NoAnswer, Refusal

SILENCE_S = 3.0
"""So long nothing need be told before it is asked what became of the drawing."""
LONGEST_SILENCE_S = 1800.0
"""So long nothing may be told at all: loading a large model from a slow disk says nothing."""
_MOST_LETTERS = 300
_STAGE = "drawing in ComfyUI"


class NotDrawn(OutputError):
    """The server would not draw a workflow, or failed while it drew: a failed judgement, not unusable input."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class DrawnThere:
    """A picture that the server drew."""

    png: bytes
    """As the server wrote it, its own text chunks included."""
    name: str


def draw_there(http: Http, workflow: Workflow) -> Stage[DrawnThere]:
    """Queue `workflow`, follow it to its end and return its first picture. Raises NotDrawn, or OutputError for no answer."""
    client = uuid.uuid4().hex
    with _line(http, client) as line:
        if line is None:
            yield Message(
                "The server lets nobody follow what it does; its history is asked instead.", "warning"
            )
        prompt = _queued(http, workflow, client)
        yield Started(_STAGE)
        images = yield from _followed(http, line, prompt, workflow)
    yield Finished(_STAGE)
    images = images or _images_in(_history(http, prompt) or {})
    if not images:
        given = "ended without a picture"
        raise NotDrawn(
            Problem("the workflow", given, "an output of type SaveImage", "Look into the server's log.")
        )
    return _fetched(http, images[0])


# --- queueing --------------------------------------------------------------------------------------------


@contextmanager
def _line(http: Http, client: str) -> Iterator[Any]:
    """Hold the websocket open; None where the server offers none."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    scheme, _, rest = http.address.text.partition("://")
    url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws?{urlencode({'clientId': client})}"
    proxy: Literal[True] | None = None if http.address.host in LOOPBACK else True
    try:
        line = connect(url, proxy=proxy, open_timeout=10, close_timeout=1, ping_timeout=None, max_size=None)
    except (OSError, WebSocketException):
        yield None
        return
    with line:
        yield line


def _queued(http: Http, workflow: Workflow, client: str) -> str:
    """Return the number under which the server draws `workflow`."""
    where = f"{http.address.text}/prompt"
    try:
        answer = http.post("/prompt", {"prompt": workflow, "client_id": client})
    except Refusal as error:
        raise NotDrawn(_refused(where, error, workflow)) from error
    except NoAnswer as error:
        raise no_answer(where, f"gives no usable answer ({error})") from error
    told = answer if isinstance(answer, dict) else {}
    if problems := list(_node_problems(told.get("node_errors"), workflow)):
        raise NotDrawn(problems)
    prompt = told.get("prompt_id")
    if not isinstance(prompt, str) or not prompt:
        raise no_answer(where, "answers, but not as ComfyUI does")
    return prompt


def _refused(where: str, error: Refusal, workflow: Workflow) -> list[Problem]:
    answer = error.answer if isinstance(error.answer, dict) else {}
    if problems := list(_node_problems(answer.get("node_errors"), workflow)):
        return problems
    return [Problem(where, f"refuses the workflow ({error})", "a workflow that it draws", _LOG)]


_LOG = "Look into the server's log."
_REMEDIES = {
    "ckpt_name": "Put the base model where the server reads it, or give its name there with --base-name.",
    "lora_name": "Install into a folder that this server reads.",
    "control_net_name": "Put the ControlNet where the server reads it, or give its name there with --controlnet.",
    "image": "Put the picture into the server's input folder.",
}


def _node_problems(errors: Any, workflow: Workflow) -> Iterator[Problem]:
    """Yield what the server says is wrong at which node, each in one line."""
    for node, told in errors.items() if isinstance(errors, dict) else ():
        for each in told.get("errors", ()) if isinstance(told, dict) else ():
            if isinstance(each, dict):
                more = each.get("extra_info") if isinstance(each.get("extra_info"), dict) else {}
                name = str((more or {}).get("input_name", ""))
                said = ": ".join(filter(None, (_text(each.get("message")), _text(each.get("details")))))
                where = f"{_node(node, workflow)}{f' input {name!r}' if name else ''}"
                yield Problem(where, said, "what the server takes", _REMEDIES.get(name, _LOG))


def _node(node: Any, workflow: Workflow) -> str:
    """Return a node as people find it: its number, its class and its title."""
    known = workflow.get(str(node), {})
    title = known.get("_meta", {}).get("title", "")
    told = ", ".join(filter(None, (str(known.get("class_type", "")), title)))
    return f"node {node} ({told})" if told else f"node {node}"


def _text(value: Any) -> str:
    text = " ".join(str(value or "").split())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


# --- following -------------------------------------------------------------------------------------------


def _followed(http: Http, line: Any, prompt: str, workflow: Workflow) -> Stage[list[dict[str, Any]]]:
    """Tell how the drawing goes until it has ended; return the pictures that were told of on the way."""
    images: list[dict[str, Any]] = []
    silent_since = time.monotonic()
    while True:
        message = None
        if line is not None:
            message, line = _next(line)
        else:
            time.sleep(min(1.0, SILENCE_S))
        if message is not None:
            silent_since = time.monotonic()
            kind, data = message
            if data.get("prompt_id", prompt) == prompt:
                _raise_failure(kind, data, workflow)
                images += _images_of(data.get("output")) if kind == "executed" else []
                yield from _progress(kind, data)
                if kind == "execution_success" or (kind == "executing" and data.get("node") is None):
                    return images
        elif (known := _history(http, prompt)) is not None:
            for kind, data in _messages(known):
                _raise_failure(kind, data, workflow)
            return images
        elif time.monotonic() - silent_since > LONGEST_SILENCE_S:
            given = f"has told nothing of the drawing for {LONGEST_SILENCE_S / 60:.0f} minutes"
            raise no_answer(http.address.text, given)


def _next(line: Any) -> tuple[tuple[str, dict[str, Any]] | None, Any]:
    """Return the next message, None after a silence, and the line; None where it broke."""
    from websockets.exceptions import ConnectionClosed

    until = time.monotonic() + SILENCE_S
    while True:
        try:
            data = line.recv(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            return None, line
        except (ConnectionClosed, OSError):
            return None, None
        if isinstance(data, str) and (message := _message(data)) is not None:
            return message, line


def _message(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return (kind, data) of a message of the drawing; None for what says nothing of it. Pictures on the way are binary."""
    try:
        value = parse_json(text)
    except Unreadable:
        return None
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict) or value.get("type") in ("status", "feature_flags"):
        return None
    return str(value.get("type")), data


def _progress(kind: str, data: Mapping[str, Any]) -> Iterator[Progress]:
    done, total = data.get("value"), data.get("max")
    if kind == "progress" and type(done) is int and type(total) is int and 0 <= done <= total:
        yield Progress(_STAGE, done, total)


def _raise_failure(kind: str, data: Mapping[str, Any], workflow: Workflow) -> None:
    if kind not in ("execution_error", "execution_interrupted"):
        return
    where = _node(data.get("node_id"), workflow)
    if kind == "execution_interrupted":
        raise NotDrawn(
            Problem(where, "somebody interrupted the drawing", "a drawing that ends", "Deploy again.")
        )
    said = ": ".join(filter(None, (_text(data.get("exception_type")), _text(data.get("exception_message")))))
    raise NotDrawn(Problem(where, said or "failed", "a drawing that ends", _LOG))


def _history(http: Http, prompt: str) -> dict[str, Any] | None:
    """Return what the server remembers of a drawing that has ended; None while it goes on."""
    try:
        answer = asked(http, f"/history/{prompt}", may_lack=True)
    except MaquetteError:
        return None  # one silence more: the longest one ends it
    entry = answer.get(prompt) if isinstance(answer, dict) else None
    return entry if isinstance(entry, dict) else None


def _messages(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    status = entry.get("status")
    for each in status.get("messages", ()) if isinstance(status, dict) else ():
        if isinstance(each, list) and len(each) == 2 and isinstance(each[1], dict):
            yield str(each[0]), each[1]


# --- pictures --------------------------------------------------------------------------------------------


def _images_in(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    outputs = entry.get("outputs")
    values = outputs.values() if isinstance(outputs, dict) else ()
    return [image for output in values for image in _images_of(output)]


def _images_of(output: Any) -> list[dict[str, Any]]:
    """Return the saved pictures of a node's output; previews are temporary and do not count."""
    images = output.get("images") if isinstance(output, dict) else None
    return [
        each
        for each in (images if isinstance(images, list) else ())
        if isinstance(each, dict) and isinstance(each.get("filename"), str) and each.get("type") != "temp"
    ]


def _fetched(http: Http, image: Mapping[str, Any]) -> DrawnThere:
    name = str(image["filename"])
    told = {"filename": name, "subfolder": image.get("subfolder", ""), "type": image.get("type", "output")}
    path = f"/view?{urlencode(told)}"
    try:
        return DrawnThere(png=http.get_bytes(path), name=name)
    except (Refusal, NoAnswer) as error:
        raise no_answer(http.address.text + path, f"does not give the picture ({error})") from error
