"""The report of LoRA files outside a run: what was drawn with them and measured, as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.evaluating import comparison, decision_section
from maquette.evaluating.facts import FileFacts
from maquette.evaluating.page import Pictures, json_markup, own_asset, render
from maquette.evaluating.report import BLOCK_ID, finite
from maquette.files import write_atomic


def write_file_report(path: Path, facts: FileFacts) -> Path:
    """Write the report of `facts` to `path` as one HTML file and return `path`."""
    page = render(
        "files.html.jinja",
        version=__version__,
        style=own_asset("report.css"),
        script=own_asset("report.js"),
        block_id=BLOCK_ID,
        block=json_markup(finite(_json(facts))),
        pictures=Pictures(path.resolve().parent),
        title=facts.title,
        columns=len(facts.look.checkpoints()) - 1,
        grid=comparison.grid(facts),
        headlines=decision_section.headlines(facts),
        notes=facts.cards.notes,
        drawing=[
            (name.replace("_", " "), value)
            for name, value in facts.look.drawing.items()
            if value not in ("", None, {}, [])
        ],
        files=[(column.label, column.file) for column in facts.look.columns if column.file],
    )
    return write_atomic(path, page)


def _json(facts: FileFacts) -> dict[str, Any]:
    return {
        "maquette_report": 1,
        "title": facts.title,
        "first_look": facts.look.to_json(),
        "scorecards": facts.cards.to_json(),
    }
