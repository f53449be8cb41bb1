"""What an evaluation will cost, before anything is loaded: how many pictures, how long, how much disk.

Time comes from what drawing and measuring took before, in this run and in its siblings, on the same device over the same base.
Where nothing was measured yet it is not known, and that is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maquette.drawing.scene import base_name_of
from maquette.evaluating.asked import Asked, asked_of
from maquette.evaluating.drawings import place_of
from maquette.evaluating.first_look import folders_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.price import Timing, read_timings, work_of
from maquette.evaluating.run import plan_of, prompts_of
from maquette.families.protocol import FamilySpec, ModelInfo
from maquette.measuring.looks import FLOOR
from maquette.runs.folder import RECORD_NAME
from maquette.spoken import counted, disk_size, duration

BYTES_PER_PX = 3.0
"""Of a picture, where none is there to tell: PNG takes no more."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What is asked for and what it takes. `seconds` is None where nothing tells."""

    pictures: int
    missing: int
    """Of them not there yet. One that is there and was drawn from something else is drawn again all the same."""
    columns: int
    prompts: int
    seconds: float | None
    disk_bytes: int
    device: str
    at_most: bool = False
    """Whether a race may end with fewer."""
    why: str = ""
    """Why anything is drawn, where only choosing was asked for."""
    note: str = ""
    """What may come on top of it."""

    @property
    def told(self) -> str:
        """The price in a sentence."""
        if not self.missing:
            return f"{counted(self.pictures, 'picture')}, all there already: nothing is drawn"
        at_most = "at most " if self.at_most else ""
        there = self.pictures - self.missing
        also = f" ({there} more are there already)" if there else ""
        time = (
            f"about {duration(self.seconds)} on {self.device}"
            if self.seconds is not None
            else f"how long is not known yet: nothing was drawn on {self.device} here"
        )
        return f"{at_most}{counted(self.missing, 'picture')} to draw{also}; {time}; {disk_size(self.disk_bytes)} of disk"

    def to_json(self) -> dict[str, Any]:
        """Return the price as plain JSON values."""
        return {**asdict(self), "told": self.told}


@dataclass(frozen=True)
class _Named:
    """A base that is not loaded."""

    info: ModelInfo
    spec: FamilySpec


def cost_of(targets: Path | Sequence[Path], options: EvaluateOptions) -> Cost:
    """Return what `evaluate_events` would cost. Raises MaquetteError as it does, with what is missing or does not fit."""
    from maquette import families
    from maquette.devices import chosen, device_name

    asked = asked_of([targets] if isinstance(targets, Path) else list(targets), options)
    settings = asked.settings
    info = families.inspect(settings.model.base, families.stated_by(settings.objective, settings.model))
    base = _Named(info, families.FAMILIES[info.family].spec)
    suite = prompts_of(asked, options, info)
    plan = plan_of(settings, suite.prompts, options.seeds, base, size_wh=asked.size_wh)
    requests = [plan.request(prompt, seed) for prompt, seed in plan.cells()]
    folders = folders_of([FLOOR, *(column.label for column in asked.checkpoints)])
    places = [(asked.output / place_of(folder, each), each) for folder in folders for each in requests]
    missing = [each for path, each in places if not path.is_file()]
    device = device_name(chosen(settings.training.device, settings.training.precision).device)
    timings = [each for each in _timings(asked) if each.base == base_name_of(info) and each.device == device]
    pixels = sum(each.width_px * each.height_px for each in missing)
    return Cost(
        pictures=len(places),
        missing=len(missing),
        columns=len(folders),
        prompts=len(plan.prompts),
        seconds=_seconds(sum(map(work_of, missing)), len(places), timings),
        disk_bytes=round(
            pixels * _bytes_per_px([(path, each.width_px * each.height_px) for path, each in places])
        ),
        device=device,
    )


def _timings(asked: Asked) -> Iterator[Timing]:
    """Yield what was measured in this folder and in those of the sibling runs."""
    folders = [asked.output]
    if asked.run is not None:
        siblings = sorted(asked.run.path.resolve().parent.glob(f"*/{RECORD_NAME}"))
        folders += [path.parent / "evaluation" for path in siblings]
    for folder in {folder.resolve(): folder for folder in folders}:
        yield from read_timings(folder)


def _seconds(work: float, pictures: int, timings: Sequence[Timing]) -> float | None:
    """Return how long `work` takes and what is done with all pictures beside it; None where drawing was never timed."""
    drawing = [each for each in timings if each.work]
    beside = [each for each in timings if each.looked_at]
    if not beside or (work and not drawing):
        return None
    found = pictures * sum(each.seconds for each in beside) / sum(each.looked_at for each in beside)
    if work:
        found += work * sum(each.seconds for each in drawing) / sum(each.work for each in drawing)
    return found


def _bytes_per_px(places: Sequence[tuple[Path, int]]) -> float:
    """Return what the pictures that are there take."""
    there = [(path.stat().st_size, pixels) for path, pixels in places if path.is_file()]
    return sum(size for size, _ in there) / sum(pixels for _, pixels in there) if there else BYTES_PER_PX
