"""Rules about what a run needs and leaves: something to train, checkpoints, samples, a seed, essential options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maquette.dataset.repeats import Schedule
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.kohya.options import SCRIPTS
from maquette.project.checkpoints import plan_checkpoints
from maquette.project.request import TrainingRequest
from maquette.rules.wording import is_sd_scripts, total_steps, was_refused

FEW_CHECKPOINTS = 5
TRIAL_STEPS = 100
"""Shorter runs are trials of the command."""


@rule("SET018", "nothing-to-train", "error", since="0.2")
def nothing_to_train(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """No part of the model would be trained.

    Why: With a rate of 0, or both parts switched off, the run has nothing to change; sd-scripts stops at the optimizer with 'got
    an empty parameter list' after the base was loaded.
    Found by: U-Net and text encoder both left out, by their switches or by a rate of 0.
    Do: Set a learning rate, or remove one of --network_train_unet_only and --network_train_text_encoder_only.
    Fault: `--unet_lr=0 --text_encoder_lr=0`
    Instead: `--unet_lr=1e-4 --text_encoder_lr=5e-5`
    Source: sd-scripts 48d368fa, networks/lora.py ('NO LR skipping!').
    """
    rates = (request.value("unet_lr"), *(request.value("text_encoder_lrs") or ()))
    both_off = request.value("train_denoiser") is False and request.value("train_text_encoder") is False
    if both_off or not any(rates):
        yield report(
            request.file,
            request.said("learning_rate"),
            "0 for every part, or every part switched off: there is nothing to train.",
            "Set learning_rate, unet_lr or text_encoder_lr.",
        )


@rule("SET019", "few-checkpoints", "warning", since="0.2")
def few_checkpoints(request: TrainingRequest, schedule: Schedule | None, report: Report) -> Iterator[Finding]:
    """The run leaves fewer than five checkpoints to choose from.

    Why: The last checkpoint is often not the best: one character's loss was lowest at step 1,400 of 1,840, film-frame LoRAs were
    best between epochs 10 and 16 of 20. What was not saved cannot be chosen.
    Found by: the checkpoints that saving every N steps or epochs leaves, the final one included. Runs of fewer than 100 steps
    are trials and left alone.
    Do: Save every fifth of the steps or more often: every 200 of 1,000.
    Fault: `--save_every_n_steps=500` of 1,000
    Instead: `--save_every_n_steps=200`
    Source: field notes of a character LoRA (save_every_n_steps 200: ten files) and film-frame LoRAs; sd-scripts#193.
    """
    steps = total_steps(request, schedule)
    count = _count_checkpoints(request, schedule)
    if count is None or count >= FEW_CHECKPOINTS or (steps is not None and steps < TRIAL_STEPS):
        return
    saving = "save_every_steps" if request.save_every_steps else "save_every_epochs"
    given = getattr(request, saving)
    length = f"{steps:,} steps" if steps is not None else f"{request.epochs} epochs"
    if steps is not None:
        every = max(1, steps // FEW_CHECKPOINTS)
        option = f"--save_every_n_steps={every}" if is_sd_scripts(request) else f"save_every_steps = {every}"
    else:
        every = max(1, (request.epochs or 1) // FEW_CHECKPOINTS)
        option = (
            f"--save_every_n_epochs={every}" if is_sd_scripts(request) else f"save_every_epochs = {every}"
        )
    yield report(
        request.file,
        request.said(saving) if given else "nothing is saved before the end",
        f"{count} checkpoint{'s' if count != 1 else ''} of {length}: too few to choose the best from.",
        f"Save more often: {option}",
    )


def _count_checkpoints(request: TrainingRequest, schedule: Schedule | None) -> int | None:
    """Return how many files are saved; None where that depends on pictures that are not known."""
    every_steps, every_epochs = request.save_every_steps, request.save_every_epochs
    if request.other.get("save_n_epoch_ratio"):
        return None
    if schedule is not None:
        total, an_epoch = schedule.steps, max(1, schedule.steps_per_epoch)
    elif request.epochs is not None:
        if every_steps:
            return None
        return (request.epochs - 1) // every_epochs + 1 if every_epochs else 1
    else:
        total = request.value("steps") or 0
        an_epoch = max(1, total)
        if every_epochs or not total:
            return None
    planned = plan_checkpoints(
        "x", total_steps=total, steps_per_epoch=an_epoch, every_steps=every_steps, every_epochs=every_epochs
    )
    return len(planned)


@rule("SET020", "no-samples", "hint", since="0.2")
def no_samples(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """No pictures are drawn while it trains, so that a wrong run shows only at its end.

    Why: Losses look alike for good and bad runs. One project trained ten epochs of realistic babies before it looked; another
    saw its failure only after two runs of 41 minutes. Samples every 200 steps show it in the first fifth.
    Found by: sd-scripts without sample prompts, without an interval, or with a prompt file that is not there (it then only
    logs 'No prompt file'). Maquette draws when it evaluates.
    Do: Add --sample_prompts=prompts.txt --sample_every_n_steps=200, with the trigger alone as the first prompt.
    Fault: a command without samples
    Instead: `--sample_prompts=prompts.txt --sample_every_n_steps=200`
    Source: field notes of a pixel-art LoRA and of film-frame LoRAs (30 prompts every 2 epochs).
    """
    if not is_sd_scripts(request):
        return
    every = request.sample_every_steps or request.sample_every_epochs
    remedy = (
        "Add --sample_prompts=prompts.txt --sample_every_n_steps=200, the trigger alone as the first prompt."
    )
    if not request.sample_prompts and not every:
        yield report(
            request.file, "--sample_prompts is missing", "No samples are drawn while it trains.", remedy
        )
    elif request.sample_prompts and not every and not request.other.get("sample_at_first"):
        given = "Prompts are given, but not when to draw them: no samples are drawn."
        yield report(request.file, request.said("sample_prompts"), given, "Add --sample_every_n_steps=200.")
    elif request.sample_prompts and every and not _prompt_file_may_be(request):
        given = f"{request.sample_prompts} is not there: sd-scripts logs it and draws nothing."
        yield report(request.file, request.said("sample_prompts"), given, "Write it, one prompt a line.")


def _prompt_file_may_be(request: TrainingRequest) -> bool:
    """Return False only where the file's folder is here and the file is not."""
    path = Path(request.sample_prompts or "").expanduser()
    places = [path] if path.is_absolute() else [request.file.absolute().parent / path, Path.cwd() / path]
    return any(place.is_file() for place in places) or not any(place.parent.is_dir() for place in places)


@rule("SET021", "no-seed", "hint", since="0.2")
def no_seed(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """Without a seed the run cannot be repeated, and two runs differ by chance as well.

    Why: sd-scripts draws a random seed. Whether a changed setting made the difference or the seed did cannot be told: seeds
    alone moved results as much as blur did in one study.
    Found by: sd-scripts without --seed. Maquette's seed is 42 where none is given.
    Do: Add --seed=42.
    Fault: a command without a seed
    Instead: `--seed=42`
    Source: sd-scripts#838 (runs not reproducible); sd-scripts 48d368fa (a random seed where none is given); SceneWorks sc-6541.
    """
    if is_sd_scripts(request) and request.seed is None and not was_refused(request, "seed"):
        yield report(
            request.file,
            "--seed is missing",
            "No seed is given, so the run cannot be repeated.",
            "Add --seed=42.",
        )


@rule("SET023", "missing-essentials", "error", since="0.2")
def missing_essentials(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """An option is missing without which the trainer cannot run.

    Why: sd-scripts asks for none of them: it stops where it first needs one. Without --output_dir that is at the first
    checkpoint, after hours.
    Found by: sd-scripts without a base, a network module, a resolution (where no dataset TOML gives one), or an output folder.
    Do: Add it.
    Fault: a command without `--output_dir`
    Instead: `--output_dir=out`
    Source: sd-scripts 48d368fa (importlib.import_module(None); 'resolution is required'; os.makedirs(None) at the first save).
    """
    if not is_sd_scripts(request) or request.script not in (None, *SCRIPTS):
        return
    needed = [
        (request.base, "pretrained_model_name_or_path", "Add the base model.", ""),
        (request.network_module, "network_module", "Add --network_module=networks.lora.", ""),
        (request.output_dir, "output_dir", "Add --output_dir=output.", ", at the first checkpoint"),
        (request.resolution_wh or request.dataset_config, "resolution", "Add --resolution=512,512.", ""),
    ]
    for value, option, remedy, when in needed:
        if value is None and not was_refused(request, option):
            yield report(
                request.file, f"--{option} is missing", f"sd-scripts stops without --{option}{when}.", remedy
            )
