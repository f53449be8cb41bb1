"""Rules about masks: pictures without one, files that cannot be one, masks that cannot mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from maquette.dataset.facts import DatasetFacts, FolderFact
from maquette.dataset.masks import MaskLook
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.picture_groups import many

WEIGHTS = (
    "unmasked_weight",
    "unmasked_probability",
    "normalize_masked_area_loss",
    "masked_prior_preservation_weight",
)


@rule("PIC026", "mask-missing", "warning", since="0.2")
def mask_missing(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Masks are asked for, and pictures of the subject have none.

    Why: such a picture is trained whole, its background with it, which is what the masks were to keep out. sd-scripts stops at
        the first one (alpha masks excepted) and at a mask that no picture belongs to.
    Found by: the names of the files that masks are looked for in; for alpha masks, pictures without a transparent pixel. An error
        where not one picture of a folder has a mask, which stops a run. Regularization pictures need none.
    Do: make the missing ones (`maquette masks FOLDER`), or draw a white picture where all of it is to be learned.
    Fault: `mask_source = "beside"`, and `masks/` lacks `fox_07.png`
    Instead: `masks/fox_07.png` too
    Source: sd-scripts 48d368fa asserts "missing conditioning data"; OneTrainer trains such pictures whole.
    """
    for folder in _of_subject(facts):
        if not folder.without_mask:
            continue
        is_none = not folder.masks
        what = "has no mask and will be trained whole." if len(folder.without_mask) == 1 else None
        yield from many(
            report,
            facts,
            folder.without_mask,
            what or ("have no mask" + ("." if is_none else " and will be trained whole.")),
            f"Make them: maquette masks {folder.path}",
            severity="error" if is_none else None,
        )


@rule("PIC027", "mask-unfit", "error", since="0.2")
def mask_unfit(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A mask cannot be read, or has another shape than its picture.

    Why: a mask of another shape belongs to another crop of the picture: stretched over it, it hides the wrong places. sd-scripts
        stops at any mask that differs from its picture in size by a pixel.
    Found by: decoding every mask; sides whose proportion is more than 1 % off the picture's. One of another size and the
        same shape is resized.
    Do: make the mask again from the picture as it is now.
    Fault: `fox.png` of 1024 × 768 with `masks/fox.png` of 1024 × 1024
    Instead: a mask of 1024 × 768
    Source: sd-scripts 48d368fa asserts equal sizes ("size of conditioning image is not match").
    """
    for folder in facts.used_folders:
        for mask in folder.masks.values():
            if mask.problem is not None:
                problem = mask.problem
                message = f"{mask.path.name} is {problem.given}; required: {problem.required}."
                yield report(mask.path, "", message, problem.remedy)


@rule("PIC028", "mask-doubtful", "warning", since="0.2")
def mask_doubtful(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A mask is black, white, or hides the middle and shows what is around.

    Why: nothing is learned from a picture whose mask is black, at the price of its steps; a white one masks nothing; an inverted
        one teaches the background and hides the subject. Some tools paint what is to be left out white.
    Found by: the mean of the mask: below 0.2 % black, above 99.8 % white; inverted where the outer eighth is 0.5 brighter than
        the middle half.
    Do: make it again; invert one that is inverted. `maquette masks` shows each over its picture.
    Fault: `masks/fox.png`, black
    Instead: white where the fox is
    Source: "no sign that masks work" (LoRA_Easy_Training_Scripts#331); masks by hand are inverted as often as not.
    """
    for folder in facts.used_folders:
        looks = {
            path: mask.look
            for path, mask in folder.masks.items()
            if mask.look is not None and not folder.is_regularization
        }
        yield from _alike(report, facts, folder, looks)


def _alike(
    report: Report, facts: DatasetFacts, folder: FolderFact, looks: Mapping[Path, MaskLook]
) -> Iterator[Finding]:
    """Yield a finding for all masks of a folder that are doubtful in one way."""
    black = [path for path, look in looks.items() if look.is_empty]
    white = [path for path, look in looks.items() if look.is_white]
    inverted = [path for path, look in looks.items() if look.seems_inverted]
    remedy = "Make the mask again, or leave the picture out."
    yield from many(report, facts, black, "will teach nothing: the mask is black.", remedy)
    yield from many(
        report,
        facts,
        white,
        "will be trained whole: the mask is white.",
        "Nothing, where that is meant.",
        severity="hint",
    )
    yield from many(
        report,
        facts,
        inverted,
        "will teach what is around the subject: the mask hides the middle of the picture.",
        "Invert the mask: white is what is learned.",
    )


@rule("PIC029", "mask-idle", "warning", since="0.2")
def mask_idle(facts: DatasetFacts, request: TrainingRequest | None, report: Report) -> Iterator[Finding]:
    """Masks lie among the pictures, or settings of masks are made, and no mask is used.

    Why: sd-scripts knows no names of masks: it trains `fox_mask.png` as one more picture of the subject. Maquette leaves such
        files out, and uses them as soon as it is told to.
    Found by: files named NAME-masklabel, NAME.mask, NAME_mask or NAME-mask without a caption of their own beside NAME, and
        pictures in `masks` below; settings that only matter with masks.
    Do: with Maquette set mask_source to "beside". For sd-scripts move them into a folder of their own and name it
        conditioning_data_dir in the dataset TOML, with --masked_loss.
    Fault: `10_fox/fox_01_mask.png` beside `10_fox/fox_01.png`, for sd-scripts
    Instead: `masks/fox_01.png` and `conditioning_data_dir = "masks"`
    Source: sd-scripts 48d368fa, docs/masked_loss_README.md; OneTrainer's NAME-masklabel.png.
    """
    of_kohya = facts.trainer == "sd-scripts"
    for folder in facts.used_folders:
        among = [path for path in folder.idle_masks if path.parent == folder.path]
        if of_kohya and among:
            yield from many(
                report,
                facts,
                among,
                f"{'is' if len(among) == 1 else 'are'} named like a mask and will be trained as a picture.",
                'Move masks into a folder of their own: conditioning_data_dir = "…" in the dataset TOML, with --masked_loss.',
                severity="error",
            )
        elif folder.idle_masks and not of_kohya:
            verb = "is named like a mask" if len(folder.idle_masks) == 1 else "are named like masks"
            yield from many(
                report,
                facts,
                folder.idle_masks,
                f"{verb} and not used.",
                'Set mask_source = "beside" to learn only what they show; remove them otherwise.',
                severity="hint",
            )
    if request is not None and request.trainer == "maquette" and not _has_masks(facts):
        yield from _idle_settings(request, report)


def _idle_settings(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    for name in WEIGHTS:
        if request.wrote(name) and request.value(name):
            remedy = "Set mask_source too, or leave it out."
            yield report(
                request.file, request.said(name), f"{name} has no effect: no picture has a mask.", remedy
            )
    if request.mask_folder is not None and request.mask_source != "folder":
        message = f"mask_folder has no effect: mask_source is {request.mask_source}."
        yield report(request.file, request.said("mask_folder"), message, "Leave one of the two out.")


def _has_masks(facts: DatasetFacts) -> bool:
    return any(folder.masks or folder.without_mask for folder in facts.used_folders)


def _of_subject(facts: DatasetFacts) -> list[FolderFact]:
    return [folder for folder in facts.used_folders if not folder.is_regularization]
