"""`maquette plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import settings_options
from maquette.cli.output import follow, result_command

TASKS = {"--preset": "preset", "--migrate-to": "migrate_to", "--sibling": "sibling"}
PLAN_OPTIONS = (
    "batch", "target_steps", "kind", "memory", "device_like", "trainer", "list_presets", "preset", "write_to", "migrate_to",
    "sibling",
)  # fmt: skip


@result_command(
    click.argument("target", metavar="PATH", required=False, type=click.Path(path_type=Path)),
    click.option("--batch", "batch", metavar="N", help="Short for --batch-size."),
    click.option("--target-steps", type=click.IntRange(min=1), metavar="N", help="Propose epochs and repeats for about N steps."),
    click.option(
        "--kind", type=click.Choice(["character", "person", "object", "style"]),
        help="What is learned. Default: as profile.toml says.",
    ),
    click.option("--memory", metavar="SIZE", help="Fit into this much memory (16GB), whatever the device has."),
    click.option(
        "--device-like", metavar="CARD", help="Take the published speed and memory of this card, such as 'RTX 3090 Ti'."
    ),
    click.option(
        "--trainer", type=click.Choice(["maquette", "sd-scripts"]), default="maquette", help="Whose options the advice may use."
    ),
    click.option("--presets", "list_presets", is_flag=True, help="List proven settings."),
    click.option("--preset", metavar="NAME", help="Plan with these proven settings; flags win over them."),
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
    dataset TOML. Every setting is a flag. Without a base model the ordinary one of the resolution's family is taken.

    \b
      maquette plan my-project
      maquette plan pictures/ --epochs 4 --batch 1 --regularization class-pictures/
      maquette plan my-project --memory 16GB --device cuda
      maquette plan my-project --migrate-to sd_xl_base_1.0.safetensors
    """
    asked = {name: given.pop(name) for name in PLAN_OPTIONS}
    settings = {**given, "batch_size": _one_of(given["batch_size"], asked.pop("batch"))}
    if asked["list_presets"]:
        return _list_presets(settings, asked)
    _require_one_task(asked)
    if asked["sibling"] is not None:
        return _sibling(target, settings, asked["sibling"])
    if asked["migrate_to"] is not None:
        return _migrate(target, settings, asked["migrate_to"], asked["write_to"])
    return _plan(target, settings, asked)


def _plan(target: Path | None, settings: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    from maquette.planning.presets import preset_named
    from maquette.planning.requests import kind_of, parse_size, settings_for
    from maquette.planning.run import PlanOptions, plan_events
    from maquette.planning.show import plan_lines

    preset = preset_named(asked["preset"]) if asked["preset"] else None
    if preset is not None and asked["write_to"] is not None:
        return _write_preset(preset, asked["write_to"])
    options = PlanOptions(
        kind=kind_of(target, asked["kind"]),
        target_steps=asked["target_steps"],
        memory_bytes=parse_size(asked["memory"]) if asked["memory"] else None,
        device_like=asked["device_like"],
        trainer=asked["trainer"],
    )
    result = follow(plan_events(settings_for(target, settings, preset), options))
    return {**result.to_json(), "lines": plan_lines(result)}


def _list_presets(settings: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    from maquette.planning.presets import presets
    from maquette.planning.show import preset_lines

    found = [preset for preset in presets() if asked["kind"] is None or asked["kind"] in preset.kinds]
    if settings["base"]:
        from maquette import families

        native_px = families.inspect(settings["base"]).resolution
        found = [preset for preset in found if preset.native_px == native_px]
    return {"presets": [preset.to_json() for preset in found], "lines": preset_lines(found)}


def _write_preset(preset: Any, path: Path) -> dict[str, Any]:
    from maquette.files import write_atomic
    from maquette.planning.requests import require_free
    from maquette.planning.settings_text import settings_toml

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
    info = families.inspect(base)
    before = settings_for(target, settings)
    migration = migrate_settings(before, info, families.FAMILIES[info.family].spec, base)
    lines = migration_lines(migration)
    written = write_migration(migration, folder, project) if folder is not None else None
    if written is not None:
        lines += ["", f"{written}: the new project. Next: maquette plan {folder}"]
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
            f"Next: maquette plan {made.folder}",
        ],
    }


def _one_of(long: str | None, short: str | None) -> str | None:
    """Return --batch-size or its short; two different numbers are refused."""
    if long is not None and short is not None and long != short:
        raise _refused("--batch and --batch-size", f"--batch {short}, --batch-size {long}", "one number")
    return short if long is None else long


def _require_one_task(asked: dict[str, Any]) -> None:
    tasks = [flag for flag, name in TASKS.items() if asked[name] is not None]
    if len(tasks) > 1:
        raise _refused(" and ".join(tasks), "given together", "one of them: they are separate tasks")
    if asked["write_to"] is not None and not (asked["preset"] or asked["migrate_to"]):
        raise _refused("--write", "given alone", "--preset or --migrate-to, whose settings it writes")


def _refused(where: str, given: str, required: str) -> Exception:
    from maquette.errors import ConfigError, Problem

    return ConfigError(Problem(where, given, required, "See maquette plan --help."))
