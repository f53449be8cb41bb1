"""`maquette regularize`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.project.config_file import CONFIG_NAME
from maquette.project.settings_text import relative_to, toml_value
from maquette.regularizing.options import RegularizeOptions


@result_command(
    click.argument("base", required=False),
    *options_of(RegularizeOptions),
    name="regularize",
    detachable=True,
)
def command(base: str | None, **given: Any) -> dict[str, Any]:
    """Draw pictures of the class with the BASE model, to train beside the subject's own: they keep the class as it is.

    What lies in --out already is not drawn again. With --from, pictures of a folder are taken instead; BASE is not needed.
    """
    from maquette.regularizing.run import regularize_events

    options = RegularizeOptions(**given)
    result = follow(regularize_events(base, options))
    lines = [
        f"{result.pictures} pictures of “{result.class_word}” ({result.drawn} new) in {result.folder}, {result.seconds:.0f} s",
        f"Look at them: {result.sheet}",
        *_training_lines(result.folder.absolute(), options.dataset),
    ]
    if result.needed is not None:
        lines.append(
            f"An epoch has {result.needed} training and {result.needed} regularization items: twice as many steps."
        )
    return {**result.to_json(), "lines": lines}


def _training_lines(folder: Path, dataset: Path | None) -> list[str]:
    """Return how to train with the pictures, in lines that can be pasted: a path in a file is relative to that file."""
    if dataset is not None and (config := dataset / CONFIG_NAME).is_file():
        setting = f"regularization = {toml_value(relative_to(folder, dataset))}"
        train = shlex.join(["maquette", "train", str(dataset), "--regularization", str(folder)])
        return [f"Train with them: below [dataset] in {config}:", f"  {setting}", f"or once:  {train}"]
    return [
        "Train with them: below [dataset] in maquette.toml:",
        f"  regularization = {toml_value(folder.as_posix())}",
        f"or as an option:  {shlex.join(['--regularization', str(folder)])}",
        f"with sd-scripts:  {shlex.join(['--reg_data_dir', str(folder)])}",
    ]
