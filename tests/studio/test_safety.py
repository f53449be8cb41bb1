"""Laws over all addresses of the studio, the ones to come included: who may change something, what may be read, what is shown."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from maquette.jobs.ledger import Ledger
from maquette.studio import guard
from maquette.studio.app import make_app
from maquette.studio.options import StudioOptions
from maquette.web import LOOPBACK

from .conftest import Served, make_project, serving

OUTSIDE = (
    "../maquette.toml",
    "../../secret.png",
    "/etc/passwd",
    "link.png",
    "far/secret.png",
    "%2e%2e/maquette.toml",
)
HOSTILE = '<img src=x onerror="ran()">'
FILLED = {"run": "first", "size:int": "192", "job:int": "1", "index:int": "0", "offset:int": "0"}


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Served]:
    """A studio whose project, pictures and captions have markup for names and words."""
    project = make_project(tmp_path / HOSTILE, [f"{HOSTILE}.png", "plain.png", "it's &<b>.png"])
    for place, name in enumerate(sorted((project / "images").glob("*.png"))):
        caption = f"tovaki, <script>ran()</script>, {HOSTILE} {place}\n"
        name.with_suffix(".txt").write_text(caption, encoding="utf-8")
    yield from serving(project, tmp_path / "home")


def routes(served: Served) -> list[Route]:
    app = make_app(served.studio, frozenset()).app
    assert isinstance(app, Starlette)
    return [route for route in app.routes if isinstance(route, Route)]


def address(served: Served, route: Route, name: str = "x") -> str:
    """Return an address of a route, its parts filled with what is there, the last with `name`."""
    known = FILLED | {"project": served.key, "name:path": name}
    return re.sub(r"{([^}]+)}", lambda part: known.get(part[1], "x"), route.path)


def test_it_listens_at_this_computer_alone_unless_told_otherwise() -> None:
    assert StudioOptions().host in LOOPBACK
    for host in LOOPBACK:
        assert guard.keys_for(host).access is None
    for host in ("0.0.0.0", "::", "192.0.2.7", "localhost.example"):
        assert guard.keys_for(host).access


def test_nothing_that_changes_something_is_done_without_the_pages_token_or_for_another_site(
    served: Served,
) -> None:
    changing = [route for route in routes(served) if "POST" in (route.methods or ())]
    assert len(changing) > 10
    for route in changing:
        path = address(served, route)
        assert served.ask(path, {}, page=False).status == 403, path
        assert served.ask(path, {}, Origin="http://evil.example").status == 403, path
        assert served.ask(path, {}, Host="evil.example").status == 421, path


def test_no_address_gives_a_file_from_outside(served: Served, tmp_path: Path) -> None:
    images = served.project / "images"
    (tmp_path / "secret.png").write_bytes((images / "01.png").read_bytes())
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    (images / "far").symlink_to(tmp_path)
    (served.project / "runs" / "first").mkdir(parents=True)
    reading = [route for route in routes(served) if "{name:path}" in route.path]
    assert len(reading) >= 3
    for route in reading:
        for name in OUTSIDE:
            path = address(served, route, name)
            assert served.ask(path).status in (400, 404), path


def test_a_body_without_a_length_is_bounded_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LONGEST_BODY_BYTES", 1000)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    headers = {"X-Maquette-Page": served.keys.page, "Transfer-Encoding": "chunked"}
    body = (b" " * 600 for _ in range(3))
    connection.request("POST", f"/api/p/{served.key}/decide", body, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_no_secret_stands_in_a_page_of_a_visitor_a_log_or_the_ledger(
    guarded: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    access, host = guarded.keys.access, {"Host": "192.0.2.7:80"}
    assert access
    cookie = guarded.ask(f"/?token={access}", **host).headers["set-cookie"].split(";")[0]
    for path in guarded.pages:
        assert access.encode() not in guarded.ask(path, Cookie=cookie, **host).body, path
    with Ledger() as ledger:
        folder = ledger.folder
    guarded.ask("/api/jobs/1/cancel", {}, Cookie=cookie, **host)  # there is none: answered with an error
    written = [
        path.read_bytes() for place in (folder, tmp_path) for path in place.rglob("*") if path.is_file()
    ]
    told = "".join(capfd.readouterr()).encode()
    for secret in (access.encode(), guarded.keys.page.encode()):
        assert not any(secret in each for each in (*written, told))


class Elements(HTMLParser):
    """All elements of a page: their names and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_no_page_carries_a_script_or_a_style_of_its_own(hostile: Served) -> None:
    for path in hostile.pages:
        for tag, attributes in Elements(hostile.ask(path).body.decode()).found:
            assert not any(name == "style" or name.startswith("on") for name in attributes), (
                path,
                attributes,
            )
            assert tag != "style"
            where = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
            assert where is None or where.startswith(("/static/", "/api/")), (path, attributes)
            assert tag != "script" or where, path


def test_markup_in_names_and_captions_is_shown_and_never_run(browser: Any, hostile: Served) -> None:
    page = browser.new_page()
    ran: list[str] = []
    page.expose_function("ran", lambda: ran.append("ran"))
    page.on("console", lambda each: ran.append(each.text) if "Content Security Policy" in each.text else None)
    for path in hostile.pages:
        page.goto(hostile.url + path)
        page.wait_for_timeout(400)
        assert page.locator("img[src='x']").count() == 0, path
    page.goto(f"{hostile.url}/p/{hostile.key}/captions")
    page.wait_for_function("() => document.getElementById('text').value.includes('<script>')")
    page.close()
    assert ran == []
