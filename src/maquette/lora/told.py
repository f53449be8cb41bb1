"""What a LoRA file says of its own training, in its metadata or its name: read as a stranger's text, never trusted to be there.

NAME-step00000200 NAME-000004 NAME (sd-scripts, Maquette)   NAME_000000500 (ai-toolkit)
NAME2026-01-31_10-00-00-save-1200-6-0 (OneTrainer)          checkpoint-500/pytorch_lora_weights (diffusers, SimpleTuner)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maquette.lora.facts import LoraFacts
from maquette.reading import parse_json

_SIZE = re.compile(r"\D{0,8}(\d{2,5})\D{1,8}(\d{2,5})\D{0,8}|(\d{3,4})")
_SIZE_KEYS = ("modelspec.resolution", "ss_resolution")
_CLIP_SKIP_KEYS = ("ss_clip_skip", "modelspec.encoder_layer")
_LARGEST = 10**9
_ONE_TRAINER = re.compile(r"(?:[-_]?\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)?-save-(?P<step>\d+)-(?P<epoch>\d+)-\d+$")
_ENDINGS = (
    _ONE_TRAINER,
    re.compile(r"[-_]?step[-_]?(?P<step>\d{1,9})$", re.IGNORECASE),
    re.compile(r"_(?P<step>\d{9})$"),
    re.compile(r"[-_]?e(?:poch)?[-_]?(?P<epoch>\d{1,6})$", re.IGNORECASE),
    re.compile(r"-(?P<epoch>\d{6})$"),
)
"""How trainers end the names of their checkpoints."""
_FOLDER = re.compile(r"(?:checkpoint|step)[-_]?(?P<step>\d{1,9})|epoch[-_]?(?P<epoch>\d{1,6})", re.IGNORECASE)


@dataclass(frozen=True)
class Trained:
    """How far a training was when it wrote a file, as far as that is known."""

    name: str
    """The file's name without its count: what the files of one training share."""
    step: int | None = None
    epoch: int | None = None
    is_numbered: bool = False
    """Whether its name says its count; the last file of a training has none."""


def trained_of(path: Path, metadata: Mapping[str, str]) -> Trained:
    """Return what the name of a file and its metadata say of how far its training was; the metadata's word goes first."""
    name, numbers = _by_name(path)
    info = _table(metadata.get("training_info", ""))
    step = _number(metadata.get("ss_steps")) or _number(info.get("step")) or numbers.get("step")
    epoch = _number(metadata.get("ss_epoch")) or _number(info.get("epoch")) or numbers.get("epoch")
    return Trained(name, step, epoch, bool(numbers))


def _by_name(path: Path) -> tuple[str, dict[str, int]]:
    """Return a file's name without its count, and the counts."""
    for ending in _ENDINGS:
        if found := ending.search(path.stem):
            return path.stem[: found.start()], _counts(found)
    if found := _FOLDER.fullmatch(path.parent.name):
        return path.stem, _counts(found)
    return path.stem, {}


def _counts(found: re.Match[str]) -> dict[str, int]:
    return {name: int(value) for name, value in found.groupdict().items() if value is not None}


def size_told(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Return width and height that it was trained at, in whole eighths; None where nothing usable is said."""
    for key in _SIZE_KEYS:
        if found := _SIZE.fullmatch(metadata.get(key, "")):
            sides = (found[1], found[2]) if found[1] else (found[3], found[3])
            width_px, height_px = (int(side) // 8 * 8 for side in sides)
            if min(width_px, height_px) >= 64 and max(width_px, height_px) <= 4096:
                return width_px, height_px
    return None


def clip_skip_told(facts: LoraFacts) -> int | None:
    """Return the text layer that it was trained with, counted from the end; None where it does not say."""
    for key in _CLIP_SKIP_KEYS:
        number = facts.number(key)
        if number is not None and number in range(1, 13):
            return int(number)
    return None


def captions_told(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the parts of its captions, as sd-scripts counts them; nothing where it does not say."""
    folders = _table(metadata.get("ss_tag_frequency", "")).values()
    tags = [str(tag) for counts in folders if isinstance(counts, Mapping) for tag in counts]
    return tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def _table(text: str) -> Mapping[str, object]:
    try:
        found = parse_json(text)
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _number(value: object) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and 0 < int(text) < _LARGEST else None
