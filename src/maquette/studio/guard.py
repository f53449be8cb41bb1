"""What stands before every page: who may ask, from where, and how much.

A page that runs on this computer can be reached by every program and every web page that its user opens. So

- `Host` must be a name of this server: a stranger's name that is made to point here (DNS rebinding) is refused;
- `Origin` and `Sec-Fetch-Site` must be this server's own, but for opening a page by a link;
- what changes something carries the page's token in a header, which no form of another site can send;
- anywhere but at loopback, every request carries the access token (once in the address, then as a cookie);
- a body is bounded, and every answer forbids scripts, frames and pictures from anywhere else.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maquette.web import LOOPBACK

PAGE_TOKEN = "x-maquette-page"
COOKIE = "maquette_access"
SAFE = frozenset({"GET", "HEAD"})
LONGEST_BODY_BYTES = 64 << 20
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""Of the empty text: the library that draws curves adds an empty style element and fills it by script."""
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {EMPTY_STYLE}; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The secrets of one running server: made anew at every start, never written anywhere."""

    page: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Stands in every page; what changes something sends it back."""
    access: str | None = field(default=None, repr=False)
    """What a visitor must know; None at loopback, where only this computer can ask."""


def keys_for(host: str) -> Keys:
    """Return new secrets for a server that listens at `host`."""
    return Keys(access=None if host in LOOPBACK else secrets.token_urlsafe(24))


class Guard:
    """Lets through what may pass, as an ASGI layer around the whole application."""

    def __init__(self, app: ASGIApp, keys: Keys, names: frozenset[str]) -> None:
        """`names` are the hosts that this server goes by, without port, in lower case."""
        self.app = app
        self.keys = keys
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self.app(scope, _Bounded(receive).receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that may not pass, None for one that may."""
        headers = request.headers
        if _host_of(headers.get("host", "")) not in self.names:
            return _refused(421, "This server does not go by that name.")
        if not _is_own(headers, request.method):
            return _refused(403, "Requests from another site are refused.")
        if (asked := self._unknown_visitor(request)) is not None:
            return asked
        if request.method not in SAFE and not _same(headers.get(PAGE_TOKEN), self.keys.page):
            return _refused(403, "What changes something must come from the studio's own page: reload it.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY_BYTES:
            return too_large()
        return None

    def _unknown_visitor(self, request: Request) -> Response | None:
        """Return what a visitor without the access token gets; one who brings it in the address gets it as a cookie."""
        access = self.keys.access
        if (
            access is None
            or _same(_bearer(request.headers), access)
            or _same(_cookie(request.headers), access)
        ):
            return None
        if request.method in SAFE and _same(request.query_params.get("token"), access):
            answer = RedirectResponse(_without_token(request), status_code=303)
            answer.set_cookie(COOKIE, access, httponly=True, samesite="strict", path="/")
            return answer
        return _refused(
            401, "This studio asks for its token: open the address that `maquette studio` printed."
        )


class TooLarge(Exception):
    """A body that came without its length is longer than LONGEST_BODY_BYTES. The application answers with `too_large`."""


def too_large(*_: object) -> Response:
    """Answer to a body that is longer than LONGEST_BODY_BYTES."""
    return _refused(413, "The body is too large.")


class _Bounded:
    """Counts a body that comes without a length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = LONGEST_BODY_BYTES

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLarge
        return message


def _host_of(host: str) -> str:
    """Return the name in a Host header, without its port; empty for none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_own(headers: Headers, method: str) -> bool:
    """Whether a request comes from this server's own pages, from no page at all, or opens a page by a link."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return False
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return True
    return (
        method in SAFE
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _same(given: str | None, wanted: str) -> bool:
    return given is not None and secrets.compare_digest(given.encode(), wanted.encode())


def _without_token(request: Request) -> str:
    rest = [(name, value) for name, value in parse_qsl(request.url.query) if name != "token"]
    # One slash at the beginning: two would lead to another server.
    path = "/" + quote(request.url.path.lstrip("/\\"))
    return f"{path}?{urlencode(rest)}" if rest else path


def _refused(status: int, text: str) -> Response:
    if status == 401:
        return PlainTextResponse(text, status, headers={"www-authenticate": "Bearer"})
    return JSONResponse(
        {"error": [{"where": "request", "given": "", "required": "", "remedy": text}]}, status
    )


def _with_headers(send: Send) -> Any:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
