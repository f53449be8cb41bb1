"""A plan as lines for a person: the sum as it is, checkpoints, memory as bars, time with its error."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from math import ceil

from maquette.footprint.advice import Change
from maquette.footprint.memory import MemoryPlan
from maquette.planning.migrate import Migration
from maquette.planning.presets import Preset
from maquette.planning.run import PlanResult
from maquette.project.settings_text import toml_value
from maquette.spoken import disk_size, memory_size

BAR = 24
WIDTH = 110
SHOWN_CHECKPOINTS = 12
LONG_S = 72 * 3600
"""A longer run is told in days, and doubted."""
TOO_LONG = (
    "Nobody waits so long, and so long a figure is no more than a size: this device is too slow for this run. "
    "Plan it for a card (--device-like CARD), or take smaller pictures, a smaller base or fewer steps."
)
MACHINES = {"cuda": "a card of {} GB", "mps": "a Mac of {} GB", "cpu": "{} GB of memory"}


def plan_lines(plan: PlanResult) -> list[str]:
    """Return everything that a person wants to know of a plan."""
    return [
        *_steps(plan),
        "",
        *_checkpoints(plan),
        "",
        *_memory(plan),
        "",
        *_time(plan),
        *_validation(plan),
        *_disk(plan),
        *_hold_back(plan),
        *_advice(plan),
    ]


def _steps(plan: PlanResult) -> Iterator[str]:
    schedule = plan.schedule
    yield f"Steps: {schedule.explain()}"
    if schedule.regularization_items:
        yield (
            f"       {schedule.train_items:,} training items and {schedule.regularization_items:,} regularization items "
            "an epoch: the class is topped up or cut to match."
        )
    for proposal in plan.proposals:
        yield f"       For {plan.target} steps: {proposal.how}"
        yield f"           {proposal.sum}"


def _checkpoints(plan: PlanResult) -> Iterator[str]:
    planned = plan.checkpoints
    files = "file" if len(planned) == 1 else "files"
    yield f"Checkpoints: {len(planned)} {files} of {disk_size(plan.checkpoint_bytes)}"
    shown = planned if len(planned) <= SHOWN_CHECKPOINTS else (*planned[: SHOWN_CHECKPOINTS - 2], planned[-1])
    for checkpoint in shown:
        if checkpoint is planned[-1] and len(shown) < len(planned):
            yield f"       … {len(planned) - len(shown)} more"
        place = f"step {checkpoint.step:>6,}   epoch {checkpoint.epoch:>3}"
        yield f"       {place}   {checkpoint.file_name}"


def _memory(plan: PlanResult) -> Iterator[str]:
    memory, device = plan.memory, plan.device
    have = (
        f" of {memory_size(device.memory_bytes)} ({device.memory_source})"
        if device.memory_bytes
        else f" ({device.memory_source})"
    )
    peak = f"{memory_size(memory.peak_bytes)} at the peak, up to {memory_size(memory.needed_bytes)} (± {memory.share_off:.0%})"
    yield f"Memory: {peak}{have} on {device.name}, precision {device.precision}"
    if plan.assumed:
        yield f"       No base model given: reckoned for {plan.assumed}. Name yours with --base."
    yield from _bars(memory)
    words = {
        "load": "loading the base",
        "encode": "encoding pictures",
        "train": "training",
        "samples": "drawing samples",
    }
    yield f"       The peak comes while {words[memory.stage]}; {memory.note}."
    if not plan.memory_fits:
        yield from _changes(plan)


def _bars(memory: MemoryPlan) -> Iterator[str]:
    longest = max(memory.parts.values())
    for name, size in memory.parts.items():
        bar = "█" * max(1 if size else 0, ceil(BAR * size / longest))
        yield f"       {name:<16} {bar:<{BAR}} {memory_size(size):>9}"


def _changes(plan: PlanResult) -> Iterator[str]:
    """What to change, numbered; every figure is what the device should have, the error included."""
    assert plan.device.memory_bytes is not None
    have = memory_size(plan.device.memory_bytes)
    fits = "It may not fit" if plan.memory.peak_bytes <= plan.device.memory_bytes else "It does not fit"
    here = [change for change in plan.changes if change.applies]
    what = " In order of what it costs in quality:" if here else ""
    yield f"{fits} into {have}: it needs up to {memory_size(plan.memory.needed_bytes)}.{what}"
    for number, change in enumerate(here, 1):
        yield from _change(f"   {number}.  ", change)
    if not plan.fits:
        yield "       Even so it does not fit: take a smaller base or a larger device."
    for change in plan.changes:
        if not change.applies:
            yield from _change("   Not in Maquette: ", change)


def _change(mark: str, change: Change) -> Iterator[str]:
    sizes = f"{memory_size(change.before_bytes)} → {memory_size(change.needed_bytes)}"
    if not change.applies:
        sizes = f"would save {memory_size(change.saves_bytes)}"
    yield f"{mark}{change.name} ({change.setting}): {sizes}"
    yield from _wrapped(change.cost, "       ")


def _time(plan: PlanResult) -> Iterator[str]:
    time = plan.time
    if time is None:
        yield (
            f"Time: unknown on {plan.device.name}. Plan there, or name a card with a published figure: --device-like CARD"
        )
        return
    step = time.step
    low, high = (rough_duration(time.seconds * (1 + sign * step.share_off)) for sign in (-1, 1))
    each = f"{step_seconds(step.seconds)} s a step ± {step.share_off:.0%}"
    yield f"Time: about {rough_duration(time.seconds)} ({low} to {high}), {each}"
    if time.seconds > LONG_S:
        yield from _wrapped(TOO_LONG, "       ")
    parts = [f"{name} {rough_duration(seconds)}" for name, seconds in time.parts.items() if seconds >= 1]
    yield f"       {', '.join(parts)}"
    yield from textwrap.wrap(
        f"From {step.source}.", WIDTH, initial_indent="       ", subsequent_indent="       "
    )


def _validation(plan: PlanResult) -> Iterator[str]:
    if plan.validation is not None:
        seconds = plan.time.parts.get("validation", 0.0) if plan.time else None
        cost = f", {rough_duration(seconds)} of it" if seconds is not None else ""
        yield f"Validation: {plan.validation.told()}{cost}"


def _disk(plan: PlanResult) -> Iterator[str]:
    disk = plan.disk
    free = f" of {disk_size(disk.free_bytes)} free" if disk.free_bytes is not None else ""
    yield f"Disk: {disk_size(disk.total_bytes)}{free}"
    yield f"       {', '.join(f'{name} {disk_size(size)}' for name, size in disk.parts.items())}"


def _hold_back(plan: PlanResult) -> Iterator[str]:
    if plan.hold_back is not None:
        yield ""
        yield plan.hold_back.told[0]
        for each in plan.hold_back.pictures:
            yield f"       {each.told}"


def _advice(plan: PlanResult) -> Iterator[str]:
    if plan.advice:
        yield ""
    for text in plan.advice:
        yield from _wrapped(text, "  ·  ")
    if plan.presets:
        yield ""
        names = ", ".join(preset.name for preset in plan.presets[:3])
        yield f"Proven settings for such a base: {names} (maquette plan --presets)"


def preset_lines(found: Sequence[Preset]) -> list[str]:
    """Return the presets as a list to read."""
    lines = []
    for preset in found:
        low, high = preset.pictures
        lines += [
            f"{preset.name}",
            f"    {preset.title}",
            f"    {', '.join(preset.kinds)}; {low} to {high} pictures; {MACHINES[preset.device].format(preset.memory_gb)}",
            f"    {preset.source}",
        ]
        values = ", ".join(f"{name} {toml_value(entry.value)}" for name, entry in preset.settings.items())
        lines += _wrapped(values, "    ")
    return lines


def migration_lines(migration: Migration) -> list[str]:
    """Return a migration as a table: changed values with their reason, then what is kept."""
    changed = [line for line in migration.lines if line.changed]
    lines = ["Changed:"]
    for line in changed:
        lines.append(
            f"  {line.setting:<24}{_short(line.before):>14} → {_short(line.after):<14}  {line.reason}"
        )
    kept = [line for line in migration.lines if not line.changed and line.reason == "kept"]
    lines.append("Kept: " + ", ".join(f"{line.setting} {_short(line.after)}" for line in kept))
    for name, entry in migration.elsewhere.items():
        lines.append(f"Left to you: {name} {entry.value}, {entry.reason}")
    return lines


def _short(value: object) -> str:
    if value is None:
        return "—"
    text = str(value) if isinstance(value, str) else toml_value(value)
    return text if len(text) <= 28 else f"…{text[-27:]}"


def step_seconds(seconds: float) -> str:
    """Return the seconds of a step with as many digits as they deserve."""
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"


def rough_duration(seconds: float) -> str:
    """Return a planned duration, which is never known to the second: `12 min`, `3.4 h`, `9 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if seconds < LONG_S else f"{seconds / 86_400:,.0f} days"


def _wrapped(text: str, indent: str) -> list[str]:
    """Return `text` in lines; flags are not torn at their hyphens."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_on_hyphens=False,
        break_long_words=False,
    )
