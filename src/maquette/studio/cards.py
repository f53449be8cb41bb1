"""Markdown of ours as a page shows it: words that came from outside stay text, whatever they look like.

The library escapes HTML; links and pictures, of which a card of ours has none that a page could follow, stay as written.
"""

from __future__ import annotations

from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup

_FENCE = "---\n"
LOWEST_HEADING = 6


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.disable(["link", "autolink", "image", "html_inline", "html_block", "entity", "reference"])


def readable(text: str, *, below: int = 2) -> Markup:
    """Return a model card as markup without its YAML head and title; its headings stand `below` levels deeper."""
    parser = _markdown()
    tokens = parser.parse(_body(text))
    if tokens and tokens[0].tag == "h1":
        del tokens[:3]  # opening, words, closing
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + below, LOWEST_HEADING)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _body(text: str) -> str:
    """Return what stands after the YAML head."""
    if text.startswith(_FENCE):
        _, _, text = text.removeprefix(_FENCE).partition(f"\n{_FENCE}")
    return text.strip()
