"""Rules about the trigger: absent, misplaced, unprotected, a known word, and words that go wherever it goes."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.findings.records import Finding, Severity
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.project.subject import Subject
from maquette.rules.caption_sets import (
    counted,
    names,
    place_of,
    quoted,
    rewriting,
    separator_of,
    trained,
    triggers_in,
)
from maquette.rules.wording import asking_in_dataset
from maquette.words.reading import TokenCounter, framings_named, views_named
from maquette.words.text import has_word, parts_of, plain, same_part

FEW = 8
"""Captions below which a word that all share is chance."""


@rule("CAP007", "trigger-absent", "error", since="0.2", repair="decides")
def trigger_absent(facts: DatasetFacts, subject: Subject, report: Report) -> Iterator[Finding]:
    """A caption does not contain the trigger.

    Why: What a picture shows is bound to the words of its caption. Without the trigger the subject is bound to `full body,
    front view`, and comes back whenever somebody asks for those; the trigger itself learns from fewer pictures.
    Found by: The trigger of profile, settings or --trigger, or one of the profile's forms', as a word of its own in every
    caption with its prefix, case aside. A word that is nearly the trigger is named. An error where half of the captions or
    more lack it; else a warning. Where nobody names a trigger it is guessed, never with more than a warning: from the name of
    an N_name folder, or an invented word in the first part of 60 % of the captions.
    Do: Put the trigger in front of every caption; --fix does so where no near-miss stands in its place and it was no guess.
    Fault: `front view, standing` where the trigger is zkw_fox
    Instead: `zkw_fox, front view, standing`
    Source: Field notes of a character LoRA on Apple silicon: 15 captions, each beginning with the trigger.
    """
    captions = trained(facts)
    without = [each for each in captions if not all(triggers_in(line, subject) for line in each.lines)]
    if not without:
        return
    near = {each.path: _near_trigger(each, subject) for each in without}
    misspelt = [(each, near[each.path]) for each in without if near[each.path]]
    what = "the trigger " if not subject.is_guess else "what seems to be the trigger, "
    message = f"{counted(without, facts, 'lacks', 'lack')} {what}'{subject.trigger}': {names(c.path for c in without)}."
    if len(without) == 1:
        message = f"The caption does not contain {what}'{subject.trigger}'."
    if subject.is_guess:
        message += f" Nobody names one; it is guessed from {subject.evidence}."
    if misspelt:
        message += f" Something like it stands in {quoted(misspelt)}."
    fix = rewriting(
        [each for each in without if not near[each.path] and not subject.has_forms and not subject.is_guess],
        lambda text: f"{subject.trigger}, {text}",
        "put the trigger in front",
    )
    yield report(
        place_of([each.path for each in without], facts),
        "",
        message,
        _to_begin_with(subject),
        fix=fix,
        severity=_severity(len(without), len(captions), subject),
    )


def _severity(without: int, captions: int, subject: Subject) -> Severity:
    if subject.is_guess:
        return "warning" if without < captions else "hint"
    return "error" if 2 * without >= captions else "warning"


def _to_begin_with(subject: Subject) -> str:
    begin = f"Begin every caption with '{subject.trigger}, '."
    return (
        f"{begin} If the trigger is another word, name it: --trigger WORD, or profile.toml."
        if subject.is_guess
        else begin
    )


def _near_trigger(caption: CaptionFact, subject: Subject) -> str:
    """Return a part or word that looks like the trigger misspelt, or empty."""
    candidates = [*caption.tags[:2], *caption.text.replace(",", " ").split()[:3]]
    for trigger in subject.triggers:
        for candidate in candidates:
            near = difflib.SequenceMatcher(None, plain(candidate), plain(trigger)).ratio() >= 0.8
            if near or has_word(plain(candidate), plain(trigger)):  # `mkvi_dog` for `mkvi`
                return candidate
    return ""


@rule("CAP008", "trigger-not-first", "hint", since="0.2", repair="safe")
def trigger_not_first(facts: DatasetFacts, subject: Subject, report: Report) -> Iterator[Finding]:
    """The trigger stands behind other parts of the caption.

    Why: keep_tokens protects the first parts only, and what stands first in a prompt weighs most. A trigger that stands
    late is the first thing that is cut from a long caption or shuffled away.
    Found by: Captions whose first part does not contain the trigger, wherever it is named or guessed from. For a style, its
    style words may come first.
    Do: Move the trigger to the front; --fix does so where it stands as a part of its own and it was no guess.
    Fault: `front view, standing, zkw_fox`
    Instead: `zkw_fox, front view, standing`
    Source: sd-scripts 48d368fa, process_caption; field notes of a character LoRA on Apple silicon.
    """
    late = [
        each for each in trained(facts) if _trigger_position(each, subject) > _allowed_ahead(each, subject)
    ]
    if not late:
        return
    yield report(
        place_of([each.path for each in late], facts),
        "",
        f"{counted(late, facts, 'has', 'have')} the trigger '{subject.trigger}' behind other parts: "
        f"{quoted([(each, each.tags[0]) for each in late])}.",
        "Put the trigger first.",
        fix=None
        if subject.is_guess
        else rewriting(late, lambda text: _trigger_moved(text, subject), "move the trigger to the front"),
    )


def _trigger_position(caption: CaptionFact, subject: Subject) -> int:
    """Return the number of the part, from 0, in which a trigger first stands; -1 without."""
    parts = parts_of(caption.lines[0], separator_of(caption))
    return next((index for index, part in enumerate(parts) if triggers_in(part, subject)), -1)


def _allowed_ahead(caption: CaptionFact, subject: Subject) -> int:
    """Return how many parts may stand before the trigger: a style's words, when the caption begins with them."""
    if subject.kind != "style":
        return 0
    style = {plain(word) for word in subject.style}
    parts = parts_of(caption.lines[0], separator_of(caption))
    return next((index for index, part in enumerate(parts) if plain(part) not in style), len(parts))


def _trigger_moved(text: str, subject: Subject) -> str:
    parts = list(parts_of(text))
    lone = next((part for part in parts if part.lower() in {each.lower() for each in subject.triggers}), None)
    if lone is None:
        return text
    parts.remove(lone)
    return ", ".join([lone, *parts])


@rule("CAP009", "trigger-unprotected", "warning", since="0.2")
def trigger_unprotected(
    facts: DatasetFacts,
    profile: Profile | None,
    subject: Subject | None,
    request: TrainingRequest | None,
    report: Report,
) -> Iterator[Finding]:
    """Captions are shuffled and keep_tokens does not hold the trigger in front.

    Why: shuffle_caption mixes the parts of a caption at every showing. Without keep_tokens the trigger wanders through it
    too; with tag dropout it is sometimes left out. The field notes' runs all kept one part: `keep_tokens = 1`.
    Found by: shuffle_caption (or tag dropout) on, keep_tokens 0 and no keep_tokens_separator, in captions that begin with the
    trigger or a style's words. Where no trigger is named or can be guessed, the first part counts as one when all captions
    share it.
    Do: Set keep_tokens = 1.
    Fault: `shuffle_caption = true` alone
    Instead: `shuffle_caption = true` and `keep_tokens = 1`
    Source: sd-scripts 48d368fa, process_caption; field notes of a character LoRA on Apple silicon (`keep_tokens = 1`).
    """
    exposed = []
    style = profile.style if profile is not None else ()
    shared = _shared_first(trained(facts)) if subject is None and not style else ""
    for caption in trained(facts):
        options = caption.subset.options
        if not (options.shuffle_caption or options.caption_tag_dropout_rate > 0):
            continue
        if options.keep_tokens_separator and all(
            options.keep_tokens_separator in line for line in caption.lines
        ):
            continue
        if len(caption.tags) > 1 and _leads(caption, subject, style, shared) and options.keep_tokens < 1:
            exposed.append(caption)
    if not exposed:
        return
    word = exposed[0].tags[0]
    keep = exposed[0].subset.options.keep_tokens
    file = request.file if request is not None and request.shuffle_caption else facts.root
    what = (
        "shuffled" if exposed[0].subset.options.shuffle_caption else "thinned out by caption_tag_dropout_rate"
    )
    yield report(
        file,
        request.said("keep_tokens") if request is not None and request.shuffle_caption else "keep_tokens",
        f"Captions are {what} with keep_tokens = {keep}, so '{word}' does not stay in front in {len(exposed)} captions.",
        f"Use {asking_in_dataset(facts, request, 'keep_tokens', 1)}, with the trigger as the first part of every caption.",
    )


def _leads(caption: CaptionFact, subject: Subject | None, style: Sequence[str], shared: str) -> bool:
    """Say whether a caption begins with what should stay in front: the trigger, a style's words, the part all share."""
    if subject is None and not style:
        return bool(shared)
    parts = parts_of(caption.lines[0], separator_of(caption))
    first = parts[0] if parts else ""
    return bool(subject and triggers_in(first, subject)) or plain(first) in {plain(word) for word in style}


def _shared_first(captions: Sequence[CaptionFact]) -> str:
    """Return the first part when all captions, at least three, begin with the same one."""
    firsts = {caption.tags[0].lower() for caption in captions if caption.tags}
    return captions[0].tags[0] if len(captions) >= 3 and len(firsts) == 1 else ""


@rule("CAP010", "trigger-known-word", "warning", since="0.2")
def trigger_known_word(subject: Subject, tokens: TokenCounter, report: Report) -> Iterator[Finding]:
    """The trigger is a word that the base model knows already.

    Why: A word with a token of its own brings what the base model learned by it: `sks` draws rifles, `luca` and `spike`
    draw other people's, `dog` is every dog. Training has to overcome that first, and the old meaning mixes in wherever
    the LoRA is weak. An invented word that falls into pieces (`spyke_plasma_v1` has seven) starts nearly neutral.
    Found by: The tokenizer: every word of three letters or more in the trigger that profile, settings or --trigger name is
    one token. Styles are left out, whose triggers may well be real words.
    Do: Invent a word without meaning (`zkw_fox`), or add letters and digits to the name.
    Fault: trigger `fox`
    Instead: trigger `zkw_fox`
    Source: CLIP's vocabulary of 49,408 tokens; the DreamBooth paper's rare tokens (arXiv 2208.12242, section 3.2).
    """
    if subject.kind == "style" or subject.is_guess:
        return
    for trigger in subject.triggers:
        words = re.findall(r"[^\W\d_]+", trigger)
        telling = [word for word in words if len(word) > 2] or words
        if telling and all(len(tokens.pieces(word)) == 1 for word in telling):
            known = " and ".join(f"'{word}'" for word in telling)
            yield report(
                subject.source,
                subject.place,
                f"The trigger '{trigger}' is no invented word: {known} {'is one token' if len(telling) == 1 else 'are tokens'} "
                f"of {tokens.name}, so the base model draws something of its own by it.",
                f"Choose a word that means nothing, such as '{_invented(trigger)}', and put it into the captions.",
            )


def _invented(trigger: str) -> str:
    """Return a word of its consonants that no language has: `luca` → `lczk`."""
    consonants = re.sub(r"[^b-df-hj-np-tv-z]", "", trigger.lower())
    return f"{consonants[:2] or 'vq'}zk"


@rule("CAP022", "word-in-every-caption", "hint", since="0.2")
def word_in_every_caption(
    facts: DatasetFacts, profile: Profile | None, subject: Subject | None, report: Report
) -> Iterator[Finding]:
    """Nearly all captions share a part that is not the trigger.

    Why: What always stands beside the trigger is never told apart from it: it becomes part of what the trigger draws, or
    has to be prompted for the subject to come out right. A white background in all pictures is then drawn unasked.
    Found by: Parts that stand in 95 % of the captions or more, eight captions at least. Not counted: trigger, class word,
    style words, appearance and asymmetric details of the profile (rules of their own look at these), words for view and
    framing, and where no trigger is named or can be guessed the first part, which is taken for one.
    Do: Add pictures where it is otherwise, or keep it in mind when prompting. If it describes a style, add it to `style`.
    Fault: `white background` in all captions
    Instead: some pictures with other backgrounds, named as such
    Source: Field notes of a character LoRA on Apple silicon: `white background` in 15 of 15 captions.
    """
    captions = trained(facts)
    if len(captions) < FEW or len({plain(each.text) for each in captions}) == 1:
        return
    counts = Counter(part for each in captions for part in {same_part(tag) for tag in each.tags})
    first = same_part(_shared_first(captions)) if profile is None and subject is None else ""
    constant = [
        (part, count)
        for part, count in counts.items()
        if count >= 0.95 * len(captions) and part != first and not _is_meant(part, profile, subject)
    ]
    if not constant:
        return
    order = {same_part(tag): place for place, tag in enumerate(captions[0].tags)}
    constant.sort(key=lambda pair: (-pair[1], order.get(pair[0], len(order)), pair[0]))
    told = ", ".join(f"'{part}' ({count})" for part, count in constant)
    style = profile is not None and profile.kind == "style"
    effect = "become part of the style" if style else "become part of the trigger's meaning"
    remedy = (
        "Right if they describe the style: then add them to `style` in the profile. Otherwise vary them."
        if style
        else "Add pictures where it is otherwise, or expect it in every drawing."
    )
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"Nearly all of {len(captions)} captions share {told}: such parts {effect}.",
        remedy,
    )


def _is_meant(part: str, profile: Profile | None, subject: Subject | None) -> bool:
    """Say whether a part may well stand in every caption."""
    if not part or views_named([part]) or framings_named([part]):
        return True
    if subject is not None and (
        part == same_part(subject.class_word)
        or any(has_word(part, plain(trigger)) for trigger in subject.triggers)
    ):
        return True
    if profile is None:
        return False
    looks = [*profile.appearance, *(word for form in profile.forms for word in form.appearance)]
    known = [profile.class_word, *profile.style, *looks]
    details = [*profile.details, *(detail for form in profile.forms for detail in form.details)]
    return part in {same_part(word) for word in known} or any(
        plain(detail.name) in part for detail in details
    )


@rule("CAP027", "trigger-in-regularization", "warning", since="0.2")
def trigger_in_regularization(facts: DatasetFacts, subject: Subject, report: Report) -> Iterator[Finding]:
    """A regularization picture's caption contains the trigger.

    Why: Regularization pictures show the class without the subject, so that the class stays what it was. With the trigger
    in their captions the same word is taught to mean strangers.
    Found by: The triggers, named or guessed, in captions of regularization folders, and in those folders' names where these
    stand in for captions.
    Do: Caption them with the class word alone.
    Fault: `zkw_fox` beside a regularization picture
    Instead: `fox`
    Source: sd-scripts' regularization (`is_reg`): same loss, other words.
    """
    wrong = [
        each.path
        for each in facts.regularization_captions
        if each.text and any(triggers_in(line, subject) for line in each.lines)
    ]
    wrong += [
        folder.path
        for folder in facts.used_folders
        if folder.is_regularization
        and folder.subset is not None
        and triggers_in(folder.subset.class_tokens or "", subject)
    ]
    if wrong:
        class_word = subject.class_word or "the class word"
        yield report(
            place_of(wrong, facts),
            "",
            f"Regularization pictures are captioned with the trigger: {names(wrong)}.",
            f"Caption them with '{class_word}' alone.",
        )


@rule("CAP032", "trigger-in-two-places", "error", since="0.2")
def trigger_in_two_places(request: TrainingRequest, profile: Profile, report: Report) -> Iterator[Finding]:
    """The settings name another trigger or class word than the subject's profile.

    Why: Captions are written and judged by the profile's trigger, samples, metadata, workflow and prompts use the settings':
    the LoRA then answers to a word that its own files do not name.
    Found by: [subject] trigger (or --trigger) against the triggers of the profile and of its forms, and class_word against
    the profile's (a warning). Where only one of them says it, that one counts.
    Do: Write it in profile.toml alone.
    Fault: `trigger = "zkw_fox"` in profile.toml, `--trigger zkw`
    Instead: `trigger = "zkw_fox"` in profile.toml
    Source: a project's profile and settings that drifted apart.
    """
    remedy = f"Write it in {profile.source.name if profile.source else 'the profile'} alone."
    if request.trigger and profile.triggers and request.trigger not in profile.triggers:
        told = f"The trigger is '{request.trigger}' here and '{profile.trigger}' in the profile."
        yield report(request.file, request.said("trigger"), told, remedy)
    words = (request.class_word or "").strip(), profile.class_word.strip()
    if all(words) and words[0].lower() != words[1].lower():
        told = f"The class word is '{words[0]}' here and '{words[1]}' in the profile."
        yield report(request.file, request.said("class_word"), told, remedy, severity="warning")
