"""Rules about the learning rate: against the optimizer, the rest of the settings, the length of the run."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.dataset.repeats import Schedule
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.optimizers import facts_of
from maquette.project.request import TrainingRequest
from maquette.project.settings import half_the_rank
from maquette.rules.wording import (
    LITTLE,
    alpha_ratio,
    asking,
    is_above,
    is_adamw,
    is_adaptive,
    joined,
    number,
    text_rates,
    total_epochs,
    total_steps,
    unet_rate,
    warmup_steps,
    was_refused,
)

EIGHT_BIT_RATE, SHORT_WARMUP_RATE, NO_ACCUMULATION_RATE, HIGH_ALPHA_RATE = 1.2e-4, 1e-4, 1.1e-4, 1e-4
SHORT_WARMUP_STEPS = 100
HIGH_ALPHA, VERY_HIGH_ALPHA = 0.75, 0.85
WARMUP_SHARE = 0.2
HIGH_ADAMW_RATE, LOW_ADAMW_RATE, HIGH_LION_RATE = 1e-3, 1e-5, 1e-4


@rule("SET002", "rate-against-optimizer", "warning", since="0.2")
def rate_against_optimizer(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The learning rate is not of the size that this optimizer needs.

    Why: AdamW trains LoRAs at 5e-5 to 2e-4; from 1e-3 it usually burns them, and sd-scripts' default of 2e-6, in force when no
    rate is given, leaves them as good as untrained. Lion's steps are larger: it needs a third to a tenth of AdamW's rate.
    Prodigy and D-Adaptation find the rate themselves and take a factor: 1.0; with 1e-4 they learn nothing. They know one rate
    only: with a second one for the text encoder they stop at the first step.
    Found by: AdamW from 1e-3, or below 1e-5 (a hint where it was written); Lion from 1e-4; Prodigy and D-Adaptation at 0.1 or
    less (an error where Maquette is told no rate), above 2, or with unequal rates; no rate given at all to sd-scripts.
    Do: AdamW 1e-4 (SD 1.5) or 1e-4 to 8e-5 (SDXL), Lion 3e-5, Prodigy 1.0.
    Fault: `--optimizer_type=Prodigy --learning_rate=1e-4`
    Instead: `--optimizer_type=Prodigy --learning_rate=1.0`
    Source: field notes (every proven run between 6e-5 and 1.3e-4); sd-scripts 48d368fa (default 2e-6, its warning for
    D-Adaptation at 0.1 or less); prodigyopt 1.1.2 and dadaptation 3.2 (a RuntimeError for unequal rates); the Lion paper (Chen
    et al. 2023: a rate 3 to 10 times smaller).
    """
    optimizer, rate = str(request.value("optimizer") or "adamw"), unet_rate(request)
    if rate is None or rate == 0 or was_refused(request, "learning_rate") or was_refused(request, "unet_lr"):
        return
    place = request.said("unet_lr" if request.wrote("unet_lr") else "learning_rate")
    if is_adaptive(optimizer):
        yield from _adaptive_findings(request, optimizer, rate, place, report)
    elif request.trainer == "sd-scripts" and request.learning_rate is None and request.unet_lr is None:
        yield report(
            request.file,
            "--learning_rate is missing",
            "No learning rate is given, so sd-scripts' default of 2e-6 is in force: about a fiftieth of what a LoRA needs.",
            "Give one: --learning_rate=1e-4 --text_encoder_lr=5e-5.",
        )
    elif "lion" in optimizer and rate >= HIGH_LION_RATE * (1 - LITTLE):
        yield report(
            request.file,
            place,
            f"{number(rate)} with Lion, which needs a third to a tenth of AdamW's rate.",
            "Use 3e-5 or less.",
        )
    elif is_adamw(optimizer) and rate >= HIGH_ADAMW_RATE * (1 - LITTLE):
        yield report(
            request.file,
            place,
            f"{number(rate)} with {optimizer}: LoRAs burn at such rates.",
            "Use about 1e-4.",
        )
    elif is_adamw(optimizer) and rate < LOW_ADAMW_RATE * (1 - LITTLE):
        yield report(
            request.file,
            place,
            f"{number(rate)} with {optimizer}: in a thousand steps a LoRA learns next to nothing.",
            "Use about 1e-4.",
            severity="hint",
        )


def _adaptive_findings(
    request: TrainingRequest, optimizer: str, rate: float, place: str, report: Report
) -> Iterator[Finding]:
    if rate <= 0.1 or rate > 2:
        # A default of 1e-4 is nobody's choice: the run would learn nothing.
        said = request.wrote("learning_rate") or request.wrote("unet_lr")
        unsaid = request.trainer == "maquette" and not said
        yield report(
            request.file,
            place,
            f"{number(rate)} with {optimizer}, which finds its own rate and takes this as a factor.",
            f"Use 1.0{': ' + asking(request, learning_rate=1.0) if unsaid else ''}.",
            severity="error" if unsaid else None,
        )
    text = text_rates(request)
    if facts_of(optimizer).one_rate and any(each not in (0, rate) for each in text or ()):
        yield report(
            request.file,
            request.said("text_encoder_lrs"),
            f"{optimizer} knows one rate only: with {joined(number(each) for each in (*text, rate))} it stops at once.",
            "Give the same for both, or 0 for the text encoder.",
        )


@rule("SET003", "rate-against-setup", "warning", since="0.2")
def rate_against_setup(
    request: TrainingRequest, schedule: Schedule | None, report: Report
) -> Iterator[Finding]:
    """The learning rate is too high for the rest of the settings.

    Why: One project's search pruned these combinations before training, after runs had exploded: 8-bit states add noise to
    every update, a rate that starts at full height hits untrained layers, a single small batch makes every update noisy, and a
    high alpha multiplies all of it.
    Found by: with AdamW and its kin: above 1.2e-4 with AdamW8bit; above 1e-4 with fewer than 100 warm-up steps; above 1.1e-4
    without accumulation (batches of 8 and more are left alone: it is the effective batch that counts); above 1e-4 with alpha
    / rank of 0.85 and more. One finding names all that hold.
    Do: Lower the rate to 1e-4, or mend what the message names: warm up over 100 steps, accumulate 2.
    Fault: `--optimizer_type=AdamW8bit --learning_rate=2e-4` without warm-up
    Instead: `--learning_rate=1e-4 --lr_warmup_steps=100`
    Source: field notes of film-frame LoRAs (safety constraints 1, 4, 5 and 7 of a search over 20 trials).
    """
    rate, optimizer = unet_rate(request), str(request.value("optimizer") or "adamw")
    if rate is None or not is_adamw(optimizer):
        return
    warm, ratio = warmup_steps(request, schedule), alpha_ratio(request)
    accumulation, batch = request.value("accumulation") or 1, request.value("batch_size") or 1
    reasons = []
    if is_above(rate, EIGHT_BIT_RATE) and optimizer.endswith("8bit"):
        reasons.append("an 8-bit optimizer (up to 1.2e-4)")
    if is_above(rate, SHORT_WARMUP_RATE) and warm is not None and warm < SHORT_WARMUP_STEPS:
        reasons.append(f"{warm} warm-up steps (from 100, or up to 1e-4)")
    if is_above(rate, NO_ACCUMULATION_RATE) and accumulation == 1 and batch < 8:
        reasons.append(f"batch {batch} without accumulation (up to 1.1e-4)")
    if is_above(rate, HIGH_ALPHA_RATE) and ratio is not None and ratio >= VERY_HIGH_ALPHA:
        reasons.append(f"alpha / rank of {number(ratio)} (up to 1e-4)")
    if reasons:
        yield report(
            request.file,
            request.said("unet_lr" if request.wrote("unet_lr") else "learning_rate"),
            f"{number(rate)} is high for {joined(reasons)}.",
            "Use 1e-4, or mend what is named.",
        )


@rule("SET004", "high-alpha-needs-care", "hint", since="0.2")
def high_alpha_needs_care(
    request: TrainingRequest, schedule: Schedule | None, report: Report
) -> Iterator[Finding]:
    """A high alpha wants a long and gentle run around it.

    Why: From alpha / rank of 0.75 on one project allowed a trial only with at least 16 epochs, accumulation from 2, AdamW in
    full precision and 150 warm-up steps. Its own SDXL settings (128/96, AdamW8bit, 100 warm-up steps) break two of these and
    were used: so a hint.
    Found by: alpha / rank from 0.75 on, short of equal, with AdamW, and at least one of the four missing.
    Do: Use half the rank as alpha, or supply what the message names.
    Fault: alpha 28 at rank 32 for 400 steps
    Instead: alpha 16 at rank 32
    Source: field notes of film-frame LoRAs (safety constraint 6).
    """
    ratio, rank = alpha_ratio(request), request.value("rank")
    optimizer = str(request.value("optimizer") or "adamw")
    if ratio is None or ratio < HIGH_ALPHA or ratio * rank > rank - 1 or not is_adamw(optimizer):
        return
    epochs, warm = total_epochs(request, schedule), warmup_steps(request, schedule)
    missing = []
    if epochs is not None and epochs < 16:
        missing.append(f"16 epochs (it has {epochs:.3g})")
    if (request.value("accumulation") or 1) < 2:
        missing.append("accumulation of 2")
    if optimizer.endswith("8bit"):
        missing.append("AdamW in full precision")
    if warm is not None and warm < 150:
        missing.append(f"150 warm-up steps (it has {warm})")
    if missing:
        yield report(
            request.file,
            request.said("alpha"),
            f"alpha / rank is {number(ratio)}, which one project allowed only with {joined(missing)}.",
            f"Use {asking(request, alpha=half_the_rank(rank))}, or supply them.",
        )


@rule("SET005", "warm-up-against-steps", "warning", since="0.2")
def warm_up_against_steps(
    request: TrainingRequest, schedule: Schedule | None, report: Report
) -> Iterator[Finding]:
    """The warm-up takes too much of the run, or all of it.

    Why: While it warms up the rate is below what was asked for. A warm-up of all steps never reaches it; cosine then has
    nothing left to fall over.
    Found by: warm-up steps (a number below 1 is a share of all steps) against the steps of the run: as many or more is an
    error, above 20 % a warning.
    Do: About a tenth of the steps at most; 100 of 1,000.
    Fault: `--lr_warmup_steps=300` of 1,000
    Instead: `--lr_warmup_steps=100`
    Source: sd-scripts 48d368fa (the rate of update i is f(i), so the first warm-up step has rate 0); field notes of film-frame
    LoRAs (100 warm-up steps of about 1,030).
    """
    steps, warm = total_steps(request, schedule), warmup_steps(request, schedule)
    if steps is None or not warm or steps < 1:
        return
    where = (request.file, request.said("warmup_steps"))
    if warm >= steps:
        yield report(
            *where,
            f"{warm} of {steps} steps are warm-up: it needs fewer than the run has.",
            "Use about a tenth of the steps.",
            severity="error",
        )
    elif warm > WARMUP_SHARE * steps:
        yield report(
            *where,
            f"{warm} of {steps} steps are warm-up ({warm / steps:.0%}).",
            "Use about a tenth of the steps.",
        )


@rule("SET006", "restarts-against-epochs", "warning", since="0.2")
def restarts_against_epochs(
    request: TrainingRequest, schedule: Schedule | None, report: Report
) -> Iterator[Finding]:
    """The learning rate restarts more often than the pictures are gone through.

    Why: Each restart throws the rate back to its height, which undoes the settling before it. A cycle shorter than an epoch
    does that before every picture was seen. The film-frame runs used 2 cycles for 20 epochs and 3 for 18.
    Found by: cosine_with_restarts with more cycles than epochs.
    Do: One cycle for six epochs or more; or plain cosine.
    Fault: `--lr_scheduler_num_cycles=8` in 5 epochs
    Instead: `--lr_scheduler_num_cycles=1`
    Source: field notes of film-frame LoRAs ('fewer epochs = fewer restarts') and of a pixel-art LoRA (3 cycles, 10 epochs).
    """
    cycles, epochs = request.value("cycles") or 1, total_epochs(request, schedule)
    if request.value("scheduler") != "cosine_with_restarts" or epochs is None or cycles <= max(1.0, epochs):
        return
    yield report(
        request.file,
        request.said("cycles"),
        f"{cycles} cycles in {epochs:.3g} epochs: the rate restarts before every picture was seen.",
        f"Use {max(1, int(epochs / 6))}, or lr_scheduler cosine.",
    )


@rule("SET011", "text-encoder-rate", "warning", since="0.2")
def text_encoder_rate(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The text encoder learns as fast as the U-Net, or faster.

    Why: The text encoder has far fewer values and bends first: words lose their meaning, prompts stop working. Half the
    U-Net's rate is usual; sd-scripts gives both the same where nothing else is said.
    Found by: a text encoder rate above the U-Net's (a warning) or equal to it (a hint), unless the optimizer finds its own
    rate or the text encoder is not trained.
    Do: Half the U-Net's: --text_encoder_lr=5e-5 with --unet_lr=1e-4.
    Fault: `--text_encoder_lr=1e-4 --unet_lr=1e-4`
    Instead: `--text_encoder_lr=5e-5 --unet_lr=1e-4`
    Source: field notes: 5e-5 with 1e-4 (character, pixel art), 4e-5 with 8e-5 and 8e-5 with 1.3e-4 (film frames).
    """
    rate, text = unet_rate(request), text_rates(request)
    if not rate or not text or request.value("train_denoiser") is False:
        return
    if is_adaptive(str(request.value("optimizer") or "")):
        return
    highest = max(text)
    said = request.wrote("text_encoder_lrs")
    place = request.said("text_encoder_lrs") if said else "--text_encoder_lr is missing"
    remedy = f"Use half the U-Net's rate: {number(rate / 2)}."
    if is_above(highest, rate):
        yield report(
            request.file,
            place,
            f"The text encoder's rate {number(highest)} is above the U-Net's {number(rate)}.",
            remedy,
        )
    elif highest >= rate * (1 - LITTLE) and (said or request.learning_rate is not None):
        yield report(
            request.file,
            place,
            f"The text encoder's rate {number(highest)} is the U-Net's"
            + ("." if said else ": no other was given."),
            remedy,
            severity="hint",
        )
