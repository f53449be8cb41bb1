"""The report: everything about a run as one self-contained HTML page, readable without a network or a server.

The page embeds its pictures, draws its charts as SVG, follows the reader's light or dark setting, prints, and
carries the same facts as JSON in `<script type="application/json" id="maquette-report">`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.errors import OutputError, Problem
from maquette.evaluating import drawn_sections, run_sections
from maquette.evaluating.facts import ReportFacts, facts_json, verdict_of
from maquette.evaluating.page import json_markup, own_asset, render
from maquette.files import write_atomic

BLOCK_ID = "maquette-report"


def write_report(path: Path, facts: ReportFacts) -> Path:
    """Write the report of `facts` to `path` as one HTML file and return `path`."""
    return write_atomic(path, render_report(facts))


def render_report(facts: ReportFacts) -> str:
    """Return the report's HTML."""
    verdict = verdict_of(facts)
    return render(
        "report.html.jinja",
        version=__version__,
        style=own_asset("report.css"),
        script=own_asset("report.js"),
        block_id=BLOCK_ID,
        block=json_markup(_finite(facts_json(facts, verdict))),
        facts=facts,
        verdict=verdict,
        mark=drawn_sections.MARKS[verdict.outcome],
        tiles=drawn_sections.tiles(facts, verdict),
        before_after=drawn_sections.before_after(facts, verdict),
        measures=drawn_sections.measures(facts, verdict),
        grid=drawn_sections.grid(facts),
        use=run_sections.use(facts),
        delivery_rows=run_sections.delivery_rows,
        strength=f"{facts.strength:g}",
        curves=run_sections.curves(facts),
        sum=run_sections.sum_of(facts),
        settings=run_sections.settings(facts),
        notes=(*facts.record.notes, *facts.notes),
        surroundings=run_sections.surroundings(facts),
        files=run_sections.files(facts),
    )


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
