"""Rules about captions as texts: too long, all alike, not of this picture, not written by anybody."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.dataset.measures import Measures
from maquette.errors import DatasetError
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.caption_sets import (
    counted,
    first_line,
    names,
    place_of,
    quoted,
    rewriting,
    separator_of,
    trained,
)
from maquette.words.colours import colour_difference
from maquette.words.reading import TokenCounter, preamble_in, refusal_in
from maquette.words.text import HEX_COLOUR, parts_of, plain

EXACT_COLOURS = 32
"""Colours up to which a picture's palette holds every one of them."""
SMALL_PALETTE = 256
"""Colours up to which naming one by its code means that very colour."""
SAME_COLOUR = 3.0
"""CIE76 difference that a person hardly sees."""


@rule("CAP020", "caption-too-long", "warning", since="0.2")
def caption_too_long(
    facts: DatasetFacts, tokens: TokenCounter, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """A caption has more tokens than are read.

    Why: The text encoder reads 75 tokens at a time. What comes after is cut off without a word by sd-scripts; the ends of
    the captions, often the style words, are never learned. In the 203 captions of a pixel-art set 80 were longer.
    Found by: The base's own tokenizer over every caption with prefix and suffix, against max_token_length (75 where nothing
    is said; 150 and 225 make two and three passes, with Maquette and sd-scripts alike).
    Do: Set max_token_length to 150 or 225, or shorten the captions: SD 1.5 does best with 40 to 75 tokens.
    Fault: a caption of 83 tokens at max_token_length 75
    Instead: at most 75 tokens, or `--max_token_length=150`
    Source: A guide for a film character in SD 1.5 and SDXL (40–75 tokens, SDXL 75–225); pixel-portrait captions, measured.
    """
    asked = request.value("max_token_length") if request is not None else None
    limit = asked if asked in tokens.limits else tokens.limits[0]
    lengths = [(max(tokens.count(line) for line in each.lines), each) for each in trained(facts)]
    long = [(length, each) for length, each in lengths if length > limit]
    if not long:
        return
    longest, worst = max(long, key=lambda pair: pair[0])
    enough = next((each for each in tokens.limits if each >= longest), None)
    captions = [each for _, each in long]
    lost = _lost_end(worst.lines[0], limit, tokens)
    wanted = enough or tokens.limits[-1]
    sd_scripts = facts.trainer == "sd-scripts"
    ask = f"Add --max_token_length={wanted}" if sd_scripts else f"Set max_token_length to {wanted}"
    also = "" if enough else " and shorten the longest"
    remedy = f"{ask}{also}, or shorten the captions." if len(tokens.limits) > 1 else "Shorten the captions."
    what = "This caption has" if len(long) == 1 else f"{len(long)} of {len(lengths)} captions have"
    shuffled = " (or whatever shuffling puts last)" if worst.subset.options.shuffle_caption else ""
    yield report(
        place_of([each.path for each in captions], facts),
        request.said("max_token_length") if request is not None else "",
        f"{what} more than {limit} tokens; {worst.path.name} has {longest} and loses '{lost}'{shuffled}.",
        remedy,
    )


def _lost_end(text: str, limit: int, tokens: TokenCounter) -> str:
    """Return the words of `text` that lie beyond `limit` tokens."""
    words = text.split()
    most = min(limit, len(words))  # a word takes a token at least; those of none at all let it grow
    while most < len(words) and tokens.count(" ".join(words[:most])) <= limit:
        most = min(2 * most, len(words))
    kept = bisect_right(range(1, most + 1), limit, key=lambda n: tokens.count(" ".join(words[:n])))
    lost = " ".join(words[kept:])
    return lost if len(lost) <= 100 else "…" + lost[-97:]


@rule("CAP021", "captions-all-the-same", "warning", since="0.2")
def captions_all_the_same(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Every picture of a folder has the same caption.

    Why: Nothing tells pose, view and background apart from the subject, so all of it is learned as the subject. With one
    caption for all, a first base of the small world drew the subject from its bare trigger at 0.53 where captions of pose
    alone reached 0.69, and obeyed an edit (`blue hair`) at 0.44.
    Found by: Folders with three captions or more that are all the same text, case and spaces aside.
    Do: Say in each caption what this picture shows and others do not: pose, view, framing, expression, background.
    Fault: `zkw_fox, standing` beside all twenty pictures
    Instead: `zkw_fox, front view, standing`, `zkw_fox, back view, running`, …
    Source: A first try of the small world, one seed: bare-trigger identity 0.53 (trigger only) against 0.69 (pose only).
    """
    for folder in facts.used_folders:
        if folder.is_regularization:
            continue
        captions = [each for each in trained(facts) if each.path.parent == folder.path]
        texts = {plain(each.text) for each in captions}
        if len(captions) >= 3 and len(texts) == 1:
            yield report(
                folder.path,
                "",
                f"All {len(captions)} captions say the same: '{first_line(captions[0].text)}'.",
                "Say in each what only this picture shows: pose, view, framing, expression, background.",
            )


@rule("CAP024", "colour-not-in-picture", "warning", since="0.2")
def colour_not_in_picture(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption names a colour by its code that its picture does not have.

    Why: The code is an exact promise: in a real set of pixel portraits all 34 codes of nine captions were colours of their
    pictures to the last digit. One that is not stands beside the wrong picture, or was edited away.
    Found by: `#rrggbb` in captions of pictures with at most 256 colours: no colour of the picture within a CIE76 difference
    of 3, which a person hardly sees.
    Do: Look whether the caption belongs to this picture; correct the code.
    Fault: `hair #ff0000` for a picture without that red
    Instead: the code of a colour that is in the picture
    Source: Pixel-portrait captions against their pictures, measured: difference 0.0 for 34 of 34; to the palettes of other
    pictures the median is 17.
    """
    wrong = []
    measured = {each.path: each.result for each in facts.pictures}
    for caption in trained(facts):
        result = measured.get(caption.picture) if caption.picture else None
        if caption.picture and isinstance(result, Measures) and result.num_colours <= SMALL_PALETTE:
            foreign = _foreign_colours(caption.text, result, caption.picture)
            if foreign:
                wrong.append((caption, ", ".join(foreign)))
    if wrong:
        captions = [each for each, _ in wrong]
        yield report(
            place_of([each.path for each in captions], facts),
            "",
            f"{counted(captions, facts, 'names', 'name')} a colour that the picture does not have: {quoted(wrong)}.",
            "Look whether the caption belongs to this picture, and correct the code.",
        )


def _foreign_colours(text: str, measures: Measures, picture: Path) -> list[str]:
    """Return the codes of a caption that no colour of the picture comes near."""
    codes = dict.fromkeys(HEX_COLOUR.findall(text))
    foreign = [code for code in codes if not _has_colour(measures.palette, code)]
    if foreign and measures.num_colours > EXACT_COLOURS:  # the palette leaves rare colours out
        every = _colours_of(picture)
        foreign = [code for code in foreign if every and not _has_colour(every, code)]
    return foreign


def _has_colour(colours: Sequence[str], code: str) -> bool:
    return code.lower() in colours or any(colour_difference(code, other) <= SAME_COLOUR for other in colours)


def _colours_of(picture: Path) -> list[str]:
    """Return every colour of a picture, transparent parts on white; none when it cannot be read."""
    from maquette.dataset.opening import picture_rgb

    try:
        found = picture_rgb(picture).getcolors(SMALL_PALETTE) or []
    except DatasetError:
        return []
    return ["#{:02x}{:02x}{:02x}".format(*colour) for _, colour in found if isinstance(colour, tuple)]


@rule("CAP025", "caption-of-a-chatbot", "error", since="0.2")
def caption_of_a_chatbot(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption is a language model's refusal, its introduction, or a blank to fill in.

    Why: `I'm sorry, I can't help with that` is trained as the description of a picture. `The image shows` in front of every
    caption costs tokens and becomes part of what has to be prompted.
    Found by: Phrases of refusal and placeholders (an error); introductions such as `The image shows`, `Here is a caption`,
    `Caption:` (a warning).
    Do: Write these captions again; maquette caption refuses such answers by itself.
    Fault: `I'm sorry, I can't describe this image.`
    Instead: `zkw_fox, front view, standing`
    Source: Answers of vision-language models asked for captions.
    """
    refused = [(each, words) for each in trained(facts) if (words := refusal_in(each.text))]
    introduced = [
        (each, words)
        for each in trained(facts)
        if not refusal_in(each.text) and (words := preamble_in(each.text))
    ]
    if refused:
        paths = [each.path for each, _ in refused]
        message = (
            f"{counted([c for c, _ in refused], facts, 'is', 'are')} a refusal or a blank: {quoted(refused)}."
        )
        yield report(place_of(paths, facts), "", message, "Write these captions again.")
    if introduced:
        paths = [each.path for each, _ in introduced]
        message = f"{counted([c for c, _ in introduced], facts, 'begins', 'begin')} with an introduction: {quoted(introduced)}."
        yield report(
            place_of(paths, facts), "", message, "Begin with what the picture shows.", severity="warning"
        )


@rule("CAP026", "caption-stray-commas", "hint", since="0.2", repair="safe")
def caption_stray_commas(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption has empty parts: two commas in a row, or one at its beginning or end.

    Why: An empty part counts as a part. With `, zkw_fox, standing` keep_tokens = 1 protects nothing but emptiness, and
    shuffling moves the gap about. Each comma is a token of the 75.
    Found by: Parts with nothing in them before, between or after separators; one trailing comma is let pass.
    Do: Take them out; --fix does.
    Fault: `zkw_fox, , standing`
    Instead: `zkw_fox, standing`
    Source: sd-scripts 48d368fa, train_util.py process_caption (`tokens = … split(separator)`).
    """
    stray = [each for each in trained(facts) if _has_empty_part(each)]
    if not stray:
        return
    yield report(
        place_of([each.path for each in stray], facts),
        "",
        f"{counted(stray, facts, 'has', 'have')} empty parts between commas: {names(each.path for each in stray)}.",
        "Take the stray commas out.",
        fix=rewriting(stray, lambda text: ", ".join(parts_of(text)), "take stray commas out")
        if all(separator_of(each) == "," for each in stray)
        else None,
    )


def _has_empty_part(caption: CaptionFact) -> bool:
    pieces = caption.text.split(separator_of(caption))
    return any(not piece.strip() for piece in pieces[:-1])
