"""Commands as people keep them outside of scripts: pasted without marks, wrapped by a window, printed as a Python list.

accelerate launch train_network.py           ['accelerate', 'launch', 'train_network.py', '--network_dim=32']
--network_dim=32
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

SCRIPT_IN_LINE = re.compile(r"\b\w*(?:train|fine_tune)\w*\.py\b")
BEGINS_RUN = re.compile(r"\baccelerate\b.*\blaunch\b|" + SCRIPT_IN_LINE.pattern)
ENDS_IN_MARK = re.compile(r"(?:^|\s)[\\^`][ \t]*$", re.MULTILINE)
NEW_COMMAND = re.compile(
    r"\s*(?:#|::|@|\$\s|>|rem\b|echo\b|cd\b|source\b|export\b|set\b|call\b|pause\b|python|accelerate\b|pip\b|git\b|if\b|fi\b"
    r"|done\b|read\b|exit\b)",
    re.IGNORECASE,
)
NARROWEST_WINDOW = 40
FEWEST_FULL_LINES = 2
LONGEST_LIST_CHARACTERS = 200_000


@dataclass(frozen=True)
class Rejoined:
    """A text whose broken commands stand on one line each; line numbers of the rest are kept."""

    text: str
    broken: tuple[tuple[int, int], ...] = ()
    """(first, last) line of commands that a shell would not take for one."""


def rejoined(text: str) -> Rejoined:
    """Return `text` with commands whose lines lack marks put together; as it is where any line ends in a mark.

    A window breaks lines at its width, in the middle of words too: there the parts belong together as they are.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    if ENDS_IN_MARK.search(text.replace("\r\n", "\n")):
        return Rejoined(text)
    broken: list[tuple[int, int]] = []
    index = 0
    while index < len(lines):
        last = _last_line(lines, index) if BEGINS_RUN.search(lines[index]) else index
        if last > index:
            whole, is_wrapped = _joined(lines[index : last + 1])
            lines[index : last + 1] = [whole, *[""] * (last - index)]
            if not is_wrapped:
                broken.append((index + 1, last + 1))
        index = last + 1
    return Rejoined("\n".join(lines), tuple(broken))


def _last_line(lines: list[str], first: int) -> int:
    """Return the last line that belongs to the command which begins at line `first`."""
    last = first
    while last + 1 < len(lines) and lines[last + 1].strip() and not NEW_COMMAND.match(lines[last + 1]):
        last += 1
    block = lines[first : last + 1]
    width = max(len(line) for line in block)
    is_full = all(len(line) >= width - 1 for line in block[:-1]) and width >= NARROWEST_WINDOW
    goes_on = [line.lstrip().startswith("--") or " --" in line for line in block[1:]]
    is_wrapped = is_full and (len(block) > FEWEST_FULL_LINES or goes_on[:1] == [True]) and any(goes_on)
    return last if is_wrapped or (goes_on and block[1].lstrip().startswith("--")) else first


def _joined(block: list[str]) -> tuple[str, bool]:
    """Return the lines as one, and whether a window broke them rather than a person."""
    width = max(len(line) for line in block)
    whole, in_words = block[0], 0
    for before, line in pairwise(block):
        starts_option = line.lstrip().startswith("--") and not before.endswith(" -")
        is_full = len(before) >= width and width >= NARROWEST_WINDOW
        within = is_full and not starts_option and not before.endswith(" ") and line[:1].strip() != ""
        in_words += within
        whole += ("" if within else " ") + line.strip()
    return whole, in_words > 0


def printed_lists(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, words) of every list of texts, as Python prints one, that runs a training script."""
    position = 0
    while (start := _next_list(text, position)) >= 0:
        words, position = _words_of_list(text, start + 1)
        if any(SCRIPT_IN_LINE.search(word) for word in words):
            yield text.count("\n", 0, start) + 1, words


def _next_list(text: str, position: int) -> int:
    found = [at for at in (text.find("['", position), text.find('["', position)) if at >= 0]
    return min(found, default=-1)


def _words_of_list(text: str, position: int) -> tuple[list[str], int]:
    """Return the texts of a list that begins at `position`, and where it ends; a list that is cut off ends there."""
    words: list[str] = []
    end = min(len(text), position + LONGEST_LIST_CHARACTERS)
    while position < end:
        letter = text[position]
        if letter in "'\"":
            word, position = _quoted(text, position + 1, letter, end)
            words.append(word)
        elif letter in " ,\r\n\t":
            position += 1
        else:
            break
    return words, max(position, 1)


def _quoted(text: str, position: int, quote: str, end: int) -> tuple[str, int]:
    letters: list[str] = []
    while position < end and text[position] != quote:
        if text[position] == "\\" and position + 1 < end:
            position += 1
        letters.append(text[position])
        position += 1
    return "".join(letters), position + 1
