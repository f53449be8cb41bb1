"""Rules about repeats and steps: what the numbers of a run come to."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.dataset.facts import DatasetFacts, FolderFact
from maquette.dataset.repeats import Schedule
from maquette.dataset.targets import FEW_PICTURES, StepTarget, epochs_within, step_target
from maquette.findings.records import Finding, Severity
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.project.request import SD_SCRIPTS_STEPS, TrainingRequest

SMOKE_TEST_STEPS = 50
"""A run this short only tries whether training starts."""
SLACK = 1.25
"""How far a run may leave its band before a word is said."""
FAR = 1.5
"""How far above its band a run must be for a warning; below, it is half of the lower end."""


@rule("STP001", "prefix-and-num-repeats", "hint", since="0.2")
def prefix_and_num_repeats(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A folder is named N_name and listed in a dataset TOML with num_repeats; only num_repeats counts.

    Why: Field notes say that the two multiply, or add up, and halve one of them to make up for it. In sd-scripts and
    Maquette they never meet: with a dataset TOML the folder's name means nothing, with a plain folder only its name
    counts. 8 pictures in 10_sks_dog are 80 items from --train_data_dir, 8 from a TOML without num_repeats, 24 with
    num_repeats = 3, never 240. The 1,840 steps that were blamed on it (23 pictures, 10_ and num_repeats = 10, 4 epochs)
    came from a regularization set, which doubles every epoch. Other trainers and GUIs differ.
    Found by: Folders of a dataset TOML whose names begin with N_, N not 1. A hint where both numbers agree, a warning
    where they differ, since one of them is then not what was meant.
    Do: Keep num_repeats and give the folder a plain name, or set num_repeats to what you want to happen.
    Fault: `10_fox/` listed with `num_repeats = 5`
    Instead: `fox/` with `num_repeats = 5`
    Source: sd-scripts 48d368fa, measured; field notes of a character LoRA on Apple silicon.
    """
    if not facts.is_toml:
        return
    both = [f for f in facts.used_folders if f.subset and f.prefix_repeats not in (None, 0, 1)]
    differing = [f for f in both if f.subset and f.prefix_repeats != f.subset.num_repeats]
    for chosen, severity in ((differing, "warning"), ([f for f in both if f not in differing], "hint")):
        if not chosen:
            continue
        first = chosen[0]
        assert first.subset is not None, "used folders have a subset"
        shown, named = first.subset.num_repeats, first.prefix_repeats or 1
        more = f" The same holds for {_others(chosen)}." if len(chosen) > 1 else ""
        message = (
            f"{first.path.name} asks for {named} repeats by its name and gets {shown} from num_repeats in the TOML: "
            f"{_trainer(facts)} shows each of its {first.num_pictures} pictures {_times(shown)} an epoch, "
            f"not {named * shown} or {named + shown} times.{more}"
        )
        if severity == "warning":
            remedy = (
                f"Set num_repeats = {named} if the name is right; else rename the folder without its number."
            )
            yield report(facts.root, "num_repeats", message, remedy, severity="warning")
        else:
            remedy = "Nothing has to change; a folder name without the number would save the question."
            yield report(facts.root, "num_repeats", message, remedy)


@rule("STP002", "steps-outside-target", "warning", since="0.2")
def steps_outside_target(
    schedule: Schedule,
    request: TrainingRequest,
    facts: DatasetFacts,
    report: Report,
    profile: Profile | None = None,
) -> Iterator[Finding]:
    """The run is far longer or shorter than its number of pictures asks for.

    Why: Too few steps leave the subject unlearned; too many reproduce the training pictures. A character of 15 to 25
    pictures is learned within 800 to 1,200 steps: 23 pictures × 10 repeats × 4 epochs = 920 was the plan of one
    project, and 1,840 what it ran, where the loss was lowest at step 1,400 and rose from 1,600 on.
    Found by: The whole sum from pictures to steps, against 800 to 1,200 steps for 15 to 25 pictures of a character,
    person or object, less for fewer (267 for 5), more for more (4,952 to 11,313 for 413); a style's 1,000 to 4,000,
    more above 25 pictures (203 pictures × 10 / batch 2 × 10 epochs = 10,150 steps pass). Larger batches lower both
    ends (846 to 2,639 for 413 pictures in eights). A hint from a quarter outside, a warning from less than half the lower
    end, or half as long again as the upper end and longer than single pictures would take; hints only above 50 pictures.
    Runs of up to 50 steps are taken for a test whether training starts; a run that regularization pictures alone carry
    above its band is told by STP003.
    Do: Change epochs or repeats to what the message proposes, or keep a long run and choose among its checkpoints.
    Fault: 23 pictures × 10 × 16 epochs = 3,680 steps
    Instead: 23 pictures × 10 × 4 epochs = 920 steps
    Source: field notes of a character LoRA on Apple silicon (800 to 1,200 steps, 920 planned, 1,840 run) and of a
    pixel-art style LoRA (10,150 steps).
    """
    num_pictures = len(facts.files)
    if not num_pictures or schedule.steps <= SMOKE_TEST_STEPS:
        return
    per_step = max(schedule.batch_sizes) * schedule.accumulation
    kind = profile.kind if profile is not None else None
    target = step_target(num_pictures, kind, per_step)
    ratio = schedule.steps / (target.high if schedule.steps > target.high else target.low)
    if schedule.steps in target or 1 / SLACK <= ratio <= SLACK or _is_regularizations(schedule, target):
        return
    is_long = ratio > FAR and schedule.steps > step_target(num_pictures, kind).high
    is_far = (is_long or ratio < 0.5) and num_pictures <= FEW_PICTURES
    word = "more" if ratio > 1 else "fewer"
    showings = round(schedule.steps * per_step * _share(schedule) / num_pictures)
    message = (
        f"{schedule.explain()}: {word} than the {target} that suit {num_pictures} pictures of "
        f"{_subject(kind, num_pictures)}; each is shown {showings:,} times."
    )
    place = request.said("steps" if schedule.by_steps else "epochs")
    remedy = _other_length(schedule, target, request, facts)
    yield report(request.file, place, message, remedy, severity="warning" if is_far else "hint")


@rule("STP003", "regularization-lengthens-epochs", "hint", since="0.2")
def regularization_lengthens_epochs(
    schedule: Schedule,
    request: TrainingRequest,
    facts: DatasetFacts,
    report: Report,
    profile: Profile | None = None,
) -> Iterator[Finding]:
    """Regularization pictures double every epoch, and with it a run whose length is set in epochs.

    Why: The trainer tops regularization pictures up until there are as many items as training items, whatever their
    number: 23 × 10 = 230 training items and 100 regularization pictures make 460 items an epoch, and 4 epochs 1,840
    steps instead of the 920 that were planned. Half of all steps then train the class, not the subject. 8 pictures × 10
    with 3 regularization pictures × 2 make 160 batches, not 86.
    Found by: Runs whose length is given in epochs and that have regularization pictures. A warning where they carry the
    run out of the band that suits its pictures (see STP002), else a hint.
    Do: Halve the epochs if the planned number of steps was meant, or set the length in steps. Keep it if you want the
    subject shown as often as without.
    Fault: four epochs of 230 items and 230 of regularization: 1,840 steps
    Instead: two epochs, or `--max_train_steps=920`
    Source: sd-scripts 48d368fa, measured; field notes of a character LoRA on Apple silicon (1,840 steps).
    """
    if not schedule.regularization_items or schedule.by_steps:
        return
    without = _without_regularization(schedule)
    num_pictures = len(facts.files)
    target = step_target(
        num_pictures, profile.kind if profile else None, max(schedule.batch_sizes) * schedule.accumulation
    )
    is_harmful = _is_regularizations(schedule, target) and num_pictures <= FEW_PICTURES
    above = f", more than the {target} that suit {num_pictures} pictures" if is_harmful else ""
    message = (
        f"{schedule.explain()}{above}. Without its {len(facts.regularization_files):,} regularization pictures, which "
        f"{_trainer(facts)} brings to {schedule.regularization_items:,} items beside {schedule.train_items:,} training "
        f"items, it would be {without:,} steps."
    )
    epochs = max(1, round(without / schedule.steps_per_epoch))
    remedy = (
        f"Use {_flag(request, 'epochs', epochs)}: {epochs * schedule.steps_per_epoch:,} steps. Keep {schedule.epochs} "
        "epochs if the subject should be shown as often as without regularization."
    )
    severity: Severity = "warning" if is_harmful else "hint"
    yield report(request.file, request.said("epochs"), message, remedy, severity=severity)


@rule("STP004", "regularization-uneven", "hint", since="0.2")
def regularization_uneven(schedule: Schedule, facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Regularization pictures are left out, overshoot, or are so few that each is shown very often.

    Why: Regularization pictures are taken in order until they match the training items; those beyond are never shown,
    in no epoch. The first round gives each its own repeats and may overshoot: 4 training items with 3 pictures × 3
    become 6 regularization items, so that the class outweighs the subject. A handful topped up to hundreds of items is
    learned by heart instead of standing for its class.
    Found by: Regularization pictures × repeats against training items: pictures that are never reached, items above the
    training items by more than a tenth, or more than 20 showings of each an epoch.
    Do: Use about as many regularization pictures as training items (pictures × repeats), with one repeat each.
    Fault: 260 regularization items for 200 training items
    Instead: 200 of them, one repeat each
    Source: sd-scripts 48d368fa, measured (round robin, first round with its own repeats).
    """
    offered = len(facts.regularization_files)
    if not offered or not schedule.regularization_items:
        return
    where = facts.regularization_root or facts.root
    items, wanted = schedule.regularization_items, schedule.train_items
    repeats = max(f.subset.num_repeats for f in facts.used_folders if f.subset and f.is_regularization)
    remedy = f"Use about {wanted:,} regularization pictures with one repeat each (1_name or num_repeats = 1)."
    used = min(offered, -(-wanted // repeats))
    if used < offered:
        message = (
            f"{offered - used:,} of {offered:,} regularization pictures are never shown: {wanted:,} training items "
            f"need {used:,} × {repeats:,}, and the rest is left out in every epoch."
        )
        yield report(where, "", message, remedy)
    elif items > wanted * 1.1:
        message = (
            f"{items:,} regularization items stand against {wanted:,} training items, since the first round gives "
            f"each regularization picture its {repeats:,} repeats."
        )
        yield report(where, "", message, remedy)
    elif items / offered > 20:
        message = (
            f"{offered:,} regularization pictures are shown {items / offered:.0f} times each in every epoch, to match "
            f"{wanted:,} training items: they will be learned by heart."
        )
        yield report(where, "", message, remedy)


@rule("STP010", "repeats-without-effect", "warning", since="0.2")
def repeats_without_effect(
    request: TrainingRequest, facts: DatasetFacts, report: Report
) -> Iterator[Finding]:
    """Repeats are given where folder names already decide them.

    Why: sd-scripts takes --dataset_repeats only for subsets of a --dataset_config that say nothing themselves; with
    --train_data_dir it is ignored without a word, and each N_name folder's N counts. Maquette's repeats are for a flat
    folder. Either way the run is shorter or longer than planned by that factor.
    Found by: --dataset_repeats or [dataset] repeats other than 1 with folders named N_name.
    Do: Change the number in the folder's name, or leave the setting out.
    Fault: `--dataset_repeats=5` beside `10_fox/`
    Instead: `5_fox/`
    Source: sd-scripts 48d368fa, measured.
    """
    asked = request.repeats if request.wrote("repeats") else None
    named = [f for f in facts.used_folders if f.prefix_repeats is not None and not f.is_regularization]
    if asked in (None, 1) or facts.is_toml or not named:
        return
    message = (
        f"{asked} repeats are asked for, but {named[0].path.name} says {named[0].prefix_repeats}, and only the folder's "
        "name counts."
    )
    name = named[0].path.name.partition("_")[2]
    remedy = f"Rename the folder to {asked}_{name} if {asked} was meant; else remove the setting."
    yield report(request.file, request.said("repeats"), message, remedy)


@rule("STP011", "folder-beside-dataset-config", "warning", since="0.2")
def folder_beside_dataset_config(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """A folder of pictures is given beside a dataset TOML, and is ignored.

    Why: With --dataset_config, sd-scripts takes no notice of --train_data_dir and --reg_data_dir. It says so in one line
    of its log; the pictures and the regularization are missing from the run.
    Found by: Both options in one command or --config_file.
    Do: List the folder in the TOML ([[datasets.subsets]], with is_reg = true for regularization), or remove it.
    Fault: `--dataset_config=set.toml --train_data_dir=train`
    Instead: `--dataset_config=set.toml`, with the folder in it
    Source: sd-scripts 48d368fa, train_network.py.
    """
    if request.trainer != "sd-scripts" or request.dataset_config is None:
        return
    for name, path in (("images", request.images), ("regularization", request.regularization)):
        if path is not None:
            message = f"{path} is ignored, because {request.dataset_config.name} is given as dataset config as well."
            remedy = f"Remove it, or list it in {request.dataset_config.name} as a [[datasets.subsets]]."
            yield report(request.file, request.said(name), message, remedy)


@rule("STP012", "length-not-said", "hint", since="0.2")
def length_not_said(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """A run's length is left to the trainer's default, or is given twice.

    Why: Without --max_train_epochs and --max_train_steps, sd-scripts trains 1,600 steps, whatever the pictures are.
    Given both, epochs win and the steps mean nothing.
    Found by: Neither or both of the two options in a run of sd-scripts.
    Do: Give one of them.
    Fault: `--max_train_steps=1000 --max_train_epochs=10`
    Instead: `--max_train_steps=1000`
    Source: sd-scripts 48d368fa, train_network.py.
    """
    if request.trainer != "sd-scripts":
        return
    if request.epochs is None and request.steps is None:
        message = f"Neither epochs nor steps are given: {SD_SCRIPTS_STEPS:,} steps are trained, the default."
        remedy = "Give --max_train_epochs or --max_train_steps."
        yield report(request.file, "--max_train_steps", message, remedy)
    elif request.epochs is not None and request.steps is not None:
        message = f"{request.steps:,} steps and {request.epochs:,} epochs are given; epochs win, and the steps mean nothing."
        yield report(request.file, request.said("steps"), message, "Remove one of them.", severity="warning")


@rule("STP013", "accumulation-remainder", "hint", since="0.2")
def accumulation_remainder(schedule: Schedule, request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """An epoch's batches do not fill its last accumulation group, whose step is weaker than the others.

    Why: A group that the epoch's end cuts short still makes a step, but its loss is divided by the full number of
    batches: one batch of a group of 8 trains with an eighth of its weight. In short epochs such steps are a large share
    of the run.
    Found by: Accumulation above 1 where the last group is at most half full and makes up a tenth or more of the steps.
    Do: Choose an accumulation that divides the batches of an epoch, or more repeats and fewer epochs.
    Fault: 34 batches with `--gradient_accumulation_steps=11`
    Instead: `--gradient_accumulation_steps=17`
    Source: sd-scripts 48d368fa, read and measured; accelerate's accumulation.
    """
    group = schedule.batches_per_epoch % schedule.accumulation
    if not group or group > schedule.accumulation / 2 or schedule.steps_per_epoch > 10:
        return
    whole = [n for n in range(2, 2 * schedule.accumulation) if schedule.batches_per_epoch % n == 0]
    better = min(whole, key=lambda n: abs(n - schedule.accumulation), default=1)
    message = (
        f"{schedule.batches_per_epoch} batches make {schedule.steps_per_epoch} steps of {schedule.accumulation}: the last "
        f"one of every epoch has only {group}, and trains with {group}/{schedule.accumulation} of the others' weight."
    )
    remedy = f"Use {_flag(request, 'accumulation', better)}, or repeats that fill the last group."
    yield report(request.file, request.said("accumulation"), message, remedy)


# --- words -----------------------------------------------------------------------------------------------

FLAGS = {
    "epochs": "--max_train_epochs",
    "steps": "--max_train_steps",
    "accumulation": "--gradient_accumulation_steps",
}


def _flag(request: TrainingRequest, name: str, value: int) -> str:
    return f"{FLAGS[name]}={value}" if request.trainer == "sd-scripts" else f"{name} = {value}"


def _other_length(
    schedule: Schedule, target: StepTarget, request: TrainingRequest, facts: DatasetFacts
) -> str:
    """Return what would bring the run into its band."""
    if schedule.by_steps:
        return f"Use {_flag(request, 'steps', target.best)}."
    epochs = epochs_within(target, schedule.steps_per_epoch)
    if epochs is not None and epochs != schedule.epochs:
        return f"Use {_flag(request, 'epochs', epochs)}: {epochs * schedule.steps_per_epoch:,} steps."
    repeats = max(count for _, count in schedule.terms)
    factor = target.best / max(1, schedule.steps)
    fewer = max(1, round(repeats * factor))
    where = "num_repeats" if facts.is_toml else "the number in the folder's name"
    if fewer != repeats:
        return f"Change {where} from {repeats} to {fewer}: about {round(schedule.steps * fewer / repeats):,} steps."
    return f"Use {_flag(request, 'steps', target.best)} instead of epochs."


def _without_regularization(schedule: Schedule) -> int:
    """Return the run's steps if it had its training items alone, in as many buckets."""
    share = _share(schedule)
    batches = max(1, round(schedule.batches_per_epoch * share))
    return schedule.epochs * -(-batches // schedule.accumulation)


def _is_regularizations(schedule: Schedule, target: StepTarget) -> bool:
    """Whether the run is too long for no other reason than its regularization pictures."""
    if not schedule.regularization_items or schedule.by_steps:
        return False
    without = _without_regularization(schedule)
    return schedule.steps > target.high * SLACK and target.low / SLACK <= without <= target.high * SLACK


def _share(schedule: Schedule) -> float:
    """Return which part of an epoch's items shows the subject."""
    return schedule.train_items / max(1, schedule.items_per_epoch)


def _subject(kind: str | None, num_pictures: int) -> str:
    if kind is not None:
        return f"a {kind}" if kind != "object" else "an object"
    return "a subject" if num_pictures <= FEW_PICTURES else "a subject or a style"


def _trainer(facts: DatasetFacts) -> str:
    return "sd-scripts" if facts.trainer == "sd-scripts" else "Maquette"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _others(folders: list[FolderFact]) -> str:
    names = [folder.path.name for folder in folders[1:4]]
    return ", ".join(names) + (f" and {len(folders) - 4} more" if len(folders) > 4 else "")
