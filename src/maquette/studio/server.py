"""Serving the studio: which address, who is let in, until it is asked to end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from maquette.errors import ConfigError, MissingExtra, Problem
from maquette.studio.options import StudioOptions
from maquette.web import LOOPBACK

PACKAGES = ("markdown_it", "plotly", "starlette", "tomlkit", "uvicorn")
"""What the extra brings."""
ENDING_S = 2
"""How long answers that are under way may take once the server is to end."""
SEVERAL = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a person opens the studio."""

    url: str
    token: str | None
    port: int


def serve(project: Path | None, options: StudioOptions, ready: Callable[[Address], None]) -> None:
    """Serve until interrupted; `ready` is called once the port is listened at.

    Raises ConfigError where the address cannot be listened at or `project` is none, MissingExtra without `maquette[studio]`.
    """
    _require_extra()
    import uvicorn

    from maquette.studio.app import make_app
    from maquette.studio.asking import Studio
    from maquette.studio.guard import keys_for
    from maquette.studio.workspace import Workspace

    studio = Studio(workspace=Workspace(), keys=keys_for(options.host))
    opened = studio.workspace.open(project) if project is not None else None
    with closing(_listening(options)) as listener:
        port = listener.getsockname()[1]
        app = make_app(studio, names_of(options.host))
        config = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=ENDING_S,
        )
        path = f"/p/{opened.key}" if opened else "/"
        ready(_address(options.host, port, path, studio.keys.access))
        server = uvicorn.Server(config)
        server.handle_exit = ending(server, studio.feed.close)  # type: ignore[method-assign, assignment]
        server.run(sockets=[listener])


def ending(server: Any, close: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    """Return what a signal does: it ends the streams of open pages first, which would go on for ever."""
    before = server.handle_exit

    def handle(number: int, frame: FrameType | None) -> None:
        close()
        before(number, frame)

    return handle


def _require_extra() -> None:
    """Ask for every package of the extra before anything is opened; none is loaded for it. Raises MissingExtra."""
    if any(find_spec(package) is None for package in PACKAGES):
        raise MissingExtra("the studio", "studio")


def _listening(options: StudioOptions) -> socket.socket:
    """Return a socket that listens where it is asked. Raises ConfigError."""
    kind = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(kind, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        where = f"{options.host}:{options.port}"
        remedy = "Another studio may be there: open its page, or choose another --port (0: any free one)."
        raise ConfigError(
            Problem(where, f"cannot be listened at ({error})", "a free port of this computer", remedy)
        ) from error
    return listener


def names_of(host: str) -> frozenset[str]:
    """Return the names by which the server may be called: loopback's; where it listens elsewhere, those it has there too."""
    if host in LOOPBACK:
        return LOOPBACK
    names = {host.lower(), socket.gethostname().lower(), *LOOPBACK}
    if host in SEVERAL:
        names |= {
            each[4][0].lower()
            for each in socket.getaddrinfo(socket.gethostname(), None)
            if isinstance(each[4][0], str)
        }
    return frozenset(names)


def _address(host: str, port: int, path: str, token: str | None) -> Address:
    shown = socket.gethostname() if host in SEVERAL else host
    shown = f"[{shown}]" if ":" in shown else shown
    query = f"?token={token}" if token else ""
    return Address(url=f"http://{shown}:{port}{path}{query}", token=token, port=port)
