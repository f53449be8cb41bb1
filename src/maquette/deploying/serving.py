"""An installed LoRA drawn by the ComfyUI that it was installed for, and what that says about it.

The server is asked whether it lists the file, and draws the workflow that was installed. Its picture is kept with the workflow
beside it (`COMFYUI/maquette/NAME.drawn.png`, `NAME.drawn.json`) and held against our own drawing of the same scene.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from maquette.deploying.comfyui import CHECKPOINTS
from maquette.deploying.comparing import Comparison, Scenery, compared
from maquette.deploying.folders import comfyui_folders
from maquette.deploying.ledger import Ledger
from maquette.deploying.nodes import Workflow, check_workflow
from maquette.deploying.options import DeployOptions
from maquette.deploying.program import Installed
from maquette.deploying.queueing import NotDrawn, draw_there
from maquette.deploying.run import delivery_of
from maquette.deploying.servers import asked, no_answer, reached
from maquette.deploying.verify import hash_problems, hash_told, not_listed
from maquette.errors import DatasetError, MaquetteError, OutputError, Problem
from maquette.events import Artifact, Message, Stage
from maquette.files import json_text
from maquette.lora.unmatched import unmatched_tensors
from maquette.reading import json_of
from maquette.web import Http

_LOGS = "/internal/logs/raw"
_SKIPPED = ("lora key not loaded: ", "NOT LOADED ")
"""How ComfyUI's log says that it has no place for a tensor of a LoRA."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server made of an installed LoRA."""

    url: str
    image: Path | None = None
    """Its picture; None where it drew none."""
    workflow: Path | None = None
    """What drew it."""
    unmatched_keys: tuple[str, ...] = ()
    """Tensors of the file that it has no place for."""
    comparison: Comparison | None = None
    """Its picture beside ours; None where ours could not be drawn."""
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        comparison = (
            None
            if self.comparison is None
            else {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.comparison).items()}
        )
        return {
            "server": self.url,
            "image": None if self.image is None else str(self.image),
            "drawn_workflow": None if self.workflow is None else str(self.workflow),
            "unmatched_keys": list(self.unmatched_keys),
            "comparison": comparison,
            "problems": [str(problem) for problem in self.problems],
        }


def serve_events(source: Path, options: DeployOptions, entry: Installed, url: str) -> Stage[Served]:
    """Let the ComfyUI at `url` draw what was installed of `source`; return what came of it, problems included.

    Raises ConfigError where `url` is no address.
    """
    is_ours = options.workflow is None and not entry.has_pose  # what a person adds, we do not draw
    scenery = _scenery(source, options, entry) if options.compare and is_ours else None
    assert entry.to_draw is not None, "ComfyUI's installations have a workflow"
    skipped = unmatched_tensors(entry.lora)
    workflow: Workflow = json_of(entry.to_draw)
    http = reached(url, where="--server")
    try:
        _require_comfyui(http)
        yield from (Message(text, "warning") for text in _listing(http, entry))
        seen = _log(http)
        try:
            drawn = yield from draw_there(http, workflow)
        except NotDrawn as error:
            raise NotDrawn((*error.problems, *_foreseen(http, workflow, error.problems))) from error
        told = [key for key in _skipped_in(_log(http), seen) if key not in skipped]
        image, kept = _keep(entry, drawn.png, workflow)
    except MaquetteError as error:
        return Served(url=http.address.text, unmatched_keys=skipped, problems=error.problems)
    finally:
        http.close()
    yield Artifact("picture of the server", image)
    comparison = None
    if scenery is not None:
        comparison = yield from compared(
            image, entry.lora, scenery, image.with_name(f"{image.stem}.ours.png")
        )
    return Served(
        url=http.address.text,
        image=image,
        workflow=kept,
        unmatched_keys=(*skipped, *told),
        comparison=comparison,
    )


def _scenery(source: Path, options: DeployOptions, entry: Installed) -> Scenery:
    """Return what our own drawing of the installed workflow needs; a bare file's base is looked for among the program's."""
    delivery = delivery_of(source, options)
    scene = delivery.recipe.scene_of(entry.lora_name)
    known = comfyui_folders(entry.root, "checkpoints", CHECKPOINTS)
    base = next((path / scene.base for path in known.paths if (path / scene.base).is_file()), None)
    return Scenery(scene=scene, settings=delivery.settings, base=base)


_SIGNS = ("/system_stats", "/queue", "/prompt", "/object_info", "/models/loras")
"""Pages of which a ComfyUI of any age has one."""


def _require_comfyui(http: Http) -> None:
    """Raise OutputError unless a ComfyUI answers there."""
    if not any(isinstance(asked(http, path, may_lack=True), dict | list) for path in _SIGNS):
        raise no_answer(http.address.text, "answers, but not as ComfyUI does")


def _listing(http: Http, entry: Installed) -> Iterator[str]:
    """Raise OutputError where the server does not list the LoRA, or lists another one of its name; yield what is not known."""
    names = _names(http)
    if names is None:
        yield "The server tells no list of its LoRAs; whether it has this one, its drawing shows."
        return
    if entry.lora_name not in names:
        raise NotDrawn(not_listed(entry, names))
    path = f"/view_metadata/loras?filename={quote(entry.lora_name, safe='')}"
    metadata = asked(http, path, may_lack=True)
    problems = list(hash_problems(entry, metadata))
    if problems and entry.model_hash and hash_told(metadata):
        raise NotDrawn(problems)
    yield from map(str, problems)


def _names(http: Http) -> list[str] | None:
    """Return the LoRAs that the server lists, asked anew; None where it tells none."""
    told = asked(http, "/models/loras", may_lack=True)
    if isinstance(told, list):
        return [str(name) for name in told]
    nodes = asked(http, "/object_info/LoraLoader", may_lack=True)
    if not isinstance(nodes, dict) or "LoraLoader" not in nodes:
        nodes = asked(http, "/object_info", may_lack=True)
    try:
        declared = nodes["LoraLoader"]["input"]["required"]["lora_name"]
        names = declared[1]["options"] if declared[0] == "COMBO" else declared[0]
        return [str(name) for name in names]
    except (KeyError, IndexError, TypeError):
        return None


def _foreseen(http: Http, workflow: Workflow, said: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return what the server's own list of nodes says against the workflow, beside what it has said itself."""
    nodes = asked(http, "/object_info", may_lack=True)
    if not isinstance(nodes, dict) or "KSampler" not in nodes:
        return ()
    told = " ".join(str(problem) for problem in said)
    found = check_workflow(workflow, nodes)
    return tuple(problem for problem in found if problem.where.partition(" (")[0] not in told)


def _log(http: Http) -> list[Mapping[str, Any]]:
    """Return the lines of the server's log, where it shows them."""
    try:
        answer = asked(http, _LOGS, may_lack=True)
    except OutputError:
        return []
    entries = answer.get("entries") if isinstance(answer, dict) else None
    return [each for each in (entries if isinstance(entries, list) else ()) if isinstance(each, dict)]


def _skipped_in(log: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the tensors that the log's new lines say have no place."""
    known = {(str(each.get("t")), str(each.get("m"))) for each in before}
    lines = [str(each.get("m")) for each in log if (str(each.get("t")), str(each.get("m"))) not in known]
    found = [
        line.partition(mark)[2].strip()
        for text in lines
        for line in text.splitlines()
        for mark in _SKIPPED
        if mark in line
    ]
    return list(dict.fromkeys(filter(None, found)))


def _keep(entry: Installed, png: bytes, workflow: Workflow) -> tuple[Path, Path]:
    """Write the server's picture and the workflow that drew it beside each other. Raises OutputError for no picture."""
    from maquette.dataset.opening import opened

    assert entry.workflow is not None
    with tempfile.TemporaryDirectory(prefix="maquette-") as folder:
        fetched = Path(folder) / "fetched.png"
        fetched.write_bytes(png)
        try:
            with opened(fetched) as picture:
                picture.load()
        except (DatasetError, OSError) as error:
            given = f"cannot be read as a picture ({error})"
            raise NotDrawn(Problem("the server's picture", given, "a picture", "Draw it again.")) from error
    ledger = Ledger(entry.root)
    stem = entry.workflow.name.removesuffix(".workflow.json")
    image = ledger.put_under_free_name(entry.workflow.parent, stem, ".drawn.png", png)
    return image, ledger.put(image.with_suffix(".json"), json_text(workflow))
