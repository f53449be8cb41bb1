"""`maquette regularize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import follow, result_command


@result_command(
    click.argument("base", required=False),
    click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures."),
    click.option(
        "--class-word",
        default="",
        help="The ordinary word: man, dog, anime character. Default: the profile's.",
    ),
    click.option(
        "--count",
        type=click.IntRange(1, 100_000),
        metavar="N",
        help="Pictures. Default: as --for needs, else 100.",
    ),
    click.option(
        "--for",
        "dataset",
        type=click.Path(path_type=Path, exists=True),
        help="The dataset that they balance: a project, a folder of pictures, a kohya folder or TOML.",
    ),
    click.option(
        "--from",
        "source",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Copy the class pictures of this folder in place of drawing any.",
    ),
    click.option(
        "--profile", type=click.Path(path_type=Path, exists=True), help="The subject's profile.toml."
    ),
    click.option(
        "--prompt",
        "prompts",
        multiple=True,
        help="Template in place of the built-in ones: {a|b} is dealt out evenly, {class} the class word. Repeat for several.",
    ),
    click.option("--negative", default="", help="What the pictures should not show."),
    click.option(
        "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the first picture."
    ),
    click.option(
        "--size",
        "size_px",
        type=click.IntRange(8),
        metavar="PX",
        help="Edge of a picture. Default: the family's.",
    ),
    click.option("--steps", type=click.IntRange(1), default=25, show_default=True, help="Denoising steps."),
    click.option("--guidance", type=click.FloatRange(0), help="Guidance scale. Default: the family's."),
    click.option("--sampler", help="Default: the family's."),
    click.option(
        "--batch",
        type=click.IntRange(1),
        metavar="N",
        help="Pictures drawn together. Default: by their size.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
    click.option(
        "--precision",
        type=click.Choice(["auto", "no", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the base.",
    ),
    name="regularize",
)
def command(
    base: str | None,
    out: Path,
    source: Path | None,
    profile: Path | None,
    dataset: Path | None,
    class_word: str,
    count: int | None,
    size_px: int | None,
    **drawing: Any,
) -> dict[str, Any]:
    """Draw pictures of the class with the BASE model, to train beside the subject's own: they keep the class as it is.

    What lies in --out already is not drawn again. With --from, pictures of a folder are taken instead; BASE is not needed.
    """
    from maquette.errors import ConfigError, Problem
    from maquette.project.profile_file import read_profile
    from maquette.regularizing.run import regularize_events, regularize_folder_events

    known = read_profile(profile) if profile else None
    common: dict[str, Any] = {
        "out": out,
        "class_word": class_word,
        "count": count,
        "dataset": dataset,
        "profile": known,
        "size_px": size_px,
    }
    if source is not None:
        result = follow(regularize_folder_events(source, **common))
    elif base is None:
        given = Problem(
            "BASE",
            "not given",
            "a base model",
            "Name the model that you train on, or a folder with --from DIR.",
        )
        raise ConfigError(given)
    else:
        result = follow(regularize_events(base, **common, **drawing))
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
