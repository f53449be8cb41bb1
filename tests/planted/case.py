"""How faults and close calls are written down: functions that change a clean case, registered with their rule's code.

@fault("CAP010", "one caption lacks the trigger")
def trigger_missing(case: Case) -> None:
    case.caption(3, "full body, back view, white background")

@close_call("CAP010", "the trigger is written in capitals where the tokenizer lowers all")
def trigger_in_capitals(case: Case) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maquette.project.machine import Machine
from maquette.project.request import Trainer

Start = Literal["kohya", "toml", "project", "folder", "log", "lora"]
"""What a case begins as: a kohya folder with the shell script that trains it; a kohya dataset TOML with its script; a
Maquette project; a bare kohya folder alone; a training log; a LoRA file."""


@dataclass
class Case:
    """A clean case on disk and what `check` is told beside its paths. Functions change it in place."""

    folder: Path
    start: Start
    paths: list[Path]
    """What is checked."""
    machine: Machine
    trainer: Trainer | None = None
    profile: Path | None = None
    pictures: list[Path] = field(default_factory=list)
    """The subject's pictures, sorted; captions lie beside them as .txt."""

    def caption(self, index: int, text: str) -> Path:
        """Rewrite the caption of one picture; return its file."""
        path = self.pictures[index].with_suffix(".txt")
        path.write_text(text, encoding="utf-8")
        return path

    def all_captions(self, change: Callable[[str], str]) -> None:
        """Rewrite every caption."""
        for picture in self.pictures:
            path = picture.with_suffix(".txt")
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    @property
    def script(self) -> Path:
        """The shell script of a kohya or toml case."""
        return self.folder / "train.sh"

    @property
    def toml(self) -> Path:
        """The kohya dataset TOML of a toml case."""
        return self.folder / "dataset.toml"

    @property
    def config(self) -> Path:
        """maquette.toml of a project."""
        return self.folder / "maquette.toml"

    @property
    def base(self) -> Path:
        """The base model: a full SD 1.5 layout (sparse, header only), or what a fault puts there."""
        return self.folder / "base.safetensors"

    def edit(self, path: Path, old: str, new: str) -> None:
        """Replace `old`, which must occur, in a text file."""
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{path.name} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class Planted:
    """One registered fault or close call."""

    code: str
    kind: Literal["fault", "close call"]
    start: Start
    description: str
    plant: Callable[[Case], None]
    also: frozenset[str] = frozenset()
    """Other rules that this very fault must raise too, since it breaks what they guard as well."""


PLANTED: list[Planted] = []


def fault(
    code: str, description: str, *, start: Start = "kohya", also: tuple[str, ...] = ()
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register a change that makes exactly this rule speak."""
    return _register(code, "fault", description, start, also)


def close_call(
    code: str, description: str, *, start: Start = "kohya"
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register a change that comes near the rule's line and must raise nothing at all."""
    return _register(code, "close call", description, start, ())


def _register(
    code: str,
    kind: Literal["fault", "close call"],
    description: str,
    start: Start,
    also: tuple[str, ...],
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def register(plant: Callable[[Case], None]) -> Callable[[Case], None]:
        PLANTED.append(Planted(code, kind, start, description, plant, frozenset(also)))
        return plant

    return register
