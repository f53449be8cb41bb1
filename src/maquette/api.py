"""The stages as Python functions: what the command line and the studio call, and what `import maquette` offers.

import maquette
result = maquette.train("pictures/", base="model.safetensors", trigger="myword", rank=16, steps=800)
print(result.lora, result.final_loss)

Where a function takes `on_event`, it is called with every event; where it takes `stop`, whoever asks that (another thread, a
signal's handler) ends it early, keeping what is finished, and Stopped is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from maquette.errors import ConfigError, Problem
from maquette.events import Event, Stage, run_stage
from maquette.project.config_file import CONFIG_NAME, load_settings, with_changes
from maquette.project.settings import CHANGED_ON_RESUME, Settings
from maquette.runs.places import as_found
from maquette.runs.record import read_record, require_begun
from maquette.stopping import Stop, stoppable

if TYPE_CHECKING:
    from maquette.captioning.options import CaptionOptions
    from maquette.captioning.records import CaptionResult
    from maquette.captioning.run import Confirm
    from maquette.checking.options import CheckOptions
    from maquette.checking.run import CheckResult
    from maquette.choosing.compare import Comparison
    from maquette.choosing.options import CompareRunsOptions, SelectOptions, VoteOptions
    from maquette.choosing.select import Selection
    from maquette.choosing.vote import Ballot, Counted
    from maquette.comparing.diff import Difference
    from maquette.comparing.listing import RunsFound
    from maquette.comparing.options import ReproduceOptions, RunsOptions
    from maquette.comparing.reproducing import Reproduction
    from maquette.curating.options import CurateOptions
    from maquette.curating.records import CurateResult
    from maquette.deploying.options import DeployOptions
    from maquette.deploying.program import Installed
    from maquette.evaluating.options import EvaluateOptions
    from maquette.evaluating.run import Evaluation
    from maquette.evaluating.validate import Validated
    from maquette.evaluating.validate_options import ValidateOptions
    from maquette.importing.options import ImportOptions
    from maquette.importing.run import ImportedRun
    from maquette.masking.options import MasksOptions
    from maquette.masking.run import MasksResult
    from maquette.planning.init_options import InitOptions, NewProjectResult
    from maquette.planning.options import PlanOptions
    from maquette.planning.run import PlanResult
    from maquette.regularizing.options import RegularizeOptions
    from maquette.regularizing.run import Regularized
    from maquette.runs.notes import Note
    from maquette.searching.options import SearchOptions
    from maquette.searching.report import SearchReport
    from maquette.searching.search import Searched
    from maquette.toolbox.baking import Baked
    from maquette.toolbox.compare import Compared
    from maquette.toolbox.convert import Converted
    from maquette.toolbox.extract import Extracted
    from maquette.toolbox.inspecting import Inspected
    from maquette.toolbox.options import (
        CompareOptions,
        ConvertOptions,
        ExtractOptions,
        InspectOptions,
        MergeOptions,
        PruneOptions,
        ResizeOptions,
        StripOptions,
    )  # fmt: skip
    from maquette.toolbox.prune import Pruned
    from maquette.toolbox.strip import Stripped
    from maquette.toolbox.writing import Written
    from maquette.training.job import Job
    from maquette.training.loop import TrainResult

OnEvent: TypeAlias = Callable[[Event], None] | None
DEFAULT_SMOKE_STEPS = 3
RESUMABLE = ("steps", "epochs", "early_stop", *CHANGED_ON_RESUME)
RESUMED_WITH = "--steps, --epochs, --early-stop, --gradient-checkpointing or --fit-memory-gib"


def train(
    target: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    smoke: bool = False,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a LoRA and return its TrainResult; the run record on disk is the command line's.

    target: a project folder, a maquette.toml, a folder of pictures, or a kohya dataset TOML.
    resume: a run's folder instead, to go on where it stopped with its own settings; with a greater steps or epochs, to train it
        longer; with gradient_checkpointing or fit_memory_gib, in less memory.
    smoke: a few steps only, nothing kept: proves device, memory and speed.
    on_event: called with every progress event.
    stop: whoever asks it ends the run after the step that is being taken; Stopped is raised then, and says how to go on.
    settings: any setting by name (rank=16, steps=800, base="…"), over those of a project.
    Raises MaquetteError with every problem before the base model is loaded.
    """
    stage = train_events(target, resume=resume, smoke=smoke, settings=settings, stop=stop)
    return run_stage(stage, on_event)


def train_events(
    target: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    smoke: bool = False,
    settings: Mapping[str, Any] | None = None,
    started: float | None = None,
    stop: Stop | None = None,
) -> Stage[TrainResult]:
    """Yield the events of `train` and return its result. Input is checked before the first."""
    from maquette.rules.verdict import judge
    from maquette.training.prepare import prepare

    smoke_steps = DEFAULT_SMOKE_STEPS if smoke else None
    run = Path(resume) if resume is not None else None
    wanted = settings_of_run(run, target, settings) if run else resolve_settings(target, settings)
    # A name that stands in a project's file is every run's of the project; one that is given now is this run's.
    next_name = (settings or {}).get("name") is None
    job = prepare(wanted, judge=judge, resume=run, smoke_steps=smoke_steps, next_name=next_name)
    return _train(job, started, stop)


def _train(job: Job, started: float | None, stop: Stop | None) -> Stage[TrainResult]:
    from maquette.choosing.early import judge_checkpoint
    from maquette.drawing.samples import draw_samples
    from maquette.training.loop import run_job

    with job:
        stage = run_job(job, draw=draw_samples, judge=judge_checkpoint, started=started, stop=stop)
        return (yield from stage)


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
    """Return the recorded settings of `run`, with another length, or another way to fit the memory, where one is given.

    A resumed run takes no other settings: it would be another run.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    changes = {name: given.pop(name) for name in RESUMABLE if name in given}
    extra = [f"--{name.replace('_', '-')}" for name in sorted(given)]
    extra += [str(target)] if target is not None else []
    if extra:
        raise ConfigError(
            Problem(
                "--resume",
                f"given together with {', '.join(extra)}",
                f"nothing else but {RESUMED_WITH}: a resumed run keeps its settings",
                "Leave them out, or start a new run with another --name.",
            )
        )
    require_begun(run)
    record = read_record(run)
    if record.foreign is not None:
        made = f"{record.foreign.trainer} trained it; it was imported"
        remedy = "Go on from its LoRA file: maquette train --network-weights FILE."
        raise ConfigError(Problem(str(run), made, "a run that Maquette trained", remedy))
    known = as_found(record, run).settings
    return known if not changes else with_changes(known, changes)


def check(
    *paths: str | Path,
    options: CheckOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> CheckResult:
    """Return what the rules find at `paths`: projects, folders, TOMLs, scripts, logs, LoRA files (`checking.options`)."""
    from maquette.checking.options import CheckOptions
    from maquette.checking.run import check_events

    return run_stage(stoppable(check_events(paths, CheckOptions.made_from(options, given)), stop), on_event)


def curate(
    directory: str | Path,
    *,
    options: CurateOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> CurateResult:
    """Sort the pictures of `directory` into kept, rejected and to review (`curating.options`)."""
    from maquette.curating.options import CurateOptions
    from maquette.curating.run import curate_events

    stage = curate_events(Path(directory), CurateOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def caption(
    directory: str | Path,
    *,
    options: CaptionOptions | None = None,
    confirm: Confirm | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> CaptionResult:
    """Write captions for the pictures of `directory` (`captioning.options`: strategy=, source=).

    confirm: called with the first drafts before anything is written; False stops there.
    """
    from maquette.captioning.options import CaptionOptions
    from maquette.captioning.run import caption_events

    wanted = CaptionOptions.made_from(options, given)
    return run_stage(stoppable(caption_events(Path(directory), wanted, confirm=confirm), stop), on_event)


def masks(
    directory: str | Path,
    *,
    options: MasksOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> MasksResult:
    """Make masks for the pictures of `directory`, into `masks` beside them (`masking.options`: source=, segmenter=)."""
    from maquette.masking.options import MasksOptions
    from maquette.masking.run import masks_events

    stage = masks_events(Path(directory), MasksOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def regularize(
    base: str | Path | None = None,
    *,
    options: RegularizeOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Regularized:
    """Make pictures of the class, drawn with `base` or taken from a folder (`regularizing.options`: out=, source=)."""
    from maquette.regularizing.options import RegularizeOptions
    from maquette.regularizing.run import regularize_events

    stage = regularize_events(base, RegularizeOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def plan(
    target: str | Path | None = None,
    *,
    options: PlanOptions | None = None,
    on_event: OnEvent = None,
    **given: Any,
) -> PlanResult:
    """Return what the run of `target` (see `train`) will take, with settings and `planning.options` by name over it.

    Nothing is loaded or written; without a base the ordinary one of the resolution's family is taken.
    """
    from maquette.planning.options import PlanOptions
    from maquette.planning.requests import asked_of_plan, split_of_plan
    from maquette.planning.run import plan_events

    settings, own = split_of_plan(given)
    path = None if target is None else Path(target)
    wanted = asked_of_plan(path, settings, PlanOptions.made_from(options, own))
    return run_stage(plan_events(*wanted), on_event)


def init(project: str | Path, *, options: InitOptions | None = None, **given: Any) -> NewProjectResult:
    """Make a project folder from pictures and a base (`planning.new_project`: images=, base=, trigger=)."""
    from maquette.planning.init_options import InitOptions
    from maquette.planning.new_project import make_project

    return make_project(Path(project), InitOptions.made_from(options, given))


def search(
    project: str | Path, *, resume: bool = False, options: SearchOptions | None = None, on_event: OnEvent = None,
    stop: Stop | None = None, **given: Any,
) -> Searched:  # fmt: skip
    """Try many settings of `project` and return its study; `resume`: go on with the last one (`searching.options`: trials=)."""
    from maquette.searches import search_stage
    from maquette.searching.options import SearchOptions

    wanted = SearchOptions.made_from(options, given)
    return run_stage(search_stage(Path(project), wanted, resume=resume, stop=stop), on_event)


def search_report(target: str | Path, *, output: str | Path | None = None) -> SearchReport:
    """Write the report of a search (a project's last, or a study's folder) and its recommended settings; return what it found."""
    from maquette.searching.report import search_report

    return search_report(Path(target), output=Path(output) if output is not None else None)


def evaluate(
    *targets: str | Path,
    options: EvaluateOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Evaluation:
    """Draw with LoRAs and with their base alone, measure, and write the report (`evaluating.options`: suite=, strengths=, base=).

    targets: a run, whose checkpoints are meant, or LoRA files and folders of them.
    """
    from maquette.evaluating.options import EvaluateOptions
    from maquette.evaluating.run import evaluate_events

    stage = evaluate_events([Path(each) for each in targets], EvaluateOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def select(
    run: str | Path,
    *,
    options: SelectOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Selection:
    """Choose the best checkpoint of `run` and its strength, evaluating it first where that was not done (`choosing.options`)."""
    from maquette.choosing.options import SelectOptions
    from maquette.choosing.select import select_events

    stage = select_events(Path(run), SelectOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def vote(
    run: str | Path,
    *,
    options: VoteOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Ballot | Counted:
    """Write a page of pairs of `run` to judge blindly, or take in the votes that it saved (`choosing.options`: votes=)."""
    from maquette.choosing.options import VoteOptions
    from maquette.choosing.vote import vote_events

    stage = vote_events(Path(run), VoteOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def compare(
    *runs: str | Path,
    options: CompareRunsOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Comparison:
    """Put evaluated runs side by side, with what was changed from each to the next (`choosing.options`: html=)."""
    from maquette.choosing.compare import compare_events
    from maquette.choosing.options import CompareRunsOptions

    stage = compare_events([Path(run) for run in runs], CompareRunsOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def validate(
    *targets: str | Path,
    options: ValidateOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Validated:
    """Measure pictures at fixed noise under LoRA files and their base (`evaluating.validate_options`: images=, base=).

    targets: runs, whose checkpoints and held-out pictures are meant, or LoRA files.
    """
    from maquette.evaluating.validate import validate_events
    from maquette.evaluating.validate_options import ValidateOptions

    stage = validate_events([Path(each) for each in targets], ValidateOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def deploy(
    run: str | Path, *, options: DeployOptions | None = None, on_event: OnEvent = None, stop: Stop | None = None, **given: Any
) -> list[Installed]:  # fmt: skip
    """Install a checkpoint of `run`, or a LoRA file, into a drawing program's folder (`deploying.options`: comfyui=, webui=)."""
    from maquette.deploying.options import DeployOptions
    from maquette.deploying.run import deploy_events

    return run_stage(
        stoppable(deploy_events(Path(run), DeployOptions.made_from(options, given)), stop), on_event
    )


def diff(a: str | Path, b: str | Path) -> Difference:
    """Return what changed from `a` to `b`, each a run or a project: settings, captions, pictures, environment."""
    from maquette.comparing.diff import compare
    from maquette.comparing.sides import side_of

    return compare(side_of(Path(a)), side_of(Path(b)))


def reproduce(
    run: str | Path,
    *,
    options: ReproduceOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Reproduction:
    """Train `run` again from its record, and return whether its weights are the same bits (`comparing.options`: dry_run=)."""
    from maquette.comparing.options import ReproduceOptions

    return run_stage(
        reproduce_stage(Path(run), ReproduceOptions.made_from(options, given), stop=stop), on_event
    )


def reproduce_stage(run: Path, options: ReproduceOptions, *, stop: Stop | None = None) -> Stage[Reproduction]:
    """Yield the events of `reproduce` and return its result."""
    from maquette.comparing.reproducing import reproduce_events
    from maquette.rules.verdict import judge

    return reproduce_events(run, options, judge=judge, stop=stop)


# --- the LoRA toolbox ------------------------------------------------------------------------------------


def lora_inspect(file: str | Path, *, options: InspectOptions | None = None, **given: Any) -> Inspected:
    """Return what the adapter in `file` is, what it says of itself, where its weight lies, and what is wrong with it."""
    from maquette.rules.lora_verdict import judge_lora
    from maquette.toolbox.inspecting import inspect
    from maquette.toolbox.options import InspectOptions

    return inspect(Path(file), judge_lora, InspectOptions.made_from(options, given))


def lora_convert(
    file: str | Path,
    *,
    options: ConvertOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Converted:
    """Write a LoRA under other names, in another precision, or of another kind as plain LoRA (`toolbox.options`: to=, plain=)."""
    from maquette.toolbox.convert import convert_lora_events
    from maquette.toolbox.options import ConvertOptions

    stage = convert_lora_events(Path(file), ConvertOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def lora_merge(
    *files: str | Path,
    options: MergeOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Written | Baked:
    """Merge LoRAs into a base model, or into one LoRA where none is named (`toolbox.options`: base=, strengths=, rank=)."""
    from maquette.toolbox.baking import merge_into_base_events
    from maquette.toolbox.merge import merge_loras_events
    from maquette.toolbox.options import MergeOptions

    paths, wanted = [Path(file) for file in files], MergeOptions.made_from(options, given)
    if wanted.base is not None:
        return run_stage(stoppable(merge_into_base_events(paths, wanted), stop), on_event)
    return run_stage(stoppable(merge_loras_events(paths, wanted), stop), on_event)


def lora_resize(
    file: str | Path,
    *,
    options: ResizeOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Written:
    """Write a LoRA with other ranks (`toolbox.options`: rank=, energy=, method=)."""
    from maquette.toolbox.options import ResizeOptions
    from maquette.toolbox.resize import resize_events

    stage = resize_events(Path(file), ResizeOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def lora_extract(
    model: str | Path,
    *,
    options: ExtractOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> Extracted:
    """Write what a fine-tuned `model` learned from its base as a LoRA (`toolbox.options`: base=, rank=)."""
    from maquette.toolbox.extract import extract_events
    from maquette.toolbox.options import ExtractOptions

    stage = extract_events(Path(model), ExtractOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def lora_compare(
    first: str | Path, second: str | Path, *, options: CompareOptions | None = None, **given: Any
) -> Compared:
    """Return how alike the changes of two LoRAs are, block by block and whole, and what their metadata say differently."""
    from maquette.toolbox.compare import compare
    from maquette.toolbox.options import CompareOptions

    return compare(Path(first), Path(second), CompareOptions.made_from(options, given))


def lora_strip_metadata(file: str | Path, *, options: StripOptions | None = None, **given: Any) -> Stripped:
    """Write a LoRA without its metadata, or without what is private of them (`toolbox.options`: private=)."""
    from maquette.toolbox.options import StripOptions
    from maquette.toolbox.strip import strip_metadata

    return strip_metadata(Path(file), StripOptions.made_from(options, given))


def lora_prune_blocks(file: str | Path, *, options: PruneOptions | None = None, **given: Any) -> Pruned:
    """Write a LoRA without some of its blocks (`toolbox.options`: block=, keep=, below=)."""
    from maquette.toolbox.options import PruneOptions
    from maquette.toolbox.prune import prune_blocks

    return prune_blocks(Path(file), PruneOptions.made_from(options, given))


def list_runs(folder: str | Path = ".", *, options: RunsOptions | None = None, **given: Any) -> RunsFound:
    """Return the runs below `folder` as their records tell them, and those that cannot be read (`comparing.options`: html=)."""
    from maquette.comparing.listing import runs_below
    from maquette.comparing.options import RunsOptions

    wanted = RunsOptions.made_from(options, given)
    found = runs_below(Path(folder), wanted)
    if wanted.html is not None:
        from maquette.evaluating.notebook import write_notebook

        write_notebook(wanted.html, found)
    return found


def import_runs(
    folder: str | Path,
    *,
    options: ImportOptions | None = None,
    on_event: OnEvent = None,
    stop: Stop | None = None,
    **given: Any,
) -> list[ImportedRun]:
    """Record the runs of another trainer in `folder`; its files stay as they are (`importing.options`: output=, base=)."""
    from maquette.importing.options import ImportOptions
    from maquette.importing.run import import_events

    stage = import_events(Path(folder), ImportOptions.made_from(options, given))
    return run_stage(stoppable(stage, stop), on_event)


def note(run: str | Path, text: str, *, verdict: str | None = None, amends: int | None = None) -> list[Note]:
    """Write down what was decided about `run` ("kept", "rejected", "open") and why; return all its notes."""
    from maquette.runs.folder import RunFolder
    from maquette.runs.notes import add_note, note_on

    known = notes_of(run)
    return [*known, add_note(RunFolder(Path(run)), note_on(text, verdict, amends, len(known)))]


def notes_of(run: str | Path) -> list[Note]:
    """Return the notes of `run`, in the order in which they were written."""
    from maquette.runs.folder import RunFolder
    from maquette.runs.notes import read_notes, require_run

    require_run(folder := RunFolder(Path(run)))
    return read_notes(folder)
