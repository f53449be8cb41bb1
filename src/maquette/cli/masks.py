"""`maquette masks`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.masking.options import MasksOptions


@result_command(
    click.argument("directory", type=click.Path(path_type=Path), metavar="DIR"),
    *options_of(MasksOptions),
    name="masks",
    detachable=True,
)
def command(directory: Path, **given: Any) -> dict[str, Any]:
    """Make a mask for every picture in DIR, into `masks` beside them: white is what training learns.

    DIR is a folder of pictures, a kohya folder or a project. Masks that are there stay; `maquette undo DIR` takes back
    what was made. Look at the sheet that it writes: without --segmenter a subject is found by its colours alone.

    \b
      maquette masks pictures
      maquette masks pictures --segmenter isnet-general-use.onnx --overwrite
      maquette masks pictures --from face
      maquette masks pictures --from text --text-model text_detection_en_ppocrv3_2023may.onnx
      maquette train pictures --mask-source beside
    """
    from maquette.masking.run import masks_events

    result = follow(masks_events(directory, MasksOptions(**given)))
    counts = [
        f"{len(result.made)} made",
        f"{len(result.kept)} there already",
        f"{len(result.doubtful) + len(result.plain)} without",
    ]
    lines = [f"Masks of {result.pictures} pictures: {', '.join(counts)}, {result.seconds:.0f} s"]
    if result.how.get("grabcut"):
        lines.append(f"{result.how['grabcut']} by a guess from colours: look at these above all.")
    if result.sheet is not None:
        lines.append(f"Look at them: {result.sheet}")
        lines.append(f"Train with them: {shlex.join(['--mask-source', 'beside'])}")
    return {**result.to_json(), "lines": lines}
