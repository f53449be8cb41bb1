"""A subject, a folder of its pictures, and a real server on loopback that behaves and misbehaves as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maquette.captioning.options import CaptionOptions, ReplaceOptions, SourceOptions
from maquette.captioning.records import CaptionResult, Target
from maquette.captioning.replace import ReplaceResult, replace_events
from maquette.captioning.run import caption_events
from maquette.dataset.config import SubsetSource
from maquette.events import run_stage
from maquette.project.profile import Detail, Profile
from maquette.project.profile_file import profile_toml

SPYKE = Profile(
    kind="character",
    trigger="spyke_plasma_v1",
    class_word="1boy",
    appearance=(
        *("ginger hair", "red bandana", "green eyes", "white sleeveless cloak", "black combat pants"),
        "sword",
    ),
    details=(
        Detail(name="red fingerless glove", side="right", part="arm", views=("front", "three quarter")),
        Detail(name="red metallic bracer", side="left", part="arm", views=("front", "three quarter")),
        Detail(name="metal pauldron", side="right", part="knee", views=("front", "three quarter", "side")),
    ),
)
"""The field notes' character: https://github.com/don1989/plasma, captions of its third and last run."""
PUNK = Profile(kind="style", trigger="bespoke punk", style=("pixel art", "24x24"))


def make_folder(root: Path, captions: dict[str, str | None], profile: Profile | None = SPYKE) -> Path:
    """Write a picture for each name, its caption where there is one, and the profile."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for name, caption in captions.items():
        picture = root / name
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 40, 3), np.uint8)).save(picture)
        if caption is not None:
            picture.with_suffix(".txt").write_text(caption, encoding="utf-8")
    if profile is not None:
        (root / "profile.toml").write_text(profile_toml(profile), encoding="utf-8")
    return root


def target_for(name: str, existing: str = "") -> Target:
    """Return a target that no file stands behind."""
    path = Path("pictures") / name
    subset = SubsetSource(path=path.parent)
    return Target(
        picture=path, name=path.name, caption=path.with_suffix(".txt"), existing=existing, subset=subset
    )


def asked(options: SourceOptions | None = None, **given: Any) -> CaptionOptions:
    """Return the options of captioning by `character`, with what sources are told beside."""
    return CaptionOptions(**{"strategy": "character", **(options.given() if options else {}), **given})


def caption(
    directory: Path, options: SourceOptions | None = None, confirm: Any = None, **given: Any
) -> CaptionResult:
    """Run the stage to its end."""
    return run_stage(caption_events(directory, asked(options, **given), confirm=confirm))


def replaced(directory: Path, **given: Any) -> ReplaceResult:
    """Run finding and replacing to its end."""
    return run_stage(replace_events(directory, ReplaceOptions(**given)))


def files_below(root: Path) -> dict[str, bytes]:
    """Return every file's bytes, the captions' history left out."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".maquette" not in path.parts
    }


def says(text: str, **choice: Any) -> tuple[int, dict[str, str], bytes]:
    """Return a server's proper answer."""
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}]
    }
    return 200, {}, json.dumps(body).encode()


Reply = tuple[int, dict[str, str], bytes]


class LoopbackServer:
    """Counts questions and answers each with what `reply` returns for its number (from 0) and its body."""

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply]) -> None:
        self.questions: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._reply = reply
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    number = len(server.questions)
                    server.questions.append({"path": self.path, **body})
                    server.headers.append(dict(self.headers))
                self._send(server._reply(number, body))

            def do_GET(self) -> None:
                self._send((200, {}, json.dumps({"data": [{"id": "only-model"}]}).encode()))

            def _send(self, reply: Reply) -> None:
                status, headers, data = reply
                try:
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(data))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the asker did not wait

            def log_message(self, *parts: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[LoopbackServer]:
        thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()
