"""Rules about regularization pictures against those of the subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from maquette.dataset.facts import DatasetFacts
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.rules.folders import copied_folders
from maquette.rules.picture_groups import aside, like_by_sight, many


@rule("PIC022", "subject-among-regularization", "error", since="0.2", repair="safe")
def subject_among_regularization(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A regularization picture shows a picture of the subject: the same file, nearly the same, or its mirror image.

    Why: regularization pictures say what the class is without the subject. One of the subject among them is trained under the
        class word alone: the class becomes the subject, and what the trigger learns is undone.
    Found by: the same SHA-256; perceptual hashes within 10 of 64 bits confirmed on 16×16 thumbnails, as near-duplicates and
        mirrored-pair find them within the subject's own pictures. Whole folders of copies are left to
        pictures-in-two-folders.
    Do: take them out of the regularization folder; `--fix` sets them and their captions aside.
    Fault: `reg/1_fox/zkw_12.png`, which lies in `train/10_zkw_fox` as well
    Instead: pictures of other foxes alone
    Source: sd-scripts' regularization (`is_reg`: the same loss under other words); the DreamBooth paper's prior preservation.
    """
    told = {
        path
        for one, other, _ in copied_folders(facts)
        if one.is_regularization != other.is_regularization
        for path in (*one.files, *other.files)
    }
    alike = {
        path: (own, how) for path, (own, how) in _alike(facts).items() if path not in told or how != "is"
    }
    if not alike:
        return
    pairs = [f"{path.name} {how} {own.name}" for path, (own, how) in alike.items()]
    shown = ", ".join(pairs[:3]) + (", …" if len(pairs) > 3 else "")
    yield from many(
        report,
        facts,
        list(alike),
        f"of the regularization folder {'shows' if len(alike) == 1 else 'show'} the subject ({shown}): it is trained as an "
        "ordinary member of its class.",
        "Take the subject's pictures out of the regularization folder.",
        fix=aside("set the subject's pictures aside that lie among regularization", facts, list(alike)),
    )


def _alike(facts: DatasetFacts) -> Mapping[Path, tuple[Path, str]]:
    """Return the regularization pictures that show one of the subject's, each with that one and in what way."""
    subject, of_class = facts.files, facts.regularization_files
    hashes = {facts.decoded[path].sha256: path for path in reversed(subject) if path in facts.decoded}
    found: dict[Path, tuple[Path, str]] = {}
    for path in of_class:
        look = facts.decoded.get(path)
        own = hashes.get(look.sha256) if look is not None else None
        if own is not None and own.resolve() != path.resolve():
            found[path] = (own, "is")
    of_subject = [(each.path, each.measures) for each in facts.pictures if each.is_sound]
    others = [
        (each.path, each.measures)
        for each in facts.regularization
        if each.is_sound and each.path not in found
    ]
    return {**like_by_sight(of_subject, others), **found}
