"""What a report shows of the validation: its curve, what it says, and the pictures that were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.evaluating.charts import Axis, Chart, Series, line_chart
from maquette.evaluating.facts import ReportFacts
from maquette.measuring.statistics import t975
from maquette.runs.validation import ValidationPoint, ValidationRecord
from maquette.spoken import counted


@dataclass(frozen=True)
class ValidationShown:
    """The curve with its band, in words, and the pictures."""

    title: str
    told: str
    band_told: str
    chart: Chart
    pictures: Sequence[tuple[Path, str]]
    """Those that were held out."""


def validation(facts: ReportFacts) -> ValidationShown | None:
    """Return the validation of the run, None where there was none."""
    record = facts.record.validation
    if record is None or not record.points:
        return None
    number = len(record.pictures)
    is_training = record.measured_on == "training"
    which = counted(number, "training picture" if is_training else "held-out picture")
    told = _told(record, which)
    band_told = (
        "The band is the 95 % interval of the change from the base, paired picture by picture."
        if number > 1
        else "One picture alone has no interval."
    )
    if is_training:
        band_told += " Training pictures are fitted better and better: this says nothing of others."
    points = [(float(point.step), point.loss) for point in record.points]
    chart = line_chart(
        [Series(name=f"loss of {which}", points=points, style="main", band=_band(record), dots=True)],
        title="Validation loss",
        description=told,
        x=Axis(label="optimizer step"),
        y=Axis(label="loss"),
        rules=[("the base alone", record.points[0].loss)] if record.points[0].step == 0 else (),
        height=260,
    )
    shown = [] if is_training else [(Path(each.path), each.caption) for each in record.pictures]
    title = (
        "How well the training pictures are fitted"
        if is_training
        else "What it makes of pictures it never saw"
    )
    return ValidationShown(title, told, band_told, chart, shown)


def _band(record: ValidationRecord) -> list[tuple[float, float, float]]:
    """Return (step, low, high): the loss as far as its change from the base is known."""
    factor = t975(len(record.pictures) - 1)
    return [
        (float(point.step), point.loss - factor * error, point.loss + factor * error)
        for point in record.points
        if (error := 0.0 if point.step == 0 else point.from_base_error) is not None
    ]


def _told(record: ValidationRecord, which: str) -> str:
    """Return what the curve says: how far it fell, where it was lowest, and whether it rose from there."""
    first, last = record.points[0], record.points[-1]
    best = min(record.points, key=lambda point: point.loss)
    text = f"The loss of {which} at fixed noise went from {first.loss:.4f} to {last.loss:.4f}"
    if last.from_base is not None and first.loss:
        text += f" ({last.from_base / first.loss:+.1%})"
    if best is last:
        return f"{text}, its lowest."
    where = "with the base alone" if best.step == 0 else f"at step {best.step:,}"
    return f"{text}; it was lowest {where} ({best.loss:.4f}){_rise(record, best, last)}."


def _rise(record: ValidationRecord, best: ValidationPoint, last: ValidationPoint) -> str:
    """Say whether the rise since the lowest point is more than noise, as far as the change of the last interval tells."""
    if last.from_previous is None or last.from_previous_error is None:
        return ""
    factor = t975(len(record.pictures) - 1)
    is_clear = last.from_previous > factor * last.from_previous_error
    if last.from_previous > 0:
        return ", and is rising" if is_clear else ", and its rise since is within the noise"
    return ""
