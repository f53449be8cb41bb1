"""Rules about what captions say of the subject: appearance, sides, views, contradictions, style words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.rules.caption_sets import (
    counted,
    listed,
    place_of,
    quoted,
    rewriting,
    separator_of,
    trained,
)
from maquette.words.reading import (
    AppearanceHit,
    Mention,
    SideMistake,
    appearance_in,
    contradictions,
    duplicates,
    face_from_behind,
    mentions,
    side_mistakes,
    without_duplicates,
)
from maquette.words.text import parts_of, plain, same_part

# --- appearance ------------------------------------------------------------------------------------------


@rule("CAP011", "appearance-in-captions", "warning", since="0.2", repair="decides")
def appearance_in_captions(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """Captions name what the trigger should carry: hair, eyes, clothes that always belong to the subject.

    Why: What a caption names is learned as the meaning of those words, not of the trigger. A character trained with
    every feature captioned came out as a stranger from its trigger alone (v2); with captions of pose and asymmetric
    details alone (v3) the trigger drew it whole. Measured on the small world: identity from the bare trigger 0.86
    against 0.24. It has a price: such a LoRA leaks onto other characters (0.89 against 0.28 without the trigger) and
    may resist editing (on a weaker base `blue hair` was obeyed in 0.31 against 0.81). If you want to change the looks
    by prompt, keep the words and prompt them all; then ignore this rule.
    Found by: The profile's `appearance` in captions of a character, person or object, in any spelling and order, close
    colours and things included (`orange hair`, `ginger-haired`, `white cape`). Not counted: asymmetric details, and what is
    pose (`sword raised`, `hair blowing`).
    Do: Take the words out; --fix does where they are a part of their own in the profile's words.
    Fault: `zkw_fox, ginger hair, front view` where ginger hair always belongs to it
    Instead: `zkw_fox, front view`
    Source: Field notes of a character LoRA on Apple silicon, runs v2 and v3; benchmarks/dataset_claims.py.
    """
    if profile.kind == "style" or not (profile.appearance or profile.forms):
        return
    hits = _hits(facts, profile, lambda hit: hit.match != "other")
    if not hits:
        return
    counts = Counter(phrase for _, found in hits for phrase in dict.fromkeys(hit.phrase for hit in found))
    told = ", ".join(f"'{phrase}' ({count})" for phrase, count in counts.most_common())
    captions = [caption for caption, _ in hits]
    spelled = [(each, hit.found) for each, found in hits for hit in found if hit.match == "close"]
    close = f" In other words: {quoted(spelled)}." if spelled else ""
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'names', 'name')} what the trigger should carry: {told}. "
        f"The trigger alone will then draw a stranger.{close}",
        "Take these words out of the captions, or leave them all in and prompt them every time.",
        fix=rewriting(
            captions,
            lambda text: _without_appearance(text, profile),
            "take out parts that are the profile's appearance words",
        ),
    )


@rule("CAP012", "appearance-contradicts-profile", "warning", since="0.2")
def appearance_contradicts_profile(
    facts: DatasetFacts, profile: Profile, report: Report
) -> Iterator[Finding]:
    """A caption gives the subject another colour than the profile does.

    Why: Either the captioner erred, and a wrong word is taught for what the picture shows, or the picture shows somebody
    else. Captioning models err often in colours of hair and eyes.
    Found by: The noun of an `appearance` phrase with a colour that is none of the profile's, nor one that people use for the
    same (`orange hair` for ginger is close, `brown hair` is not).
    Do: Look at the picture. Correct or take out the word, or take out the picture.
    Fault: `zkw_fox, brown hair` where the profile says ginger hair
    Instead: `zkw_fox`, if the picture shows ginger hair
    Source: Field notes of a character LoRA on Apple silicon (captions audited against the character sheet before training).
    """
    if profile.kind == "style":
        return
    hits = _hits(facts, profile, lambda hit: hit.match == "other")
    if not hits:
        return
    told = [(caption, f"'{hit.found}' for '{hit.phrase}'") for caption, found in hits for hit in found]
    paths = [caption.path for caption, _ in hits]
    yield report(
        place_of(paths, facts),
        "",
        f"{counted([c for c, _ in hits], facts, 'speaks', 'speak')} against the profile: {listed(told)}.",
        "Look at the picture: correct the word, or take out a picture of somebody else.",
    )


def _hits(
    facts: DatasetFacts, profile: Profile, wanted: Callable[[AppearanceHit], bool]
) -> list[tuple[CaptionFact, list[AppearanceHit]]]:
    """Return each caption with what it says of the subject's looks, those without anything left out."""
    found = []
    for caption in trained(facts):
        hits = [hit for line in caption.lines for hit in appearance_in(line, profile) if wanted(hit)]
        if hits:
            found.append((caption, hits))
    return found


def _without_appearance(text: str, profile: Profile) -> str:
    """Return a caption without the parts that are exactly the profile's words of appearance."""
    for hit in reversed(appearance_in(text, profile)):
        if hit.match == "same" and hit.is_own_part and plain(hit.found) == plain(hit.phrase):
            before, after = text[: hit.start].rstrip(), text[hit.end :].lstrip()
            text = (
                before.removesuffix(",").rstrip() + after
                if after.startswith(",")
                else before.rstrip(", ") + after
            )
    return text.lstrip(", ")


# --- sides and views -------------------------------------------------------------------------------------


@rule("CAP013", "wrong-side", "error", since="0.2")
def wrong_side(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """A caption puts an asymmetric detail on the wrong side.

    Why: Only the caption tells the model left from right. Sides that disagree teach it neither: with mirrored pictures in
    the set the red glove was on the right arm in 0.25 of drawings instead of 0.78. A first character run had left and right
    mixed up throughout its captions; they had to be corrected before the second.
    Found by: The profile's details, in any word order, and the `left` or `right` said of them in the same clause. Sides that
    say where somebody looks or where in the picture something is do not count; what is ambiguous is let pass. Sides are the
    subject's own: the right arm of somebody who faces you is on the left of the picture.
    Do: Correct the caption. If the picture itself shows it so, the picture is mirrored: take it out.
    Fault: `left arm red glove` where the profile has it on the right
    Instead: `right arm red glove`
    Source: Field notes of a character LoRA on Apple silicon; measured on the small world.
    """
    wrong = _mistakes(facts, profile, "wrong side")
    if not wrong:
        return
    told = [(each, f"{mistake.said} {mistake.found}") for each, mistake in wrong]
    details = {mistake.detail for _, mistake in wrong}
    right = ", ".join(sorted(f"'{detail.phrase}'" for detail in details if detail is not None))
    captions = _distinct(wrong)
    correct = sum(
        mention.side == mention.detail.side for each in trained(facts) for mention in _mentions(each, profile)
    )
    swapped = (
        " Every side is swapped: perhaps they are the viewer's, or the pictures are mirrored."
        if not correct and len(captions) > 2
        else ""
    )
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'has', 'have')} a detail on the wrong side: {quoted(told)}; "
        f"the profile says {right}.{swapped}",
        "Correct the side; where the picture itself shows it so, it is mirrored: take it out.",
    )


@rule("CAP014", "side-not-said", "warning", since="0.2")
def side_not_said(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """A caption names an asymmetric detail without its side.

    Why: `red fingerless glove` alone teaches that a glove is somewhere; the LoRA then draws it on either arm, or on both.
    Found by: The profile's details in captions whose clause says neither left nor right.
    Do: Write the side with it, as in `right arm red fingerless glove`.
    Fault: `red glove`
    Instead: `right arm red glove`
    Source: Field notes of a character LoRA on Apple silicon (locked caption format with sides).
    """
    yield from _about_details(
        facts,
        profile,
        report,
        "no side",
        ("names a detail without its side", "name a detail without its side"),
        "Write the side with it: {phrases}.",
    )


@rule("CAP015", "detail-not-in-view", "warning", since="0.2")
def detail_not_in_view(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """A caption names a detail that this view or framing does not show.

    Why: The words are learned for what the picture shows instead: a bracer named in a back view teaches that backs are
    called bracers, and weakens the word where it counts.
    Found by: The view (front, three quarter, side, back) and framing (close-up to full body) that the caption names, against
    the `views` of each detail in the profile and the part it sits on.
    Do: Take the detail out of this caption, or correct its `views` in the profile.
    Fault: `back view, right arm red glove` where its views are front and three quarter
    Instead: `back view`
    Source: Field notes of a character LoRA on Apple silicon: back views and close-ups name no gear, side views the knee only.
    """
    yield from _about_details(
        facts,
        profile,
        report,
        "not in view",
        (
            "names a detail that this view or framing does not show",
            "name a detail that this view or framing does not show",
        ),
        "Take it out there, or correct the views of {phrases} in the profile.",
    )


@rule("CAP016", "detail-missing", "hint", since="0.2")
def detail_missing(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """A caption leaves out an asymmetric detail that its view shows.

    Why: Without the words the detail is still learned with the trigger, but not its side: that is the one part of the looks
    that captions should name.
    Found by: Captions that name a view and a framing in which the profile's detail shows, and do not mention it. A hand may
    be hidden all the same: look at the picture.
    Do: Add the phrase where the picture shows it.
    Fault: `full body, front view` of a character with a glove
    Instead: `full body, front view, right arm red glove`
    Source: Field notes of a character LoRA on Apple silicon (`these details must be in captions`).
    """
    yield from _about_details(
        facts,
        profile,
        report,
        "missing",
        ("leaves out a detail that its view shows", "leave out a detail that its view shows"),
        "Add {phrases} where the picture shows it.",
    )


@rule("CAP017", "face-from-behind", "warning", since="0.2")
def face_from_behind_rule(facts: DatasetFacts, profile: Profile | None, report: Report) -> Iterator[Finding]:
    """The caption of a back view describes a face.

    Why: A back view shows no face. The words for expression or eyes are learned for the back of a head, and the LoRA draws
    faces on backs, or loses the expression. Captioning models invent them from the other captions.
    Found by: Captions that name a back view and an expression, eyes or mouth, unless the head is turned (`looking back`,
    `over shoulder`) or there is a mirror.
    Do: Take the words out, or correct the view.
    Fault: `back view, smiling`
    Instead: `back view`
    Source: Field notes of a character LoRA on Apple silicon: its back views say no more than the view and the background.
    """
    if profile is not None and not profile.has_face:
        return
    wrong = [(each, found[0]) for each in trained(facts) if (found := face_from_behind(each.lines[0]))]
    if wrong:
        captions = [each for each, _ in wrong]
        yield report(
            place_of([each.path for each in captions], facts),
            "",
            f"{counted(captions, facts, 'describes', 'describe')} a face in a back view: "
            f"{quoted([(each, mistake.found) for each, mistake in wrong])}.",
            "Take the words out, or correct the view.",
        )


def _mistakes(facts: DatasetFacts, profile: Profile, kind: str) -> list[tuple[CaptionFact, SideMistake]]:
    if not profile.is_asymmetric:
        return []
    return [
        (caption, mistake)
        for caption in trained(facts)
        for mistake in side_mistakes(caption.lines[0], profile)
        if mistake.kind == kind
    ]


def _mentions(caption: CaptionFact, profile: Profile) -> list[Mention]:
    return mentions(caption.lines[0], profile)


def _distinct(found: list[tuple[CaptionFact, SideMistake]]) -> list[CaptionFact]:
    """Return the captions of some mistakes, each once."""
    return list({caption.path: caption for caption, _ in found}.values())


def _about_details(
    facts: DatasetFacts, profile: Profile, report: Report, kind: str, what: tuple[str, str], remedy: str
) -> Iterator[Finding]:
    found = _mistakes(facts, profile, kind)
    if not found:
        return
    captions = _distinct(found)
    phrases = sorted({f"'{mistake.detail.phrase}'" for _, mistake in found if mistake.detail is not None})
    told = [
        (each, mistake.detail.phrase if kind == "missing" and mistake.detail else mistake.found)
        for each, mistake in found
    ]
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, *what)}: {quoted(told)}.",
        remedy.format(phrases=" and ".join(phrases)),
    )


# --- the text itself -------------------------------------------------------------------------------------


@rule("CAP018", "caption-contradicts-itself", "warning", since="0.2")
def caption_contradicts_itself(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Two parts of a caption cannot both be true.

    Why: One of them is wrong, and is taught all the same: `front view, back view` weakens both words. It comes from tags that
    were added by hand to a tagger's, or copied from another picture.
    Found by: Parts that exclude each other: views, close-up and full body, postures, day and night, indoors and outdoors,
    expressions, open and closed eyes or mouth, hair lengths, plain background colours, numbers of people (`solo` with
    `1boy, 1girl`). Pictures of several people or views, and sheets, are left out.
    Do: Look at the picture and take the wrong one out.
    Fault: `day, night sky`
    Instead: `night sky`
    Source: Booru tagging guides; captions of 218 real pictures read against these pairs without a false alarm.
    """
    wrong = [(each, found[0]) for each in trained(facts) if (found := contradictions(_parts(each)))]
    if wrong:
        captions = [each for each, _ in wrong]
        told = [(each, f"'{pair.one}' and '{pair.other}'") for each, pair in wrong]
        yield report(
            place_of([each.path for each in captions], facts),
            "",
            f"{counted(captions, facts, 'has', 'have')} parts that exclude each other: {listed(told)}.",
            "Look at the picture and take out what is wrong.",
        )


@rule("CAP019", "caption-repeats-itself", "hint", since="0.2", repair="safe")
def caption_repeats_itself(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption says the same part twice.

    Why: The repetition costs tokens of the 75 and teaches nothing. In a set of 203 portraits nine captions had one; four of
    these were longer than 75 tokens, two of them only by the repetition.
    Found by: Parts that are the same but for case, hyphens and underscores.
    Do: Take the second one out; --fix does.
    Fault: `red cape, standing, Red_Cape`
    Instead: `red cape, standing`
    Source: Pixel-portrait captions, read.
    """
    wrong = [(each, found[0]) for each in trained(facts) if (found := duplicates(_parts(each)))]
    if not wrong:
        return
    captions = [each for each, _ in wrong]
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'has', 'have')} a part that is there twice: {quoted(wrong)}.",
        "Take the repetition out.",
        fix=rewriting(captions, without_duplicates, "take repeated parts out")
        if all(separator_of(each) == "," for each in captions)
        else None,
    )


@rule("CAP023", "style-words-not-first", "warning", since="0.2", repair="decides")
def style_words_not_first(facts: DatasetFacts, profile: Profile, report: Report) -> Iterator[Finding]:
    """A style's caption does not begin with the style's words, or lacks one.

    Why: The style is bound to the words that stand in every caption. Where some lack them, the style is learned without a
    name and appears unasked; where they stand last, a long caption loses them, as 80 of 203 did at 75 tokens.
    Found by: A profile of kind style with `style` words: every caption begins with the first (the trigger may precede it) and
    contains the others.
    Do: Put the style's words in front; --fix does.
    Fault: `a cat on a roof, pixel art` where the style's word is pixel art
    Instead: `pixel art, a cat on a roof`
    Source: A pixel-art style set: all 203 captions begin with `pixel art, 24x24`.
    """
    if profile.kind != "style" or not profile.style:
        return
    wrong = [(each, why) for each in trained(facts) if (why := _style_fault(each.lines[0], profile))]
    if not wrong:
        return
    captions = [each for each, _ in wrong]
    yield report(
        place_of([each.path for each in captions], facts),
        "",
        f"{counted(captions, facts, 'lacks', 'lack')} the style's words in front ({', '.join(profile.style)}): "
        f"{quoted(wrong)}.",
        f"Begin every caption with '{', '.join(profile.style)}'.",
        fix=rewriting(captions, lambda text: _with_style(text, profile), "put the style's words in front"),
    )


def _style_fault(text: str, profile: Profile) -> str:
    """Return the words that stand where the style's should, or the word that is missing; empty when all is well."""
    parts = [
        part for part in parts_of(text) if part.lower() not in {each.lower() for each in profile.triggers}
    ]
    first = parts[0] if parts else ""
    if not re.match(rf"{re.escape(plain(profile.style[0]))}\b", plain(first)):
        return first
    said = plain(text)
    return next((f"{word}: missing" for word in profile.style if plain(word) not in said), "")


def _with_style(text: str, profile: Profile) -> str:
    style = {same_part(word) for word in profile.style}
    rest = [part for part in parts_of(text) if same_part(part) not in style]
    return ", ".join([*profile.style, *rest])


def _parts(caption: CaptionFact) -> tuple[str, ...]:
    return parts_of(caption.lines[0], separator_of(caption))
