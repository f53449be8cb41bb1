"""Rules about pictures beside each other: who they show, copies, mirror images, pixel art, how many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.curating.identity_facts import IdentityFacts
from maquette.dataset.facts import DatasetFacts, FolderFact
from maquette.dataset.measures import Measures
from maquette.dataset.names import name_rank
from maquette.findings.records import Finding, Severity
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.rules.picture_groups import aside, enlargement, many, sound, training_resolution

FLIP_NAME = re.compile(r"(?:^|[^a-z])(?:h?flip(?:ped)?|mirror(?:ed)?)(?:$|[^a-z])")
NO_FACE_WORD = re.compile(r"\b(?:back view|from behind|back of (?:the )?head|face not visible|no face)\b")
MIN_PICTURES = 5
OFF_GRID_SHARE = 0.02
EVEN_CELL_PX = 10.0
SMOOTHED_COLOURS = 1024
SIZE_TOLERANCE = 0.01


@rule("PIC014", "no-face", "error", since="0.2")
def no_face(
    facts: DatasetFacts, identity: IdentityFacts, profile: Profile, report: Report
) -> Iterator[Finding]:
    """A picture of a character or person shows no face where one is expected.

    Why: what the trigger means is learned from faces first. Pictures without one, mostly lost crops, pull it towards
        bodies and backgrounds.
    Found by: `maquette curate` having looked for faces and found none, for subjects of kind character or person. Not
        where the caption says that none shows (back view, from behind).
    Do: crop again so that the face is in, say the view in the caption, or set the picture aside.
    Fault: a character's picture in which no face was found
    Instead: `back view` in the caption, or another crop
    Source: SceneWorks sc-6541: errors for missing faces; crops centred on the face raised identity 0.156 to 0.285.
    """
    if identity.faces is None or not profile.has_face:
        return
    for path, _ in sound(facts):
        caption = facts.caption_of(path)
        said = caption is not None and NO_FACE_WORD.search(caption.text.lower())
        if identity.faces.get(path) == 0 and not said:
            yield report(
                path,
                "",
                f"{path.name} shows no face that could be found.",
                "Crop it again with the face in it, name the view in its caption (back view), or leave it out.",
            )


@rule("PIC015", "another-subject", "error", since="0.2")
def another_subject(facts: DatasetFacts, identity: IdentityFacts, report: Report) -> Iterator[Finding]:
    """A picture shows somebody or something else than the references do.

    Why: one stranger among fifteen pictures is a fifteenth of all steps: the trigger then means a mixture of both.
    Found by: `maquette curate` having compared each picture with the references; its likeness lies below the threshold
        (0.75 unless set otherwise). Pictures that were not compared are no finding.
    Do: look at the picture; remove it, or add a reference of that view if it is the subject after all.
    Fault: another dog among the pictures of yours
    Instead: its pictures taken out
    Source: the threshold of 0.75 in the field notes of a film-character LoRA; SceneWorks sc-6541: errors for a wrong person.
    """
    for path, _ in sound(facts):
        score = identity.scores.get(path)
        if score is not None and score < identity.threshold:
            yield report(
                path,
                "",
                f"{path.name} is like the references by {score:.2f} only, where {identity.threshold:.2f} is asked for "
                f"({identity.encoder}).",
                "Remove it if it shows somebody else; if not, add a reference that shows the subject so.",
            )


@rule("PIC016", "same-picture", "warning", since="0.2", repair="safe")
def same_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """The same file is there more than once.

    Why: each copy is trained as often as any other picture, so what it shows counts double, and the planned steps are
        more than the pictures deserve. With different captions the copies contradict each other.
    Found by: the same SHA-256 of the whole file, across all folders that are trained on.
    Do: keep one, and raise its folder's repeats if it should count more. `--fix` sets copies aside whose caption is the
        same, and keeps the one that is not named like a copy (`fox (1).png`, `Copy of fox.png`).
    Fault: `fox.png` and `fox (1).png`, byte for byte the same
    Instead: one of them
    Source: two subfolders with the same pictures, 406 instead of 203, in the field notes of a pixel-portrait LoRA.
    """
    groups: dict[str, list[Path]] = {}
    for path, measures in sound(facts):
        groups.setdefault(measures.sha256, []).append(path)
    for paths in groups.values():  # the first is the one to keep: captioned, and not named like a copy
        paths.sort(key=lambda path: (facts.caption_of(path) is None, *name_rank(path)))
    copies = [path for paths in groups.values() for path in paths[1:]]
    if not copies:
        return
    firsts = {path: paths[0] for paths in groups.values() for path in paths[1:]}
    alike = [path for path in copies if _caption(facts, path) == _caption(facts, firsts[path])]
    pairs = _listed([(path, firsts[path]) for path in copies], "is")
    yield from many(
        report,
        facts,
        copies,
        f"{'is a copy' if len(copies) == 1 else 'are copies'} of other pictures here, byte for byte: {pairs}.",
        "Keep one of each.",
        fix=aside("set copies with the same caption aside", facts, alike),
    )


@rule("PIC017", "near-duplicates", "warning", since="0.2")
def near_duplicates(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Several pictures show nearly the same: neighbouring frames, or one picture saved in two sizes.

    Why: they narrow what the LoRA can draw (its appearance varies less), without helping it to know the subject: in a
        study near-duplicates left identity where it was.
    Found by: perceptual hashes within 10 of 64 bits, confirmed on 16×16 thumbnails: a mean difference of at most 8 and no
        pixel further apart than 40 (of 255). Another pose, or the same portrait with a crown or glasses added, exceeds
        that.
    Do: keep the best of each group, or let `maquette curate` choose.
    Fault: frames 101 to 108 of one movement
    Instead: the best of them
    Source: SceneWorks sc-6541; thresholds measured on 51 photographs and 203 pixel portraits, none of which they call
        alike, while copies at other sizes and JPEG qualities are found in 98 of 100 cases.
    """
    from maquette.dataset.hashes import groups_of
    from maquette.dataset.hashes import near_duplicates as find

    unique = {measures.sha256: (path, measures) for path, measures in reversed(sound(facts))}
    pictures = list(reversed(unique.values()))
    groups = groups_of(find([measures for _, measures in pictures]), len(pictures))
    if not groups:
        return
    paths = [pictures[index][0] for group in groups for index in group]
    shown = "; ".join(" and ".join(pictures[index][0].name for index in group[:3]) for group in groups[:3])
    more = "; …" if len(groups) > 3 else ""
    said = "one group" if len(groups) == 1 else f"{len(groups)} groups"
    yield report(
        Path(min(paths)).parent if len({path.parent for path in paths}) == 1 else facts.root,
        "",
        f"{len(paths)} pictures show nearly the same, in {said}: {shown}{more}.",
        "Keep the best of each group, so that the others do not narrow what is learned.",
    )


@rule("PIC018", "mirrored-pair", "error", since="0.2", repair="decides")
def mirrored_pair(facts: DatasetFacts, profile: Profile | None, report: Report) -> Iterator[Finding]:
    """A picture is the mirror image of another one.

    Why: a subject with a glove on its right hand has it on the left in the mirrored picture. Trained on both,
        the LoRA puts it anywhere: on the small world mirrored copies took the right-hand glove from 1.00 to
        0.39 of the drawings that ask for it, gave half of them one on the left, and identity fell from 0.86 to
        0.78. A mirrored copy adds little even where nothing is lost.
    Found by: a picture's hash within 10 of 64 bits of another's mirrored hash, confirmed on 16×16 thumbnails, where
        mirroring must halve their difference (pictures that are symmetrical anyway are none). An error where the profile
        names asymmetric details, else a warning: a mirrored copy is a copy, and nobody says that the subject has no sides.
    Do: remove the mirrored ones; `--fix` sets aside those whose name says which one it is (`*_flip.png`) and their
        captions.
    Fault: `fox.png` and `fox_flip.png` of a character with one glove
    Instead: `fox.png`
    Source: field notes of a character LoRA, whose team deleted 8 flipped pairs before its second training;
        benchmarks/dataset_claims.py.
    """
    from maquette.dataset.hashes import mirror_images

    pictures = sound(facts)
    found = mirror_images([measures for _, measures in pictures])
    pairs = [_flip_first(pictures[pair.first][0], pictures[pair.second][0]) for pair in found]
    if not pairs:
        return
    asymmetric = profile is not None and profile.is_asymmetric
    severity: Severity = "error" if asymmetric else "warning"
    details = _details_of(profile) if asymmetric and profile is not None else ""
    known = list(dict.fromkeys(flip for flip, other in pairs if _says_flip(flip) and not _says_flip(other)))
    flips = list(dict.fromkeys(flip for flip, _ in pairs))
    yield from many(
        report,
        facts,
        flips,
        f"{'is a mirror image' if len(flips) == 1 else 'are mirror images'} of other pictures here "
        f"({_listed(pairs, 'of')}){details}.",
        "Remove the mirrored ones and their captions."
        if asymmetric
        else "Remove the mirrored ones and their captions: they are copies, and wrong if the subject has anything on one side "
        "only.",
        fix=aside("set mirrored copies and their captions aside", facts, known),
        severity=severity,
    )


@rule("PIC019", "uneven-pixel-art", "warning", since="0.2")
def uneven_pixel_art(facts: DatasetFacts, profile: Profile | None, report: Report) -> Iterator[Finding]:
    """Pixel art is not on an even grid: smoothed, saved as JPEG, mixed in pixel size, or enlarged by a small fraction.

    Why: the LoRA learns the grid with the style. Smoothed cells, or cells that are sometimes 2 and sometimes 3 px wide,
        are drawn as wavering, soft pixels that no later step can snap to a grid.
    Found by: in sets of pixel art (half of the pictures are on a grid, or profile or captions say pixel art): pictures of
        more than 1,024 colours without a grid; pictures of which 2 to 25 % of all colour steps miss their grid; cells
        smaller than 10 px that are not whole pixels. 24 cells on 512 px are 21.33 px each, 21 or 22 in fact: the
        difference of a twentieth does not count.
    Do: enlarge the original again by a whole factor with nearest neighbour, and save it as PNG.
    Fault: pixel art saved as JPEG
    Instead: the original enlarged by 8 with nearest neighbour, as PNG
    Source: measured on 203 pixel portraits on a 24×24 grid: 201 exact, two with 0.5 and 0.6 % of steps off it.
    """
    pictures = sound(facts)
    if not _is_pixel_art(facts, profile, pictures):
        return
    smooth = [path for path, m in pictures if m.grid_px == 1 and m.num_colours > SMOOTHED_COLOURS]
    mixed = [path for path, m in pictures if m.grid_px > 1 and m.grid_error > OFF_GRID_SHARE]
    broken = {
        path: m.grid_px
        for path, m in pictures
        if path not in mixed and 1 < m.grid_px < EVEN_CELL_PX and abs(m.grid_px - round(m.grid_px)) > 0.01
    }
    remedy = "Enlarge the original again by a whole factor with nearest neighbour, and save it as PNG."
    one = len(smooth) == 1
    yield from many(
        report,
        facts,
        smooth,
        f"{'is' if one else 'are'} among pixel art but on no grid: smoothed, or saved as JPEG.",
        remedy,
    )
    one = len(mixed) == 1
    yield from many(
        report, facts, mixed, f"{'has' if one else 'have'} colour steps off the pixel grid.", remedy
    )
    cells = min(broken.values(), default=0)
    one = len(broken) == 1
    yield from many(
        report,
        facts,
        list(broken),
        f"{'has' if one else 'have'} cells of {cells:.2f} px, so some are {int(cells)} and some {int(cells) + 1} px wide.",
        remedy,
    )


@rule("PIC020", "resized-pixel-art", "hint", since="0.2")
def resized_pixel_art(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """Pixel art will be resized by the trainer, which smooths its cells.

    Why: trainers enlarge with Lanczos and shrink by averaging, both of which blur the cells' edges and add halos,
        whatever was done to keep the grid exact.
    Found by: pictures on a pixel grid whose area differs by more than 1 % along a side from the resolution that the
        settings or the dataset TOML ask for; none where `resize_interpolation` is nearest and the factor whole.
    Do: train at the pictures' own size, or at a whole multiple of it with `resize_interpolation` nearest, which both
        trainers know; or enlarge them yourself with nearest neighbour to the size trained at.
    Fault: pixel art of 512 px trained at 576
    Instead: `--resolution=512,512`
    Source: a pixel-portrait project whose pictures of 512 px trained well at 512 and badly at 1024 (ten other settings
        had changed too); sd-scripts 48d368fa resizes with Lanczos (measured).
    """
    asked = request is not None and request.value("resolution_wh") is not None
    if not asked and all(source.resolution_wh is None for source in facts.plan.datasets):
        return
    resolution = training_resolution(facts, request)
    found = {
        path: enlargement(m, resolution)
        for path, m in sound(facts)
        if m.grid_px > 1 and abs(enlargement(m, resolution) - 1) > SIZE_TOLERANCE
    }
    crisp = {path for folder in facts.used_folders if _is_nearest(folder) for path in folder.files}
    found = {
        path: each
        for path, each in found.items()
        if path not in crisp or round(each) < 1 or abs(each - round(each)) > SIZE_TOLERANCE
    }
    factor = next(iter(found.values()), 1.0)
    how = "unevenly" if crisp.issuperset(found) else "with smoothing"
    yield from many(
        report,
        facts,
        list(found),
        f"{'is' if len(found) == 1 else 'are'} pixel art that training at {'x'.join(map(str, resolution))} will "
        f"{'enlarge' if factor > 1 else 'shrink'} {how} (to {factor:.2f} of {'its' if len(found) == 1 else 'their'} "
        "size).",
        "Train at the pictures' own size, at a whole multiple of it with resize_interpolation nearest, or resize them "
        "yourself with nearest neighbour.",
    )


def _is_nearest(folder: FolderFact) -> bool:
    return folder.subset is not None and folder.subset.options.resize_interpolation == "nearest"


@rule("PIC021", "few-pictures", "hint", since="0.2")
def few_pictures(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """There are fewer than five pictures.

    Why: with one to four pictures a LoRA soon repeats them, background and pose included: what they have in common is
        all it knows.
    Found by: counting the different pictures of the subject.
    Do: add pictures of other views, poses and backgrounds (15 to 25 are usual for a character), or train few steps and
        compare early checkpoints.
    Fault: four pictures
    Instead: 15 to 25 of other views, poses and backgrounds
    Source: 15 to 25 pictures in the field notes of two character LoRAs; the DreamBooth paper works with 3 to 5.
    """
    number = len({measures.sha256 for _, measures in sound(facts)})
    if 0 < number < MIN_PICTURES:
        yield report(
            facts.root,
            "",
            f"There {'is only one picture' if number == 1 else f'are only {number} different pictures'} of the subject.",
            "Add other views, poses and backgrounds, or train few steps and compare early checkpoints.",
        )


def _caption(facts: DatasetFacts, path: Path) -> str:
    caption = facts.caption_of(path)
    return caption.text if caption is not None else ""


def _says_flip(path: Path) -> bool:
    return FLIP_NAME.search(path.stem.lower()) is not None


def _flip_first(first: Path, second: Path) -> tuple[Path, Path]:
    """Return the pair with the one first whose name says that it is mirrored; else the later one."""
    if _says_flip(first) and not _says_flip(second):
        return first, second
    return second, first


def _listed(pairs: Sequence[tuple[Path, Path]], word: str) -> str:
    shown = ", ".join(f"{one.name} {word} {other.name}" for one, other in pairs[:3])
    return f"{shown}{', …' if len(pairs) > 3 else ''}"


def _details_of(profile: Profile) -> str:
    details = [*profile.details, *(detail for form in profile.forms for detail in form.details)]
    return f"; there {details[0].phrase} is on the wrong side" if details else ""


def _is_pixel_art(
    facts: DatasetFacts, profile: Profile | None, pictures: Sequence[tuple[Path, Measures]]
) -> bool:
    if not pictures:
        return False
    if profile is not None and any("pixel" in word.lower() for word in profile.style):
        return True
    if 2 * sum(measures.grid_px > 1 for _, measures in pictures) >= len(pictures):
        return True
    said = sum("pixel art" in _caption(facts, path).lower() for path, _ in pictures)
    return 2 * said >= len(pictures)
