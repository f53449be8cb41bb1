"""JSON over HTTP with patience: what may pass is asked again with growing pauses, what cannot be is said at once."""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from maquette.errors import ConfigError, Problem

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT_S = 60.0
LONGEST_ANSWER_BYTES = 8 << 20
LONGEST_REASON_CHARS = 200
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NoAnswer(Exception):
    """Nothing usable came in spite of every retry: no connection, a busy server, no JSON."""


class Refusal(Exception):
    """The server understood and refuses: its status, what it says, and the JSON of its answer where that is some."""

    def __init__(self, status: int, said: str, answer: Any = None) -> None:
        super().__init__(f"HTTP {status}{': ' + said if said else ''}")
        self.status = status
        self.answer = answer


@dataclass(frozen=True)
class Address:
    """A server's address without a slash at its end."""

    text: str
    host: str

    @classmethod
    def parse(cls, url: str, *, where: str, required: str, remedy: str) -> Address:
        """Return the address; `http://` may be left out. Raises ConfigError in the caller's words."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            httpx2.URL(parts.geturl())
        except (
            ValueError,
            httpx2.InvalidURL,
        ):  # a port that is no number or too high, half of an IPv6 address
            usable = False
        if not usable or not parts.hostname:
            raise ConfigError(Problem(where, f"'{url}' is no web address", required, remedy))
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                Problem(where, "an address with a name, password or query in it", "the plain address", remedy)
            )
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", parts.hostname)


class Http:
    """Asks one server; several threads may use it at once.

    No redirect is followed: pictures and key go to the address that the person gave. A key is sent as a bearer token.
    `timeout_s` is how long nothing may come, `longest_s` how long a whole answer may take.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        key: str | None = None,
        retries: int = 0,
        wait_s: float = 1.0,
        longest_bytes: int = LONGEST_ANSWER_BYTES,
        longest_s: float | None = None,
    ) -> None:
        self.address = address
        self._retries = retries
        self._wait_s = wait_s
        self._longest_bytes = longest_bytes
        self._longest_s = longest_s
        headers = {"Accept": "application/json", "User-Agent": "maquette"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # A proxy for the internet cannot reach a server on this machine.
        self._client = httpx2.Client(
            headers=headers, timeout=timeout_s, trust_env=address.host not in LOOPBACK
        )

    def get(self, path: str) -> Any:
        """Return the JSON at `path`. Raises NoAnswer and Refusal."""
        return self._asked("GET", path, None, _json_of)

    def get_bytes(self, path: str) -> bytes:
        """Return what stands at `path`, a picture say. Raises NoAnswer and Refusal."""
        data: bytes = self._asked("GET", path, None, bytes)
        return data

    def post(self, path: str, value: Any) -> Any:
        """Return the JSON answer to `value`. Raises NoAnswer and Refusal."""
        return self._asked("POST", path, value, _json_of)

    def send(self, path: str, value: Any) -> None:
        """Send `value`, whatever is answered. Raises NoAnswer and Refusal."""
        self._asked("POST", path, value, bytes)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _asked(self, method: str, path: str, value: Any, read: Callable[[bytes], Any]) -> Any:
        for attempt in range(self._retries + 1):
            try:
                return read(self._once(method, path, value))
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

    def _once(self, method: str, path: str, value: Any) -> bytes:
        url = self.address.text + path
        until = None if self._longest_s is None else time.monotonic() + self._longest_s
        try:
            with self._client.stream(method, url, json=value) as reply:
                data = self._read(reply, until)
        except httpx2.TimeoutException:
            raise _Again("no answer in time") from None
        except httpx2.TransportError as error:
            raise _Again(str(error) or type(error).__name__) from None
        if reply.status_code in TRANSIENT:
            raise _Again(str(_refusal(reply, data)), _retry_after(reply))
        if not reply.is_success:
            raise _refusal(reply, data)
        return data

    def _read(self, reply: httpx2.Response, until: float | None) -> bytes:
        data = bytearray()
        for chunk in reply.iter_bytes():
            data += chunk
            if until is not None and time.monotonic() > until:
                raise _Again("no answer in time")
            if len(data) > self._longest_bytes:
                raise Refusal(reply.status_code, f"an answer of more than {self._longest_bytes >> 20} MiB")
        return bytes(data)


class _Again(Exception):
    """Worth asking again, after a pause that the server may have asked for."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


def _json_of(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _Again("its answer is not JSON") from None


def _refusal(reply: httpx2.Response, data: bytes) -> Refusal:
    if reply.is_redirect:
        return Refusal(
            reply.status_code, f"it redirects to {reply.headers.get('Location', 'another address')}"
        )
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    return Refusal(reply.status_code, _message_in(data), answer)


def _retry_after(reply: httpx2.Response) -> float | None:
    """Return the pause in seconds that a Retry-After header asks for, as a number or as a date."""
    value = reply.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _message_in(data: bytes) -> str:
    """Return what a server says in an error's body, on one line, shortened; empty for nothing."""
    text = data[: 4 * 1024].decode("utf-8", errors="replace").strip()
    try:
        value = json.loads(data)
        inner = value.get("error", value.get("detail", value)) if isinstance(value, dict) else value
        text = str(inner.get("message", inner)) if isinstance(inner, dict) else str(inner)
    except (ValueError, RecursionError):
        pass
    return " ".join(text.split())[:LONGEST_REASON_CHARS]
