"""What `search.py` has found, as numbers and as a figure."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from circumstances import circumstances
from search import (
    BASELINE,
    CHARACTERS,
    FRESH_SEEDS,
    METHODS,
    PACK,
    SPACE,
    STEPS,
    TRIALS,
    Method,
    best_name,
    bests_of,
    clock_of,
    found,
    fresh_losses,
    scores_of,
    study_name,
)

from maquette.files import write_json
from maquette.measuring.statistics import t975
from maquette.searching.records import SearchTrial
from maquette.searching.verdict import best_of

COLOURS = {"packed TPE": "#b5533c", "sequential TPE": "#2f6f8f", "packed random": "#8a8578"}
WIDTH_PX, HEIGHT_PX = 1500, 560


@dataclass(frozen=True)
class Search:
    """One search up to so many trials, and what its best settings come to with further seeds."""

    method: Method
    seed: int
    trials: int
    known: tuple[SearchTrial, ...]
    ended: Mapping[int, tuple[float, float]]
    """Trial → seconds of the processor and of the clock after which it was over."""
    fresh: Mapping[str, Mapping[int, float]]
    """Character → further seed → loss of the best settings, less that of the project's own with the same seed."""

    @property
    def best(self) -> SearchTrial:
        best = best_of(self.known, "minimize")
        assert best is not None
        return best

    @property
    def cpu_s(self) -> float:
        return max(self.ended[each.number][0] for each in self.known)

    @property
    def wall_s(self) -> float:
        return max(self.ended[each.number][1] for each in self.known)

    def gain(self, character: str) -> float | None:
        """Return by how much the best settings' loss exceeds the baseline's over all further seeds."""
        found = self.fresh[character]
        return fmean(found.values()) if len(found) == len(FRESH_SEEDS) else None

    def by_time(self) -> list[tuple[float, float]]:
        """Return the best so far whenever a trial was over, by the processor's seconds."""
        order = sorted(self.known, key=lambda each: self.ended[each.number])
        values = accumulate((_value(each) for each in order), min)
        times = (self.ended[each.number][0] for each in order)
        return [each for each in zip(times, values, strict=True) if math.isfinite(each[1])]

    def by_trial(self) -> list[float]:
        """Return the best so far after each trial, in the order in which they were proposed."""
        return list(accumulate((_value(each) for each in self.known), min))

    def best_at(self, cpu_s: float) -> float:
        """Return the best so far after so many seconds of the processor."""
        return min((value for time, value in self.by_time() if time <= cpu_s), default=math.inf)


def _value(trial: SearchTrial) -> float:
    return trial.value if trial.value is not None else math.inf


Table = Mapping[tuple[str, int, int], Search]
"""(method, seed, trials) → search"""


def table(work: Path, seeds: Sequence[int]) -> Table:
    """Return every search that is done."""
    base = {name: fresh_losses(work, name, BASELINE) for name in CHARACTERS}
    rows = {}
    for method in METHODS:
        for seed in seeds:
            for trials in TRIALS:
                known = found(work, method, seed, trials)
                if known:
                    rows[method.name, seed, trials] = _search(work, base, method, seed, known)
    return rows


def _search(
    work: Path, base: Mapping[str, Mapping[int, float]], method: Method, seed: int, known: list[SearchTrial]
) -> Search:
    lines = clock_of(work / "clocks" / f"{study_name(method, seed)}.jsonl")
    ended = {number: (line["cpu_s"], line["wall_s"]) for line in lines for number in line["ended"]}
    best = best_of(known, "minimize")
    assert best is not None
    name = best_name(method, seed, best)
    fresh = {
        character: {
            each: loss - base[character][each]
            for each, loss in fresh_losses(work, character, name).items()
            if each in base[character]
        }
        for character in CHARACTERS
    }
    return Search(method, seed, len(known), tuple(known), ended, fresh)


# --- numbers ---------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean of values with its 95 % interval, None with fewer than two."""
    if len(values) < 2:
        return {"mean": fmean(values) if values else None, "interval": None, "values": list(values)}
    half = t975(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return {"mean": mean, "interval": [mean - half, mean + half], "values": list(values)}


def compared(rows: Table, one: str, other: str, trials: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Return how one method stands to another after equal trials and at equal time, over the seeds that both have."""
    pairs = [
        (rows[one, seed, trials], rows[other, seed, trials])
        for seed in seeds
        if (one, seed, trials) in rows and (other, seed, trials) in rows
    ]

    def over(difference: Callable[[Search, Search], float | None]) -> dict[str, Any]:
        return interval([each for a, b in pairs if (each := difference(a, b)) is not None])

    def gains(character: str) -> Callable[[Search, Search], float | None]:
        def difference(a: Search, b: Search) -> float | None:
            one, two = a.gain(character), b.gain(character)
            return None if one is None or two is None else one - two

        return difference

    def at_equal_time(a: Search, b: Search) -> float:
        end = min(a.cpu_s, b.cpu_s)
        return a.best_at(end) - b.best_at(end)

    return {
        "one": one,
        "other": other,
        "trials": trials,
        "seeds": len(pairs),
        "equal_trials_loss": over(lambda a, b: _value(a.best) - _value(b.best)),
        "equal_time_loss": over(at_equal_time),
        "cpu_ratio": over(lambda a, b: b.cpu_s / a.cpu_s),
        "wall_ratio": over(lambda a, b: b.wall_s / a.wall_s),
        **{f"fresh_{character}_loss": over(gains(character)) for character in CHARACTERS},
    }


def by_method(rows: Table, name: str, trials: int) -> dict[str, Any]:
    """Return what a method comes to after so many trials."""
    own = [each for (method, _, count), each in rows.items() if method == name and count == trials]
    gains = {
        character: [gain for each in own if (gain := each.gain(character)) is not None]
        for character in CHARACTERS
    }
    return {
        "method": name,
        "trials": trials,
        "seeds": len(own),
        "best_loss": interval([_value(each.best) for each in own]),
        "cpu_s": interval([each.cpu_s for each in own]),
        "wall_s": interval([each.wall_s for each in own]),
        "pruned_share": fmean(each.state == "pruned" for row in own for each in row.known) if own else None,
        **{
            f"{character}_loss_less_baseline": {
                **interval(gains[character]),
                "searches_surely_better": sum(_is_surely_better(each, character) for each in own),
            }
            for character in CHARACTERS
        },
    }


def scored(work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Return what the scorecards say of packed TPE's best settings on the second character, and of the project's own."""
    base = scores_of(work, BASELINE)
    own = {name: scores_of(work, name) for name in bests_of(work, METHODS[0], seeds)}
    whole = {name: each for name, each in own.items() if len(each) == len(base) > 0}
    return {
        "baseline": interval(list(base.values())),
        "gains": {name: interval([each[seed] - base[seed] for seed in base]) for name, each in whole.items()},
        "gain_over_searches": interval(
            [fmean(each[seed] - base[seed] for seed in base) for each in whole.values()]
        ),
    }


def _is_surely_better(search: Search, character: str) -> bool:
    """Return whether a search's best beats the baseline over the further seeds, by the whole of its interval."""
    known = interval(list(search.fresh[character].values()))["interval"]
    return known is not None and known[1] < 0


def row_of(search: Search) -> dict[str, Any]:
    """Return one search as the result file has it."""
    best = search.best
    return {
        "method": search.method.name,
        "seed": search.seed,
        "trials": search.trials,
        "best_loss": best.value,
        "best_trial": best.number,
        "best_is_baseline": best.role == "baseline",
        "best_params": dict(best.params),
        "finished": sum(each.state == "finished" for each in search.known),
        "pruned": sum(each.state == "pruned" for each in search.known),
        "cpu_s": round(search.cpu_s, 2),
        "wall_s": round(search.wall_s, 2),
        "by_cpu_s": [[round(time, 2), value] for time, value in search.by_time()],
        **{
            f"{character}_less_baseline": {
                str(seed): value for seed, value in search.fresh[character].items()
            }
            for character in CHARACTERS
        },
    }


def report(work: Path, given: argparse.Namespace) -> None:
    """Print what was found; write the result and the figure where they were asked for."""
    seeds = list(given.seeds)
    rows = table(work, seeds)
    names = [each.name for each in METHODS]
    base = {name: list(fresh_losses(work, name, BASELINE).values()) for name in CHARACTERS}
    summary = {
        "baseline": {f"{name}_loss": interval(values) for name, values in base.items() if values},
        "second_character_scores": scored(work, seeds),
        "methods": [by_method(rows, name, trials) for trials in TRIALS for name in names],
        "compared": [
            compared(rows, names[0], other, trials, seeds) for trials in TRIALS for other in names[1:]
        ],
    }
    result = {
        **circumstances("search", load=given.load),
        "settings": {
            "steps": STEPS, "batch": 1, "pack": PACK, "trials": list(TRIALS), "seeds": seeds, "fresh_seeds": list(FRESH_SEEDS),
            "space": SPACE, "threads": int(os.environ["OMP_NUM_THREADS"]), "halving": 3,
        },
        "summary": summary,
        "results": [row_of(each) for each in rows.values()],
        "conclusion": conclusion(summary),
    }  # fmt: skip
    print(json.dumps(summary, indent=1))
    if given.output:
        name = f"search-{result['date']}-{len(seeds)}seeds-{os.cpu_count()}core-cpu"
        write_json(given.output / f"{name}.json", result)
        draw(rows, given.output / f"{name}.png")


def conclusion(summary: dict[str, Any]) -> str:
    """Return what was found, in a sentence."""
    against = next(each for each in summary["compared"] if each["trials"] == TRIALS[-1])
    packed = next(each for each in summary["methods"] if each["trials"] == TRIALS[-1])

    def told(found: dict[str, Any], form: str) -> str:
        if found["interval"] is None:
            return "unknown"
        low, high = (format(each, form) for each in found["interval"])
        return f"{format(found['mean'], form)} (95 %: {low} to {high})"

    return (
        f"after {TRIALS[-1]} trials packed TPE's best loss less that of {against['other']} is "
        f"{told(against['equal_trials_loss'], '+.4f')}, at equal time {told(against['equal_time_loss'], '+.4f')}, and it took "
        f"{told(against['cpu_ratio'], '.2f')} times fewer seconds of the processor; on a second character its best settings' "
        f"loss less that of the project's own is {told(packed['second_loss_less_baseline'], '+.4f')}"
    )


# --- the figure ------------------------------------------------------------------------------------------


def draw(rows: Table, path: Path) -> None:
    """Write the figure: the best so far by time and by trials, and the best settings on a character that no search saw."""
    from plotly.subplots import make_subplots

    most = max(trials for _, _, trials in rows)
    figure = make_subplots(
        cols=3,
        subplot_titles=(
            "Best so far, by processor time",
            "Best so far, by trials",
            "Best settings on a second character",
        ),
    )
    for method in METHODS:
        own = [each for (name, _, trials), each in rows.items() if name == method.name and trials == most]
        if not own:
            continue
        ends = max(each.cpu_s for each in own)
        grid = [ends * step / 300 for step in range(301)]
        for column, lines in ((1, [each.by_time() for each in own]), (2, [_of_trials(each) for each in own])):
            for line in lines:
                figure.add_scatter(
                    row=1, col=column, x=[x for x, _ in line], y=[y for _, y in line], **_thin(method)
                )
        _mean(figure, 1, grid, [[each.best_at(time) for each in own] for time in grid], method)
        count = range(1, most + 1)
        _mean(figure, 2, list(count), [[each.by_trial()[n - 1] for each in own] for n in count], method)
    _second_character(figure, rows)
    figure.update_layout(
        template="simple_white",
        width=WIDTH_PX,
        height=HEIGHT_PX,
        legend={"orientation": "h", "y": -0.24},
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
        font={"size": 14},
    )
    values = sorted(value for each in rows.values() for value in each.by_trial() if math.isfinite(value))
    for column in (1, 2):
        figure.update_yaxes(
            row=1,
            col=column,
            title="held-out loss",
            range=[values[0] * 0.985, values[-1] * 1.01],
        )
    figure.update_xaxes(row=1, col=1, title="seconds of one processor core")
    figure.update_xaxes(row=1, col=2, title="trials")
    figure.update_xaxes(row=1, col=3, tickangle=0, title="after so many trials")
    figure.update_yaxes(
        row=1, col=3, title="held-out loss less the project's own", zeroline=True, zerolinecolor="#999"
    )
    _screenshot(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}), path)


def _of_trials(search: Search) -> list[tuple[float, float]]:
    return [(number + 1, value) for number, value in enumerate(search.by_trial()) if math.isfinite(value)]


def _thin(method: Method) -> dict[str, Any]:
    line = {"color": COLOURS[method.name], "width": 1, "shape": "hv"}
    return {"mode": "lines", "line": line, "opacity": 0.35, "showlegend": False}


def _mean(
    figure: Any, column: int, places: Sequence[float], values: Sequence[Sequence[float]], method: Method
) -> None:
    known = [
        (x, fmean(row)) for x, row in zip(places, values, strict=True) if all(math.isfinite(v) for v in row)
    ]
    figure.add_scatter(
        row=1,
        col=column,
        x=[x for x, _ in known],
        y=[y for _, y in known],
        mode="lines",
        name=method.name,
        showlegend=column == 1,
        line={"color": COLOURS[method.name], "width": 3, "shape": "hv"},
    )


def _second_character(figure: Any, rows: Table) -> None:
    for method in METHODS:
        own = [each for (name, _, _), each in rows.items() if name == method.name]
        known = [(each, gain) for each in own if (gain := each.gain("second")) is not None]
        figure.add_scatter(
            row=1,
            col=3,
            x=[f"{method.name.replace(' ', '<br>')}<br>{each.trials}" for each, _ in known],
            y=[gain for _, gain in known],
            mode="markers",
            showlegend=False,
            marker={"color": COLOURS[method.name], "size": 10, "opacity": 0.75},
        )


def _screenshot(page: str, path: Path) -> None:
    """Write a page as a picture, by the browser that the tests of the studio use."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("no figure: no Chromium here to draw it with")
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "figure.html"
        source.write_text(page, encoding="utf-8")
        size = f"--window-size={WIDTH_PX + 20},{HEIGHT_PX + 20}"
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--virtual-time-budget=8000",
            size,
            f"--screenshot={path.resolve()}",
            source.as_uri(),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
