"""The stages as Python functions: what the command line and the studio call, and what `import maquette` offers.

import maquette
result = maquette.train("pictures/", base="model.safetensors", trigger="myword", rank=16, steps=800)
print(result.lora, result.final_loss)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, Problem
from maquette.events import Event, Finished
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.records import RunFolder, read_record
from maquette.project.settings import Settings

if TYPE_CHECKING:
    from maquette.deploy.comfyui import Installed
    from maquette.training.loop import TrainResult

DEFAULT_SMOKE_STEPS = 3


def train(
    target: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    smoke: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a LoRA and return its TrainResult; the run record on disk is the command line's.

    target: a project folder, a maquette.toml, a folder of pictures, or a kohya dataset TOML.
    resume: a run's folder instead, to go on where it stopped with its own settings.
    smoke: a few steps only, nothing kept: proves device, memory and speed.
    on_event: called with every progress event.
    settings: any setting by name (rank=16, steps=800, base="…"), over those of a project.
    Raises MaquetteError with every problem before the base model is loaded.
    """
    return _result(train_events(target, resume=resume, smoke=smoke, settings=settings), on_event)


def train_events(
    target: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    smoke: bool = False,
    settings: Mapping[str, Any] | None = None,
    started: float | None = None,
) -> Iterator[Event]:
    """Yield the events of `train`; the last is Finished("train", TrainResult). Input is checked before the first."""
    from maquette.training.prepare import prepare

    smoke_steps = DEFAULT_SMOKE_STEPS if smoke else None
    if resume is not None:
        job = prepare(
            settings_of_run(Path(resume), target, settings), resume=Path(resume), smoke_steps=smoke_steps
        )
    else:
        job = prepare(resolve_settings(target, settings), smoke_steps=smoke_steps)
    return _train(job, started)


def _train(job: Any, started: float | None) -> Iterator[Event]:
    from maquette.evaluate.samples import draw_samples
    from maquette.training.loop import run_job

    with job:
        yield from run_job(job, draw=draw_samples, started=started)


def resolve_settings(target: str | Path | None, settings: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings that `target` (see `train`) and `settings` over it mean."""
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    if target is None:
        return load_settings(None, given)
    path = Path(target)
    if (path / CONFIG_NAME).is_file() or path.name == CONFIG_NAME:
        return load_settings(path, given)
    if "images" in given:
        raise ConfigError(
            Problem(
                str(path),
                "pictures given twice",
                "one place",
                "Name the folder either as the argument or with --images.",
            )
        )
    return load_settings(None, {**given, "images": path})


def settings_of_run(
    run: Path, target: str | Path | None = None, settings: Mapping[str, Any] | None = None
) -> Settings:
    """Return the recorded settings of `run`; a resumed run takes no others, since it would be another run."""
    given = sorted(name for name, value in (settings or {}).items() if value is not None)
    extra = [f"--{name.replace('_', '-')}" for name in given] + ([str(target)] if target is not None else [])
    if extra:
        raise ConfigError(
            Problem(
                "--resume",
                f"given together with {', '.join(extra)}",
                "nothing else: a resumed run keeps its settings",
                "Leave them out, or start a new run with another --name.",
            )
        )
    return Settings.model_validate(json.loads(json.dumps(read_record(run).settings)))


@dataclass(frozen=True, kw_only=True)
class NewProjectResult:
    """A project folder that was made."""

    config: Path
    pictures: int
    family: str
    steps: int
    warnings: tuple[str, ...] = ()


def init(
    project: str | Path,
    *,
    images: str | Path,
    base: str,
    trigger: str,
    class_word: str = "",
    regularization: str | Path | None = None,
) -> NewProjectResult:
    """Make a project folder with a maquette.toml made for these pictures and this base; pictures stay where they are.

    Raises MaquetteError when the base or the pictures cannot be used, or a project is there already.
    """
    from maquette import families
    from maquette.dataset.scan import scan_dataset
    from maquette.project.scaffold import NewProject, proposed_steps, write_project

    info = families.inspect(base)
    spec = families.FAMILIES[info.family].spec
    dataset = scan_dataset(Path(images), fallback_caption=trigger)
    pictures = sum(not picture.subset.is_regularization for picture in dataset.pictures)
    new = NewProject(
        folder=Path(project),
        images=Path(images),
        base=str(base),
        trigger=trigger,
        class_word=class_word,
        resolution_px=info.resolution,
        bucket_step_px=min(spec.bucket_step_px, info.resolution),
        clip_skip=spec.default_clip_skip,
        num_pictures=pictures,
        without_captions=all(picture.caption_path is None for picture in dataset.pictures),
        steps=proposed_steps(pictures),
        regularization=Path(regularization) if regularization else None,
        sampler=spec.default_sampler,
        guidance=spec.default_guidance,
    )
    return NewProjectResult(
        config=write_project(new),
        pictures=pictures,
        family=info.family,
        steps=new.steps,
        warnings=tuple(message.text for message in dataset.warnings),
    )


def evaluate(
    run: str | Path,
    *,
    prompts: Iterable[str] | None = None,
    seeds: Iterable[int] = (1, 2, 3, 4),
    on_event: Callable[[Event], None] | None = None,
) -> Any:
    """Draw with no LoRA and with every checkpoint of `run`, write its report; return the first look's record."""
    return _result(evaluate_events(run, prompts=prompts, seeds=seeds), on_event)


def evaluate_events(
    run: str | Path, *, prompts: Iterable[str] | None = None, seeds: Iterable[int] = (1, 2, 3, 4)
) -> Iterator[Event]:
    """Yield the events of `evaluate`; the last is Finished("evaluate", record)."""
    from maquette.evaluate.run import look_at_run

    return look_at_run(RunFolder(Path(run)), prompts=tuple(prompts) if prompts else None, seeds=tuple(seeds))


def _result(events: Iterable[Event], on_event: Callable[[Event], None] | None) -> Any:
    result = None
    for event in events:
        if on_event is not None:
            on_event(event)
        if isinstance(event, Finished):
            result = event.result
    return result


def deploy(
    run: str | Path,
    *,
    comfyui: str | Path | None = None,
    webui: str | Path | None = None,
    checkpoint: str | None = None,
    name: str | None = None,
    base_name: str | None = None,
    strength: float = 1.0,
    create: bool = False,
) -> list[Installed]:
    """Install a checkpoint of `run` into a ComfyUI and/or AUTOMATIC1111 folder; return what was installed.

    checkpoint: its name; the final one when None. name: the release's name; the run's when None. base_name: the base
    model's name in the drawing program. create: make the folders where no such program is.
    """
    from maquette.deploy import comfyui as comfyui_folder
    from maquette.deploy import webui as webui_folder
    from maquette.deploy.run import checkpoint_of, recipe_of

    if comfyui is None and webui is None:
        raise ConfigError(
            Problem(
                "deploy", "no place given", "a drawing program's folder", "Add --comfyui DIR or --webui DIR."
            )
        )
    folder = RunFolder(Path(run))
    record = read_record(folder.path)
    chosen = checkpoint_of(record, checkpoint)
    recipe = recipe_of(record, base_checkpoint=base_name, strength=strength)
    preview = next(
        (folder.path / entry["path"] for entry in reversed(record.samples) if entry["step"] == chosen.step),
        None,
    )
    places = [(comfyui_folder.install, comfyui), (webui_folder.install, webui)]
    return [
        install(
            folder.path / chosen.path,
            Path(place),
            name=name or record.run,
            recipe=recipe,
            preview=preview,
            create=create,
        )
        for install, place in places
        if place is not None
    ]
