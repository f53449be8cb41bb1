"""What the processes of one run write to each other, as bytes: a JSON head, and tensors as safetensors.

    letter    8 bytes: length of the head ── head (JSON, UTF-8) ── 8 bytes: length of the body ── body (safetensors; may be empty)

Nothing in a letter can be more than values, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from maquette.families.protocol import PictureSize
from maquette.project.config_file import dump_settings
from maquette.project.settings import Settings
from maquette.reading import parse_json
from maquette.training.batches import MicroBatch, OwnRows
from maquette.training.engine import Shown

LENGTH_BYTES = 8
PLAIN = ("process", "processes", "store", "threads", "device", "precision", "total_steps")
"""What an assignment holds that JSON takes as it is."""
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Assignment:
    """What a helper needs to know before the first step; the base and the LoRA files it reads by itself."""

    process: int
    processes: int
    store: str
    """A file by which the processes find each other."""
    threads: int
    """On a processor: how many of its cores are for one process."""
    device: str
    precision: str
    total_steps: int
    settings: Settings
    """What all trials share."""
    trials: tuple[Settings, ...]
    texts: Mapping[str, Tensors] | None
    """What every caption's conditioning consists of; None where captions are encoded as they are shown."""


@dataclass(frozen=True)
class Task:
    """One optimizer step's share of work."""

    micro_steps: tuple[tuple[int, MicroBatch], ...]
    """Whole batches, with the rows that are the helper's."""
    accumulation: int
    scale: float | None
    """Of the loss, in fp16."""


@dataclass(frozen=True)
class Answer:
    """What a helper has done, or why not."""

    shown: tuple[Shown | None, ...] = ()
    """For each micro-step; None where no row of it was the helper's."""
    error: str = ""
    """In a line; empty where all went well."""
    is_full: bool = False
    """Whether its device had no memory left."""
    trace: str = ""


@dataclass(frozen=True)
class Meet:
    """The others are ready: meet them."""


Letter = Assignment | Task | Answer | Meet


def send(to: IO[bytes], letter: Letter) -> None:
    """Send a letter to the process at the other end. Raises OSError where there is none any more."""
    head, tensors = _written(letter)
    parts = json.dumps({"kind": type(letter).__name__, **head}).encode(), _packed(tensors)
    for part in parts:
        to.write(len(part).to_bytes(LENGTH_BYTES, "big"))
        to.write(part)
    to.flush()


def receive(source: IO[bytes]) -> Letter:
    """Return the next letter. Raises EOFError where the process at the other end has ended, or writes something else."""
    head, body = _part(source), _part(source)
    try:
        told = parse_json(head, any_text=True)
        return _READERS[told["kind"]](told, load(body) if body else {})
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise EOFError(f"no letter: {error}") from error


def _part(source: IO[bytes]) -> bytes:
    length = int.from_bytes(_exactly(source, LENGTH_BYTES), "big")
    return _exactly(source, length)


def _exactly(source: IO[bytes], count: int) -> bytes:
    found = source.read(count) if count else b""
    if len(found) < count:
        raise EOFError(f"{len(found)} of {count} bytes")
    return found


def _packed(tensors: Tensors) -> bytes:
    # Copies: safetensors takes neither views into one storage nor rows that lie apart.
    return (
        save({name: values.detach().cpu().contiguous().clone() for name, values in tensors.items()})
        if tensors
        else b""
    )


def _written(letter: Letter) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    match letter:
        case Assignment():
            return _assignment_written(letter)
        case Task():
            return _task_written(letter)
        case Answer():
            return _answer_written(letter)
        case Meet():
            return {}, {}


def _assignment_written(letter: Assignment) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    texts = letter.texts or {}
    head = {name: getattr(letter, name) for name in PLAIN} | {
        "settings": dump_settings(letter.settings),
        "trials": [dump_settings(each) for each in letter.trials],
        "captions": None if letter.texts is None else list(texts),
    }
    return head, _numbered(texts.values())


def _assignment_read(told: dict[str, Any], tensors: Tensors) -> Assignment:
    captions, groups = told["captions"], _grouped(tensors)
    return Assignment(
        **{name: told[name] for name in PLAIN},
        settings=Settings.model_validate(told["settings"]),
        trials=tuple(Settings.model_validate(each) for each in told["trials"]),
        texts=None
        if captions is None
        else {caption: groups[number] for number, caption in enumerate(captions)},
    )


def _task_written(letter: Task) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    batches = [batch for _, batch in letter.micro_steps]
    steps = [
        {
            "index": index,
            "captions": batch.captions,
            "names": batch.names,
            "sizes": [(size.original_hw, size.crop_top_left, size.target_hw) for size in batch.sizes],
            "own": None if batch.own is None else (batch.own.first, batch.own.last, batch.own.whole),
        }
        for index, batch in letter.micro_steps
    ]
    head = {"steps": steps, "accumulation": letter.accumulation, "scale": letter.scale}
    return head, _numbered(_tensors_of(batch) for batch in batches)


def _tensors_of(batch: MicroBatch) -> dict[str, torch.Tensor]:
    found = {"clean": batch.clean_BCHW, "regularization": batch.regularization_B, "masks": batch.masks_B1HW}
    return {name: values for name, values in found.items() if values is not None}


def _task_read(told: dict[str, Any], tensors: Tensors) -> Task:
    steps, groups = [], _grouped(tensors)
    for number, step in enumerate(told["steps"]):
        own = groups[number]
        batch = MicroBatch(
            clean_BCHW=own["clean"],
            captions=tuple(step["captions"]),
            sizes=tuple(PictureSize(*(_pair(values) for values in size)) for size in step["sizes"]),
            regularization_B=own["regularization"],
            names=tuple(step["names"]),
            masks_B1HW=own.get("masks"),
            own=None if step["own"] is None else OwnRows(*step["own"]),
        )
        steps.append((step["index"], batch))
    return Task(tuple(steps), told["accumulation"], told["scale"])


def _answer_written(letter: Answer) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    names = [None if shown is None else list(shown.names) for shown in letter.shown]
    head = {"names": names, "error": letter.error, "is_full": letter.is_full, "trace": letter.trace}
    return head, _numbered({} if shown is None else _tensors_shown(shown) for shown in letter.shown)


def _tensors_shown(shown: Shown) -> dict[str, torch.Tensor]:
    found = {
        "timesteps": shown.timesteps_PB,
        "losses": shown.losses_PB,
        "regularization": shown.regularization_B,
        "preserved": shown.preserved_P,
    }
    return {name: values for name, values in found.items() if values is not None}


def _answer_read(told: dict[str, Any], tensors: Tensors) -> Answer:
    groups = _grouped(tensors)
    shown = tuple(
        None if names is None else _shown_read(names, groups[number])
        for number, names in enumerate(told["names"])
    )
    return Answer(shown, told["error"], told["is_full"], told["trace"])


def _shown_read(names: list[str], own: Tensors) -> Shown:
    return Shown(tuple(names), own["timesteps"], own["losses"], own["regularization"], own.get("preserved"))


_READERS: Mapping[str, Callable[[dict[str, Any], Tensors], Letter]] = {
    "Assignment": _assignment_read,
    "Task": _task_read,
    "Answer": _answer_read,
    "Meet": lambda told, tensors: Meet(),
}


def _numbered(groups: Iterable[Tensors]) -> dict[str, torch.Tensor]:
    """Return the tensors of all groups under one roof, each name with its group's number."""
    return {
        f"{number}.{name}": values for number, group in enumerate(groups) for name, values in group.items()
    }


def _grouped(tensors: Tensors) -> dict[int, dict[str, torch.Tensor]]:
    """Return the groups that `_numbered` brought together."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    for name, values in tensors.items():
        number, _, own = name.partition(".")
        found.setdefault(int(number), {})[own] = values
    return found


def _pair(values: list[int]) -> tuple[int, int]:
    first, second = values
    return first, second
