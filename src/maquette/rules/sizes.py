"""Rules about sizes in pixels that the trainer cannot use as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maquette.dataset.facts import DatasetFacts
from maquette.findings.records import Finding, Severity
from maquette.findings.registry import Report, rule
from maquette.kohya.options import BUCKET_GRID_PX, SCRIPTS
from maquette.project.request import TrainingRequest
from maquette.rules.wording import is_sd_scripts


@dataclass(frozen=True)
class _Asked:
    """One dataset's sizes: of the command, or of a [[datasets]] in a TOML."""

    resolution_wh: tuple[int, int] | None
    has_buckets: bool
    step_px: int
    place_of_resolution: str
    place_of_step: str


@rule("SET024", "size-not-divisible", "error", since="0.2")
def size_not_divisible(
    request: TrainingRequest, facts: DatasetFacts | None, report: Report
) -> Iterator[Finding]:
    """A size or the step of buckets is no multiple of what the network halves its pictures by.

    Why: With buckets, train_network.py stops after it has listed the pictures: `bucket_reso_steps is 32. it must be divisible
    by 64`; sdxl_train_network.py wants 32. A resolution between two steps is rounded down: 1016 trains at 960. Without
    buckets the network stretches its inner levels to fit, which blurs.
    Found by: sd-scripts with buckets and a step that is no multiple of 64 (SDXL 32), in the command or in a [[datasets]] (an
    error); a resolution that is no multiple of the step, or of 64 (32) without buckets (warnings).
    Do: Use --bucket_reso_steps=64, and a resolution that is a multiple of 64.
    Fault: `--enable_bucket --bucket_reso_steps=8`
    Instead: `--enable_bucket --bucket_reso_steps=64`
    Source: sd-scripts 48d368fa (verify_bucket_reso_steps; make_bucket_resolutions; resize_like in its U-Nets).
    """
    if not is_sd_scripts(request) or request.script not in (None, *SCRIPTS):
        return
    grid = BUCKET_GRID_PX[request.script] if request.script else min(BUCKET_GRID_PX.values())
    for asked in _asked(request, facts):
        found = _step_fault(asked, grid) or _resolution_fault(asked, grid)
        if found is not None:
            place, message, remedy, severity = found
            yield report(request.file, place, message, remedy, severity=severity)


Fault = tuple[str, str, str, Severity]
"""(place, message, remedy, severity)"""


def _step_fault(asked: _Asked, grid: int) -> Fault | None:
    if not asked.has_buckets or asked.step_px % grid == 0:
        return None
    message = (
        f"Buckets of {asked.step_px} px: sd-scripts stops with 'bucket_reso_steps is {asked.step_px}. it must be divisible by "
        f"{grid}'."
    )
    better = max(grid, round(asked.step_px / grid) * grid)
    return asked.place_of_step, message, f"Use bucket_reso_steps = {better}.", "error"


def _resolution_fault(asked: _Asked, grid: int) -> Fault | None:
    if asked.resolution_wh is None:
        return None
    step = asked.step_px if asked.has_buckets else grid
    if all(side % step == 0 for side in asked.resolution_wh):
        return None
    width, height = asked.resolution_wh
    near = ",".join(str(max(step, round(side / step) * step)) for side in asked.resolution_wh)
    if asked.has_buckets and width == height:
        size = f"{width // step * step}x{height // step * step}"
        message = f"{width} px lies between two steps of {step}: square pictures train at {size}."
    elif asked.has_buckets:
        return None
    else:
        message = f"{width}x{height} is no multiple of {step}: without buckets the U-Net stretches its inner levels to fit."
    return asked.place_of_resolution, message, f"Use {near}.", "warning"


def _asked(request: TrainingRequest, facts: DatasetFacts | None) -> Iterator[_Asked]:
    if request.dataset_config is None:
        yield _Asked(
            request.resolution_wh,
            bool(request.value("enable_bucket")),
            request.value("bucket_step_px") or 64,
            request.said("resolution_wh"),
            request.said("bucket_step_px"),
        )
        return
    sources = facts.plan.datasets if facts is not None and facts.is_toml else ()
    for number, source in enumerate(sources, start=1):
        place = f"[[datasets]] {number} of {request.dataset_config.name}"
        yield _Asked(
            source.resolution_wh or request.resolution_wh,
            bool(request.value("enable_bucket") if source.enable_bucket is None else source.enable_bucket),
            source.step_px or request.value("bucket_step_px") or 64,
            place,
            place,
        )
