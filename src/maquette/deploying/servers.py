"""Running drawing programs over HTTP: how they are reached, and what keeps them from answering, in words."""

from __future__ import annotations

from typing import Any

from maquette.errors import OutputError, Problem
from maquette.web import Address, Http, NoAnswer, Refusal

LONGEST_ANSWER_BYTES = 128 << 20
"""A server with many custom nodes describes them in tens of megabytes."""
TIMEOUT_S = 10.0
_WHOLE_ANSWERS = 6
"""An answer may take so many times the timeout as a whole."""


def reached(url: str, *, where: str, timeout_s: float = TIMEOUT_S) -> Http:
    """Return the connection to the server at `url`, which flag `where` names. Raises ConfigError for no address."""
    address = Address.parse(
        url,
        where=where,
        required="http://HOST:PORT",
        remedy="ComfyUI's is usually http://127.0.0.1:8188, AUTOMATIC1111's http://127.0.0.1:7860.",
    )
    return Http(
        address,
        timeout_s=timeout_s,
        longest_bytes=LONGEST_ANSWER_BYTES,
        longest_s=_WHOLE_ANSWERS * timeout_s,
    )


def asked(http: Http, path: str, *, may_lack: bool = False) -> Any:
    """Return the JSON at `path`; with `may_lack` None where the server has no such page. Raises OutputError."""
    try:
        return http.get(path)
    except Refusal as error:
        if may_lack and error.status in (404, 405):
            return None
        raise no_answer(http.address.text + path, f"answers {error}") from error
    except NoAnswer as error:
        raise no_answer(http.address.text + path, f"gives no usable answer ({error})") from error


def no_answer(address: str, given: str) -> OutputError:
    """Return the error of a server that is none of these programs, or is silent."""
    remedy = "Start it (AUTOMATIC1111 and Forge with --api), and give its address and port."
    return OutputError(Problem(address, given, "a running ComfyUI, AUTOMATIC1111 or Forge", remedy))
