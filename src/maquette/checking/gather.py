"""From targets to scopes: reads everything that rules may want to know, and never stops at the first problem.

What cannot be read becomes part of the scope (`Unusable`), so that one broken file hides nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from maquette.checking.scope import Scope
from maquette.checking.targets import Target, kind_of_file
from maquette.curating.identity_facts import identity_facts
from maquette.dataset.facts import DatasetFacts, DatasetInput
from maquette.dataset.folders import missing_folder
from maquette.dataset.measure_cache import MeasureCache
from maquette.dataset.planned import DEFAULT_GRID_PX, input_of, schedule_of
from maquette.dataset.reading import read_dataset
from maquette.dataset.subject_guess import subject_of
from maquette.elsewhere.kinds import recognise
from maquette.elsewhere.runs import runs_of
from maquette.errors import MaquetteError
from maquette.events import Message, Progress, Stage
from maquette.families.protocol import ModelInfo, Prediction, Stated
from maquette.kohya.prompts import PromptFile, read_prompt_file, read_prompts
from maquette.kohya.request import is_run_elsewhere
from maquette.kohya.shell_commands import with_home
from maquette.project.config_file import config_path, load_settings
from maquette.project.machine import Machine
from maquette.project.machine_look import machine_for
from maquette.project.places import is_of_another_computer
from maquette.project.profile import Profile
from maquette.project.profile_file import profile_path_near, read_profile
from maquette.project.request import Trainer, TrainingRequest
from maquette.project.subject import subject_said
from maquette.words.reading import TokenCounter

FOR_ANY_TRAINER = ("SET001", "SET002", "SET007", "SET008", "MOD003", "MOD004", "MOD008", "PIC", "CAP")
"""Rules whose words hold for a trainer whose defaults nobody here knows."""
SETTINGS_SUFFIXES = frozenset({".json", ".toml"})
ABOUT_WHAT_IS_WRITTEN = ("SET015", "SET016", "SET017")
"""Rules that need not know what else a run is told."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the caller said beside the paths."""

    machine: Machine
    profile: Profile | None = None
    trainer: Trainer | None = None
    is_told: bool = False
    """Whether the machine was described, and is not just the one that this runs on."""
    trigger: str | None = None
    """As --trigger names it; it counts before what files say."""


def scopes_of(target: Target, context: Context) -> Stage[list[Scope]]:
    """Read `target`; return a scope for each run in it, or the one that it is."""
    if target.kind == "log":
        return (yield from _log(target.path, context))
    files = {"lora": _lora, "base": _base, "profile": _profile, "foreign": _foreign, "prompts": _prompts}
    if target.kind in files:
        return [files[target.kind](target.path, context)]
    read = {"project": _project, "dataset": _dataset}.get(target.kind, _runs)
    return (yield from read(target.path, context))


@contextmanager
def _kept(scope: Scope, path: Path) -> Iterator[None]:
    """Turn what makes a file unusable into a part of the scope."""
    try:
        yield
    except MaquetteError as error:
        scope.refuse(path, error.problems)


# --- runs: something that is to be trained ---------------------------------------------------------------


def _project(path: Path, context: Context) -> Stage[list[Scope]]:
    from maquette.project.request_maquette import request_of

    scope = Scope(path)
    with _kept(scope, path):
        file = config_path(path)
        settings = load_settings(file)
        scope.ignore = settings.check.ignore_rules
        yield from _run(scope, request_of(settings, file), context)
    return [scope]


def _runs(path: Path, context: Context) -> Stage[list[Scope]]:
    scope = Scope(path)
    scopes = []
    with _kept(scope, path):
        found = runs_of(path)
        for request in found.requests:
            each = Scope(path)
            each.notes += _what_it_is(path, found.title, request)
            if request.trainer == "other":
                each.only = FOR_ANY_TRAINER
            yield from _run(each, request, context)
            scopes.append(each)
    return scopes or [scope]


def _what_it_is(path: Path, title: str, request: TrainingRequest) -> list[str]:
    """Return what a person is told of another program's file: what was judged of it, and what can be made of it."""
    if request.trainer == "other":
        judged = "what every trainer has in common was judged"
    elif request.file.suffix.lower() in SETTINGS_SUFFIXES and request.launcher is not None:
        judged = f"judged as the run of {request.script} that it starts"
    else:
        return []
    return [f"{path} is {title}: {judged}; maquette init PROJECT --from {path} makes a project of it."]


def _run(scope: Scope, request: TrainingRequest, context: Context) -> Stage[None]:
    """Read what a planned run names: its base, its pictures, its profile."""
    is_elsewhere = is_run_elsewhere(request)
    if request.unread and request.trainer == "sd-scripts":
        scope.only = ABOUT_WHAT_IS_WRITTEN
        scope.notes.append(f"{', '.join(request.unread)} is not here: what stands in it was not judged.")
    scope.add(request)
    if request.trainer == "other":
        is_elsewhere = True  # its packages and its meaning of a device are its own
    elif context.is_told or not is_elsewhere:
        scope.add(machine_for(context.machine, request))
    else:
        scope.notes.append(
            f"{request.file} is of another computer: device and packages were not judged (--machine describes its own)."
        )
    _add_base(scope, request, is_elsewhere)
    _add_prompts(scope, request)
    asked = _found(request.dataset_config or request.images or _only_folder(request), request)
    scope.add(context.profile or _profile_near(scope, asked or request.file))
    if asked is not None and not asked.exists() and request.trainer == "maquette":
        scope.refuse(asked, [missing_folder(asked)])
    elif asked is not None and not asked.exists():
        scope.notes.append(f"{asked} is not on this machine: its pictures were not looked at.")
    elif asked is not None:
        beside = _found(request.regularization, request) if request.dataset_config is None else None
        yield from _pictures(scope, input_of(request, asked, beside))
    _add_subject(scope, context)
    yield from (Message(note) for note in scope.notes)
    _add_what_follows(scope, request)


def _add_prompts(scope: Scope, request: TrainingRequest) -> None:
    """Add the prompts of the samples, where sd-scripts' file of them is here."""
    if request.trainer == "sd-scripts" and request.sample_texts:
        scope.add(PromptFile(request.file, tuple(read_prompts(request.sample_texts))))
    elif request.trainer == "sd-scripts" and request.sample_prompts:
        here = _found(Path(request.sample_prompts), request)
        if here is not None and here.is_file():
            scope.add(read_prompt_file(here))


def _only_folder(request: TrainingRequest) -> Path | None:
    """Return the folder of pictures that a file lists, where it is the only one."""
    own = [folder.path for folder in request.folders if not folder.is_regularization]
    return own[0] if len(own) == 1 else None


def _add_what_follows(scope: Scope, request: TrainingRequest) -> None:
    """Add what pictures, base and settings mean together: the steps and the memory."""
    facts, info, machine = (scope.facts.get(kind) for kind in (DatasetFacts, ModelInfo, Machine))
    if facts is None:
        return
    grid_px = info.vae_factor if info is not None else DEFAULT_GRID_PX
    scope.add(schedule_of(facts, request, grid_px))
    if info is not None and machine is not None:
        from maquette.footprint.run import footprint_of_facts

        with _kept(scope, request.file):
            footprint = footprint_of_facts(request, info, facts, machine)
            if footprint is not None:
                scope.add(footprint.memory, footprint)


def _add_subject(scope: Scope, context: Context) -> None:
    """Add which words mean the subject: as somebody names it, else as folders and captions show it."""
    known = scope.facts
    scope.add(
        subject_of(
            known.get(Profile),
            known.get(TrainingRequest),
            known.get(DatasetFacts),
            known.get(TokenCounter),
            context.trigger,
        )
    )


def _add_base(scope: Scope, request: TrainingRequest, is_elsewhere: bool) -> None:
    """Add what the base model is; a hub name that is not on this machine is only noted."""
    from maquette import families

    if request.base is None:
        return
    base = str(_found(Path(request.base), request))
    known = None if Path(base).exists() else families.known_by_name(request.base)
    if known is not None:
        scope.notes.append(
            f"{request.base} is known by its name ({known.title.partition(':')[0]}): the model itself was not "
            "looked at."
        )
        scope.add(known)
        return
    is_file = _looks_like_file(base) or is_of_another_computer(request.base)
    if not Path(base).exists() and is_elsewhere and is_file:
        scope.notes.append(f"{request.base} is not on this computer: the model itself was not looked at.")
        _add_published(scope, request)
        return
    if not Path(base).exists() and not _looks_like_file(base):
        scope.notes.append(f"{base} is a hub name: the model itself was not looked at.")
        return
    with _kept(scope, request.file):
        info = families.inspect(base, _stated(request))
        scope.add(info)
        scope.add(_token_counter(base))
        if request.trainer == "maquette" and request.vae and Path(request.vae).expanduser().exists():
            families.require_vae(request.vae, info)


def _stated(request: TrainingRequest) -> Stated:
    """Return what the settings say of the base. A command of sd-scripts says how it trains, which the rules compare."""
    if request.trainer != "maquette":
        return Stated()
    asked = request.v_parameterization
    return Stated(
        prediction=None if asked is None else "v" if asked else "epsilon",
        zero_terminal_snr=request.zero_terminal_snr,
    )


def _add_published(scope: Scope, request: TrainingRequest) -> None:
    """Add what a base of the script's family is like, where the file itself is elsewhere."""
    from maquette import families

    spec = families.family_of_script(request.script, v2=bool(request.other.get("v2")))
    if spec is not None:
        info = families.published_info(spec.name)
        predicts: Prediction = (
            "v" if request.v_parameterization else info.prediction
        )  # nothing here can gainsay it
        resolution = spec.resolution_of(predicts)
        scope.add(replace(info, path=str(request.base), prediction=predicts, resolution=resolution))
        scope.is_base_presumed = True


def _token_counter(base: str | None = None) -> TokenCounter:
    """Return how the base model's tokenizer sees captions; CLIP's where there is no model."""
    from maquette import families

    tokenizer = families.tokenizer(base)
    counter = TokenCounter(count=lambda text: len(tokenizer.encode(text)), pieces=tokenizer.pieces)
    option = (
        families.FAMILIES[families.inspect(base).family].spec.option("max_token_length") if base else None
    )
    return replace(counter, limits=option.choices or (option.default,)) if option else counter


def _found(path: Path | None, request: TrainingRequest) -> Path | None:
    """Return where a run's path lies: from the working folder as trainers take it, else beside the file that names it."""
    if path is None:
        return None
    given = with_home(str(path))
    beside = request.file.parent / given
    return beside if not given.exists() and beside.exists() else given


def _looks_like_file(base: str) -> bool:
    return base.endswith((".safetensors", ".ckpt", ".pt", ".bin")) or base.startswith(("/", "./", "../", "~"))


JUDGED_SUFFIXES = (".sh", ".bat", ".cmd", ".ps1", ".toml", ".json", ".yaml", ".yml", ".log", ".safetensors")
JUDGED_LOOKED_AT = 50
"""How many files of a folder without pictures are looked at, to say which of them can be checked."""


# --- pictures --------------------------------------------------------------------------------------------


def _dataset(path: Path, context: Context) -> Stage[list[Scope]]:
    scope = Scope(path)
    scope.add(context.machine, context.profile or _profile_near(scope, path))
    trainer = context.trainer or ("sd-scripts" if path.is_file() else "maquette")
    given = _given_or_below(scope, DatasetInput(images=path, trainer=trainer))
    yield from (Message(note) for note in scope.notes)
    yield from _pictures(scope, given)
    _add_subject(scope, context)
    return [scope]


def _given_or_below(scope: Scope, given: DatasetInput) -> DatasetInput:
    """Return the dataset at a folder, or the only one below it where the folder holds none, and note which it is.

    A trainer is not so kind: a folder that a run names is taken as it stands.
    """
    facts = read_dataset(given, "listing", captions=False)
    if not facts.files and (others := _judged_alone(given.images)):
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        scope.notes.append(
            f"{given.images} holds {', '.join(others[:3])}{more}: give such a file itself to have it judged."
        )
    if len(facts.below) != 1 or any(folder.others for folder in facts.folders):
        return given
    below = facts.below[0]
    beside = f", with {below.regularization} as its regularization pictures" if below.regularization else ""
    scope.notes.append(
        f"{given.images} holds no pictures itself: the dataset below it was checked, {below.path}{beside}. Give {below.path} "
        "to train on it."
    )
    scope.add(_profile_near(scope, below.path) if Profile not in scope.facts else None)
    return replace(given, images=below.path, regularization=below.regularization)


def _judged_alone(folder: Path) -> list[str]:
    """Return the names of files that a check judges by themselves: scripts, settings, logs, LoRAs, base models."""
    if not folder.is_dir():
        return []
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in JUDGED_SUFFIXES and path.is_file()
    )
    return [
        path.name
        for path in files[:JUDGED_LOOKED_AT]
        if kind_of_file(path) not in (None, "profile", "foreign")
    ]


def _pictures(scope: Scope, given: DatasetInput) -> Stage[None]:
    """Read and measure the pictures of a dataset into the scope."""
    scope.facts.setdefault(TokenCounter, _token_counter())
    cache = MeasureCache()
    with _kept(scope, given.images), closing(cache):
        facts = yield from _with_progress(
            lambda on_progress: read_dataset(given, "measures", cache=cache, on_progress=on_progress)
        )
        scope.add(facts)
        scope.refuse(given.images, facts.problems)
        scope.add(identity_facts(facts))
        if cache.trouble:
            yield Message(f"{cache.trouble}.", "warning")


def _with_progress(
    read: Callable[[Callable[[int, int], None]], DatasetFacts],
) -> Stage[DatasetFacts]:
    """Yield progress while `read` works on another thread; return what it returned, raise what it raised."""
    told: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
    outcome: list[DatasetFacts | BaseException] = []

    def work() -> None:
        try:
            outcome.append(read(lambda done, total: told.put((done, total))))
        except BaseException as error:
            outcome.append(error)
        finally:
            told.put(None)

    Thread(target=work, name="gather", daemon=True).start()
    while (progress := told.get()) is not None:
        yield Progress("look at pictures", *progress, "picture")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


# --- single files ----------------------------------------------------------------------------------------


def _log(path: Path, context: Context) -> Stage[list[Scope]]:
    """Read a log, and the commands of sd-scripts that it shows: what ended a run often stands in its own command."""
    from maquette.kohya.request import commands_in_log
    from maquette.logs.reading import read_log

    scope = Scope(path)
    scopes = [scope]
    with _kept(scope, path):
        facts = read_log(path)
        scope.add(facts)
        scope.notes += [f"{path.name} was not read whole; left out: {part}." for part in facts.skipped]
        for request in commands_in_log(path):
            each = Scope(path, hears_hints=False)
            yield from _run(each, request, context)
            scopes.append(each)
    yield from (Message(note) for note in scope.notes)
    return scopes


def _prompts(path: Path, context: Context) -> Scope:
    scope = Scope(path)
    scope.add(read_prompt_file(path))
    return scope


def _foreign(path: Path, context: Context) -> Scope:
    scope = Scope(path)
    scope.add(recognise(path))
    return scope


def _lora(path: Path, context: Context) -> Scope:
    from maquette.lora.reading import read_lora_facts

    scope = Scope(path)
    with _kept(scope, path):
        scope.add(read_lora_facts(path))
    return scope


def _base(path: Path, context: Context) -> Scope:
    from maquette import families

    scope = Scope(path)
    scope.add(context.machine, context.profile)
    with _kept(scope, path):
        scope.add(families.inspect(path))
    return scope


def _profile(path: Path, context: Context) -> Scope:
    scope = Scope(path)
    with _kept(scope, path):
        profile = read_profile(path)
        scope.add(profile, subject_said(profile))
    return scope


def _profile_near(scope: Scope, path: Path) -> Profile | None:
    """Return the profile.toml beside the pictures or above them, if there is one."""
    file = profile_path_near(path)
    if file is not None:
        with _kept(scope, file):
            return read_profile(file)
    return None
