"""`maquette plan`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import given_of, options_of, settings_options
from maquette.cli.output import follow, result_command
from maquette.cli.tasks import Task, chosen_task, names_of
from maquette.planning.options import PlanOptions
from maquette.project.settings import SECTION_OF

SETTINGS = (*SECTION_OF, "batch")
PLAN = Task(heeds=(*names_of(PlanOptions), *SETTINGS, "write_to"))
PRESETS = Task(asked_by=("list_presets",), heeds=("kind", "base"))
MIGRATE = Task(asked_by=("migrate_to",), heeds=(*SETTINGS, "write_to"))
SIBLING = Task(asked_by=("sibling",), heeds=SETTINGS)


@result_command(
    click.argument("target", metavar="PATH", required=False, type=click.Path(path_type=Path)),
    click.option("--batch", "batch", metavar="N", help="Short for --batch-size."),
    *options_of(PlanOptions),
    click.option("--presets", "list_presets", is_flag=True, help="List proven settings."),
    click.option(
        "--write", "write_to", type=click.Path(path_type=Path), metavar="PATH",
        help="With --preset: write its settings to this file. With --migrate-to: write a project into this folder.",
    ),
    click.option(
        "--migrate-to", metavar="BASE",
        help="Carry the project's settings over to a larger base, each change with its reason.",
    ),
    click.option(
        "--sibling", type=click.Path(path_type=Path), metavar="NEWDIR",
        help="Make a project for another subject of the same style; needs --images and --trigger.",
    ),
    *settings_options(),
    name="plan",
)  # fmt: skip
def command(target: Path | None, **given: Any) -> dict[str, Any]:
    """Say what a run will take before it runs: steps, checkpoints, memory, time, disk.

    PATH is what `maquette train` takes: a project, a folder of pictures, a kohya folder (10_name/ folders) or a kohya
    dataset TOML; or a run of another trainer: a script, a --config_file, the settings of kohya_ss' GUI. Every setting is a
    flag. Without a base model the ordinary one of the resolution's family is taken.

    \b
      maquette plan my-project
      maquette plan pictures/ --epochs 4 --batch 1 --regularization class-pictures/
      maquette plan my-project --memory 16GB --device cuda
      maquette plan my-project --migrate-to sd_xl_base_1.0.safetensors
    """
    task = chosen_task((PLAN, PRESETS, MIGRATE, SIBLING), given)
    options = PlanOptions(**given_of(PlanOptions, given))
    settings = {name: given[name] for name in SECTION_OF}
    settings["batch_size"] = _one_of(given["batch_size"], given["batch"])
    if task is PRESETS:
        return _list_presets(options.kind, settings["base"])
    if task is SIBLING:
        return _sibling(target, settings, given["sibling"])
    if task is MIGRATE:
        return _migrate(target, settings, given["migrate_to"], given["write_to"])
    return (
        _write_preset(options, given["write_to"]) if given["write_to"] else _plan(target, settings, options)
    )


def _plan(target: Path | None, settings: dict[str, Any], options: PlanOptions) -> dict[str, Any]:
    from maquette.planning.requests import asked_of_plan
    from maquette.planning.run import plan_events
    from maquette.planning.show import plan_lines

    result = follow(plan_events(*asked_of_plan(target, settings, options)))
    return {**result.to_json(), "lines": plan_lines(result)}


def _list_presets(kind: str | None, base: str | None) -> dict[str, Any]:
    from maquette.planning.presets import presets
    from maquette.planning.show import preset_lines

    found = [preset for preset in presets() if kind is None or kind in preset.kinds]
    if base:
        from maquette import families

        native_px = families.inspect_or_known(base).resolution
        found = [preset for preset in found if preset.native_px == native_px]
    return {"presets": [preset.to_json() for preset in found], "lines": preset_lines(found)}


def _write_preset(options: PlanOptions, path: Path) -> dict[str, Any]:
    from maquette.files import write_atomic
    from maquette.planning.presets import preset_named
    from maquette.planning.requests import require_free
    from maquette.project.settings_text import settings_toml

    if options.preset is None:
        raise _refused("--write", "given alone", "--preset or --migrate-to, whose settings it writes")
    preset = preset_named(options.preset)
    require_free(path)
    text = settings_toml(preset.settings, f"{preset.title}\nFrom {preset.source}", preset.elsewhere)
    write_atomic(path, text)
    line = f"{path}: the settings of {preset.name}, to stand in a maquette.toml beside [subject] and [model]"
    return {"preset": preset.to_json(), "written": str(path), "lines": [line]}


def _migrate(target: Path | None, settings: dict[str, Any], base: str, folder: Path | None) -> dict[str, Any]:
    from maquette import families
    from maquette.planning.migrate import migrate_settings, write_migration
    from maquette.planning.requests import required_project, settings_for
    from maquette.planning.show import migration_lines

    project = required_project(target, "--migrate-to")
    info = families.inspect_or_known(base)
    before = settings_for(target, settings)
    migration = migrate_settings(before, info, families.FAMILIES[info.family].spec, base)
    lines = migration_lines(migration)
    written = write_migration(migration, folder, project) if folder is not None else None
    if written is not None:
        lines += ["", f"{written}: the new project. Next: {shlex.join(['maquette', 'plan', str(folder)])}"]
    return {
        "migration": [line.to_json() for line in migration.lines],
        "elsewhere": {name: vars(entry) for name, entry in migration.elsewhere.items()},
        "written": str(written) if written else None,
        "lines": lines,
    }


def _sibling(target: Path | None, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from maquette.errors import ConfigError, Problem
    from maquette.planning.requests import required_project, settings_for
    from maquette.planning.sibling import make_sibling

    project = required_project(target, "--sibling")
    own = {name: settings.pop(name) for name in ("images", "trigger", "class_word")}
    missing = [name for name in ("images", "trigger") if not own[name]]
    if missing:
        raise ConfigError(
            Problem(f"--{name}", "not given", "what the new subject's own project needs", f"Add --{name}.")
            for name in missing
        )
    made = make_sibling(
        settings_for(target, settings),
        project,
        folder,
        images=Path(own["images"]),
        trigger=own["trigger"],
        class_word=own["class_word"],
    )
    return {
        "project": str(made.folder),
        "config": str(made.config),
        "profile": str(made.profile),
        "pictures": made.pictures,
        "kept": list(made.kept),
        "changed": list(made.changed),
        "lines": [
            f"{made.config}: {made.pictures} pictures, trigger {own['trigger']}",
            f"Kept: {', '.join(made.kept)}",
            *(f"Changed: {sentence}" for sentence in made.changed),
            f"{made.profile}: fill in who the subject is",
            f"Next: {shlex.join(['maquette', 'plan', str(made.folder)])}",
        ],
    }


def _one_of(long: str | None, short: str | None) -> str | None:
    """Return --batch-size or its short; two different numbers are refused."""
    if long is not None and short is not None and long != short:
        raise _refused("--batch and --batch-size", f"--batch {short}, --batch-size {long}", "one number")
    return short if long is None else long


def _refused(where: str, given: str, required: str) -> Exception:
    from maquette.errors import ConfigError, Problem

    return ConfigError(Problem(where, given, required, "See maquette plan --help."))
