"""What running drawing programs say about LoRAs that were installed: whether they list them, with the same weights.

Nothing is queued, so nothing is drawn. ComfyUI is asked `/object_info`, `/models/loras` and `/view_metadata/loras`;
AUTOMATIC1111 and Forge, started with --api, `/sdapi/v1/refresh-loras` and `/sdapi/v1/loras`. A name alone proves nothing: the
server may read another folder that holds another LoRA of this name. So the hash that its file carries must be ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from maquette.deploying.comfyui import COMFYUI
from maquette.deploying.nodes import Workflow, check_workflow
from maquette.deploying.program import Installed
from maquette.deploying.servers import TIMEOUT_S, asked, no_answer, reached
from maquette.deploying.webui import WEBUI
from maquette.drawing.scene import stem_of
from maquette.errors import MaquetteError, OutputError, Problem, did_you_mean
from maquette.lora.metadata import MODEL_HASH
from maquette.reading import json_of
from maquette.web import Http, NoAnswer, Refusal


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What became of one installed LoRA when a server was asked; it is in order where nothing is wrong or unknown."""

    program: str
    lora_name: str
    url: str = ""
    """Empty where no server of this program was asked."""
    problems: tuple[Problem, ...] = ()
    """What is wrong there, and what kept it from being looked at."""

    @property
    def ok(self) -> bool:
        """Whether the server has these very weights under this name, and would draw the workflow."""
        return bool(self.url) and not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        problems = [str(problem) for problem in self.problems]
        facts = {"program": self.program, "lora_name": self.lora_name, "url": self.url or None}
        return {**facts, "ok": self.ok, "problems": problems}


def verify(
    urls: Sequence[str], installed: Sequence[Installed], *, timeout_s: float = TIMEOUT_S
) -> list[Verified]:
    """Return what the servers at `urls` say about each of `installed`; a server that gives no answer is said as a problem."""
    found: list[Verified] = []
    silent: list[tuple[str, Problem]] = []
    for url in urls:
        try:
            found += _ask(url, installed, timeout_s)
        except MaquetteError as error:
            silent += [(url, problem) for problem in error.problems]
    told = {(entry.program, entry.lora_name) for entry in found}
    for entry in installed:
        if (entry.program, entry.lora_name) not in told:
            problems = [problem for _, problem in silent] or [_nobody_asked(entry)]
            found.append(Verified(program=entry.program, lora_name=entry.lora_name, problems=tuple(problems)))
    return found


def _ask(url: str, installed: Sequence[Installed], timeout_s: float) -> list[Verified]:
    """Ask the server at `url`, whichever program it is, about what was installed for that program."""
    http = reached(url, where="--verify", timeout_s=timeout_s)
    address = http.address
    try:
        program, ask = _recognised(http)
        mine = [entry for entry in installed if entry.program == program]
        if not mine:
            given = f"is {program}, and nothing was installed for it"
            raise OutputError(Problem(address.text, given, "a server of the program", "Give its address."))
        return [
            Verified(
                program=program,
                lora_name=entry.lora_name,
                url=address.text,
                problems=tuple(dict.fromkeys(ask.problems(entry))),
            )
            for entry in mine
        ]
    finally:
        http.close()


def _recognised(http: Http) -> tuple[str, _ComfyUI | _WebUI]:
    """Return which program answers, and how it is asked. Raises OutputError when it is none of them, or is silent."""
    nodes = asked(http, "/object_info", may_lack=True)
    if isinstance(nodes, dict) and "KSampler" in nodes:
        return COMFYUI.title, _ComfyUI(http, nodes)
    loras = asked(http, "/sdapi/v1/loras", may_lack=True)
    if isinstance(loras, list):
        return WEBUI.title, _WebUI(http)
    if nodes is None and loras is None:
        given = "answers HTTP 404 both to what ComfyUI and to what AUTOMATIC1111's API answers"
        raise no_answer(http.address.text, given)
    raise no_answer(http.address.text, "answers, but neither as ComfyUI does nor as AUTOMATIC1111's API")


class _ComfyUI:
    """A running ComfyUI."""

    def __init__(self, http: Http, nodes: dict[str, Any]) -> None:
        self._http, self._nodes = http, nodes

    def problems(self, entry: Installed) -> Iterator[Problem]:
        """Yield what keeps the server from drawing the workflow with these very weights."""
        loras = asked(self._http, "/models/loras")
        if not isinstance(loras, list):
            raise no_answer(f"{self._http.address.text}/models/loras", "answers, but not as ComfyUI does")
        if entry.lora_name not in loras:
            yield not_listed(entry, [str(lora) for lora in loras])
        else:
            path = f"/view_metadata/loras?filename={quote(entry.lora_name, safe='')}"
            yield from hash_problems(entry, asked(self._http, path, may_lack=True))
        assert entry.workflow is not None, "ComfyUI's installations have a workflow"
        workflow: Workflow = json_of(Path(entry.workflow))
        problems = check_workflow(workflow, self._nodes)
        listing = "input 'lora_name'"  # said above, in better words
        yield from (problem for problem in problems if listing not in problem.where)


class _WebUI:
    """A running AUTOMATIC1111 or Forge."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def problems(self, entry: Installed) -> Iterator[Problem]:
        """Yield what keeps the server from drawing with these very weights."""
        with suppress(
            Refusal, NoAnswer
        ):  # then it lists what it knew at its start; what it lacks is said below
            self._http.post("/sdapi/v1/refresh-loras", {})
        loras = asked(self._http, "/sdapi/v1/loras")
        known = {
            str(lora.get("name")): lora
            for lora in (loras if isinstance(loras, list) else ())
            if isinstance(lora, dict)
        }
        name = stem_of(entry.lora_name)
        if name not in known:
            yield not_listed(entry, list(known))
        else:
            yield from hash_problems(entry, known[name].get("metadata"))


def hash_told(metadata: Any) -> str | None:
    """Return the hash in what a server tells of a file's metadata."""
    return metadata.get(MODEL_HASH) if isinstance(metadata, dict) else None


def hash_problems(entry: Installed, metadata: Any) -> Iterator[Problem]:
    """Compare the hash that the server's file carries with that of the installed one."""
    where = f"LoRA '{entry.lora_name}' on the server"
    theirs = hash_told(metadata)
    if not entry.model_hash:
        remedy = "Draw with it and compare, or write the file again with maquette lora convert."
        yield Problem(
            where, "is listed, but its weights were not compared", "a file that carries its hash", remedy
        )
    elif not theirs:
        given = "is listed, but the server tells no hash of it, so its weights were not compared"
        yield Problem(where, given, f"{MODEL_HASH} {entry.model_hash[:12]}…", _OTHER_FOLDER)
    elif theirs != entry.model_hash:
        given = f"has other weights ({MODEL_HASH} {str(theirs)[:12]}…)"
        yield Problem(where, given, f"those of {entry.lora} ({entry.model_hash[:12]}…)", _OTHER_FOLDER)


_OTHER_FOLDER = (
    "It reads another folder, or an older file of this name: install there, or under another --name."
)


def not_listed(entry: Installed, loras: Sequence[str]) -> Problem:
    """Return the problem of a LoRA that a server does not list; `loras` are those that it does."""
    return Problem(
        f"LoRA '{entry.lora_name}'",
        "is not listed by the server",
        "a file in a folder that this server reads",
        did_you_mean(entry.lora_name, loras) if loras else "Its LoRA folder is empty: is it this one?",
    )


def _nobody_asked(entry: Installed) -> Problem:
    return Problem(
        f"{entry.program}: LoRA '{entry.lora_name}'",
        "was not looked for: no server of this program was named",
        "the address of a running one",
        "Give --verify once for each program.",
    )
