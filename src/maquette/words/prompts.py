"""Prompts as drawing programs read them: there `(…)` is emphasis, and `\\(` a bracket that stands for itself.

Our own text encoders know no emphasis. They read `literal(text)`; whatever goes to ComfyUI is `escaped(text)`, whatever goes
to AUTOMATIC1111 or Forge, where `[…]` is emphasis too, `escaped_for_webui(text)`. So `asuka (evangelion)` and
`asuka \\(evangelion\\)` mean the same everywhere, and draw the same.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"(?<!\\)\\+([()\[\]])")
"""A bracket behind any number of backslashes: programs differ in how they read several."""


def literal(text: str) -> str:
    """Return a prompt as a text encoder reads it: escaped brackets are brackets, everything else stays."""
    return _ESCAPED.sub(r"\1", text)


def escaped(text: str) -> str:
    """Return a prompt whose brackets ComfyUI does not take for emphasis. Escaping twice is escaping once."""
    return re.sub(r"([()])", r"\\\1", literal(text))


def escaped_for_webui(text: str) -> str:
    """Return a prompt whose brackets AUTOMATIC1111 and Forge do not take for emphasis, square ones included."""
    return re.sub(r"([()\[\]])", r"\\\1", literal(text))
