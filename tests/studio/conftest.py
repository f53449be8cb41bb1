"""A real server on loopback over a real project of small pictures, and a real browser where there is one."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.routing import Route

from maquette.curating.decisions import Decision, Decisions, as_text, decisions_path
from maquette.curating.records import Reason
from maquette.studio.app import make_app
from maquette.studio.asking import Studio
from maquette.studio.guard import Keys, keys_for
from maquette.studio.server import names_of
from maquette.studio.thumbnails import Thumbnails
from maquette.studio.workspace import Workspace
from maquette.world.pack import base_path

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
STATES = ("kept", "review", "rejected")
SETTINGS = f'''[model]
base = "{base_path().as_posix()}"
[subject]
trigger = "tovaki"
[dataset]
images = "images"
'''


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def table(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running studio with one opened project."""

    port: int
    keys: Keys
    key: str
    project: Path
    studio: Studio

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, page: bool = True, **headers: str
    ) -> Answer:
        """Ask the server as a page of its own would; `headers` replace what it would send."""
        sent = {"Host": f"127.0.0.1:{self.port}"}
        if body is not None and page:
            sent["X-Maquette-Page"] = self.keys.page
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, data, sent)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return Answer(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=read)

    @property
    def pages(self) -> list[str]:
        """The addresses of all pages that are there for every project."""
        app = make_app(self.studio, frozenset()).app
        assert isinstance(app, Starlette)
        paths = [
            route.path.replace("{project}", self.key) for route in app.routes if isinstance(route, Route)
        ]
        leads_on = f"/p/{self.key}"
        return [
            path
            for path in paths
            if "{" not in path and path != leads_on and not path.startswith(("/api/", "/static/"))
        ]

    def api(self, path: str, body: Any = None, **more: Any) -> Answer:
        """Ask for something of the project."""
        return self.ask(f"/api/p/{self.key}/{path}", body, **more)


def make_project(folder: Path, names: Sequence[str], *, side_px: int = 48) -> Path:
    """Return a project of pictures with these names, which curation has sorted in turn: kept, to review, rejected."""
    images = folder / "images"
    decisions = {}
    for number, name in enumerate(names):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new(
            "RGB", (side_px, side_px), ((number * 37) % 256, (number * 91) % 256, (number * 53) % 256)
        )
        ImageDraw.Draw(picture).rectangle((8, 8, 20 + number % 20, 30), fill="white")
        picture.save(path)
        state = STATES[number % 3]
        reasons = (
            ()
            if state == "kept"
            else (
                Reason(
                    "blurred", "review" if state == "review" else "reject", f"sharpness {number} below 60"
                ),
            )
        )
        decisions[name] = Decision(
            name=name, state=state, decided_by="maquette", reasons=reasons, cluster=number % 2
        )
    (folder / "maquette.toml").write_text(SETTINGS, encoding="utf-8")
    decisions_path(images).write_text(as_text(Decisions(folder=images, pictures=decisions)), encoding="utf-8")
    return folder


def serving(project: Path, home: Path, *, host: str = "127.0.0.1") -> Iterator[Served]:
    """Serve a project until the generator is closed."""
    studio = Studio(
        workspace=Workspace(home), keys=keys_for(host), thumbnails=Thumbnails(home / "thumbnails")
    )
    opened = studio.workspace.open(project)
    config = uvicorn.Config(
        make_app(studio, names_of(host)), port=0, log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(port=port, keys=studio.keys, key=opened.key, project=project.resolve(), studio=studio)
    finally:
        studio.feed.close()
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A studio with a project of nine pictures, one of them in a folder below and with an awkward name."""
    names = [*(f"{number:02d}.png" for number in range(8)), "below/<b>ä %23 'x'.png"]
    yield from serving(make_project(tmp_path / "project", names), tmp_path / "home")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    """The same, told that it listens at an address of a network."""
    yield from serving(make_project(tmp_path / "project", ["a.png"]), tmp_path / "home", host="192.0.2.7")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def careful_page(browser: Any, *, patience_s: float = 30, **context: Any) -> Iterator[Any]:
    """A page on a laptop's screen; whatever goes wrong in it fails the test."""
    window = browser.new_context(viewport={"width": 1440, "height": 900}, **context)
    opened = window.new_page()
    opened.set_default_timeout(patience_s * 1000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield opened
    window.close()
    assert wrong == []


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A careful page. Name it behind what serves it: a page has to be closed before its server."""
    with careful_page(browser) as opened:
        yield opened
