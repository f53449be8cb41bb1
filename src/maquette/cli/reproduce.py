"""`maquette reproduce`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.comparing.options import ReproduceOptions
from maquette.spoken import counted
from maquette.stopping import Stop

if TYPE_CHECKING:
    from maquette.comparing.reproducing import Reproduction


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    *options_of(ReproduceOptions),
    name="reproduce",
    detachable=True,
)
def command(run: Path, **given: Any) -> dict[str, Any]:
    """Train RUN again from its record and compare the weights bit for bit.

    Settings, captions and pictures are those of the record; what changed since is refused in words. The new run has a folder of
    its own. Where bits differ, the first differing step is named, and what differs in the environment. Exit code 0: the same
    bits; 1: other ones.
    """
    from maquette.api import reproduce_stage

    stop = Stop()
    found = follow(reproduce_stage(run, ReproduceOptions(**given), stop=stop), stop)
    return {
        **found.to_json(),
        "exit_code": 1 if found.identical is False else 0,
        "lines": list(_lines(found)),
    }


def _lines(found: Reproduction) -> Iterator[str]:
    if found.reproduced is None:
        yield f"Nothing was trained. {found.run} can be: {counted(found.steps, 'step')}, everything it needs is here."
        yield from _environment(found)
        return
    yield f"{'Identical' if found.identical else 'Not identical'}: {found.run} and {found.reproduced}"
    for each in found.compared:
        told = f"the same bits in {counted(each.tensors, 'tensor')}"
        if not each.is_identical:
            told = f"{len(each.differing)} of {counted(each.tensors, 'tensor')} differ"
            told += f", by {each.largest:.3g} at most" if each.largest is not None else ""
        yield f"  {each.name}  {told}"
    if found.identical:
        return
    if (first := found.first_difference) is not None:
        values = ", ".join(f"{name} {a} → {b}" for name, (a, b) in first.values.items())
        yield f"First differing step: {first.step} ({values})"
    else:
        yield "Every recorded loss is the same: what differs came after them, or metrics.jsonl is gone."
    yield from _environment(found)


def _environment(found: Reproduction) -> Iterator[str]:
    if not found.environment:
        yield "The environment is the same, as far as the record tells it."
    for name, change in (found.environment or {}).items():
        yield f"  environment: {name}  {_said(change.a)} → {_said(change.b)}"
    yield from (f"  not recorded: {each}" for each in found.unknown)


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
