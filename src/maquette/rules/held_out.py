"""Rules about pictures that are held out of training to measure with."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.dataset.facts import DatasetFacts
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.rules.picture_groups import like_by_sight, many, sound


@rule("PIC030", "held-out-copy", "warning", since="0.2")
def held_out_copy(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture that is held out to measure with has a near copy or its mirror image among those that are trained on.

    Why: what is held out says what the LoRA makes of pictures that it never saw. A copy that it did see makes the validation
        loss too good, identity a reward for memory, and memorised pictures look like well learned ones.
    Found by: perceptual hashes within 10 of 64 bits confirmed on 16×16 thumbnails, as near-duplicates and mirrored-pair find
        them; equal files are always held out together. Pictures outside the dataset (validation_images) are not compared.
    Do: keep one of the two, or hold out both: validation_images names pictures and folders.
    Fault: `03.png` is held out; `03_small.png` is the same picture at half its size, and trained on
    Instead: both held out, or the smaller one set aside
    Source: AnimaLoraStudio ADR 0011: references that were trained on "rewarded memorising".
    """
    held = [(each.path, each.measures) for each in facts.held if each.is_sound]
    alike = like_by_sight(sound(facts), held)
    pairs = [f"{path.name} {how} {trained.name}" for path, (trained, how) in alike.items()]
    shown = ", ".join(pairs[:3]) + (", …" if len(pairs) > 3 else "")
    yield from many(
        report,
        facts,
        list(alike),
        f"{'is' if len(alike) == 1 else 'are'} held out, and a copy is trained on ({shown}): what is measured there is no longer "
        "unseen.",
        "Keep one of the two, or hold out both with validation_images.",
    )
