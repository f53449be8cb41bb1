"""The report: everything about a run as one self-contained HTML page, readable without a network or a server.

The page embeds its pictures, draws its charts as SVG, follows the reader's light or dark setting, prints, and
carries the same facts as JSON in `<script type="application/json" id="maquette-report">`.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.errors import OutputError, Problem
from maquette.evaluating import drawn_sections, run_sections
from maquette.evaluating.facts import ReportFacts, facts_json, verdict_of
from maquette.evaluating.page import Markup, el, join, json_block, raw
from maquette.files import write_atomic

BLOCK_ID = "maquette-report"


def write_report(path: Path, facts: ReportFacts) -> Path:
    """Write the report of `facts` to `path` as one HTML file and return `path`."""
    return write_atomic(path, render_report(facts))


def render_report(facts: ReportFacts) -> str:
    """Return the report's HTML."""
    verdict = verdict_of(facts)
    body = [
        drawn_sections.headline(facts, verdict),
        drawn_sections.before_after(facts, verdict),
        drawn_sections.measures(facts, verdict),
        drawn_sections.grid(facts, verdict),
        run_sections.use(facts),
        run_sections.curves(facts),
        run_sections.training_pictures(facts),
        run_sections.arithmetic(facts),
        run_sections.settings(facts),
        run_sections.surroundings(facts),
    ]
    data = json_block(BLOCK_ID, _finite(facts_json(facts, verdict)))
    return str(join(raw("<!doctype html>\n"), _page(facts.title, [part for part in body if part], data)))


def _page(title: str, body: list[Markup], data: Markup) -> Markup:
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content=f"Maquette {__version__}"),
        el("title", f"{title} · Maquette report"),
        el("style", raw(_asset("report.css"))),
    )
    foot = el(
        "footer",
        el(
            "p",
            f"Written by Maquette {__version__}. This file is complete in itself.",
        ),
    )
    dialog = el("dialog", el("img", alt=""), el("p"), id="enlarged", aria_label="Enlarged picture")
    return el(
        "html",
        head,
        el("body", el("main", *body), foot, dialog, data, el("script", raw(_asset("report.js")))),
        lang="en",
    )


def _asset(name: str) -> str:
    return resources.files("maquette.evaluating").joinpath(name).read_text(encoding="utf-8")


def _finite(value: Any) -> Any:
    """Return `value` with paths as text and numbers that JSON cannot hold as None."""
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def read_block(path: Path) -> dict[str, Any]:
    """Return the machine-readable facts of a report. Raises OutputError when the file is no report."""
    import json

    opening = f'<script type="application/json" id="{BLOCK_ID}">'
    try:
        text = path.read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text.split(opening, 1)[1].split("</script>", 1)[0])
        return found
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        raise OutputError(
            Problem(
                str(path), "is no report of Maquette", "a report.html", "Give the path that the run printed."
            )
        ) from error
