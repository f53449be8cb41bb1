"""Rules over training logs: known failures from their table, and what losses and times show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.logs.facts import LogCheckpoint, LogFacts, LogMatch, LogTraceback
from maquette.logs.failure import Failure
from maquette.logs.failures import all_failures
from maquette.logs.losses import (
    change_over_run,
    first_nan,
    rise_at_end,
    slowdown,
    usual_pace,
)

SLOW_STEP_S = 10.0
SHOWN_CHARACTERS = 160
LEAST_TWINS = 5
MOST_EVIDENCE = 60_000
"""Characters of a log that are searched for what a failure means."""


def _known(failure: Failure) -> Callable[[LogFacts, Report], Iterator[Finding]]:
    """Return the rule of one row of the table; its docstring is the row's page."""

    def known_failure(log: LogFacts, report: Report) -> Iterator[Finding]:
        matches = log.matches_of(failure.code)
        if not matches:
            return
        first, count = matches[0], log.counts.get(failure.code, len(matches))
        more = f" ({count - 1} more such lines.)" if count > 1 else ""
        details = list(dict.fromkeys(match.detail for match in matches if match.detail))
        shown = ", ".join(details[:3]) + (f" and {len(details) - 3} more" if len(details) > 3 else "")
        cause, remedy = (text.replace("{detail}", shown or "see the line") for text in _advice(failure, log))
        yield report(log.path, place(first), f"“{_short(first.text)}”{more} {cause}", remedy)

    known_failure.__name__ = known_failure.__qualname__ = failure.name.replace("-", "_")
    known_failure.__doc__ = failure.page
    return known_failure


def _advice(failure: Failure, log: LogFacts) -> tuple[str, str]:
    """Return cause and remedy as the failure's lines, what stands around them, the command and the machine tell them."""
    lines = [match.text for match in log.matches_of(failure.code)]
    first = lines[0]
    around = [line for trace in log.tracebacks if trace.message in first for line in trace.details]
    return failure.advice("\n".join((*lines, *around))[:MOST_EVIDENCE], log.machine)


for _failure in all_failures():
    rule(_failure.code, _failure.name, _failure.severity, since="0.2")(_known(_failure))


def place(match: LogMatch) -> str:
    """Return where a match stands, in words."""
    return f"line {match.line}" if match.line else "the run's record"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[: SHOWN_CHARACTERS - 1]}…"


def has_error(log: LogFacts) -> bool:
    """Tell whether the log shows a failure that ends a run."""
    grave = {failure.code for failure in all_failures() if failure.severity == "error"}
    return log.fatal is not None or any(match.code in grave for match in log.matches)


@rule("LOG028", "unknown-error", "error", since="0.2")
def unknown_error(log: LogFacts, report: Report) -> Iterator[Finding]:
    """The run ended with an error that no other rule knows.

    Why: a Python traceback's last line names the error. Launchers (accelerate) add their own trace beneath it, which says
    only that the command failed; the error above it is the trainer's. Of several errors the last one ended the run: what
    was followed by more steps, or by the saved model, ended nothing.
    Found by: the last traceback, or the last line that calls itself an error, in a run that did not go on after it and was
    not finished, when no known failure ended it. A stop by the user (KeyboardInterrupt) does not count.
    Do: search for the named line in the trainer's issues; send it with your report if you file one.
    Fault: `RuntimeError: …` at the end of a traceback that no table knows
    Instead: the named line, looked up in the trainer's issues
    Source: form of Python's tracebacks; sd-scripts 48d368fa under accelerate, read; kohya_ss#2203, kohya_ss#2556.
    """
    if log.fatal is None:
        return
    fatal = log.fatal
    if not fatal.line:
        where = "the run's record"
    else:
        where = (
            f"lines {fatal.line} to {fatal.end_line}" if fatal.end_line > fatal.line else f"line {fatal.line}"
        )
    yield report(
        log.path,
        where,
        f"The run failed: {_short(fatal.message)}{_more_of(fatal)}",
        "Search the trainer's issues for this line; everything that Maquette knows to look for is not in this log.",
    )


def _more_of(fatal: LogTraceback) -> str:
    """Return what stands beside an error that says too little alone."""
    if "the trainer's program" in fatal.message:
        return (
            f"; {_short(fatal.details[0])}"
            if fatal.details
            else "; the log holds no line of the trainer's own"
        )
    place = next((line for line in reversed(fatal.details) if line.startswith('File "')), None)
    return f" (at {_short(place)})" if place and ": " not in fatal.message else ""


@rule("LOG053", "error-survived", "hint", since="0.2")
def error_survived(log: LogFacts, report: Report) -> Iterator[Finding]:
    """A traceback in the log did not end the run.

    Why: a sample that could not be drawn, an upload or a log service that failed print a traceback, and training goes on.
    It is easily taken for the end of the run, and easily overlooked where it matters (no samples, nothing uploaded).
    Found by: a traceback after which more steps were made, or which came after the last file was saved. What is known to
    be harmless (a missing triton, “Exception ignored in …” at the end) does not count.
    Do: nothing for the LoRA itself; read the line if something beside it is missing.
    Fault: `requests.exceptions.ConnectionError: …` from an upload at step 200 of 880, and step 880 reached
    Instead: the finished LoRA, used
    Source: kohya_ss#2203, OneTrainer#223, ai-toolkit#26 (triton's traceback taken for the failure).
    """
    if not log.survived or has_error(log):
        return
    last = log.survived[-1]
    more = f" ({len(log.survived) - 1} more such errors.)" if len(log.survived) > 1 else ""
    after = (
        "The run had saved its last file" if log.finished and last.line > 0 else "The run went on after it"
    )
    yield report(
        log.path,
        f"lines {last.line} to {last.end_line}",
        f"“{_short(last.message)}” did not end the run.{more} {after}.",
        "Nothing is to be done for the LoRA; read the line if samples, uploads or the like are missing.",
    )


@rule("LOG029", "loss-not-a-number", "error", since="0.2")
def loss_not_a_number(log: LogFacts, report: Report) -> Iterator[Finding]:
    """From a step on the loss is NaN: everything learned is lost from there on.

    Why: one NaN in a gradient makes every trained weight NaN, and nothing brings them back; the run goes on to its end
    all the same. Files saved afterwards draw black or noise. Usual causes: half-precision VAE or latents (then from the
    first steps on), fp16 without --no_half_vae on Apple's GPU, a learning rate far too high (then later, after the loss
    grew). sd-scripts' shown mean stays NaN after a single NaN, even where the fp16 scaler skipped that step: then the
    saved file's tensors tell (`maquette check FILE`).
    Found by: the loss at a step is NaN or infinite, and stays so to the end of the log. One odd value that recovers does
    not count.
    Do: keep the last checkpoint before that step; train again from there or anew with --no_half_vae, bf16 or float32, or
    a tenth of the learning rate. Delete caches of latents first.
    Fault: `avr_loss=nan` from step 400 on
    Instead: the checkpoint before step 400, and bf16 or `--no_half_vae`
    Source: field notes of a character LoRA on Apple silicon, pitfall 3; diffusers#7563 (cached fp16 latents); sd-scripts#2137.
    """
    step = first_nan(log)
    if step is None:
        return
    good = log.checkpoint_before(step)
    kept = f"The last checkpoint before it is {good.name}." if good else "No checkpoint was saved before it."
    early = step <= 3
    cause = (
        "From the first steps on: encoded pictures hold NaN, so VAE or latents ran in half precision."
        if early
        else "It began within the run: the learning rate is too high for this precision, or one picture encodes to NaN."
    )
    remedy = (
        "Add --no_half_vae (or use bf16 or float32), delete cached latents, and start again."
        if early
        else "Use the checkpoint from before; train again with a lower learning rate, or bf16 or float32 in place of fp16."
    )
    yield report(
        log.path, f"step {step}", f"The loss is no number (NaN) from step {step:,} on. {kept} {cause}", remedy
    )


@rule("LOG030", "loss-flat", "hint", since="0.2")
def loss_flat(log: LogFacts, report: Report) -> Iterator[Finding]:
    """The loss did not fall over the run, beyond what noise hides.

    Why: a LoRA that learns its pictures lowers the training loss a little: in one measured run from 0.29 to 0.07 on a toy,
    by 10 to 30 % on real models. No fall at all can mean that nothing is trained: a learning rate near zero (sd-scripts'
    default is 2e-6), frozen parts, captions that were not found. It can also mean nothing: noise levels are drawn at
    random and swamp the loss, and the trained part may be small.
    Found by: means over the first and the last third of the run with their errors. Flat means that the 95 % interval of
    the fall contains zero and ends below 10 %. For sd-scripts' avr_loss, a moving mean over an epoch, only values an
    epoch apart are compared. Runs too short to tell raise nothing.
    Do: look at what the checkpoints draw before believing a number. If they draw the base model's pictures, raise the
    learning rate (1e-4 for the U-Net) and see that captions and pictures were found.
    Fault: a loss of 0.12 ± 0.02 from the first third to the last
    Instead: samples looked at before the rate is raised
    Source: field notes (SD 1.5: “Loss not decreasing: raise the learning rate 1e-4 → 1.5e-4”); small-world measurements.
    """
    change = change_over_run(log)
    if change is None or not change.is_flat or first_nan(log) is not None or rise_at_end(log):
        return
    yield report(
        log.path,
        "loss",
        f"The mean loss of the first third of the run is {change.first:.4g}, of the last third {change.last:.4g}: a fall of "
        f"{change.fall:.1%} ± {change.margin:.1%}, so no more than {change.most_fall:.1%}.",
        "Look at what the checkpoints draw. If it is the base model's pictures: raise the learning rate, and see that "
        "pictures and captions were found.",
    )


@rule("LOG031", "loss-rises-at-the-end", "hint", since="0.2")
def loss_rises(log: LogFacts, report: Report) -> Iterator[Finding]:
    """The training loss ends above its lowest part; that alone does not choose a checkpoint.

    Why: it is tempting to take the checkpoint of the lowest loss for the best. One run fell from 0.0786 (step 1,000) to
    0.0717 (step 1,400), rose to 0.0855 (step 1,840), and was read as over-training from step 1,600 on. But over-training
    *lowers* the loss on the pictures themselves; a rise more often comes from a learning rate that is (again) high, a
    restart of its schedule, or noise. And measured: the held-out loss was lowest at step 100, where the identity was 0.53
    against 0.69 at step 500. No single loss chooses.
    Found by: means over parts of the run that share no picture shown; the last must exceed the lowest by 10 % and by 3.5
    standard errors (by 15 % where the log does not tell the noise). At least four such parts are needed.
    Do: draw with several checkpoints, the lowest-loss one among them, and choose by what they draw: maquette evaluate RUN.
    Fault: 0.0717 at step 1,400, 0.0855 at step 1,840
    Instead: both checkpoints drawn and compared
    Source: field notes of a character LoRA (run of 1,840 steps); small-world measurements; OneTrainer#859, sd-scripts#193.
    """
    found = rise_at_end(log)
    if found is None or first_nan(log) is not None:
        return
    lowest, last = found
    near = _nearest_checkpoint(log, lowest.step)
    also = f" ({near.name} was saved near it)" if near else ""
    yield report(
        log.path,
        f"step {lowest.step}",
        f"The loss is lowest around step {lowest.step:,} ({lowest.value:.4g}){also} and ends at {last.value:.4g} "
        f"(step {last.step:,}), {last.value / lowest.value - 1:.0%} above. Loss alone does not choose a checkpoint.",
        "Draw the same prompts and seeds with several checkpoints, early and late, and choose by what they draw.",
    )


def _nearest_checkpoint(log: LogFacts, step: int) -> LogCheckpoint | None:
    """Return the checkpoint saved nearest to `step`, if it is within a tenth of the run."""
    near = log.last_step / 10
    known = [saved for saved in log.checkpoints if saved.step is not None and abs(saved.step - step) <= near]
    return min(known, key=lambda saved: abs((saved.step or 0) - step), default=None)


@rule("LOG032", "steps-became-slow", "warning", since="0.2")
def steps_became_slow(log: LogFacts, report: Report) -> Iterator[Finding]:
    """From a step on every step took several times as long.

    Why: when the GPU's memory is full, drivers on Windows (and unified memory on a Mac) silently move a part into main
    memory instead of stopping; a step then takes ten to a hundred times as long: one user's 200 s became 1.2 s with rank
    8 in place of 32. Heat and another program on the card also slow steps down, by two to three times.
    Found by: seconds per step over stretches of at least 5 s; from some stretch on at least 80 % take three times the
    median before it. Single slow stretches (samples, saving) do not count, nor does the first.
    Do: close other programs; use less memory (gradient checkpointing, batch 1, cached latents, smaller rank). On Windows set
    “CUDA - Sysmem Fallback Policy” to “Prefer No Sysmem Fallback”: the run then stops instead of crawling.
    Fault: 2 s a step, 24 s from step 500 on
    Instead: the program that took the memory closed; `--gradient_checkpointing`
    Source: kohya_ss#1730 (rank 32 → 8: 200 s/it to 1.2); field notes of a character LoRA on Apple silicon (ComfyUI open beside).
    """
    slow = slowdown(log)
    if slow is None:
        return
    guess = "the GPU's memory spilled into main memory"
    if slow.factor < 8:
        guess = "memory spilled, another program used the card, or it ran hot"
    yield report(
        log.path,
        f"step {slow.step}",
        f"Steps take {slow.after_s:.2f} s from step {slow.step:,} on, {slow.before_s:.2f} s before: "
        f"{slow.factor:.1f} times as long. Most likely {guess}.",
        "Close other programs on the card (a drawing program, a browser); use gradient checkpointing, batch 1, cached latents "
        "or a smaller rank. On Windows forbid the sysmem fallback in the driver's settings.",
    )


@rule("LOG033", "slow-throughout", "warning", since="0.2")
def slow_throughout(log: LogFacts, report: Report) -> Iterator[Finding]:
    """Every step takes more than ten seconds.

    Why: on a card that fits the job a LoRA step takes 0.3 to 3 s. Tens of seconds mean that the card is not used or its
    memory spills: a run on Apple silicon took 33 to 83 s a step when started with `python3 train_network.py` and about 2 s
    with `accelerate launch --num_cpu_threads_per_process=4`; SDXL on a 10 GB card took 73 s, with spilled memory.
    Found by: the median over stretches of the run is above 10 s a step, and the log does not say that it ran on the CPU
    (LOG022).
    Do: start with accelerate launch; watch the card's load and memory (nvidia-smi, Activity Monitor); use less memory.
    Fault: 45 s a step on a Mac, started with python3
    Instead: `accelerate launch --num_cpu_threads_per_process=4`
    Source: field notes of a character LoRA on Apple silicon; kohya_ss#1524, kohya_ss#1730; published speeds
    (sd-scripts#827: 1.12 s/it).
    """
    pace = usual_pace(log)
    if pace is None or pace <= SLOW_STEP_S or log.counts.get("LOG022") or slowdown(log) is not None:
        return
    rest = (log.planned_steps or 0) - log.last_step
    left = f" At this pace the remaining {rest:,} steps take {rest * pace / 3600:.1f} h." if rest > 0 else ""
    yield report(
        log.path,
        "time per step",
        f"A step takes {pace:.1f} s; 0.3 to 3 s are usual on a card that the job fits.{left}",
        "Start it with `accelerate launch --num_cpu_threads_per_process=4`; see that the GPU is at work and its memory not "
        "over-full, and reduce what a step needs.",
    )


@rule("LOG034", "stopped-early", "warning", since="0.2")
def stopped_early(log: LogFacts, report: Report) -> Iterator[Finding]:
    """The log ends before the planned number of steps, without an error.

    Why: a closed terminal, a lost connection to a rented machine or a session's time limit ends a run silently; its last
    checkpoint is then mistaken for a finished LoRA.
    Found by: the last step in the log is below the planned number, no final file is mentioned, no error is found, and the
    user did not stop it. A run that is still going looks the same.
    Do: if it is not running any more, resume it from its saved state, and start long runs in tmux or with nohup.
    Fault: the last line is step 600 of 1,000
    Instead: `--resume` from the saved state, in tmux
    Source: field notes on runs over night (“tmux session crashed: resume from last checkpoint”).
    """
    planned = log.planned_steps
    if not planned or not 0 < log.last_step < planned or log.finished or log.interrupted or has_error(log):
        return
    saved = log.checkpoints[-1] if log.checkpoints else None
    kept = f" The last file saved is {saved.name}." if saved else " No file was saved."
    yield report(
        log.path,
        f"step {log.last_step}",
        f"The log ends at step {log.last_step:,} of {planned:,} without an error.{kept}",
        "If it is not still running, resume it from its saved state (--resume), or take its last checkpoint for what it is.",
    )


@rule("LOG035", "pictures-found-twice", "warning", since="0.2")
def pictures_found_twice(log: LogFacts, report: Report) -> Iterator[Finding]:
    """Two folders with equally many pictures were both trained: the set may be doubled.

    Why: a copy of the pictures left beside the folder (10_name and 1_name, a backup) doubles every epoch: 406 pictures
    where 203 were meant, and a run twice as long.
    Found by: the trainer names two folders with the same number of pictures (5 or more), and counts both as training
    items: the sum of pictures × folder prefix over all folders equals its own count.
    Do: move the copy out of the training folder; `maquette check` on the folder shows duplicates.
    Fault: `10_fox` and `10_fox copy` with 20 pictures each
    Instead: one of them, outside the training folder the other
    Source: field notes of a pixel-art LoRA (203 pictures); sd-scripts 48d368fa, measured.
    """
    counted = [(folder, _prefix(folder.path)) for folder in log.folders]
    total = sum(folder.pictures * repeats for folder, repeats in counted)
    if log.train_items is None or total != log.train_items:
        return
    for index, (folder, _) in enumerate(counted):
        twin = next((other for other, _ in counted[:index] if other.pictures == folder.pictures), None)
        if twin is not None and folder.pictures >= LEAST_TWINS and twin.path != folder.path:
            both = twin.pictures + folder.pictures
            yield report(
                log.path,
                "folders",
                f"{twin.path} and {folder.path} hold {folder.pictures} pictures each, and both are trained: {both} pictures "
                f"where {folder.pictures} may have been meant.",
                "If one is a copy, move it out of the training folder: every epoch is twice as long as planned.",
            )
            return


def _prefix(path: str) -> int:
    name = path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    number = name.partition("_")[0]
    return int(number) if number.isdigit() else 1
