"""Any OpenAI-compatible server that sees pictures: vLLM, Ollama, LM Studio, llama.cpp, or a hosted one.

`--source server` shows it each picture; `--source server:rewrite` shows it the present caption alone. The subject's profile
goes along as the system message. A key is read from an environment variable and sent to the given address only: redirects
are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.looking import LONGEST_SIDE_PX, data_uri, load_rgb
from maquette.captioning.sources.source import Ask, Context, Source
from maquette.captioning.strategies import instructions
from maquette.errors import ConfigError, OutputError, Problem
from maquette.web import Address, Http, NoAnswer, Refusal

KEY_VARIABLE = "MAQUETTE_API_KEY"
HOPELESS = {
    301: "has moved",
    302: "has moved",
    303: "has moved",
    307: "has moved",
    308: "has moved",
    401: "asks for a key",
    403: "refuses the key",
    404: "knows no such address or model",
    405: "does not take questions at this address",
}
"""Statuses that no other picture would change."""
FAILURES_IN_A_ROW = 5
"""So many pictures without any answer mean that the server is gone."""
SHOW = "Caption this picture."
REWRITE = "Rewrite this caption as told, adding nothing that it does not say: "


class Server:
    """Asks a server, from several threads at once."""

    name = "server"
    batch_size = 1
    is_parallel = True
    is_model = True
    is_literal = False
    learns_from_refusal = True

    def __init__(self, http: Http, model: str, context: Context, *, rewrites: bool) -> None:
        options = context.options
        self.from_existing = rewrites
        self.sees_pictures = not rewrites
        self._http = http
        self._model = model
        self._rewrites = rewrites
        self._system = "\n".join(
            text for text in (instructions(context.strategy, context.profile), options.instructions) if text
        )
        self._longest_px = options.longest_side or LONGEST_SIDE_PX
        self._temperature = options.temperature or 0.0
        self._max_new_tokens = options.max_new_tokens or 200
        self._failures = 0

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        return [self._ask(ask) for ask in asks]

    def _ask(self, ask: Ask) -> Answer:
        question = self._question(ask)
        if isinstance(question, Problem):
            return Answer(refused=f"the picture is {question.given}")
        try:
            reply = self._http.post("/chat/completions", self._request(question, ask.note))
        except Refusal as error:
            if error.status in HOPELESS:
                raise _hopeless(self._http.address, error) from error
            return Answer(refused=f"the server refuses this picture: {error}")
        except NoAnswer as error:
            return self._failed(str(error))
        self._failures = 0
        return _answer_in(reply, self._max_new_tokens)

    def _failed(self, reason: str) -> Answer:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise OutputError(
                Problem(
                    self._http.address.text,
                    f"no answer to {self._failures} pictures in a row ({reason})",
                    "a server that answers",
                    "Start it again, or raise --timeout; the same command then goes on where this one stopped.",
                )
            )
        return Answer(failed=f"the server did not answer: {reason}")

    def _question(self, ask: Ask) -> list[dict[str, Any]] | Problem:
        if self._rewrites:
            return [{"type": "text", "text": REWRITE + ask.target.existing}]
        image = load_rgb(ask.target.picture, self._longest_px)
        if isinstance(image, Problem):
            return image
        return [
            {"type": "image_url", "image_url": {"url": data_uri(image)}},
            {"type": "text", "text": SHOW},
        ]

    def _request(self, question: list[dict[str, Any]], note: str) -> dict[str, Any]:
        if note:
            text = f"{question[-1]['text']} Your last answer could not be used: {note}"
            question = [*question[:-1], {"type": "text", "text": text}]
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": self._system},
                {"role": "user", "content": question},
            ],
            "max_tokens": self._max_new_tokens,
            "temperature": self._temperature,
            "stream": False,
        }

    def describe(self) -> Mapping[str, Any]:
        return {
            "source": self.name,
            "url": self._http.address.text,
            "model": self._model,
            "system": self._system,
            "rewrites": self._rewrites,
            "settings": [self._longest_px, self._temperature, self._max_new_tokens],
        }

    def close(self) -> None:
        self._http.close()


def open_source(argument: str, context: Context) -> Source:
    """Return the source for a reachable server. Raises ConfigError and OutputError."""
    options = context.options
    if argument not in ("", "rewrite"):
        raise ConfigError(
            Problem(
                "--source", f"'server:{argument}'", "server or server:rewrite", "Give the address with --url."
            )
        )
    if options.url is None:
        raise ConfigError(
            Problem(
                "--source server",
                "no address",
                "the server's address with --url",
                "Ollama: --url http://127.0.0.1:11434/v1   LM Studio: http://127.0.0.1:1234/v1   vLLM: http://127.0.0.1:8000/v1",
            )
        )
    http = Http(
        _address(options.url),
        key=_key(options.api_key_variable),
        timeout_s=options.timeout_s or 120.0,
        retries=4 if options.retries is None else options.retries,
        wait_s=1.0 if options.retry_wait_s is None else options.retry_wait_s,
    )
    return Server(http, options.model or _only_model(http), context, rewrites=argument == "rewrite")


def _key(variable: str | None) -> str | None:
    """Return the key that the environment holds. A variable that was asked for by name must be set."""
    if variable is None:
        return os.environ.get(KEY_VARIABLE) or None
    if not os.environ.get(variable):
        raise ConfigError(
            Problem(
                "--api-key-variable",
                f"the environment variable {variable} is not set",
                "the name of a variable that holds the key",
                f"Set it first: export {variable}=…   Keys are never taken from the command line.",
            )
        )
    return os.environ[variable]


def _address(url: str) -> Address:
    remedy = "Try http://127.0.0.1:11434/v1 (Ollama). A key belongs into the environment variable MAQUETTE_API_KEY."
    return Address.parse(url, where="--url", required="http://HOST:PORT/v1", remedy=remedy)


def _hopeless(address: Address, error: Refusal) -> ConfigError:
    return ConfigError(
        Problem(
            address.text,
            f"{HOPELESS[error.status]} ({error})",
            "a server that answers chat completions here",
            "Check --url (it usually ends in /v1), --model, and the key in MAQUETTE_API_KEY or --api-key-variable.",
        )
    )


def _only_model(http: Http) -> str:
    """Return the one model that the server offers. Raises ConfigError when there are several."""
    try:
        listed = http.get("/models")
    except (NoAnswer, Refusal) as error:
        if isinstance(error, Refusal) and error.status in HOPELESS:
            raise _hopeless(http.address, error) from error
        raise OutputError(
            Problem(
                http.address.text,
                f"cannot be asked for its models ({error})",
                "a running OpenAI-compatible server",
                "Start it, correct --url (it usually ends in /v1), or name the model with --model.",
            )
        ) from error
    entries = listed.get("data") if isinstance(listed, dict) else None
    names = [str(entry.get("id")) for entry in entries or [] if isinstance(entry, dict)]
    if len(names) == 1:
        return names[0]
    raise ConfigError(
        Problem(
            "--model",
            "not given",
            "the name of a model that sees pictures",
            f"The server offers: {', '.join(names)}." if names else "The server lists none: load one there.",
        )
    )


def _answer_in(reply: Any, max_new_tokens: int) -> Answer:
    """Return the answer in a chat completion, or why there is none."""
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        error = reply.get("error") if isinstance(reply, dict) else None
        said = error.get("message", "") if isinstance(error, dict) else str(error or "")
        return Answer(refused=f"the server's answer holds no message{': ' + said if said else ''}")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    if message.get("refusal"):
        return Answer(text=text, refused=f'no caption but "{message["refusal"]}"')
    if choice.get("finish_reason") == "content_filter":
        return Answer(text=text, refused="held back by the server's content filter")
    if choice.get("finish_reason") == "length":
        return Answer(text=text, refused=f"too long: cut off after {max_new_tokens} tokens")
    return Answer(text=text)
