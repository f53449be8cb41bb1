"""Rules about preservation: holding the class to the base needs words for the subject and for its class."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.words.text import has_word


@rule("SET034", "preservation-without-words", "error", since="0.2")
def preservation_without_words(request: TrainingRequest, report: Report) -> Iterator[Finding]:
    """`preservation` or `shortened_captions` is on, and the trigger or the class word that it works with is missing or unfit.

    Why: Preservation shows each picture a second time with the class word in the trigger's place and holds the LoRA to what the
    base draws then. Without a trigger nothing says what to replace, without a class word nothing says by what; and a class
    word that holds the trigger would teach the trigger to mean what the base draws: the subject would be untaught.
    Found by: preservation or shortened_captions above 0 without trigger; preservation without class_word, or with one in
    which the trigger stands as a word of its own. Both words may come from the profile.
    Do: Name both words, or leave preservation off.
    Fault: `preservation = 4` with a trigger and no class_word
    Instead: `class_word = "anime character"`
    Source: training/preservation.py.
    """
    weight, alone = request.other.get("preservation"), request.other.get("shortened_captions")
    trigger, class_word = (request.trigger or "").strip(), (request.class_word or "").strip()
    place = "preservation" if weight else "shortened_captions"
    if (weight or alone) and not trigger:
        yield report(
            request.file,
            request.said(place),
            f"{place} without a trigger: nothing says which word means the subject.",
            "Set trigger, in [subject] or in profile.toml.",
        )
    if weight and not class_word:
        yield report(
            request.file,
            request.said(place),
            "preservation without a class word: nothing says what stands in the trigger's place.",
            'Set class_word, the ordinary word for the subject ("anime character", "dog"), in [subject] or in profile.toml.',
        )
    elif weight and trigger and has_word(class_word, trigger):
        yield report(
            request.file,
            request.said("class_word"),
            f"preservation holds the class word '{class_word}' to the base, and the trigger '{trigger}' stands in it: "
            "the subject would be untaught.",
            "Use the ordinary word alone.",
        )
