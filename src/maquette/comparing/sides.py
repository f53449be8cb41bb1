"""What is compared: a run as its record tells it, or a project as it would be trained now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.dataset.config import DatasetSource, SubsetSource
from maquette.errors import ConfigError, Problem
from maquette.project.config_file import CONFIG_NAME, dump_settings, load_settings
from maquette.project.settings import Settings
from maquette.runs.environment import VARIABLES, EnvironmentRecord, environment
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import DatasetRecord, PictureRecord, RunRecord, read_record

NOT_RECORDED: Mapping[str, Any] = {
    "python": "",
    "platform": "",
    "processor": "",
    "instructions": (),
    "capability": "",
    "threads": None,
}
"""What older records lack of the environment, and how it stands in them."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    path: Path
    title: str
    """As a sentence names it: `run zkw-001`, `project my-project`."""
    settings: Mapping[str, Mapping[str, Any]]
    """Plain values, section by section."""
    dataset: DatasetRecord
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the base and of the LoRAs that it goes on from, by what they are: `model.base`, a path."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Flat: `python`, `packages.torch`, `device.name`."""
    unknown: tuple[str, ...] = ()
    """What it does not say, in words."""
    record: RunRecord | None = None

    @property
    def pictures(self) -> tuple[PictureRecord, ...]:
        return self.dataset.pictures

    @property
    def subsets(self) -> tuple[SubsetSource, ...]:
        return self.dataset.subsets

    @property
    def tables(self) -> tuple[DatasetSource, ...]:
        return self.dataset.datasets


def side_of(path: Path) -> Side:
    """Return what `path` is: a run's folder or its run.json, a project or its maquette.toml. Raises MaquetteError."""
    path = Path(path)
    if (path / RECORD_NAME).is_file() or path.name == RECORD_NAME:
        return side_of_run(path if path.is_dir() else path.parent, read_record(path))
    if (path / CONFIG_NAME).is_file() or (path.suffix.lower() == ".toml" and path.is_file()):
        return side_of_settings(path, load_settings(path))
    found = "no such file or folder" if not path.exists() else "neither"
    raise ConfigError(
        Problem(
            str(path),
            found,
            f"a run's folder (with its {RECORD_NAME}), a project or its {CONFIG_NAME}",
            "maquette runs FOLDER lists the runs below a folder; maquette import FOLDER reads another trainer's.",
        )
    )


def side_of_run(folder: Path, record: RunRecord) -> Side:
    """Return the run as its record tells it: nothing but the record is read."""
    device = asdict(record.device) if record.device is not None else {}
    told, missing = _environment(record.environment)
    files = {"model.base": record.base_sha256} if record.base_sha256 else {}
    return Side(
        path=folder,
        title=f"run {record.run}",
        settings=dump_settings(record.settings),
        dataset=record.dataset,
        files={**files, **record.lora_files},
        environment={
            **({"maquette": record.maquette_version} if record.foreign is None else {}),
            **told,
            **{f"device.{name}": value for name, value in device.items() if value},
        },
        unknown=_unknown(record, missing),
        record=record,
    )


def _unknown(record: RunRecord, missing: Sequence[str]) -> tuple[str, ...]:
    if record.foreign is not None:
        return record.foreign.unknown
    return (*missing, *(() if record.device else ("no device: the run never began",)))


def side_of_settings(path: Path, settings: Settings) -> Side:
    """Return the project as it would be trained here and now: pictures and captions as they lie there.

    Raises DatasetError with every problem of its pictures.
    """
    from maquette.dataset.reading import read_dataset
    from maquette.dataset.strict import dataset_of
    from maquette.runs.record import dataset_record
    from maquette.training.prepare import dataset_input

    folder = path if path.is_dir() else path.parent
    told, missing = environment_now()
    return Side(
        path=path,
        title=f"project {folder.resolve().name}",
        settings=dump_settings(settings),
        dataset=dataset_record(dataset_of(read_dataset(dataset_input(settings)))),
        files=_files_now(settings),
        environment=told,
        unknown=(*missing, "the device is chosen when the run begins"),
    )


def environment_now() -> tuple[dict[str, Any], list[str]]:
    """Return the environment here and now, flat, and in words what is not known of it."""
    told, missing = _environment(environment())
    return {"maquette": __version__, **told}, missing


def _environment(found: EnvironmentRecord) -> tuple[dict[str, Any], list[str]]:
    """Return the environment flat, what is not recorded left out, and the latter in words."""
    values = asdict(found)
    missing = [name for name, nothing in NOT_RECORDED.items() if values[name] == nothing]
    variables = values.pop("variables")
    packages = values.pop("packages")
    flat = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    flat = {name: value for name, value in flat.items() if name not in missing}
    flat |= {f"packages.{name}": version for name, version in packages.items()}
    if missing:  # an older release, which did not look at variables either
        return flat, [f"{', '.join(missing)} and variables of the environment are not recorded"]
    return flat | {f"variables.{name}": variables.get(name) for name in VARIABLES}, []


def _files_now(settings: Settings) -> dict[str, str]:
    from maquette.files import sha256_file

    named = {"model.base": settings.model.base}
    weights = settings.lora.network_weights
    named |= {
        str(each): str(each) for each in (*settings.model.base_weights, *([weights] if weights else []))
    }
    return {name: sha256_file(Path(path)) for name, path in named.items() if Path(path).is_file()}
