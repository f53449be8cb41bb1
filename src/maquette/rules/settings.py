"""Rules about the adapter's size and about augmentation: rank, alpha, mirrored pictures, changed colours."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.repeats import Schedule
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.project.settings import half_the_rank
from maquette.rules.wording import asking, joined, number, total_epochs, was_refused

TINY_SCALE = 0.1
"""alpha / rank below a tenth: sd-scripts' default alpha 1 at rank 32 is 1/32."""
SMALL_SET, MIDDLE_SET = 50, 200
SMALL_SET_RANK, MIDDLE_SET_RANK = 64, 128
COLOUR_WORDS = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ae]y|blond\w*|ginger|auburn|silver|gold\w*"
    r"|teal|cyan|magenta|crimson|beige|turquoise|dark|light|pale)\b|#[0-9a-f]{6}",
    re.IGNORECASE,
)


@rule("SET001", "alpha-against-rank", "warning", since="0.2")
def alpha_against_rank(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """The adapter's scale, alpha / rank, is far from the usual half.

    Why: The LoRA's change is multiplied by alpha / rank. Above 1 every step counts for more than the learning rate says. At 1
    (|alpha − rank| < 1) one search pruned the combination as unstable: no damping is left. sd-scripts' default alpha is 1: at
    rank 32 that is 1/32, and the LoRA learns a thirtieth of what its rate promises.
    Found by: alpha above rank, or alpha / rank below 0.1 (warnings); |alpha − rank| below 1 (a hint). Rank 1 is left alone;
    an alpha of 0 means the rank. The same for the convolutions' alpha.
    Do: Half the rank is what every proven run of the field notes used: 16 for 32, 32 for 64, 64 for 128.
    Fault: `--network_dim=32 --network_alpha=64`
    Instead: `--network_dim=32 --network_alpha=16`
    Source: field notes of film-frame LoRAs (safety constraint 2) and of a character LoRA (32/16); sd-scripts 48d368fa (scale
    and default).
    """
    pairs = [("alpha", request.value("rank"), request.value("alpha"))]
    if request.conv_rank:
        pairs.append(("conv_alpha", request.conv_rank, request.conv_alpha))
    for name, rank, alpha in pairs:
        if not rank or rank < 2 or alpha is None:
            continue
        given = f"alpha {number(alpha)}" + ("" if request.wrote(name) else " (the default)")
        half = f"Set it to half the rank: {number(half_the_rank(rank))}."
        where = (request.file, request.said(name))
        scale = (alpha or rank) / rank
        if abs((alpha or rank) - rank) < 1:
            yield report(
                *where, f"{given} with rank {rank}: scale 1, which damps nothing.", half, severity="hint"
            )
        elif scale > 1:
            yield report(
                *where,
                f"{given} with rank {rank}: every step counts {number(scale)} times what the rate says.",
                half,
            )
        elif scale < TINY_SCALE:
            yield report(
                *where,
                f"{given} with rank {rank}: scale 1/{rank / alpha:.3g}, so it learns next to nothing.",
                half,
            )


@rule("SET007", "rank-against-pictures", "warning", since="0.2")
def rank_against_pictures(
    request: TrainingRequest, facts: DatasetFacts | None, report: Report
) -> Iterator[Finding]:
    """The rank is out of proportion to the number of pictures.

    Why: A large rank on few pictures memorises them (and makes a file of hundreds of MB), a tiny one cannot hold many. Proven
    in the field notes: 32 for 15 to 23 pictures of a character, 64 for 413 film frames, 128 for 203 portraits and 410 frames.
    Found by: a rank above 64 for fewer than 50 pictures, above 128 for fewer than 200; and sd-scripts' default of 4 where no
    rank is given (a hint).
    Do: 16 to 32 for up to 50 pictures, 32 to 64 for up to 200, 64 to 128 beyond.
    Fault: rank 128 for 20 pictures
    Instead: rank 32
    Source: field notes of a character LoRA (32), film-frame LoRAs (64, 128) and a pixel-art LoRA (128).
    """
    rank = request.value("rank")
    if was_refused(request, "network_dim"):
        return
    if request.trainer == "sd-scripts" and request.rank is None and not request.dim_from_weights:
        yield report(
            request.file,
            "--network_dim is missing",
            "No rank is given, so sd-scripts' default of 4 is in force, with alpha 1.",
            "Give both: --network_dim=32 --network_alpha=16.",
            severity="hint",
        )
        return
    count = len(facts.files) if facts is not None else 0
    if not count or not rank:
        return
    limit = SMALL_SET_RANK if count < SMALL_SET else MIDDLE_SET_RANK if count < MIDDLE_SET else None
    if limit is not None and rank > limit:
        usual = 32 if count < SMALL_SET else 64
        yield report(
            request.file,
            request.said("rank"),
            f"Rank {rank} for {count} pictures: it can memorise them one by one.",
            f"Use {asking(request, rank=usual, alpha=usual // 2)}.",
        )


@rule("SET008", "large-rank-few-epochs", "warning", since="0.2")
def large_rank_few_epochs(
    request: TrainingRequest, schedule: Schedule | None, report: Report
) -> Iterator[Finding]:
    """A very large rank gets too little time.

    Why: A network of rank 256 has four to eight times the values of the usual ones, and one project's searches found that it
    needs more passes to settle; such trials were pruned.
    Found by: a rank of 256 or more with fewer than 16 epochs.
    Do: Use rank 128 or less, or train at least 16 epochs.
    Fault: rank 256 for 12 epochs
    Instead: rank 128, or 16 epochs
    Source: field notes of film-frame LoRAs (safety constraint 3).
    """
    rank, epochs = request.value("rank") or 0, total_epochs(request, schedule)
    if rank >= 256 and epochs is not None and epochs < 16:
        yield report(
            request.file,
            request.said("rank"),
            f"Rank {rank} with {epochs:.3g} epochs: networks of this size need at least 16.",
            "Use rank 128 or less, or more epochs.",
        )


@rule("SET009", "flip-against-profile", "error", since="0.2")
def flip_against_profile(
    request: TrainingRequest, profile: Profile | None, facts: DatasetFacts | None, report: Report
) -> Iterator[Finding]:
    """Pictures are mirrored at random though the subject has a left and a right.

    Why: Half of what the LoRA sees has the glove on the wrong arm. In a controlled run on the small world the right glove came
    out right in 78 % of drawings without mirrored pictures and in 25 % with them; identity fell from 0.69 to 0.51. One project
    deleted 8 mirrored pictures and trained again.
    Found by: flip_aug in the command or in a subset of the dataset TOML, and a profile with one-sided details (an error), of a
    person (a warning: faces and partings have sides), or no profile (a hint).
    Do: Remove flip_aug.
    Fault: `--flip_aug` for a subject with a glove on one hand
    Instead: the command without it
    Source: field notes of a character LoRA (flip images removed) and film-frame LoRAs (no flip: hair parting); measured on the
    small world.
    """
    subsets = facts.plan.subsets if facts is not None else ()
    flipped = [subset.name for subset in subsets if subset.options.flip_aug and not subset.is_regularization]
    if not request.value("flip_aug") and not flipped:
        return
    place = request.said("flip_aug") if request.flip_aug else f"flip_aug in {joined(flipped)}"
    remedy = "Remove flip_aug."
    if profile is None:
        message = "Pictures are mirrored at random: wrong for a subject with anything on one side only, and no profile says."
        yield report(request.file, place, message, remedy, severity="hint")
    elif profile.is_asymmetric:
        details = [*profile.details, *(detail for form in profile.forms for detail in form.details)]
        named = joined(detail.phrase for detail in details[:3])
        yield report(
            request.file,
            place,
            f"Pictures are mirrored at random, but the subject has {named}: half would be wrong.",
            remedy,
        )
    elif profile.kind == "person":
        message = "Pictures of a person are mirrored at random: faces, partings and jewellery have sides."
        yield report(request.file, place, message, remedy, severity="warning")


@rule("SET010", "colour-augmentation-against-profile", "warning", since="0.2")
def colour_augmentation_against_profile(
    request: TrainingRequest, profile: Profile | None, facts: DatasetFacts | None, report: Report
) -> Iterator[Finding]:
    """Colours are changed at random though they belong to the subject or its style.

    Why: color_aug shifts hue by random amounts. Ginger hair becomes any hair, a palette dissolves, and the materials of a
    rendered film look wrong. It also forbids cached latents, so every step encodes again.
    Found by: color_aug in the command or in a subset of the dataset TOML, with a profile that names a palette or colours, or is
    of a style (a warning); without a profile a hint.
    Do: Remove color_aug.
    Fault: `--color_aug` for a subject with red hair
    Instead: the command without it
    Source: field notes of film-frame LoRAs ('no color jitter: breaks physically based rendering materials').
    """
    subsets = facts.plan.subsets if facts is not None else ()
    shifted = [subset.name for subset in subsets if subset.options.color_aug and not subset.is_regularization]
    if not request.value("color_aug") and not shifted:
        return
    place = request.said("color_aug") if request.color_aug else f"color_aug in {joined(shifted)}"
    where = (request.file, place)
    if profile is None:
        message = "Colours are changed at random: wrong wherever they belong to the subject or style, and no profile says."
        yield report(*where, message, "Remove color_aug.", severity="hint")
        return
    coloured = [words for words in profile.appearance if COLOUR_WORDS.search(words)]
    reason = (
        f"a palette of {len(profile.palette)} colours"
        if profile.palette
        else f"'{coloured[0]}'"
        if coloured
        else "its style"
        if profile.kind == "style"
        else None
    )
    if reason is not None:
        yield report(
            *where,
            f"Colours are changed at random, but the profile names {reason}: it would come out in any.",
            "Remove color_aug.",
        )
