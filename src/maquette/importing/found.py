"""What lies in another trainer's folder: its LoRA files by run, its settings, its logs.

sd-scripts, kohya_ss   OUTPUT/NAME.safetensors, NAME-000002.safetensors, NAME-step00000200.safetensors, several names side by
                       side; the GUI's NAME_20240101-120000.json and config_lora-20240101-120000.toml; LOGS/20240101120000/
OneTrainer             WORKSPACE/config/2024-01-01_12-00-00.json, save/2024-01-01_12-00-00-save-200-2-0.safetensors, tensorboard/
ai-toolkit             TRAINING_FOLDER/NAME/config.yaml, NAME_000000250.safetensors, NAME.safetensors, loss_log.db
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maquette.elsewhere.runs import is_run_of_a_trainer, runs_of
from maquette.errors import ConfigError, Problem
from maquette.logs.reading import looks_like_log
from maquette.lora.facts import LoraFacts
from maquette.lora.reading import read_lora_facts
from maquette.project.places import found_path
from maquette.project.request import TrainingRequest

SETTINGS_ENDINGS = frozenset({".json", ".toml", ".yaml", ".yml", ".sh", ".bat", ".ps1", ".cmd"})
LOG_ENDINGS = frozenset({".log", ".txt", ".out"})
LOSS_DATABASE = "loss_log.db"
EVENTS = "events.out.tfevents.*"
OF_SETTINGS = (".", "config", "onetrainer_config")
OF_LORAS = (".", "save")
MOST_FILES = 2000
ANOTHER = "another trainer"
MOMENT_OF_EVENTS = re.compile(r"tfevents\.(\d{9,12})")
TIMES = ("ss_training_started_at", "ss_training_finished_at")
SLACK_S = 60
"""sd-scripts notes the start before it opens its events; clocks are rounded."""
ONE_TRAINER_SAVE = re.compile(r"^(.*?)(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)-save-(\d+)-(\d+)-(\d+)$")
STEP_OF_NAME = (
    (re.compile(r"^(.+)-step(\d{8})$"), "step"),
    (re.compile(r"^(.+)-(\d{6})$"), "epoch"),
    (re.compile(r"^(.+)_(\d{9})$"), "step"),
)


@dataclass(frozen=True, kw_only=True)
class FoundLora:
    """One LoRA file, and what its name says of it."""

    facts: LoraFacts
    stem: str
    """The run's name, as the file's name has it."""
    step: int | None = None
    epoch: int | None = None

    @property
    def path(self) -> Path:
        return self.facts.path

    @property
    def run(self) -> str:
        """The name of the run that it belongs to: as its metadata say, else as its name does."""
        return self.facts.metadata.get("ss_output_name") or self.stem

    @property
    def is_final(self) -> bool:
        return self.step is None and self.epoch is None


@dataclass(frozen=True, kw_only=True)
class FoundSettings:
    """A file that describes a run."""

    path: Path
    title: str
    request: TrainingRequest

    @property
    def trainer(self) -> str:
        """Whose it is, in words."""
        for name in ("OneTrainer", "ai-toolkit", "SimpleTuner", "diffusion-pipe"):
            if name in self.title:
                return name
        return "sd-scripts" if self.request.trainer == "sd-scripts" else ANOTHER


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """The files of one run."""

    name: str
    loras: tuple[FoundLora, ...]
    settings: FoundSettings | None
    logs: tuple[Path, ...]
    """Text logs, folders of TensorBoard events, ai-toolkit's database."""
    trainer: str
    unknown: tuple[str, ...] = field(default=())


def runs_in(folder: Path, settings: Path | None = None, log: Path | None = None) -> list[FoundRun]:
    """Return the runs whose files lie in `folder`. Raises ConfigError where there is none."""
    if not folder.is_dir():
        given = "no such folder" if not folder.exists() else "no folder"
        raise ConfigError(Problem(str(folder), given, "the output folder of a trainer", "Name one."))
    known = [_settings(settings)] if settings is not None else list(_all_settings(folder))
    loras = [*_loras(folder), *_finals(known)]
    logs = [log] if log is not None else list(_logs(folder))
    if not loras and not known and not logs:
        given = "holds no LoRA file, no settings and no log of a trainer"
        raise ConfigError(
            Problem(
                str(folder),
                given,
                "the output folder of sd-scripts, kohya_ss, OneTrainer or ai-toolkit",
                "Name the folder that holds the LoRA files; --settings and --log say what lies elsewhere.",
            )
        )
    return [
        _run(folder, name, those, known, logs, alone=len(names) == 1)
        for names in [_by_run(folder, loras, known)]
        for name, those in names.items()
    ]


def _run(
    folder: Path,
    name: str,
    loras: Sequence[FoundLora],
    known: Sequence[FoundSettings],
    logs: Sequence[Path],
    *,
    alone: bool,
) -> FoundRun:
    own = [each for each in known if each.request.output_name == name] or (list(known) if alone else [])
    settings = max(own, key=lambda each: (each.path.stat().st_mtime, each.path.name), default=None)
    unknown = []
    if settings is None:
        told = "what the LoRA file says of its training is all there is" if loras else "none was found"
        unknown.append(f"the trainer's own settings file: {told}")
    elif len(own) > 1:
        unknown.append(f"which of {len(own)} settings files it was: {settings.path.name} is the newest")
    if not logs:
        unknown.append("the losses: no log was found")
    elif not alone:
        logs = [each for each in logs if name in each.name or _is_of_the_time(each, loras)]
        if not logs:
            unknown.append("the losses: which log is this run's cannot be told; give it with --log")
    return FoundRun(
        name=name,
        loras=tuple(
            sorted(loras, key=lambda each: (each.is_final, each.step or 0, each.epoch or 0, each.path.name))
        ),
        settings=settings,
        logs=tuple(logs),
        trainer=_trainer(loras, settings),
        unknown=tuple(unknown),
    )


def _is_of_the_time(log: Path, loras: Sequence[FoundLora]) -> bool:
    """Return whether TensorBoard's events began while the LoRA files say that they were trained."""
    began = [float(found[1]) for path in log.glob(EVENTS) if (found := MOMENT_OF_EVENTS.search(path.name))]
    told = [
        moment
        for each in loras
        for key in TIMES
        if (moment := _seconds(each.facts.metadata.get(key))) is not None
    ]
    return bool(began and told) and min(told) - SLACK_S <= min(began) <= max(told)


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _by_run(
    folder: Path, loras: Sequence[FoundLora], known: Sequence[FoundSettings]
) -> dict[str, list[FoundLora]]:
    """Return the LoRA files by the run that they belong to; a workspace that is one run's holds one."""
    of_one = next((each for each in known if each.trainer in ("OneTrainer", "ai-toolkit")), None)
    if of_one is not None or not loras:
        name = (known[0].request.output_name if known else None) or folder.resolve().name
        return {name: list(loras)}
    found: dict[str, list[FoundLora]] = {}
    for each in loras:
        found.setdefault(each.run, []).append(each)
    return found


def _trainer(loras: Sequence[FoundLora], settings: FoundSettings | None) -> str:
    if settings is not None and settings.trainer != ANOTHER:
        return settings.trainer
    names = {name for each in loras for name in each.facts.metadata}
    if "ot_revision" in names:
        return "OneTrainer"
    if any(
        each.facts.metadata.get("ss_sd_scripts_commit_hash", "").startswith("maquette/") for each in loras
    ):
        return "Maquette"
    if "ss_sd_scripts_commit_hash" in names or "ss_network_dim" in names:
        return "sd-scripts"
    is_toolkit = any("ai-toolkit" in each.facts.metadata.get("software", "") for each in loras)
    return "ai-toolkit" if is_toolkit else ANOTHER


# --- files -----------------------------------------------------------------------------------------------


def _files(folder: Path, places: Sequence[str], endings: frozenset[str]) -> Iterator[Path]:
    for place in places:
        inner = folder / place
        if inner.is_dir():
            found = (
                each for each in sorted(inner.iterdir()) if each.suffix.lower() in endings and each.is_file()
            )
            yield from (each for _, each in zip(range(MOST_FILES), found, strict=False))


def _loras(folder: Path) -> Iterator[FoundLora]:
    for path in _files(folder, OF_LORAS, frozenset({".safetensors"})):
        facts = read_lora_facts(path, depth="header")
        if facts.problem is None and facts.modules:
            yield named(facts)


def _finals(known: Sequence[FoundSettings]) -> Iterator[FoundLora]:
    """Yield the finished files that OneTrainer wrote where its settings say, which need not be the workspace."""
    for place in dict.fromkeys(_final_of(each) for each in known if each.trainer == "OneTrainer"):
        if place is not None and (facts := read_lora_facts(place, depth="header")).modules:
            yield FoundLora(facts=facts, stem=place.stem)


def _final_of(settings: FoundSettings) -> Path | None:
    request = settings.request
    named = (
        request.output_dir / f"{request.output_name}.safetensors"
        if request.output_dir and request.output_name
        else None
    )
    return found_path(named, settings.path) if named is not None else None


def named(facts: LoraFacts) -> FoundLora:
    """Return a LoRA file with what its name says of step and epoch."""
    stem = facts.path.stem
    if (saved := ONE_TRAINER_SAVE.match(stem)) is not None:
        return FoundLora(facts=facts, stem=saved[1] or stem, step=int(saved[3]), epoch=int(saved[4]))
    for pattern, what in STEP_OF_NAME:
        if (found := pattern.match(stem)) is not None:
            return FoundLora(facts=facts, stem=found[1], **{what: int(found[2])})
    return FoundLora(facts=facts, stem=stem)


def _all_settings(folder: Path) -> Iterator[FoundSettings]:
    for path in _files(folder, OF_SETTINGS, SETTINGS_ENDINGS):
        if is_run_of_a_trainer(path):
            try:
                yield _settings(path)
            except ConfigError:
                continue


def _settings(path: Path) -> FoundSettings:
    found = runs_of(path)
    return FoundSettings(path=path, title=found.title, request=found.requests[0])


def _logs(folder: Path) -> Iterator[Path]:
    for path in _files(folder, (".",), LOG_ENDINGS):
        if looks_like_log(path):
            yield path
    if (folder / LOSS_DATABASE).is_file():
        yield folder / LOSS_DATABASE
    events = {path.parent for _, path in zip(range(MOST_FILES), folder.rglob(EVENTS), strict=False)}
    yield from sorted(events)
