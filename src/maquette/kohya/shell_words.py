"""From a script's text to the words of its commands, before variables are filled in: quotes, marks and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Syntax = Literal["sh", "bat", "powershell"]
PieceKind = Literal["plain", "quoted", "literal", "command"]
"""`quoted`: variables are filled in, spaces stay. `literal`: nothing is. `command`: $(…) or `…`."""

CONTINUATION: dict[Syntax, str] = {"sh": "\\", "bat": "^", "powershell": "`"}
MARKS = frozenset(CONTINUATION.values())
FOLLOWED_BY_OPTION = re.compile(r"[ \t]*\n[ \t]*(?:--\w|[\w./\\~\"$-]*\.py\b)")
ENDS = {"sh": ";&|()\n", "bat": "&|\n", "powershell": ";|{}\n"}
NOT_COMMANDS = frozenset(
    {"then", "do", "else", "elif", "{", "}", "!", "if", "while", "fi", "done", "time", "@echo"}
)


@dataclass(frozen=True)
class Piece:
    """A part of a word that is quoted in one way."""

    text: str
    kind: PieceKind


@dataclass
class RawWord:
    """A word as written."""

    line: int
    pieces: list[Piece] = field(default_factory=list)
    array: list[RawWord] | None = None
    """The words of `NAME=( … )`."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    def add(self, text: str, kind: PieceKind) -> None:
        """Append text, to the last piece where it is of the same kind."""
        if self.pieces and self.pieces[-1].kind == kind and kind in ("plain", "literal"):
            self.pieces[-1] = Piece(self.pieces[-1].text + text, kind)
        else:
            self.pieces.append(Piece(text, kind))


@dataclass(frozen=True)
class RawCommand:
    """The words between two ends of a command; none where only a keyword or a brace stands there."""

    words: tuple[RawWord, ...]
    follows_stray_space: bool = False
    keywords: tuple[str, ...] = ()
    """`if`, `then`, `else` and the like, which stood before the words."""
    end: str = ""
    """The letter that ended it: a line's end, `;`, `|`, in PowerShell a brace."""
    source: str = ""
    """Its text as written, without comments."""
    foreign_marks: tuple[tuple[int, str], ...] = ()
    """(line, mark) of lines that end in another shell's continuation mark, over which it was read on."""


def raw_commands(text: str, syntax: Syntax) -> Iterator[RawCommand]:
    """Yield the commands written in `text`, in order; words like `then`, which begin none, are its keywords."""
    reader = _Reader(text.replace("\r\n", "\n").removeprefix("\ufeff"), syntax)
    while not reader.at_end:
        stray, start = reader.stray_space, reader.position
        reader.stray_space, reader.foreign_marks = False, []
        words = reader.command()
        keywords = []
        while words and words[0].text.lstrip("@") in NOT_COMMANDS:
            keywords.append(words.pop(0).text.lstrip("@"))
        if words:
            words[0].pieces[:1] = [
                Piece(piece.text.removeprefix("@") if syntax == "bat" else piece.text, piece.kind)
                for piece in words[0].pieces[:1]
            ]
        else:
            reader.stray_space = reader.stray_space or stray
        if words or keywords or reader.end in "{}":
            yield RawCommand(
                tuple(words),
                stray,
                tuple(keywords),
                reader.end,
                reader.source_from(start),
                tuple(reader.foreign_marks),
            )


class _Reader:
    """Walks over the text once, character by character."""

    def __init__(self, text: str, syntax: Syntax) -> None:
        self.text = text
        self.syntax = syntax
        self.mark = CONTINUATION[syntax]
        self.position = 0
        self.line = 1
        self.stray_space = False
        self.end = ""
        self.foreign_marks: list[tuple[int, str]] = []
        self._comments: list[tuple[int, int]] = []
        self._here_documents: list[str] = []

    def source_from(self, start: int) -> str:
        """Return the text of the last command, which began at `start`, without comments and without what ended it."""
        parts = []
        for begin, end in self._comments:
            parts.append(self.text[start:begin])
            start = end
        self._comments = []
        return ("".join(parts) + self.text[start : self.position]).removesuffix(self.end)

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def command(self) -> list[RawWord]:
        """Return the words up to the end of one command; what redirects its output is left out."""
        words: list[RawWord] = []
        ends = ENDS[self.syntax]
        self.end = ""
        while not self.at_end:
            letter = self._peek()
            if self._continues() or letter in " \t\r" or self._continues_elsewhere(words):
                self._take()
            elif letter == "<" and self._peek(1) == "#" and self.syntax == "powershell":
                self._skip_comment("#>")
            elif self._begins_comment(words):
                self._skip_comment()
            elif letter in "<>" or (letter == "&" and self._peek(1) == ">"):
                self._skip_redirection(words)
            elif letter == "&" and self.syntax == "powershell" and not words:
                self._take()
            elif letter in ends:
                self.end = self._take()
                if letter == "\n":
                    self._skip_here_documents()
                break
            else:
                words.append(self._word())
        return words

    # --- letters ---

    def _peek(self, ahead: int = 0) -> str:
        return self.text[self.position + ahead : self.position + ahead + 1]

    def _take(self) -> str:
        letter = self._peek()
        self.position += 1
        self.line += letter == "\n"
        return letter

    def _continues(self) -> bool:
        """Skip a continuation mark up to its line's end; return whether there was one."""
        if self._peek() != self.mark:
            return False
        if self._peek(1) == "\n":
            self._take()
            return True
        blank = re.match(r"[ \t]+\n", self.text[self.position + 1 : self.position + 80])
        if blank:
            self.stray_space = True
            self.position += len(blank[0])  # the newline itself is left, and ends the command
        return False

    def _continues_elsewhere(self, words: list[RawWord]) -> bool:
        """Skip another shell's continuation mark at a line's end, and keep it; return whether there was one.

        It stands behind a space, and an option or a script follows: `C:\\models\\` at the end of a line continues nothing.
        """
        before = self.text[self.position - 1 : self.position]
        if not words or self._peek() not in MARKS or self._peek() == self.mark or before not in (" ", "\t"):
            return False
        if not FOLLOWED_BY_OPTION.match(self.text, self.position + 1):
            return False
        self.foreign_marks.append((self.line, self._take()))
        while self._peek() != "\n":
            self._take()
        return True

    def _skip_comment(self, end: str = "") -> None:
        start = self.position
        if end:
            self._until(end)
        else:
            self._skip_line()
        self._comments.append((start, self.position))

    def _skip_line(self) -> None:
        while not self.at_end and self._peek() != "\n":
            self._take()

    def _begins_comment(self, words: list[RawWord]) -> bool:
        if self.syntax == "bat":
            rest = self.text[self.position : self.position + 4].lower()
            return not words and (rest.startswith("::") or re.match(r"@?rem\b", rest) is not None)
        return self._peek() == "#"

    # --- words ---

    def _word(self) -> RawWord:
        word = RawWord(self.line)
        ends = " \t\r\n<>" + ENDS[self.syntax]
        while not self.at_end:
            letter = self._peek()
            if letter == self.mark and self._peek(1) == "\n":
                self._take()
                self._take()
            elif letter == "(" and self.syntax == "sh" and re.fullmatch(r"\w+\+?=", word.text):
                word.array = self._array()
            elif self._opens():
                word.add(self._balanced(), "command")
            elif letter == "$" and self._peek(1) == "{":
                word.add(self._until("}"), "plain")
            elif letter in ends:
                break
            else:
                self._letter(word, letter)
        return word

    def _letter(self, word: RawWord, letter: str) -> None:
        if letter == '"':
            self._double_quoted(word)
        elif letter == "'" and self.syntax != "bat":
            self._take()
            word.add(self._until("'")[:-1], "literal")
        elif letter == "`" and self.syntax == "sh":
            self._take()
            word.add("`" + self._until("`"), "command")
        elif letter == self.mark and not re.match(
            r".[ \t]+\n", self.text[self.position : self.position + 80]
        ):
            self._take()
            word.add(self._take(), "literal")
        elif letter == self.mark:
            self._continues()
        else:
            word.add(self._take(), "plain")

    def _double_quoted(self, word: RawWord) -> None:
        self._take()
        part = ""
        while not self.at_end and self._peek() != '"':
            if self.syntax == "sh" and self._peek() == "\\" and self._peek(1) in '"\\$`\n':
                self._take()
                escaped = self._take()
                part += "" if escaped == "\n" else escaped
            elif self._peek() == "$" and self._peek(1) == "(" and self.syntax != "bat":
                word.add(part, "quoted")
                part = ""
                word.add(self._balanced(), "command")
            else:
                part += self._take()
        self._take()
        word.add(part, "quoted")

    def _opens(self) -> bool:
        """Whether $( … ) begins here, or in PowerShell ( … ), @( … ) or @{ … }."""
        if self._peek() == "$":
            return self._peek(1) == "(" and self.syntax != "bat"
        begins = self._peek() == "(" or (self._peek() == "@" and self._peek(1) in ("(", "{"))
        return self.syntax == "powershell" and begins

    def _until(self, end: str) -> str:
        """Return the text up to and with `end`."""
        part = ""
        while not self.at_end:
            part += self._take()
            if part.endswith(end):
                break
        return part

    def _balanced(self) -> str:
        """Return $( … ), in PowerShell @( … ) and ( … ) too, with everything nested in it."""
        part, depth, quote = "", 0, ""
        opens, closes = ("({", ")}") if self.syntax == "powershell" else ("(", ")")
        while not self.at_end:
            letter = self._take()
            part += letter
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "\"'" and self.syntax == "powershell":
                quote = letter
            else:
                depth += (letter in opens) - (letter in closes)
                if letter in closes and depth == 0:
                    break
        return part

    def _array(self) -> list[RawWord]:
        self._take()
        words: list[RawWord] = []
        while not self.at_end and self._peek() != ")":
            if self._peek() in " \t\r\n" or self._continues():
                self._take()
            elif self._peek() == "#":
                self._skip_line()
            elif self._peek() in ENDS["sh"] + "<>":
                self._take()
            else:
                words.append(self._word())
        self._take()
        return words

    # --- redirections ---

    def _skip_redirection(self, words: list[RawWord]) -> None:
        if words and words[-1].text.isdigit() and self.text[self.position - 1].isdigit():
            words.pop()
        operator = ""
        while self._peek() and self._peek() in "<>&|":
            operator += self._take()
        while self._peek() and self._peek() in " \t-":
            self._take()
        if self.at_end or self._peek() == "\n":
            return
        target = self._word()
        if operator.startswith("<<") and not operator.startswith("<<<"):
            self._here_documents.append(target.text)

    def _skip_here_documents(self) -> None:
        for end in self._here_documents:
            while not self.at_end:
                line = self.text[self.position :].partition("\n")[0]
                self._skip_line()
                self._take()
                if line.strip() == end:
                    break
        self._here_documents = []
