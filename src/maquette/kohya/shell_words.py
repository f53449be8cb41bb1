"""From a script's text to the words of its commands, before variables are filled in: quotes, marks and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Syntax = Literal["sh", "bat", "powershell"]
PieceKind = Literal["plain", "quoted", "literal", "command"]
"""`quoted`: variables are filled in, spaces stay. `literal`: nothing is. `command`: $(…) or `…`."""

CONTINUATION = {"sh": "\\", "bat": "^", "powershell": "`"}
ENDS = {"sh": ";&|()\n", "bat": "&|\n", "powershell": ";|\n"}
NOT_COMMANDS = frozenset({"then", "do", "else", "{", "}", "!", "if", "while", "fi", "done", "time", "@echo"})


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
    """The words between two ends of a command."""

    words: tuple[RawWord, ...]
    follows_stray_space: bool = False


def raw_commands(text: str, syntax: Syntax) -> Iterator[RawCommand]:
    """Yield the commands written in `text`, in order, without words like `then` that begin no command."""
    reader = _Reader(text.replace("\r\n", "\n").removeprefix("\ufeff"), syntax)
    while not reader.at_end:
        stray = reader.stray_space
        reader.stray_space = False
        words = reader.command()
        while words and words[0].text.lstrip("@") in NOT_COMMANDS:
            words = words[1:]
        if words:
            words[0].pieces[:1] = [
                Piece(piece.text.removeprefix("@") if syntax == "bat" else piece.text, piece.kind)
                for piece in words[0].pieces[:1]
            ]
            yield RawCommand(tuple(words), stray)
        else:
            reader.stray_space = reader.stray_space or stray


class _Reader:
    """Walks over the text once, character by character."""

    def __init__(self, text: str, syntax: Syntax) -> None:
        self.text = text
        self.syntax = syntax
        self.mark = CONTINUATION[syntax]
        self.position = 0
        self.line = 1
        self.stray_space = False
        self._here_documents: list[str] = []

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def command(self) -> list[RawWord]:
        """Return the words up to the end of one command; what redirects its output is left out."""
        words: list[RawWord] = []
        ends = ENDS[self.syntax]
        while not self.at_end:
            letter = self._peek()
            if self._continues() or letter in " \t\r":
                self._take()
            elif self._begins_comment(words):
                self._skip_line()
            elif letter in "<>" or (letter == "&" and self._peek(1) == ">"):
                self._skip_redirection(words)
            elif letter == "&" and self.syntax == "powershell" and not words:
                self._take()
            elif letter in ends:
                self._take()
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
            elif letter == "$" and self._peek(1) == "(" and self.syntax != "bat":
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

    def _until(self, end: str) -> str:
        """Return the text up to and with `end`."""
        part = ""
        while not self.at_end:
            part += self._take()
            if part.endswith(end):
                break
        return part

    def _balanced(self) -> str:
        """Return $( … ) with everything nested in it."""
        part, depth = "", 0
        while not self.at_end:
            letter = self._take()
            part += letter
            depth += (letter == "(") - (letter == ")")
            if letter == ")" and depth == 0:
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
