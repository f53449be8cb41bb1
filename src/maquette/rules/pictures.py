"""Rules about single pictures: files that cannot be trained on, and pictures that teach what nobody wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.measures import Measures
from maquette.dataset.opening import DAMAGED
from maquette.errors import Problem
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.rules.picture_groups import (
    aside,
    decoded,
    enlargement,
    has_buckets,
    is_enlarging_off,
    many,
    repairs,
    sound,
    sound_of_all,
    training_resolution,
    unsound,
)
from maquette.rules.picture_repairs import in_srgb, on_white, upright

ENLARGED_MUCH, ENLARGED_SOME = 1.25, 1.05
MAX_ASPECT = 3.0
MAX_CUT_OFF = 0.3
BLANK_CONTRAST, BLANK_SHARE = 0.02, 0.985
BLURRED_EDGE_PX, BLURRED_SHARPNESS = 3.3, 120.0
DETAIL_SHARE = 0.55
NOISY = 8.0
CUT_EDGE, CUT_SHARES = 0.12, (0.06, 0.6)


@rule("PIC001", "unreadable-picture", "error", since="0.2")
def unreadable_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A file that should be a picture cannot be read as one.

    Why: sd-scripts stops when it reaches the file, often minutes into caching; some trainers leave it out silently,
        and the planned steps no longer hold. A web page saved as .jpg, an empty file, a Git LFS pointer, an animation and
        a picture of floating-point numbers are the usual ones.
    Found by: reading and decoding every file, of regularization pictures too. Files of one kind are one finding.
    Do: replace the file by the real picture, or remove it and its caption.
    Fault: `fox.png` that is a web page
    Instead: the picture itself
    Source: kohya_ss#1574, a bad picture found in the middle of caching.
    """
    yield from _unsound(report, facts, is_damaged=False)


def _unsound(report: Report, facts: DatasetFacts, *, is_damaged: bool) -> Iterator[Finding]:
    """Yield a finding for all pictures that are unusable in one way."""
    alike: dict[tuple[str, str], list[Path]] = {}
    for each in unsound(facts):
        problem = each.result
        assert isinstance(problem, Problem), "unsound pictures carry a problem"
        if problem.given.startswith(DAMAGED) is is_damaged:
            alike.setdefault((problem.given, problem.remedy), []).append(each.path)
    for (given, remedy), paths in alike.items():
        yield from many(report, facts, paths, f"{'is' if len(paths) == 1 else 'are each'} {given}.", remedy)


@rule("PIC002", "damaged-picture", "error", since="0.2")
def damaged_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture file is damaged, or ends before the picture does.

    Why: a download that broke off opens in many viewers with a grey lower half. Trainers stop at it, or train on the
        grey half when their library is told to tolerate it.
    Found by: decoding every picture to its last pixel and checking a PNG's checksums, of regularization pictures too.
    Do: copy or download the file again.
    Fault: `fox.jpg`, cut off by a broken download
    Instead: the file downloaded again
    Source: kohya_ss#1574; Pillow refuses such files unless LOAD_TRUNCATED_IMAGES is set.
    """
    yield from _unsound(report, facts, is_damaged=True)


@rule("PIC003", "small-picture", "warning", since="0.2")
def small_picture(facts: DatasetFacts, request: TrainingRequest | None, report: Report) -> Iterator[Finding]:
    """A picture has fewer pixels than it is trained at.

    Why: the trainer enlarges it, so the LoRA learns soft edges and the enlarging filter's halos as part of the subject.
        With bucket_no_upscale it is trained at its own size instead, which drawing at full size then never saw.
    Found by: the factor by which width × height must grow to the area trained at (the dataset TOML's or the settings'
        resolution; 512×512 where nothing says). Above 1.25 it is a warning, above 1.05 a hint; with bucket_no_upscale a
        hint. Enlarged pixel art is `resized-pixel-art` instead.
    Do: find a larger original, leave the picture out, or train at a lower resolution. Enlarge pixel art yourself, by a
        whole factor and without smoothing.
    Fault: 300 × 300 px trained at 512
    Instead: a larger original, or `--resolution=256,256`
    Source: sd-scripts 48d368fa enlarges with Lanczos (measured); "Minimum Resolution 512" in the field notes of a
        film-character LoRA.
    """
    resolution = training_resolution(facts, request)
    factors = {
        path: enlargement(measures, resolution) for path, measures in sound(facts) if measures.grid_px == 1
    }
    size = "x".join(map(str, resolution))
    if is_enlarging_off(facts, request):
        small = [path for path, factor in factors.items() if factor > ENLARGED_SOME]
        verb = "has" if len(small) == 1 else "have"
        what = (
            f"{verb} fewer pixels than {size} and will be trained at their own size, since enlarging is off: "
            f"the smallest by a factor of {max((factors[path] for path in small), default=1):.1f}."
        )
        yield from many(report, facts, small, what, "Find larger originals.", severity="hint")
        return
    much = [path for path, factor in factors.items() if factor > ENLARGED_MUCH]
    some = [path for path, factor in factors.items() if ENLARGED_SOME < factor <= ENLARGED_MUCH]
    for paths, severity in ((much, None), (some, "hint")):
        worst = max((factors[path] for path in paths), default=1)
        amount = f"{worst:.2f} times" if len(paths) == 1 else f"up to {worst:.2f} times"
        yield from many(
            report,
            facts,
            paths,
            f"will be enlarged {amount} to reach {size}.",
            "Find larger originals, leave them out, or lower the resolution.",
            severity=severity,  # type: ignore[arg-type]
        )


@rule("PIC004", "extreme-shape", "warning", since="0.2")
def extreme_shape(facts: DatasetFacts, request: TrainingRequest | None, report: Report) -> Iterator[Finding]:
    """A picture is so long or so tall that much of it is cut off or squeezed into a rare bucket.

    Why: without buckets only the centre in the shape of the resolution is trained: a 16:9 frame loses 44 %, heads and
        hands first. With buckets, shapes beyond 3:1 exceed the usual bounds (256 to 1024 px at 512), are cropped to the
        nearest one, and sit alone in it, which makes batches uneven.
    Found by: where buckets are off, more than 30 % of the picture outside the crop; else sides beyond 3:1.
    Do: turn buckets on (--enable_bucket), or crop such pictures yourself around the subject.
    Fault: 2000 × 400 px without buckets
    Instead: `--enable_bucket`, or a crop around the subject
    Source: sd-scripts 48d368fa, whose enable_bucket is off unless asked for (read and measured).
    """
    without_buckets = has_buckets(facts, request) is False
    width, height = training_resolution(facts, request)
    cut: dict[Path, float] = {}
    long: dict[Path, float] = {}
    for path, measures in sound(facts):
        shape = measures.width_px / measures.height_px
        share = 1 - min(shape * height / width, width / height / shape)
        if without_buckets and share > MAX_CUT_OFF:
            cut[path] = share
        elif not without_buckets and max(shape, 1 / shape) > MAX_ASPECT:
            long[path] = max(shape, 1 / shape)
    worst = max(cut.values(), default=0)
    yield from many(
        report,
        facts,
        list(cut),
        f"will lose {'up to ' if len(cut) > 1 else ''}{worst:.0%} of what is shown: buckets are off, and only the "
        f"centre in the shape of {width}x{height} is trained.",
        "Turn buckets on (enable_bucket), or crop around the subject yourself.",
    )
    yield from many(
        report,
        facts,
        list(long),
        f"{'has' if len(long) == 1 else 'have'} sides of up to {max(long.values(), default=0):.1f} to 1.",
        "Crop around the subject, to no more than 2 to 1.",
    )


@rule("PIC005", "blank-picture", "error", since="0.2", repair="safe")
def blank_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture is black, white or of one colour.

    Why: fades between scenes leave black and white frames. Trained under the trigger they teach that the subject may be
        nothing at all, at the same weight as a good picture.
    Found by: a standard deviation of grey values below 2 % of the scale, or 98.5 % of all pixels nearly black or nearly
        white, of regularization pictures too. Line drawings and dark scenes are far from it (the darkest real photograph
        tried has 11 % and 42 %).
    Do: remove it and its caption; `--fix` sets both aside.
    Fault: a black frame between two scenes
    Instead: the frame taken out
    Source: "rejected: black frames" in the field notes of a film-character LoRA.
    """
    blank = [path for path, measures in sound_of_all(facts) if _is_blank(measures)]
    verb = "shows" if len(blank) == 1 else "show"
    yield from many(
        report,
        facts,
        blank,
        f"{verb} nothing but one colour.",
        "Remove such pictures and their captions.",
        fix=aside("set blank pictures and their captions aside", facts, blank),
    )


def _is_blank(measures: Measures) -> bool:
    return (
        measures.contrast < BLANK_CONTRAST
        or max(measures.clipped_dark, measures.clipped_bright) > BLANK_SHARE
        or measures.num_colours == 1
    )


@rule("PIC006", "transparent-picture", "warning", since="0.2", repair="decides")
def transparent_picture(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """Parts of a picture are transparent, and training sees the colour stored behind them.

    Why: drawing programs store black, or left-over brush strokes, behind transparent pixels. Trainers drop the alpha
        channel, so a cut-out character is trained on black, with hard fringes that no viewer shows.
    Found by: any pixel that is not fully opaque. An alpha channel that is opaque everywhere is no finding.
    Do: lay the picture on the background you want to train on: `--fix` writes it anew on white; Maquette's setting
        `background` lays every picture on its colour while it is read and leaves the files alone.
    Fault: a cut-out with black behind its transparent parts
    Instead: the cut-out laid on white
    Source: sd-scripts 48d368fa converts with Pillow's convert("RGB"), which drops alpha (measured).
    """
    if request is not None and request.background is not None:
        return
    found = [path for path, look in decoded(facts) if look.is_transparent]
    yield from many(
        report,
        facts,
        found,
        f"{'has' if len(found) == 1 else 'have'} transparent parts, which are trained in the colour stored behind them.",
        "Lay them on a plain background" + (" (or set background)." if facts.trainer == "maquette" else "."),
        fix=repairs("lay transparent parts on white", found, on_white),
    )


@rule("PIC007", "turned-picture", "error", since="0.2", repair="safe")
def turned_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture lies on its side or is mirrored, and only its EXIF data set it right in viewers.

    Why: phones store pixels as the sensor saw them and a note how to turn them. Trainers ignore the note: you see an
        upright portrait, the LoRA learns a person lying down.
    Found by: an EXIF orientation other than 1.
    Do: save the picture turned; `--fix` does so, with the JPEG's own quality, and removes the note.
    Fault: a phone's picture with EXIF orientation 6
    Instead: the picture saved turned
    Source: sd-scripts 48d368fa reads pixels as stored (measured).
    """
    found = [path for path, look in decoded(facts) if look.is_rotated]
    yield from many(
        report,
        facts,
        found,
        f"{'is' if len(found) == 1 else 'are'} turned or mirrored by EXIF data that training ignores.",
        "Save them turned the right way up.",
        fix=repairs("turn pictures the right way up", found, upright),
    )


@rule("PIC008", "colour-profile", "warning", since="0.2", repair="safe")
def colour_profile(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture's colours are not sRGB, and training takes the numbers as if they were.

    Why: trainers ignore embedded profiles. Adobe RGB and Display P3 come out too pale, CMYK far off; a palette learned
        from such pictures is shifted everywhere. Base models are trained on sRGB.
    Found by: the name of the embedded ICC profile being neither sRGB's nor plain grey's, or CMYK channels.
    Do: convert to sRGB; `--fix` does, through the profile where there is one.
    Fault: a CMYK JPEG from a print shop
    Instead: the picture converted to sRGB
    Source: sd-scripts 48d368fa converts with Pillow, which ignores profiles (measured); the ICC specification.
    """
    groups: dict[str, list[Path]] = {}
    for path, measures in sound(facts):
        name = "CMYK" if measures.mode == "CMYK" else measures.colour_profile
        if name:
            groups.setdefault(name, []).append(path)
    for name, paths in groups.items():
        yield from many(
            report,
            facts,
            paths,
            f"{'has' if len(paths) == 1 else 'have'} colours in {name}, which training takes for sRGB.",
            "Convert them to sRGB.",
            fix=repairs(f"convert from {name} to sRGB", paths, in_srgb),
        )


@rule("PIC009", "enlarged-picture", "warning", since="0.2")
def enlarged_picture(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """A picture has the pixels but not the detail: it was enlarged from a much smaller one.

    Why: small pictures from the web are often enlarged before they are collected. The size looks right, the LoRA learns
        softness.
    Found by: the finest detail in the picture's spectrum (see Measures.detail_scale) lying below 0.55 of what the
        resolution can show, on a picture that is not blurred outright (that is `blurred-picture`) and not pixel art.
        Threefold enlargements are found in nine of ten cases, twofold ones in one or two; a soft lens looks the same.
    Do: find the original, or leave the picture out when others show the same.
    Fault: 128 px enlarged to 512
    Instead: the original
    Source: measured on 51 photographs: untouched ones keep detail to 0.77 or more of their size, threefold enlargements
        to 0.28–0.61.
    """
    width, height = training_resolution(facts, request)
    side = (width * height) ** 0.5
    found: dict[Path, float] = {}
    for path, measures in sound(facts):
        own = (measures.width_px * measures.height_px) ** 0.5
        if enlargement(measures, (width, height)) > ENLARGED_SOME or measures.grid_px > 1:
            continue
        detail_px = own * measures.detail_scale
        if detail_px < DETAIL_SHARE * side and not _is_blurred(measures) and not _is_blank(measures):
            found[path] = detail_px
    finest = min(found.values(), default=0)
    yield from many(
        report,
        facts,
        list(found),
        f"{'has' if len(found) == 1 else 'have'} no more detail than a picture of about {finest:.0f} px would, and will "
        f"be trained at {width}x{height}.",
        "Find the originals that they were enlarged from, or leave them out.",
    )


@rule("PIC010", "blurred-picture", "warning", since="0.2")
def blurred_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture is blurred: out of focus, moved, or enlarged many times.

    Why: a few blurred pictures among sharp ones do little: in a study of dataset signals the effect of uniform blur was
        the size of seed noise. A set that is mostly blurred draws blurred.
    Found by: the strongest edges, at 512 px along the longer side, rising over more than 3.3 px, with little fine
        contrast (variance of the Laplacian below 120). A soft background behind a sharp subject does not count.
    Do: leave it out if others show the same; keep it if it is the only one of its view.
    Fault: a picture out of focus
    Instead: a sharp one of the same view
    Source: SceneWorks sc-6541 (blur's effect is seed noise); measured on 51 photographs: sharp ones reach 2.5 px at most,
        blurred by 2 px they begin at 3.5.
    """
    found = [path for path, measures in sound(facts) if _is_blurred(measures) and not _is_blank(measures)]
    yield from many(
        report,
        facts,
        found,
        f"{'is' if len(found) == 1 else 'are'} blurred.",
        "Replace them by sharper ones where there are any; a few do little harm.",
    )


def _is_blurred(measures: Measures) -> bool:
    return measures.edge_width_px > BLURRED_EDGE_PX and measures.sharpness < BLURRED_SHARPNESS


@rule("PIC011", "noisy-picture", "hint", since="0.2")
def noisy_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture is noisy at the size it is trained at.

    Why: grain that is in many pictures is learned as part of the style; in one or two it does nothing.
    Found by: noise of more than 8 grey values (of 255) in the smoothest parts, at 512 px along the longer side, where
        most of a camera's noise has averaged out. Photographs tried have 0.1 to 1.5.
    Do: reduce the noise or leave the picture out, unless grain is the style.
    Fault: a picture taken in the dark with heavy grain
    Instead: the noise reduced, unless grain is the style
    Source: Immerkær, Fast Noise Variance Estimation, 1996; measured on 51 photographs.
    """
    found = {path: m.noise for path, m in sound(facts) if m.noise > NOISY and m.grid_px == 1}
    yield from many(
        report,
        facts,
        list(found),
        f"{'is' if len(found) == 1 else 'are'} noisy (by {'up to ' if len(found) > 1 else ''}"
        f"{max(found.values(), default=0):.0f} of 255 grey values).",
        "Denoise or leave out what is not meant to be grainy.",
    )


@rule("PIC012", "cut-subject", "warning", since="0.2")
def cut_subject(facts: DatasetFacts, profile: Profile | None, report: Report) -> Iterator[Finding]:
    """The frame cuts the subject at the top or on a side.

    Why: a LoRA learns framing with the subject: heads that end at the picture's edge are drawn so. Automatic cropping to
        squares is the usual cause. In a study, crops centred on the face raised identity from 0.156 to 0.285.
    Found by: on a plain background only, where what is subject is certain: it touches the top edge, or the left or the
        right one, over more than 12 % of that edge, and takes 6 to 60 % of the picture. What touches all three of them is
        a pattern of the background. Busts that end at the lower edge are usual framing. Not for styles, nor without a
        profile.
    Do: crop again from the original with the head in it, or say the framing in the caption (close-up, cropped).
    Fault: a crop that takes half the head off
    Instead: the whole head, or `close-up` in the caption
    Source: SceneWorks sc-6541 (errors for lost crops).
    """
    if profile is None or profile.kind == "style":
        return
    found = [path for path, measures in sound(facts) if _is_cut(measures)]
    yield from many(
        report,
        facts,
        found,
        f"{'cuts' if len(found) == 1 else 'cut'} the subject at the top or on a side.",
        "Crop again with some room around it, or say in the caption that it is a close-up.",
    )


def _is_cut(measures: Measures) -> bool:
    top, right, _, left = measures.edge_contacts
    return (
        measures.has_plain_border
        and not any(measures.bars)
        and CUT_SHARES[0] <= measures.subject_share <= CUT_SHARES[1]
        and max(top, right, left) > CUT_EDGE
        and min(top, right, left) == 0
    )


@rule("PIC013", "black-bars", "warning", since="0.2")
def black_bars(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Black bars frame a picture.

    Why: film frames and padded squares carry them. They are in every picture of the subject, so they are learned with it,
        and take a share of every loss.
    Found by: opposite edges that are black (8 of 255 or less) over at least 2 % of the picture each and end at a straight
        line, of regularization pictures too.
    Do: crop them off.
    Fault: a film frame with black bars
    Instead: the frame without them
    Source: measured on the DreamBooth photographs, where cat2 has three padded squares of 33 % black.
    """
    found = {path: m.bars for path, m in sound_of_all(facts) if any(m.bars) and not _is_blank(m)}
    share = max((max(top + bottom, left + right) for top, right, bottom, left in found.values()), default=0)
    yield from many(
        report,
        facts,
        list(found),
        f"{'has' if len(found) == 1 else 'have'} black bars over {'up to ' if len(found) > 1 else ''}{share:.0%}.",
        "Crop the bars off.",
    )
