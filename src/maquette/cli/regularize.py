"""`maquette regularize`."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.regularizing.options import RegularizeOptions


@result_command(
    click.argument("base", required=False),
    *options_of(RegularizeOptions),
    name="regularize",
)
def command(base: str | None, **given: Any) -> dict[str, Any]:
    """Draw pictures of the class with the BASE model, to train beside the subject's own: they keep the class as it is.

    What lies in --out already is not drawn again. With --from, pictures of a folder are taken instead; BASE is not needed.
    """
    from maquette.regularizing.run import regularize_events

    result = follow(regularize_events(base, RegularizeOptions(**given)))
    lines = [
        f"{result.pictures} pictures of “{result.class_word}” ({result.drawn} new) in {result.folder}, {result.seconds:.0f} s",
        f"Look at them: {result.sheet}",
        f'Train with them: regularization = "{result.folder}" in maquette.toml, or --reg_data_dir={result.folder}',
    ]
    if result.needed is not None:
        lines.append(
            f"An epoch has {result.needed} training and {result.needed} regularization items: twice as many steps."
        )
    return {**result.to_json(), "lines": lines}
