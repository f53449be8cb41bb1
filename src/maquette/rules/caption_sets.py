"""The captions of a dataset as rules look at them: which are trained on, how they are named, how they can be rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.findings.records import Fix, WriteText
from maquette.project.subject import Subject
from maquette.words.text import has_word

SHOWN = 3
"""Files that a message names before it only counts."""


def trained(facts: DatasetFacts) -> list[CaptionFact]:
    """Return the captions of the subject's pictures that could be read and say something."""
    return [each for each in facts.captions if each.picture is not None and each.text and not each.problem]


def caption_files(facts: DatasetFacts) -> list[CaptionFact]:
    """Return every caption file, those of regularization and of no picture among them, each once."""
    captions = (*facts.captions, *facts.regularization_captions)
    return list({each.path: each for each in reversed(captions) if each.listed_in is None}.values())[::-1]


def separator_of(caption: CaptionFact) -> str:
    """Return what parts a caption's parts."""
    return caption.subset.options.caption_separator or ","


def triggers_in(text: str, subject: Subject) -> list[str]:
    """Return which of the subject's triggers a text contains as words of their own."""
    return [trigger for trigger in subject.triggers if has_word(text, trigger)]


def names(paths: Iterable[Path]) -> str:
    """Return the names of the first three files and how many more there are."""
    files = list(dict.fromkeys(paths))
    shown = ", ".join(path.name for path in files[:SHOWN])
    return f"{shown} and {len(files) - SHOWN} more" if len(files) > SHOWN else shown


def counted(captions: Sequence[CaptionFact], facts: DatasetFacts, one: str, several: str) -> str:
    """Return the beginning of a sentence, `3 of 15 captions have` or `This caption has`; the verb in both forms."""
    total = len(trained(facts))
    return f"This caption {one}" if len(captions) == 1 else f"{len(captions)} of {total} captions {several}"


def listed(told: Sequence[tuple[CaptionFact, str]]) -> str:
    """Return the first three captions' names, each with what is to be said of it."""
    shown = "; ".join(f"{caption.path.name} ({words})" for caption, words in told[:SHOWN])
    return f"{shown} and {len(told) - SHOWN} more" if len(told) > SHOWN else shown


def quoted(found: Sequence[tuple[CaptionFact, str]]) -> str:
    """Return the first three captions' names, each with its words in question."""
    return listed([(caption, f"'{words}'") for caption, words in found])


def first_line(text: str) -> str:
    """Return a text's first line, cut to 80 characters."""
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= 80 else line[:77] + "…"


def place_of(paths: Sequence[Path], facts: DatasetFacts) -> Path:
    """Return the one file, the one folder that holds all, or the dataset."""
    if len(set(paths)) == 1:
        return paths[0]
    folders = {path.parent for path in paths}
    return folders.pop() if len(folders) == 1 else facts.root


def rewriting(captions: Iterable[CaptionFact], change: Callable[[str], str], summary: str) -> Fix | None:
    """Return the fix that writes each caption as `change` makes it; None when there is nothing it may change.

    Captions with further lines, or with alternatives, are left to a person: writing one line would lose the others. So are
    those that stand in a list of pictures.
    """
    edits = []
    for caption in captions:
        if caption.listed_in or caption.lines_left_out or caption.subset.options.enable_wildcard:
            continue
        text = change(caption.text)
        if text and text != caption.text:
            edits.append(WriteText(caption.path, text))
    count = "1 file" if len(edits) == 1 else f"{len(edits)} files"
    return Fix(f"{summary} ({count})", tuple(edits)) if edits else None
