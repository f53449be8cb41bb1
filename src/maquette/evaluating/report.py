"""The report: everything about a run as one self-contained HTML page, readable without a network or a server.

The page embeds its pictures, draws its charts as SVG, follows the reader's light or dark setting, prints, and
carries the same facts as JSON in `<script type="application/json" id="maquette-report">`.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.drawing.scene import webui_prompt
from maquette.errors import OutputError, Problem
from maquette.evaluating import (
    comparison,
    decision_section,
    drawn_sections,
    memory_section,
    picture_section,
    run_sections,
    validation_section,
)
from maquette.evaluating.facts import ReportFacts
from maquette.evaluating.notebook import entries_of
from maquette.evaluating.page import Pictures, json_markup, own_asset, render
from maquette.evaluating.verdict import Verdict, verdict_of
from maquette.files import write_atomic
from maquette.reading import parse_json

BLOCK_ID = "maquette-report"


def write_report(path: Path, facts: ReportFacts) -> Path:
    """Write the report of `facts` to `path` as one HTML file and return `path`."""
    return write_atomic(path, render_report(facts, home=path.resolve().parent))


def render_report(facts: ReportFacts, *, home: Path | None = None) -> str:
    """Return the report's HTML. Pictures below `home`, the page's own folder, are enlarged from their files where these are
    still there, and from the page where they are not.
    """
    verdict = verdict_of(facts)
    return render(
        "report.html.jinja",
        version=__version__,
        style=own_asset("report.css") + own_asset("notebook.css"),
        script=own_asset("report.js"),
        block_id=BLOCK_ID,
        block=json_markup(finite(facts_json(facts, verdict))),
        pictures=Pictures(home),
        facts=facts,
        verdict=verdict,
        notebook=entries_of(facts.notebook),
        mark=drawn_sections.MARKS[verdict.outcome],
        tiles=drawn_sections.tiles(facts, verdict),
        before_after=drawn_sections.before_after(facts, verdict),
        decision=decision_section.decision(facts),
        headlines=decision_section.headlines(facts),
        memory=memory_section.memory(facts),
        measured_notes=facts.cards.notes if facts.cards else (),
        nearest=decision_section.nearest_pairs(facts),
        measures=drawn_sections.measures(facts, verdict),
        grid=comparison.grid(facts),
        use=run_sections.use(facts),
        delivery_rows=run_sections.delivery_rows,
        webui_prompt=webui_prompt(facts.trigger, facts.lora.name, facts.strength).strip(),
        curves=run_sections.curves(facts),
        validation=validation_section.validation(facts),
        fitted=picture_section.fitted(facts),
        masks=picture_section.masks(facts),
        sum=run_sections.sum_of(facts),
        settings=run_sections.settings(facts),
        notes=(*facts.record.notes, *facts.notes),
        surroundings=run_sections.surroundings(facts),
        files=run_sections.files(facts),
    )


def facts_json(facts: ReportFacts, verdict: Verdict) -> dict[str, Any]:
    """Return the facts as the page's machine-readable block has them: plain JSON values, no picture data."""
    return {
        "maquette_report": 1,
        "title": facts.title,
        "trigger": facts.trigger,
        "lora": str(facts.lora),
        "lora_sha256": facts.lora_sha256,
        "lora_bytes": facts.lora_bytes,
        "strength": facts.strength,
        "run": str(facts.run),
        "verdict": {**asdict(verdict), "ratio": verdict.ratio},
        "record": facts.record.as_json(),
        "choice": facts.choice.to_json() if facts.choice else None,
        "scorecards": facts.cards.to_json() if facts.cards else None,
        "first_look": facts.look.to_json() if facts.look else None,
        "metrics": [{name: value for name, value in row.items() if name != "shown"} for row in facts.metrics],
        "pictures": [{"path": str(path), "caption": caption} for path, caption in facts.pictures],
        "deliveries": [asdict(delivery) for delivery in facts.deliveries],
        "prompt_template": facts.prompt_template,
        "timings": {**facts.record.timings, **facts.timings},
        "notes": list(facts.notes),
        "notebook": [asdict(note) for note in facts.notebook],
    }


def finite(value: Any) -> Any:
    """Return `value` with paths as text and numbers that JSON cannot hold as None."""
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def read_block(path: Path) -> dict[str, Any]:
    """Return the machine-readable facts of a report. Raises OutputError when the file is no report."""
    opening = f'<script type="application/json" id="{BLOCK_ID}">'
    try:
        text = path.read_text(encoding="utf-8")
        found: dict[str, Any] = parse_json(text.split(opening, 1)[1].split("</script>", 1)[0])
        return found
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        raise OutputError(
            Problem(
                str(path), "is no report of Maquette", "a report.html", "Give the path that the run printed."
            )
        ) from error
