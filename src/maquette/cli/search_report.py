"""`maquette search report`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.output import result_command

if TYPE_CHECKING:
    from maquette.searching.report import SearchReport

MOST_SHOWN = 3
"""Settings that mattered most, in a line."""


@result_command(
    click.argument("target", type=click.Path(path_type=Path), metavar="PROJECT|STUDY"),
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Where the page goes. Default: report.html in the study's folder.",
    ),
    name="report",
)
def command(target: Path, output: Path | None) -> dict[str, Any]:
    """Say what a search found and how sure that is, and write its report and the recommended settings.

    PROJECT means its last study; STUDY is the folder of one. Beside the page lie best/maquette.toml, a project with the
    recommended settings, and kohya/, the same for sd-scripts. A search that still runs is told as far as it is.

    \b
      maquette search report my-project
      maquette train my-project/search/study-001/best
      maquette plan my-project/search/study-001/best --sibling other --images other-pictures/ --trigger zkw_owl
    """
    from maquette.api import search_report

    found = search_report(target, output=output)
    return {**found.to_json(), "lines": list(_lines(found))}


def _lines(found: SearchReport) -> Iterator[str]:
    record, best = found.record, found.record.best_trial
    if best is None or best.value is None:
        yield "No trial was finished: there is nothing to recommend."
    else:
        yield f"Best: trial {best.number}, {record.objective} {best.value:.4f}"
    if record.comparison is not None and record.comparison.told:
        yield record.comparison.told
    if found.importances.found:
        shares = [f"{each.name} {each.share:.0%}" for each in found.importances.found[:MOST_SHOWN]]
        yield f"Mattered most ({found.importances.method}): {', '.join(shares)}"
    elif found.importances.problem:
        yield f"What mattered cannot be said: {found.importances.problem}"
    if found.recommendation is not None and found.recommendation.cost:
        yield found.recommendation.cost
    if found.settings is not None:
        yield f"Settings: {found.settings}"
    if found.kohya.run is not None:
        left = f" (not carried over: {', '.join(found.kohya.run.left)})" if found.kohya.run.left else ""
        yield f"For sd-scripts: {found.to_json()['kohya']}{left}"
    elif found.kohya.problem:
        yield f"Not written for sd-scripts: {found.kohya.problem}"
    yield f"Report: {found.report}"
