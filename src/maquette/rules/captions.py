"""Rules about captions as files: missing, unreadable, shared, standing in for one another.

What their texts say is judged in `caption_texts`, the trigger in `triggers`, the subject in `caption_words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.dataset.strict import GUESSED, GUESSED_AMONG
from maquette.errors import nearest
from maquette.findings.records import Finding, Fix, SetAside, WriteText
from maquette.findings.registry import Report, rule
from maquette.project.request import TrainingRequest
from maquette.rules.caption_sets import caption_files, first_line, names, place_of
from maquette.rules.caption_syntax import switching_on_wildcards
from maquette.rules.wording import asking_in_dataset
from maquette.spoken import counted

CODECS = {
    "Windows-1252": "cp1252",
    "UTF-16": "utf-16",
    "UTF-32": "utf-32",
}
"""Encodings that can be told for sure, and how Python calls them."""


@rule("CAP001", "caption-missing", "error", since="0.2")
def caption_missing(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A picture has no caption file that the trainer reads.

    Why: Maquette stops, since a picture without words teaches the trigger nothing that was meant. sd-scripts goes on: it
    uses the folder's name (`10_zkw_fox` gives `zkw_fox`), from a dataset TOML without class_tokens an empty caption.
    Found by: Pictures of the subject without a file of their name and the ending in force, unless one caption stands for
    all of a folder (one-caption-for-all speaks of that). An error with Maquette, a warning where class_tokens of a dataset
    TOML stand in for some, and with sd-scripts. Where half of the pictures or more have a caption of another ending
    instead, captions-of-another-ending speaks.
    Do: Write a caption beside each picture; `maquette caption` proposes them.
    Fault: `fox01.png` with no `fox01.txt`
    Instead: `fox01.txt`: `zkw_fox, front view, standing`
    Source: sd-scripts 48d368fa, train_util.py read_caption; kohya_ss#1370 (captions ignored).
    """
    total = len(facts.files)
    if facts.other_captions and 2 * len(_lacking(facts)) >= total:
        return
    ending = next((fact.subset.caption_extension for fact in facts.used_folders if fact.subset), ".txt")
    for stand_in, missing in facts.uncaptioned.items():
        subject = "This picture has" if len(missing) == 1 else f"{len(missing)} of {total} pictures have"
        message = f"{subject} no caption ({ending}): {names(missing)}."
        if facts.other_captions:
            other, count = facts.other_captions[0]
            message += f" {count} {other} files lie beside the pictures, but only {ending} is read."
        stops = facts.trainer == "maquette" and stand_in is None
        yield report(
            place_of(missing, facts),
            "",
            message if stops else f"{message} {_what_is_trained(facts, stand_in)}",
            "Write one beside each, with the same name; maquette caption proposes them.",
            severity="error" if stops else "warning",
        )


def _lacking(facts: DatasetFacts) -> list[Path]:
    """Return the subject's pictures that lack a caption which is meant to be there."""
    return [path for missing in facts.uncaptioned.values() for path in missing]


def _what_is_trained(facts: DatasetFacts, stand_in: str | None) -> str:
    trainer = "sd-scripts" if facts.trainer == "sd-scripts" else "Maquette"
    return f"{trainer} trains on '{stand_in}' alone." if stand_in else f"{trainer} takes an empty caption."


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
    missing = _lacking(facts)
    if not missing or not facts.other_captions or 2 * len(missing) < len(facts.files):
        return
    read = next((fact.subset.caption_extension for fact in facts.used_folders if fact.subset), ".txt")
    other, count = facts.other_captions[0]
    unread = f"{len(missing)} of {len(facts.files)} pictures have none"
    message = f"{count} captions end in {other}, but only {read} is read: {unread}."
    if facts.trainer == "sd-scripts":
        message += " " + _what_is_trained(facts, next(iter(facts.uncaptioned)))
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
    empty = [
        each
        for each in caption_files(facts)
        if each.picture is not None and not each.text and not each.problem
    ]
    for is_later in (False, True):
        found = [each.path for each in empty if bool(each.lines_left_out) is is_later]
        if not found:
            continue
        what = "The caption is" if len(found) == 1 else f"{len(found)} captions are"
        which = "" if len(found) == 1 else f": {names(found)}"
        later = " Its text stands on a later line, which no trainer reads." if is_later else ""
        if len(found) > 1:
            later = later.replace("Its text stands", "Their texts stand")
        remedy = (
            "Put the text on the first line."
            if is_later
            else "Write what the picture shows, the trigger first."
        )
        yield report(place_of(found, facts), "", f"{what} empty{which}.{later}", remedy)


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
    if not orphans or not facts.files:  # without a single picture, folder-without-pictures says the cause
        return
    paths = [caption.path for caption in orphans]
    lonely = {path.stem for path in facts.without_caption}
    guessed = paths[:GUESSED] if len(lonely) <= GUESSED_AMONG else []
    close = next(((path, guess) for path in guessed if (guess := nearest(path.stem, lonely))), None)
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
    bad = [each for each in caption_files(facts) if each.problem]
    by_cause: dict[str, list[CaptionFact]] = {}
    for caption in bad:
        problem = caption.problem
        by_cause.setdefault(
            caption.guessed_encoding or (problem.given if problem is not None else ""), []
        ).append(caption)
    for cause, captions in by_cause.items():
        paths = [each.path for each in captions]
        texts = {each.path: text for each in captions if (text := _decoded(each))}
        edits = tuple(WriteText(path, text) for path, text in texts.items())
        first = next(iter(texts.values()), "")
        shown = (
            f" Read so, {'it' if len(paths) == 1 else 'the first'} says: '{first_line(first)}'."
            if first
            else ""
        )
        yield report(
            place_of(paths, facts),
            "",
            f"{_what_is_wrong(captions, cause)}.{shown}",
            "Save it as UTF-8 without changing the words."
            if len(paths) == 1
            else "Save them as UTF-8 without changing the words.",
            fix=Fix(
                f"write {'the caption' if len(edits) == 1 else f'{len(edits)} captions'} again as UTF-8",
                edits,
            )
            if edits
            else None,
        )


def _what_is_wrong(captions: Sequence[CaptionFact], cause: str) -> str:
    """Return what keeps captions of one cause from being read: an encoding, or a file that cannot be used."""
    one = len(captions) == 1
    which = "" if one else f": {names(each.path for each in captions)}"
    if not captions[0].guessed_encoding:
        return f"{'The caption' if one else f'{len(captions)} captions'} cannot be used: {cause}{which}"
    said = f"; {'it looks' if one else 'they look'} like {cause}"
    return f"{'The caption is' if one else f'{len(captions)} captions are'} not UTF-8{said}{which}"


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
    marked = [each for each in caption_files(facts) if each.had_mark]
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
def caption_further_lines(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """A caption has text after its first line, which is not read.

    Why: Maquette and sd-scripts train on the first line only, unless wildcards are enabled (then on one line at a time, as
    OneTrainer always does). What a captioning model wrote as a second paragraph is lost.
    Found by: Files with another line that is not blank, where `enable_wildcard` is off. Lines that begin with the same word
    are taken for alternatives, captions of their own.
    Do: Join lines that belong together with commas, or take the rest out. For alternatives switch enable_wildcard on.
    Fault: `zkw_fox, front view` and `wearing a red cape` on a second line
    Instead: `zkw_fox, front view, wearing a red cape`
    Source: sd-scripts 48d368fa, train_util.py process_caption.
    """
    long = [each for each in caption_files(facts) if each.lines_left_out and each.text]
    if not long:
        return
    paths = [caption.path for caption in long]
    lost = sum(caption.lines_left_out for caption in long)
    what = "This caption has" if len(paths) == 1 else f"{len(paths)} captions have"
    yield report(
        place_of(paths, facts),
        "",
        f"{what} text after the first line, which is not read ({counted(lost, 'line')} in all): {names(paths)}.",
        _for_further_lines(long, facts, request),
    )


def _for_further_lines(
    captions: Sequence[CaptionFact], facts: DatasetFacts, request: TrainingRequest | None
) -> str:
    """Return what to do about further lines: alternatives are not joined, a caption that goes on is."""
    alternatives = sum(_has_alternatives(each.path) for each in captions)
    choose = f"{switching_on_wildcards(facts, request)}, and one line is trained at a time"
    if alternatives == len(captions):
        return f"Each line is a caption of its own: {choose}; or keep the first line alone."
    join = "Join the lines with commas, or take out what is not needed."
    return f"{join} Where each line is a caption of its own, {choose}." if alternatives else join


def _has_alternatives(path: Path) -> bool:
    """Return whether a file's lines all begin with the same word: the same picture said in several ways."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError):
        return False
    return len(lines) > 1 and len({line[0].strip(",.").lower() for line in lines}) == 1


@rule("CAP029", "one-caption-for-all", "warning", since="0.2")
def one_caption_for_all(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """No picture of a folder has a caption of its own; one caption stands for all of them.

    Why: Nothing tells pose, view and background apart from the subject, so all of it is learned as the subject
    (captions-all-the-same says how much that costs). For three to five photographs it is the usual way; for more it is
    mostly an oversight.
    Found by: Folders of the subject without a single caption file of the ending in force, where caption_fallback, or
    class_tokens of a dataset TOML, stands in.
    Do: Write a caption beside each picture; `maquette caption` proposes them. Where captions of another ending lie there,
    set caption_extension.
    Fault: `caption_fallback = "zkw_fox"` and twenty pictures without captions
    Instead: `fox01.txt`: `zkw_fox, front view, standing`, and so on
    Source: sd-scripts 48d368fa, train_util.py read_caption; the DreamBooth paper (one sentence for all pictures).
    """
    for folder in facts.used_folders:
        if folder.is_regularization or not folder.is_meant_without:
            continue
        count = len(folder.files)
        whose = "Its picture has no caption" if count == 1 else f"None of its {count} pictures has a caption"
        message = f"{whose} of its own: trained on '{folder.stand_in}'."
        remedy = "Write one beside each picture; maquette caption proposes them."
        for other, unread in folder.other_captions[:1]:
            message += f" {unread} {other} files there are not read."
            remedy = f"Use {asking_in_dataset(facts, request, 'caption_extension', other)} to read them."
        yield report(folder.path, "", message, remedy)


@rule("CAP030", "caption-shared", "warning", since="0.2")
def caption_shared(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Pictures that differ only in their ending share one caption file.

    Why: A caption belongs to a name, not to a file. `fox_01.jpg` beside `fox_01.png` is often the same picture saved twice,
    and trained twice; where it is another one, its caption says what the first one shows.
    Found by: Two pictures of one folder with the same name and different endings. Crops named like name_x_y_w_h, which
    share their picture's caption on purpose, are let pass.
    Do: Remove the one that is not wanted, or rename it and write its own caption.
    Fault: `fox01.png` and `fox01.jpg` with one `fox01.txt`
    Instead: `fox01.png` alone, or `fox02.jpg` with its own `fox02.txt`
    Source: sd-scripts 48d368fa, train_util.py read_caption (the picture's ending is replaced).
    """
    users: dict[tuple[Path, str], list[Path]] = {}
    for caption in (*facts.captions, *facts.regularization_captions):
        if caption.picture is not None:
            users.setdefault((caption.path, caption.picture.stem), []).append(caption.picture)
    for (path, _), pictures in users.items():
        twins = list(dict.fromkeys(pictures))
        if len(twins) > 1:
            message = f"{names(twins)} share it, since their names differ only in the ending."
            remedy = "Remove the one that is not wanted, or rename it and write its own caption."
            yield report(path, "", message, remedy)


@rule("CAP031", "keep-tokens-idle", "warning", since="0.2")
def keep_tokens_idle(
    facts: DatasetFacts, request: TrainingRequest | None, report: Report
) -> Iterator[Finding]:
    """keep_tokens is set, and nothing shuffles or drops the parts that it would hold in place.

    Why: Without shuffle_caption, tag dropout and warm-up captions are trained as they are written: keep_tokens does
    nothing, and a keep_tokens_separator is trained as letters. Often shuffling was meant and forgotten.
    Found by: keep_tokens or keep_tokens_separator, while shuffle_caption is off and caption_tag_dropout_rate and
    token_warmup_step are 0.
    Do: Switch shuffle_caption on if it was meant, else leave keep_tokens out.
    Fault: `--keep_tokens=1` without --shuffle_caption
    Instead: `--shuffle_caption --keep_tokens=1`
    Source: sd-scripts 48d368fa, train_util.py process_caption.
    """
    idle = []
    for folder in facts.used_folders:
        options = folder.subset.options if folder.subset is not None else SubsetOptions()
        moves = options.moves_parts
        idle += [folder.path] if not moves and (options.keep_tokens or options.keep_tokens_separator) else []
    if not idle:
        return
    asked = None if facts.is_toml else request
    yield report(
        asked.file if asked is not None else facts.root,
        asked.said("keep_tokens") if asked is not None else "keep_tokens",
        f"keep_tokens has no effect in {names(idle)}, since shuffle_caption is off.",
        f"Add {asking_in_dataset(facts, request, 'shuffle_caption', True)} if it was meant, else leave keep_tokens out.",
    )
