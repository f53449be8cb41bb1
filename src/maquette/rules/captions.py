"""Rules about captions as files and as texts: missing, unreadable, too long, all alike, not of this picture.

The trigger is judged in `rules_triggers`, what captions say of the subject in `rules_caption_words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.dataset.measures import Measures
from maquette.errors import nearest
from maquette.findings.records import Finding, Fix, SetAside, WriteText
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.caption_sets import (
    counted,
    lines_of,
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

CODECS = {
    "Windows-1252": "cp1252",
    "UTF-16": "utf-16",
    "UTF-32": "utf-32",
}
"""Encodings that can be told for sure, and how Python calls them."""
TOKEN_LIMITS = (75, 150, 225)
EXACT_COLOURS = 32
"""Colours up to which a picture's palette holds every one of them."""
SMALL_PALETTE = 256
"""Colours up to which naming one by its code means that very colour."""
SAME_COLOUR = 3.0
"""CIE76 difference that a person hardly sees."""


# --- files -----------------------------------------------------------------------------------------------


@rule("CAP001", "caption-missing", "error", since="0.2")
def caption_missing(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture has no caption file that the trainer reads.

    Why: Maquette stops, since a picture without words teaches the trigger nothing that was meant. sd-scripts goes on: it
    uses the folder's name (`10_zkw_fox` gives `zkw_fox`), from a dataset TOML without class_tokens an empty caption.
    Found by: Pictures of the subject without a file of their name and the ending in force, unless a fallback caption
    stands for all. An error with Maquette, a warning with sd-scripts. Where half of the pictures or more have a caption
    of another ending instead, captions-of-another-ending speaks.
    Do: Write a caption beside each picture; `maquette caption` proposes them.
    Fault: `fox01.png` with no `fox01.txt`
    Instead: `fox01.txt`: `zkw_fox, front view, standing`
    Source: sd-scripts 48d368fa, train_util.py read_caption; kohya_ss#1370 (captions ignored).
    """
    missing, total = facts.without_caption, len(facts.files)
    if not facts.has_captions_by_design or not missing:
        return
    if facts.other_captions and 2 * len(missing) >= total:
        return
    ending = next((fact.subset.caption_extension for fact in facts.used_folders if fact.subset), ".txt")
    subject = "This picture has" if len(missing) == 1 else f"{len(missing)} of {total} pictures have"
    message = f"{subject} no caption ({ending}): {names(missing)}."
    if facts.other_captions:
        other, count = facts.other_captions[0]
        message += f" {count} {other} files lie beside the pictures, but only {ending} is read."
    if facts.trainer == "sd-scripts":
        message += " " + _what_sd_scripts_does(facts)
    yield report(
        place_of(missing, facts),
        "",
        message,
        "Write one beside each, with the same name; maquette caption proposes them.",
        severity="error" if facts.trainer == "maquette" else "warning",
    )


def _what_sd_scripts_does(facts: DatasetFacts) -> str:
    tokens = {
        fact.subset.class_tokens for fact in facts.used_folders if fact.subset and not fact.is_regularization
    }
    named = sorted(token for token in tokens if token)
    return f"sd-scripts trains them on '{named[0]}' alone." if named else "sd-scripts takes an empty caption."


@rule("CAP028", "captions-of-another-ending", "error", since="0.2")
def captions_of_another_ending(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """Captions lie beside the pictures, but with an ending that the trainer does not read.

    Why: sd-scripts reads `.caption` unless told otherwise, and people write `.txt`. It says nothing: it trains every picture
    on its folder's name, from a dataset TOML on an empty caption, and the captions' work is lost.
    Found by: At least half of the subject's pictures have no caption of the ending in force and one of another ending
    (.txt, .caption, .cap, .tags) instead.
    Do: Set `caption_extension = ".txt"` under [general] of the TOML, or --caption_extension=".txt" on the command line.
    Fault: `.txt` captions and a dataset TOML without caption_extension
    Instead: `caption_extension = ".txt"` under [general]
    Source: sd-scripts 48d368fa, measured (default .caption); kohya_ss#1370 (captions ignored).
    """
    missing = facts.without_caption
    if not facts.has_captions_by_design or not facts.other_captions or 2 * len(missing) < len(facts.files):
        return
    read = next((fact.subset.caption_extension for fact in facts.used_folders if fact.subset), ".txt")
    other, count = facts.other_captions[0]
    unread = f"{len(missing)} of {len(facts.files)} pictures have none"
    message = f"{count} captions end in {other}, but only {read} is read: {unread}."
    if facts.trainer == "sd-scripts":
        message += " " + _what_sd_scripts_does(facts)
    if facts.is_toml:
        remedy = f'Write caption_extension = "{other}" under [general] in {facts.root.name}.'
    elif facts.trainer == "sd-scripts":
        remedy = f'Add --caption_extension="{other}".'
    else:
        remedy = f'Set caption_extension = "{other}" under [dataset].'
    where = facts.root if facts.is_toml or request is None else request.file
    yield report(where, "caption_extension", message, remedy)


@rule("CAP002", "caption-empty", "error", since="0.2")
def caption_empty(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption file is there and says nothing.

    Why: A picture without words is learned as what the model draws unasked, so the subject leaks into every picture.
    Maquette stops. sd-scripts stops with an assertion at a file of no bytes, and trains on nothing where only the first
    line is blank.
    Found by: Caption files of pictures whose first line is blank.
    Do: Write the caption on the first line.
    Fault: `fox01.txt` holds a blank line
    Instead: `zkw_fox, front view, standing` on its first line
    Source: sd-scripts 48d368fa, train_util.py read_caption, measured.
    """
    for caption in (*facts.captions, *facts.regularization_captions):
        if caption.picture is None or caption.text or caption.problem:
            continue
        later = " Its text stands on a later line, which no trainer reads." if caption.lines_left_out else ""
        remedy = (
            "Put the text on the first line." if later else "Write what the picture shows, the trigger first."
        )
        yield report(caption.path, "", f"The caption is empty.{later}", remedy)


@rule("CAP003", "caption-orphaned", "error", since="0.2", repair="safe")
def caption_orphaned(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption file belongs to no picture.

    Why: Either the picture is lost or renamed, and one fewer is trained than planned, or it was taken out on purpose and
    its caption forgotten. Maquette stops, so that you decide; sd-scripts says nothing.
    Found by: Files with the captions' ending whose name no picture has. An error with Maquette, a warning with sd-scripts.
    Do: Rename it to its picture's name, or take it out of the folder.
    Fault: `fox07.txt`, whose picture was renamed to `fox07a.png`
    Instead: `fox07a.txt`
    Source: The pictures and captions of a character set, counted by hand before each run (`413 images = 413 captions`).
    """
    orphans = [caption for caption in facts.captions if caption.picture is None]
    if not orphans:
        return
    paths = [caption.path for caption in orphans]
    lonely = {path.stem for path in facts.without_caption}
    close = next(((path, nearest(path.stem, lonely)) for path in paths if nearest(path.stem, lonely)), None)
    hint = f" {close[0].name} may belong to the picture {close[1]}, which has none." if close else ""
    fix = (
        None
        if lonely
        else Fix("set the captions without picture aside", tuple(SetAside(path) for path in paths))
    )
    what = "This caption belongs" if len(paths) == 1 else f"{len(paths)} captions belong"
    yield report(
        place_of(paths, facts),
        "",
        f"{what} to no picture: {names(paths)}.{hint}",
        "Rename each to its picture's name, or take it out of the folder.",
        fix=fix,
        severity="error" if facts.trainer == "maquette" else "warning",
    )


@rule("CAP004", "caption-encoding", "error", since="0.2", repair="safe")
def caption_encoding(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption is not UTF-8 text.

    Why: Maquette and sd-scripts stop at it. An editor on Windows that saves as `ANSI` or `Unicode` writes Windows-1252 or
    UTF-16; an accent is enough.
    Found by: Bytes that are no UTF-8, or NUL characters, and a guess from byte order mark and byte pattern which encoding
    it is.
    Do: Save the file as UTF-8. Where the encoding is sure (UTF-16, UTF-32, Windows-1252), --fix rewrites it.
    Fault: `café` saved as Windows-1252: the byte E9
    Instead: the same words saved as UTF-8
    Source: sd-scripts 48d368fa, train_util.py read_caption (`illegal char in file`).
    """
    bad = [each for each in (*facts.captions, *facts.regularization_captions) if each.problem]
    for caption in bad:
        text = _decoded(caption)
        fix = Fix("write the caption again as UTF-8", (WriteText(caption.path, text),)) if text else None
        shown = f" Read so, it says: '{_first_line(text)}'." if text else ""
        problem = caption.problem
        said = f"it looks like {caption.guessed_encoding}" if caption.guessed_encoding else ""
        message = f"The caption is not UTF-8{'; ' + said if said else ''}.{shown}"
        if problem is not None and not caption.guessed_encoding:
            message = f"The caption cannot be used: {problem.given}."
        yield report(caption.path, "", message, "Save it as UTF-8 without changing the words.", fix=fix)


def _decoded(caption: CaptionFact) -> str:
    """Return the text in the guessed encoding, empty when it is unsure or does not fit."""
    codec = CODECS.get(caption.guessed_encoding)
    if codec is None:
        return ""
    try:
        data = caption.path.read_bytes()
        if codec == "utf-16" and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            codec = "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
        text = data.decode(codec)
    except (OSError, UnicodeError):
        return ""
    return "" if "\x00" in text else text.removeprefix("\ufeff")


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= 80 else line[:77] + "…"


@rule("CAP005", "caption-byte-order-mark", "hint", since="0.2", repair="safe")
def caption_byte_order_mark(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption begins with an invisible byte order mark.

    Why: Maquette takes it off. sd-scripts keeps it as part of the first word: its tag counts list a second trigger that
    looks the same, and with the tokenizer of transformers 5 the mark becomes three tokens in front of the trigger.
    Found by: Files that begin with the bytes EF BB BF.
    Do: Save as `UTF-8`, not as `UTF-8 with BOM`; --fix rewrites the files.
    Fault: the bytes EF BB BF before `zkw_fox`
    Instead: `zkw_fox` as the first bytes
    Source: sd-scripts 48d368fa, train_util.py read_caption (opens as `utf-8`, which keeps the mark);
    tokens measured.
    """
    marked = [each for each in (*facts.captions, *facts.regularization_captions) if each.had_mark]
    if not marked:
        return
    edits = []
    for caption in marked:
        try:
            text = caption.path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeError):
            continue
        edits.append(WriteText(caption.path, text))
    paths = [caption.path for caption in marked]
    what = "This caption begins" if len(paths) == 1 else f"{len(paths)} captions begin"
    yield report(
        place_of(paths, facts),
        "",
        f"{what} with a byte order mark: {names(paths)}.",
        "Save them as UTF-8 without a mark.",
        fix=Fix("take the mark off", tuple(edits)) if edits else None,
    )


@rule("CAP006", "caption-further-lines", "warning", since="0.2")
def caption_further_lines(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A caption has text after its first line, which is not read.

    Why: Maquette and sd-scripts train on the first line only, unless wildcards are enabled (then on one line at a time).
    What a captioning model wrote as a second paragraph is lost.
    Found by: Files with another line that is not blank, where `enable_wildcard` is off.
    Do: Join the lines with commas, or take the rest out.
    Fault: `zkw_fox, front view` and `wearing a red cape` on a second line
    Instead: `zkw_fox, front view, wearing a red cape`
    Source: sd-scripts 48d368fa, train_util.py process_caption.
    """
    long = [each for each in facts.captions if each.lines_left_out and each.text]
    if not long:
        return
    paths = [caption.path for caption in long]
    lost = sum(caption.lines_left_out for caption in long)
    what = "This caption has" if len(paths) == 1 else f"{len(paths)} captions have"
    yield report(
        place_of(paths, facts),
        "",
        f"{what} text after the first line, which is not read ({lost} lines in all): {names(paths)}.",
        "Join the lines with commas, or take out what is not needed.",
    )


# --- the set as a whole ----------------------------------------------------------------------------------


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
    limit = (request.value("max_token_length") if request is not None else None) or TOKEN_LIMITS[0]
    lengths = [(max(tokens.count(line) for line in lines_of(each)), each) for each in trained(facts)]
    long = [(length, each) for length, each in lengths if length > limit]
    if not long:
        return
    longest, worst = max(long, key=lambda pair: pair[0])
    enough = next((each for each in TOKEN_LIMITS if each >= longest), None)
    captions = [each for _, each in long]
    lost = _lost_end(lines_of(worst)[0], limit, tokens)
    wanted = enough or TOKEN_LIMITS[-1]
    remedy = (
        f"Add --max_token_length={wanted}"
        if facts.trainer == "sd-scripts"
        else f"Set max_token_length to {wanted}"
    ) + ("" if enough else " and shorten the longest")
    what = "This caption has" if len(long) == 1 else f"{len(long)} of {len(lengths)} captions have"
    shuffled = " (or whatever shuffling puts last)" if worst.subset.options.shuffle_caption else ""
    yield report(
        place_of([each.path for each in captions], facts),
        request.said("max_token_length") if request is not None else "",
        f"{what} more than {limit} tokens; {worst.path.name} has {longest} and loses '{lost}'{shuffled}.",
        f"{remedy}, or shorten the captions.",
    )


def _lost_end(text: str, limit: int, tokens: TokenCounter) -> str:
    """Return the words of `text` that lie beyond `limit` tokens."""
    words = text.split()
    kept = next((n for n in range(len(words), 0, -1) if tokens.count(" ".join(words[:n])) <= limit), 0)
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
                f"All {len(captions)} captions say the same: '{_first_line(captions[0].text)}'.",
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


def _has_colour(colours: Iterable[str], code: str) -> bool:
    return any(colour_difference(code, other) <= SAME_COLOUR for other in colours)


def _colours_of(picture: Path) -> list[str]:
    """Return every colour of a picture, transparent parts on white; none when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        ground.alpha_composite(layer)
        found = ground.convert("RGB").getcolors(SMALL_PALETTE) or []
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
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
