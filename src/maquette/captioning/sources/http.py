"""JSON over HTTP with patience: what may pass is asked again with growing pauses, what cannot be is said at once."""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from maquette.errors import ConfigError, Problem

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
HOPELESS = {
    401: "asks for a key",
    403: "refuses the key",
    404: "knows no such address or model",
    405: "does not take questions at this address",
}
LONGEST_WAIT_S = 60.0
LONGEST_ANSWER_BYTES = 8 << 20
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NoAnswer(Exception):
    """Nothing usable came in spite of every retry: no connection, a busy server, no JSON."""


class CannotAnswer(Exception):
    """The server understood and refuses this one question."""


@dataclass(frozen=True)
class Address:
    """A server's address without a slash at its end."""

    text: str
    host: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address; `http://` may be left out. Raises ConfigError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                Problem("--url", f"'{url}'", "http://HOST:PORT/v1", "Try http://127.0.0.1:11434/v1 (Ollama).")
            )
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                Problem(
                    "--url",
                    "an address with a name, password or query in it",
                    "the plain address",
                    "Put the key into the environment variable MAQUETTE_API_KEY.",
                )
            )
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", parts.hostname)


class Http:
    """Asks one server; several threads may use it at once."""

    def __init__(
        self, address: Address, *, key: str | None, timeout_s: float, retries: int, wait_s: float
    ) -> None:
        self.address = address
        self._key = key
        self._timeout_s = timeout_s
        self._retries = retries
        self._wait_s = wait_s
        handlers: list[urllib.request.BaseHandler] = [_StayHere()]
        if address.host in LOOPBACK:
            # A proxy for the internet cannot reach a server on this machine.
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> Any:
        """Return what lies at `path`. Raises NoAnswer, CannotAnswer, ConfigError."""
        return self._asked(self._request(path, None))

    def post(self, path: str, value: Any) -> Any:
        """Return the answer to `value`. Raises NoAnswer, CannotAnswer for this question alone, ConfigError for all."""
        return self._asked(self._request(path, json.dumps(value).encode("utf-8")))

    def _request(self, path: str, data: bytes | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "maquette"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return urllib.request.Request(self.address.text + path, data=data, headers=headers)

    def _asked(self, request: urllib.request.Request) -> Any:
        for attempt in range(self._retries + 1):
            try:
                return self._once(request)
            except _Again as trouble:
                if attempt == self._retries:
                    raise NoAnswer(str(trouble)) from trouble
                time.sleep(self._pause(attempt, trouble.after_s))
        raise AssertionError("the loop above returns or raises")

    def _pause(self, attempt: int, asked_for_s: float | None) -> float:
        """Return how long to wait: what the server asks for, else doubling, never in step with other threads."""
        if asked_for_s is not None:
            return min(asked_for_s, LONGEST_WAIT_S)
        return min(self._wait_s * 2**attempt * random.uniform(0.75, 1.25), LONGEST_WAIT_S)

    def _once(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as reply:
                data = reply.read(LONGEST_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _Again(_reason(error)) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise NoAnswer(f"no secure connection: {error.reason}") from None
            raise _Again(_reason(error.reason)) from None
        if len(data) > LONGEST_ANSWER_BYTES:
            raise CannotAnswer("an answer of more than 8 MiB")
        try:
            return json.loads(data)
        except ValueError:
            raise _Again("its answer is not JSON") from None

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        code, said = error.code, _message_in(error)
        if code in TRANSIENT:
            return _Again(f"HTTP {code}{said}", _retry_after(error))
        if code in HOPELESS or 300 <= code < 400:
            given = HOPELESS.get(code, f"redirects to {error.headers.get('Location', 'another address')}")
            return ConfigError(
                Problem(
                    self.address.text,
                    f"{given} (HTTP {code}{said})",
                    "a server that answers chat completions here",
                    "Check --url (it usually ends in /v1), --model, and the key in MAQUETTE_API_KEY or --api-key-variable.",
                )
            )
        return CannotAnswer(f"HTTP {code}{said}")


class _Again(Exception):
    """Worth asking again, after a pause that the server may have asked for."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: pictures and key go to the address that the person gave."""

    def redirect_request(self, *parts: Any, **more: Any) -> None:
        return None


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the pause in seconds that a Retry-After header asks for, as a number or as a date."""
    value = (error.headers.get("Retry-After") or "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _message_in(error: urllib.error.HTTPError) -> str:
    """Return what a server says in an error's body, shortened, with a colon before it; empty for nothing."""
    try:
        body = error.read(4096).decode("utf-8", errors="replace").strip()
    except OSError:
        return ""
    try:
        value = json.loads(body)
        inner = value.get("error", value.get("detail", value)) if isinstance(value, dict) else value
        body = str(inner.get("message", inner)) if isinstance(inner, dict) else str(inner)
    except ValueError:
        pass
    body = " ".join(body.split())
    return f": {body[:200]}" if body else ""


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
