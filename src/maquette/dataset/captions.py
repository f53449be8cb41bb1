"""Caption files and the caption of one showing, with sd-scripts' definitions.

A caption is a line of text; its parts are what stands between separators. Where nothing asks for shuffling or
dropping, the text is trained as it was written.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.config import SubsetOptions
from maquette.dataset.records import Item

UTF8_MARK = "\ufeff"
MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(frozen=True)
class CaptionText:
    """A caption file's text and what a person should know about how it was read."""

    text: str
    lines_left_out: int = 0
    had_mark: bool = False


@dataclass(frozen=True)
class CaptionMatches:
    """Which caption files of a folder belong to which pictures."""

    sources: Mapping[Path, Path | None]
    """Picture → its caption file, None where there is none."""
    orphans: tuple[Path, ...]
    """Caption files that no picture uses, sorted."""


def match_captions(
    pictures: Sequence[Path], files: Iterable[Path], extension: str, *, waiting: Iterable[Path] = ()
) -> CaptionMatches:
    """Return the captions of `pictures` among a folder's `files` with this ending.

    waiting: pictures that are not read as they are; their captions belong to nobody yet, and are no orphans.
    """
    present = {path for path in files if path.suffix == extension}
    sources = {
        picture: next((c for c in caption_candidates(picture, extension) if c in present), None)
        for picture in pictures
    }
    spoken_for = {caption for picture in waiting for caption in caption_candidates(picture, extension)}
    return CaptionMatches(sources, tuple(sorted(present - {*sources.values()} - spoken_for)))


@dataclass(frozen=True)
class WarmUp:
    """How far a run is in showing ever more of its captions' movable parts."""

    first: int
    """How many are shown at step 0."""
    until: float
    """The step that shows all."""
    step: int
    """The 0-based optimizer step."""

    def num_shown(self, parts: int) -> int | None:
        """Return how many of so many parts are shown, counted from the front as a slice counts; None for all."""
        if self.step >= self.until:
            return None
        return math.floor(self.step * ((parts - self.first) / self.until)) + self.first


def warm_up_of(options: SubsetOptions, step: int, num_steps: int) -> WarmUp | None:
    """Return where optimizer step `step` of `num_steps` stands in a subset's warm-up; None where it has none."""
    asked = options.token_warmup_step
    until = math.floor(asked * num_steps) if asked < 1 else asked
    return WarmUp(options.token_warmup_min, until, step) if until > 0 else None


def compose_caption(
    text: str,
    keep_tokens: int = 0,
    shuffle: bool = False,
    separator: str = ",",
    rng: random.Random | None = None,
    *,
    keep_tokens_separator: str = "",
    tag_dropout_rate: float = 0.0,
    warm_up: WarmUp | None = None,
) -> str:
    """Return `text` with its movable parts held back, shuffled and dropped; without any of it, exactly `text`.

    The first `keep_tokens` parts stay in front. Where `keep_tokens_separator` occurs, what stands before it
    stays in front instead, and what stands after its second occurrence stays at the end. Parts are stripped
    and joined by ", ".
    """
    if not shuffle and tag_dropout_rate <= 0 and warm_up is None:
        return text
    rng = rng or random.Random(0)
    front, movable, end = _parts(text, keep_tokens, separator, keep_tokens_separator)
    if warm_up is not None:
        movable = movable[: warm_up.num_shown(len(movable))]
    if shuffle:
        rng.shuffle(movable)
    if tag_dropout_rate > 0:
        movable = [part for part in movable if rng.random() >= tag_dropout_rate]
    return ", ".join(front + movable + end)


def item_caption(item: Item, seed: int, epoch: int, step: int = 0, num_steps: int = 0) -> str:
    """Return the caption of one showing in one epoch (counted from 0), the same for the same arguments.

    `step` (from 0) of `num_steps` matters only where token_warmup_step asks for it.
    """
    options = item.picture.subset.options
    return showing_caption(
        item.picture.caption,
        options,
        epoch,
        caption_rng(seed, epoch, item.index),
        warm_up_of(options, step, num_steps),
    )


def caption_rng(seed: int, epoch: int, item_index: int) -> random.Random:
    """Return the source of a showing's caption choices. An item's index stands for its picture and repeat."""
    return random.Random(f"maquette caption {seed} {epoch} {item_index}")


def showing_caption(
    text: str, options: SubsetOptions, epoch: int, rng: random.Random, warm_up: WarmUp | None = None
) -> str:
    """Return the caption after prefix, suffix, dropout, wildcards, warm-up, shuffling and secondary separator."""
    text = f"{options.caption_prefix} {text}" if options.caption_prefix else text
    text = f"{text} {options.caption_suffix}" if options.caption_suffix else text
    if _is_dropped(options, epoch, rng):
        return ""
    text = _fill_wildcards(text, rng) if options.enable_wildcard else text.split("\n")[0]
    text = compose_caption(
        text,
        options.keep_tokens,
        options.shuffle_caption,
        options.caption_separator,
        rng,
        keep_tokens_separator=options.keep_tokens_separator,
        tag_dropout_rate=options.caption_tag_dropout_rate,
        warm_up=warm_up,
    )
    if options.secondary_separator:
        text = text.replace(options.secondary_separator, options.caption_separator)
    return text


def decode_caption(data: bytes, *, all_lines: bool = False) -> CaptionText:
    """Return a caption file's first line, or all its lines that are not blank, stripped.

    Raises UnicodeDecodeError for anything but UTF-8 text.
    """
    text = data.decode("utf-8")
    if "\x00" in text:  # UTF-16 without a mark is formally UTF-8 as long as it is plain English
        raise UnicodeDecodeError("utf-8", data, 0, 1, "NUL characters")
    had_mark = text.startswith(UTF8_MARK)
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text.removeprefix(UTF8_MARK))]
    written = [line for line in lines if line]
    if all_lines:
        return CaptionText("\n".join(written), 0, had_mark)
    return CaptionText(lines[0], len(written) - bool(lines[0]), had_mark)


def guess_encoding(data: bytes) -> str:
    """Return the name of the encoding that bytes which are not UTF-8 most likely have."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    if b"\x00" in data:
        return "UTF-16" if data.count(b"\x00") < len(data) * 0.6 else "binary data"
    foreign = sum(byte >= 0x80 for byte in data)
    # Lone high bytes among ASCII are accents; runs of them are a double-byte script.
    if re.search(rb"[\x80-\xff]{2}", data) is None or foreign < len(data) * 0.15:
        return "Windows-1252"
    for codec, name in (("cp932", "Shift JIS"), ("euc_kr", "EUC-KR"), ("gb18030", "GB 18030")):
        try:
            data.decode(codec)
        except UnicodeDecodeError:
            continue
        return name
    return "Windows-1252"


def caption_candidates(picture: Path, extension: str) -> list[Path]:
    """Return the files that may hold a picture's caption, first choice first.

    A name with four trailing numbers or words (name_x_y_w_h, as face detection writes it) may share `name`'s
    caption.
    """
    names = [picture.stem]
    parts = picture.stem.split("_")
    if len(parts) >= 5:
        names.append("_".join(parts[:-4]))
    return [picture.with_name(name + extension) for name in names]


def _parts(
    text: str, keep_tokens: int, separator: str, keep_separator: str
) -> tuple[list[str], list[str], list[str]]:
    """Return the parts that stay in front, may move, and stay at the end."""
    if keep_separator and keep_separator in text:
        front, _, rest = text.partition(keep_separator)
        movable, _, end = rest.partition(keep_separator)
        kept, moving, last = (
            [p.strip() for p in part.split(separator) if p.strip()] for part in (front, movable, end)
        )
        return kept, moving, last
    parts = [part.strip() for part in text.strip().split(separator)]
    return parts[:keep_tokens], parts[keep_tokens:], []


def _is_dropped(options: SubsetOptions, epoch: int, rng: random.Random) -> bool:
    if options.caption_dropout_rate > 0 and rng.random() < options.caption_dropout_rate:
        return True
    every = options.caption_dropout_every_n_epochs
    return every > 0 and (epoch + 1) % every == 0


def _fill_wildcards(text: str, rng: random.Random) -> str:
    """Return one line of `text` with one alternative of each {a|b}; {{ and }} stand for { and }."""
    line = rng.choice(text.split("\n"))
    # Doubled braces are hidden as private-use characters, which no caption contains, while alternatives are
    # replaced.
    hidden = line.replace("{{", "\ue000").replace("}}", "\ue001")
    filled = re.sub(r"\{([^}]+)\}", lambda match: rng.choice(match[1].split("|")), hidden)
    return filled.replace("\ue000", "{").replace("\ue001", "}")
