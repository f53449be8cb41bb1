"""The report of a search: one self-contained HTML page that says what was found and how sure that is, and why.

It carries the study's record as JSON in `<script type="application/json" id="maquette-search">`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.errors import MaquetteError
from maquette.evaluating.page import json_markup, own_asset, render
from maquette.evaluating.report import finite
from maquette.evaluating.words import spelled, value_text
from maquette.files import write_atomic
from maquette.kohya.writing import CONFIG_NAME
from maquette.searching import plots
from maquette.searching.exporting import KOHYA, KohyaExport, kohya_export
from maquette.searching.importances import Importances, importances
from maquette.searching.options import GOOD_SHARE, STARTS
from maquette.searching.places import is_study, known_study, study_folder
from maquette.searching.recommending import Recommendation, project_of, recommendation
from maquette.searching.records import (
    DATABASE_NAME,
    REPORT_NAME,
    RESULTS_NAME,
    SearchTrial,
    StudyRecord,
    read_study,
)
from maquette.searching.space import Space
from maquette.searching.space_file import parse_space
from maquette.searching.standing import standing
from maquette.searching.telling import study_json, told_behind
from maquette.searching.verdict import fresh_values, with_verdict
from maquette.spoken import counted, duration

BLOCK_ID = "maquette-search"
ROOM = "maquette.searching"
HEADLINES: Mapping[bool | None, str] = {
    True: "The best settings beat the baseline",
    False: "The best settings do not beat the baseline",
    None: "It cannot be told whether the best settings beat the baseline",
}
MARKS: Mapping[bool | None, tuple[str, str]] = {
    True: ("✓", "learned"),
    False: ("=", "unclear"),
    None: ("?", "unclear"),
}
FEW_TRIALS = 20
"""Below so many trials, what mattered is a hint."""


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """What a study answers, and the files that say it."""

    study: Path
    record: StudyRecord
    report: Path
    importances: Importances
    recommendation: Recommendation | None
    settings: Path | None
    """The recommended settings as a project: STUDY/best/maquette.toml."""
    kohya: KohyaExport
    """The same as a run of sd-scripts, written into STUDY/kohya/."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        record, kohya = self.record, self.kohya.run
        found: dict[str, Any] = finite(
            {
                "report": self.report,
                "study": self.study,
                **study_json(record),
                "comparison": None if record.comparison is None else asdict(record.comparison),
                "direction": record.direction,
                "importances": asdict(self.importances),
                "settings": self.settings,
                "kohya": self.study / KOHYA / CONFIG_NAME if kohya else None,
                "kohya_left": dict(kohya.left) if kohya else None,
                "results": self.study / RESULTS_NAME,
            }
        )
        return found


def search_report(target: Path, *, output: Path | None = None) -> SearchReport:
    """Write the report of the study that `target` is or holds, and its recommended settings.

    `target`: a study's folder or its trial_results.json, or a project, whose latest study is meant. `output`: where the page
    goes; else it is the study's report.html. Raises MaquetteError.
    """
    folder = study_at(target)
    record = with_verdict(read_study(folder))
    page = report_of(folder, record)
    path = write_atomic(output or folder / REPORT_NAME, render_report(page))
    return replace(page, report=path)


def report_of(folder: Path, record: StudyRecord) -> SearchReport:
    """Return what the study in `folder` answers, with its recommended settings written."""
    space = space_of(record)
    found = recommendation(record, project_of(record, folder))
    exported = kohya_export(found.settings, folder / KOHYA) if found and found.settings else KohyaExport()
    if exported.run and found:
        exported.run.write(folder / KOHYA, found.heading)
    return SearchReport(
        study=folder,
        record=record,
        report=folder / REPORT_NAME,
        importances=importances(record, space.parameters if space else ()),
        recommendation=found,
        settings=found.write(folder) if found else None,
        kohya=exported,
    )


def space_of(record: StudyRecord) -> Space | None:
    """Return the space that was searched; None where this release cannot read it."""
    try:
        return parse_space(record.space, record.study)
    except MaquetteError:
        return None


def study_at(target: Path) -> Path:
    """Return the folder of the study that `target` is or holds. Raises MaquetteError where there is none."""
    if target.name == RESULTS_NAME:
        return target.parent
    if is_study(target):
        return target
    return study_folder(target, known_study(target, None))


# --- the page --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """A number with its name."""

    value: str
    name: str
    note: str = ""
    is_flaw: bool = False


@dataclass(frozen=True)
class Bar:
    """A named bar: its length and the range of it in percent."""

    name: str
    length: float
    told: str
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One trial in the table: each cell as it is shown and as it is sorted."""

    trial: SearchTrial
    cells: Sequence[tuple[str, str]]
    curve: str
    note: str
    is_best: bool
    is_baseline: bool


def render_report(page: SearchReport) -> str:
    """Return the report's HTML."""
    record, space = page.record, space_of(page.record)
    parameters = space.parameters if space else ()
    mark, outcome = MARKS[record.beats_baseline]
    order = [each.name for each in page.importances.found]
    names = param_names(record)
    return render(
        "search.html.jinja",
        room=ROOM,
        version=__version__,
        style=own_asset("report.css") + own_asset("search.css", room=ROOM),
        script=own_asset("search.js", room=ROOM),
        block_id=BLOCK_ID,
        block=json_markup({**page.to_json(), "record": finite(record.to_json())}),
        record=record,
        headline=headline(record),
        mark=mark,
        outcome=outcome,
        told=_unbroken(record.comparison.told) if record.comparison else "",
        tiles=list(tiles(record)),
        seeds=plots.seeds(record),
        found=page.recommendation,
        changes=changes_shown(page.recommendation),
        toml=page.recommendation.toml(project_of(record, page.study)) if page.recommendation else "",
        kohya=page.kohya,
        history=[
            chart
            for by_time in (False, True)
            if (chart := plots.history(record, by_time=by_time)) is not None
        ],
        curves=plots.curves(record),
        shares=importance_bars(page.importances),
        importance_told=importance_told(page.importances),
        slices=sorted(
            plots.slices(record, parameters),
            key=lambda each: order.index(each[0]) if each[0] in order else len(order),
        ),
        parallel=plots.parallel(record, parameters, order),
        corners=[
            chart
            for chart in (
                plots.rank_and_alpha(record),
                *(chart for _, chart in plots.rates(record, parameters)),
            )
            if chart is not None
        ],
        refusals=list(refusals(record, space)),
        unused=unused(record, space),
        refused_share=f"{record.refused_share:.0%}",
        names=names,
        headings=[
            "trial",
            "state",
            plots.value_label(record),
            *(["further seeds"] if plots.seeds(record) else []),
            "steps",
            "time",
            *names,
        ],
        rows=list(rows(record, names)),
        value_label=plots.value_label(record),
        stand=standing(record),
        pruning=pruning_told(record),
        sampling=sampling_told(record),
        database=DATABASE_NAME,
        folder=page.study,
    )


def headline(record: StudyRecord) -> str:
    """Return the answer in one line, with the two values."""
    best = record.best_trial
    if best is None:
        return (
            "Still searching: no trial is finished yet"
            if record.state == "running"
            else "No trial was finished"
        )
    if record.state == "running":
        over = sum(each.is_over for each in record.searched)
        if over >= record.trials_asked:
            return "Still searching: the best and the baseline are trained with further seeds"
        return f"Still searching: {counted(over, 'trial')} of {record.trials_asked}"
    if record.best == record.baseline:
        return "The baseline stands: nothing that was tried is better"
    return HEADLINES[record.beats_baseline]


def tiles(record: StudyRecord) -> Iterator[Tile]:
    """Yield the study's numbers."""
    best, compared = record.best_trial, record.comparison
    label = plots.value_label(record)
    if best is not None and best.value is not None:
        base = None if record.baseline is None else record.trial(record.baseline).value
        beside = f"the baseline {base:.4g}, with the search's seed" if base is not None else ""
        yield Tile(f"{best.value:.4g}", f"{label} of trial {best.number}", beside)
    if compared is not None and compared.difference is not None and compared.seeds:
        ends = compared.interval
        told = f"95 %: {ends[0]:+.3g} to {ends[1]:+.3g}" if ends else "one seed: no interval"
        told = _unbroken(told)
        who = "the nearest finalist" if record.best == record.baseline else "the best"
        yield Tile(
            f"{compared.difference:+.3g}",
            f"{who} against the baseline, over {counted(compared.seeds, 'seed')}",
            told,
            record.beats_baseline is not True,
        )
    states = record.by_state()
    others = ", ".join(f"{count} {state}" for state, count in states.items() if state != "finished" and count)
    yield Tile(str(sum(states.values())), "trials", f"{states['finished']} finished; {others or 'no others'}")
    if record.pruned_by_constraint:
        share = f"{record.refused_share:.0%} of what was proposed"
        yield Tile(str(record.pruned_by_constraint), "refused before training", share)
    if record.seconds:
        pace = f"{record.trials_per_hour:.3g} trials an hour" if record.trials_per_hour else ""
        pack = f"{record.pack} at once" if record.pack > 1 else "one at a time"
        yield Tile(duration(record.seconds), "of search", ", ".join(filter(None, (pace, pack))))


def _unbroken(text: str) -> str:
    """Return a text in which no line breaks between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def changes_shown(found: Recommendation | None) -> list[tuple[str, str, str, bool]]:
    """Return (setting, as it was, recommended, whether that is another value)."""
    if found is None:
        return []
    rows = sorted(found.changes, key=lambda each: not each.is_other)
    return [
        (spelled(each.name), value_text(each.before), value_text(each.after), each.is_other) for each in rows
    ]


def importance_bars(found: Importances) -> list[Bar]:
    """Return what mattered as bars."""
    most = max((each.high for each in found.found), default=0.0) or 1.0
    return [
        Bar(
            each.name,
            100 * each.share / most,
            f"{each.share:.0%}",
            100 * each.low / most,
            100 * each.high / most,
        )
        for each in found.found
    ]


def importance_told(found: Importances) -> str:
    """Return what the shares are, in words."""
    if found.method is None:
        return f"What mattered cannot be said: {found.problem}."
    how = {
        "fANOVA": "fANOVA: the share of the variance between trials that each explains, alone and with others",
        "PED-ANOVA": "PED-ANOVA: how much each decides whether a trial is among the best tenth (fANOVA needs scikit-learn)",
    }[found.method]
    places = ", by their places, since most were ended early" if found.of_places else ""
    few = " So few trials give a hint, no more." if found.trials < FEW_TRIALS else ""
    return f"{how}; over {counted(found.trials, 'trial')}{places}. The thin line is the range that resampled trials give.{few}"


def refusals(record: StudyRecord, space: Space | None) -> Iterator[Bar]:
    """Yield each constraint that refused something with how many proposals it spoke against, the busiest first."""
    counts: dict[str, int] = {}
    for trial in record.trials:
        for name in trial.refused_by:
            counts[name] = counts.get(name, 0) + 1
    known = {each.name: each for each in space.constraints} if space else {}
    most = max(counts.values(), default=1)
    for name, count in sorted(counts.items(), key=lambda each: -each[1]):
        why = f"{known[name].why} ({known[name].when.text})" if name in known else ""
        yield Bar(spelled(name), 100 * count / most, str(count), note=why)


def unused(record: StudyRecord, space: Space | None) -> str:
    """Return the constraints that had nothing to refuse, in words."""
    broken = {name for trial in record.trials for name in trial.refused_by}
    names = [spelled(each.name) for each in space.constraints if each.name not in broken] if space else []
    return f"Not broken by any proposal: {', '.join(names)}." if names else ""


def sampling_told(record: StudyRecord) -> str:
    """Return who proposed, in words; of TPE what it takes for good."""
    if record.sampler != "tpe":
        return f"Proposals of the {record.sampler} sampler"
    return f"Proposals of TPE, multivariate, after {STARTS} drawn at random; for good it takes {GOOD_SHARE}"


def pruning_told(record: StudyRecord) -> str:
    """Return by what trials were ended early, and how many."""
    pruned = [each for each in record.trials if each.state == "pruned"]
    by_pictures = sum(each.behind is not None for each in pruned)
    parts = []
    if record.halving > 1:
        share = f"{len(pruned) - by_pictures} of {counted(len(record.searched), 'trial')}"
        parts.append(
            f"{share} ended by their validation loss: of those at a rung one in {record.halving} goes on"
        )
    if record.paired_level:
        parts.append(
            f"{by_pictures} ended by their pictures: worse than the best trial's by Wilcoxon's test, "
            f"paired over prompts and seeds, at a level of {record.paired_level:g}"
        )
    return "; ".join(parts)


def param_names(record: StudyRecord) -> list[str]:
    """Return the names of the space's parameters in the order of the space."""
    return list(dict.fromkeys(name for trial in record.trials for name in trial.params))


def rows(record: StudyRecord, names: Sequence[str]) -> Iterator[Row]:
    """Yield the trials for the table: those with a value first, the best at the top."""
    fresh = fresh_values(record.trials)
    sign = 1 if record.direction == "minimize" else -1
    losses = [point.loss for each in record.trials for point in each.points if math.isfinite(point.loss)]
    low, high = (min(losses), sorted(losses)[int(0.9 * (len(losses) - 1))]) if losses else (0.0, 0.0)
    order = sorted(
        (each for each in record.trials if each.of is None),
        key=lambda each: (each.value is None, sign * (each.value or 0.0), each.number),
    )
    for each in order:
        further = fresh.get(each.number, {})
        cells = [
            (str(each.number), str(each.number)),
            (each.state, each.state),
            ("" if each.value is None else f"{each.value:.4g}", _key(each.value)),
            *(
                [(", ".join(f"{value:.4g}" for value in further.values()), str(len(further)))]
                if fresh
                else []
            ),
            (f"{each.step}" + (f" / {each.steps}" if each.steps else ""), str(each.step)),
            ("" if each.seconds is None else duration(each.seconds), _key(each.seconds)),
            *(
                (value_text(each.params[name]), _key(each.params[name])) if name in each.params else ("", "")
                for name in names
            ),
        ]
        why = told_behind(each) if each.behind is not None else ""
        note = each.error or why or ", ".join(spelled(name) for name in each.refused_by)
        yield Row(
            each,
            cells,
            plots.sparkline(each, low, high),
            note,
            each.number == record.best,
            each.number == record.baseline,
        )


def _key(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
