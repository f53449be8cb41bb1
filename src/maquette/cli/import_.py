"""`maquette import`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.importing.options import ImportOptions
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.importing.run import ImportedRun

MOST_LEFT = 8


@result_command(
    click.argument("folder", type=click.Path(path_type=Path)), *options_of(ImportOptions), name="import"
)
def command(folder: Path, **given: Any) -> dict[str, Any]:
    """Read the runs of another trainer in FOLDER, so that `runs`, `diff`, `evaluate` and the report know them.

    FOLDER is the output folder of sd-scripts or kohya_ss, a workspace of OneTrainer, or a job's folder of ai-toolkit: LoRA files
    with their metadata, settings, logs, TensorBoard events. What nobody there says is named in the record. Nothing in FOLDER is
    changed, and the LoRA files stay where they are.

    \b
      maquette import kohya/outputs --base sd15.safetensors --trigger zkw
      maquette import OneTrainer/workspace/zkw --output runs
    """
    from maquette.importing.run import import_events

    runs = follow(import_events(folder, ImportOptions(**given)))
    return {
        "runs": [each.to_json() for each in runs],
        "lines": [line for each in runs for line in _lines(each)],
    }


def _lines(each: ImportedRun) -> Iterator[str]:
    record, foreign = each.record, each.record.foreign
    assert foreign is not None
    told = f"{counted(len(record.checkpoints), 'LoRA file')}, {counted(record.step, 'step')}, {record.state}"
    yield f"{each.run}  ({foreign.trainer}: {told}){'' if each.is_new else '  imported before, left as it is'}"
    yield from (f"  read: {path}" for path in foreign.files)
    yield from (f"  unknown: {what}" for what in foreign.unknown)
    left = list(foreign.left_over.items())
    for name, why in left[:MOST_LEFT]:
        yield f"  without counterpart: {name}{f': {why}' if why else ''}"
    if len(left) > MOST_LEFT:
        yield f"  … and {len(left) - MOST_LEFT} more settings without counterpart (--json)"
