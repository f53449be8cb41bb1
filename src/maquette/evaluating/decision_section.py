"""What a report shows of the choice: which checkpoint and why, the score by step, and every number behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.evaluating.charts import Axis, Chart, Series, line_chart
from maquette.evaluating.facts import Drawn, ReportFacts
from maquette.measuring.headlines import Headline
from maquette.measuring.scorecards import Scorecard, Scorecards
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Choice, Probe, Ranked, Suspicion

_PAIRS = 6
_STYLES = ("main", "second", "third")


@dataclass(frozen=True)
class RankRow:
    """One checkpoint in the order of the choice."""

    name: str
    cells: Sequence[str]
    told: str
    """What it is beside the chosen one: "chosen", "cannot tell", "fails: …"."""
    is_chosen: bool


@dataclass(frozen=True)
class DecisionShown:
    """The choice in words, its numbers, and what speaks against the run."""

    headline: str
    reasons: Sequence[str]
    suspicions: Sequence[Suspicion]
    chart: Chart | None
    rows: Sequence[RankRow]
    probes: Sequence[tuple[str, Sequence[str], bool]] = ()
    """Words of the captions that were drawn with the trigger, where it does not draw the subject alone."""


@dataclass(frozen=True)
class HeadlinePart:
    """One number of the scorecards by step, and its values."""

    headline: Headline
    definition: str
    chart: Chart
    rows: Sequence[tuple[str, Sequence[str], bool]]


@dataclass(frozen=True)
class PairShown:
    """A drawing beside the training picture that it resembles most."""

    drawn: Path
    alt: str
    training: Path
    told: str


def decision(facts: ReportFacts) -> DecisionShown | None:
    """Return the choice of the run; None where none was made."""
    choice = facts.choice
    if choice is None:
        return None
    rows = [_rank_row(each, choice) for each in choice.ranking]
    chart = _score_chart(facts.cards, choice) if facts.cards is not None else None
    probes = [_probe_row(each, choice) for each in choice.probes]
    return DecisionShown(choice.headline, choice.reasons, choice.suspicions, chart, rows, probes)


def _probe_row(probe: Probe, choice: Choice) -> tuple[str, Sequence[str], bool]:
    cells = (
        probe.label,
        f"{probe.share:.0%}",
        f"{probe.gain:+.2f}",
        _interval(probe.low, probe.high, "{:+.2f}"),
        f"{probe.of_base:+.2f}",
    )
    return probe.word, cells, probe.is_at_fault and probe.label == choice.label


def _rank_row(each: Ranked, choice: Choice) -> RankRow:
    is_chosen = each.checkpoint == choice.checkpoint
    cells = (
        f"{each.strength:g}",
        "–" if each.score is None else f"{each.score:.3f}",
        _interval(each.low, each.high, "{:.2f}"),
        "–" if each.behind is None else f"{each.behind:.3f}",
        _interval(each.behind_low, each.behind_high, "{:+.3f}"),
    )
    told = "chosen" if is_chosen else ""
    if each.failures:
        told = f"fails: {', '.join(each.failures)}"
    elif not is_chosen and each.score is not None:
        told = "cannot tell" if each.is_undecided else "worse"
    return RankRow(each.label, cells, told, is_chosen)


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{form.format(low)} to {form.format(high)}"


def _score_chart(cards: Scorecards, choice: Choice) -> Chart | None:
    points = {
        strength: [(card, card.total) for card in known if card.total is not None]
        for strength, known in _by_strength(cards).items()
    }
    series = _series(points, choice.strength)
    if not series:
        return None
    rules = [(f"chosen {choice.score:.2f}", choice.score)] if choice.score is not None else []
    return line_chart(
        series,
        title="Score by step",
        description="; ".join(
            f"{card.column.label}: {card.total.mean:.2f}" for card in cards.cards if card.total is not None
        ),
        x=Axis(label="optimizer step", low=0.0),
        y=Axis(label="score", low=0.0, high=1.0),
        rules=rules,
    )


def _by_strength(cards: Scorecards) -> dict[float, list[Scorecard]]:
    """Return the columns with a step by strength, without the base."""
    found: dict[float, list[Scorecard]] = {}
    for card in cards.cards:
        if not card.is_floor and card.column.step is not None:
            found.setdefault(card.column.strength, []).append(card)
    return found


def _series(points: dict[float, list[tuple[Scorecard, Estimate]]], first: float) -> list[Series]:
    """Return a line for each strength, the first with its band."""
    order = sorted(points, key=lambda strength: (strength != first, strength))
    found = []
    for strength, style in zip(order, _STYLES, strict=False):
        known = sorted(points[strength], key=lambda entry: entry[0].column.step or 0)
        if not known:
            continue
        band = [
            (float(card.column.step or 0), score.low, score.high)
            for card, score in known
            if strength == order[0] and score.low is not None and score.high is not None
        ]
        name = "with its 95 % interval" if len(points) == 1 else f"strength {strength:g}"
        line = [(float(card.column.step or 0), score.mean) for card, score in known]
        found.append(Series(name=name, points=line, style=style, band=band, dots=True))
    return found


def headlines(facts: Drawn) -> list[HeadlinePart]:
    """Return every number of the scorecards over the steps, with interval, floor and ceiling."""
    cards = facts.cards
    if cards is None:
        return []
    strength = facts.choice.strength if facts.choice is not None else 1.0
    return [
        part
        for headline in cards.headlines
        if (part := _headline(cards, headline, strength, facts)) is not None
    ]


def _headline(cards: Scorecards, headline: Headline, strength: float, facts: Drawn) -> HeadlinePart | None:
    by_strength = _by_strength(cards)
    points = {
        at: [(card, card.scores[headline.name].value) for card in known if headline.name in card.scores]
        for at, known in by_strength.items()
    }
    series = _series(points, strength)
    if not series:
        return None
    measure = next(each for each in cards.measures if each.name == headline.measure)
    shown = [card for card in cards.cards if headline.name in card.scores]
    floor, ceiling = shown[0].scores[headline.name].floor, shown[0].scores[headline.name].ceiling
    rules = [(f"the base alone {floor:.2f}", floor)] if floor is not None else []
    rules += [(f"the references {ceiling:.2f}", ceiling)] if ceiling is not None else []
    worth = f"Counts towards {headline.aspect}." if headline.aspect else "Warns; it is no part of the score."
    chart = line_chart(
        series,
        title=f"{headline.title} by step",
        description="; ".join(f"{c.column.label}: {c.scores[headline.name].value.mean:.2f}" for c in shown),
        x=Axis(label="optimizer step", low=0.0),
        y=Axis(label=headline.title.lower()),
        rules=rules,
        height=250,
    )
    chosen = facts.choice.label if facts.choice is not None else None
    rows = [(card.column.label, _cells(card, headline), card.column.label == chosen) for card in shown]
    better = "more is better" if headline.direction == "higher" else "less is better"
    definition = f"{measure.definition.rstrip('.')}; {better}. {worth}"
    if measure.blind_to:
        definition += f" It is blind to {measure.blind_to.rstrip('.')}."
    return HeadlinePart(headline, definition, chart, rows)


def _cells(card: Scorecard, headline: Headline) -> tuple[str, ...]:
    score = card.scores[headline.name]
    common = "–" if score.normalised is None else f"{score.normalised.mean:.2f}"
    return f"{score.value.mean:.3f}", _interval(score.value.low, score.value.high, "{:.2f}"), common


def nearest_pairs(facts: ReportFacts) -> list[PairShown]:
    """Return the chosen checkpoint's drawings that come nearest to a training picture, each beside it."""
    look = facts.look
    if look is None:
        return []
    label = facts.choice.label if facts.choice is not None else look.checkpoints()[-1]
    drawn = [entry for entry in look.looks if entry.checkpoint == label and "copying" in entry.scores]
    training = [path for path, _ in facts.pictures if path.is_file()]
    if not drawn or not training:
        return []
    return list(_pairs(facts, sorted(drawn, key=lambda entry: -entry.scores["copying"])[:_PAIRS], training))


def _pairs(facts: ReportFacts, drawn: Sequence[object], training: Sequence[Path]) -> Iterator[PairShown]:
    from maquette.dataset.opening import picture_rgb
    from maquette.measuring.copying import CopyingMeasurer
    from maquette.measuring.looks import Look

    assert facts.look is not None
    measurer = CopyingMeasurer(training)
    for entry in drawn:
        assert isinstance(entry, Look)
        path = facts.look.folder / entry.path
        if not path.is_file():
            continue
        measurer.score([picture_rgb(path)], [entry])
        near = measurer.nearest[entry.path]
        mirrored = ", mirrored" if near.is_mirrored else ""
        yield PairShown(
            path,
            f"{entry.checkpoint}, “{entry.prompt}”, seed {entry.seed}",
            near.training,
            f"{near.likeness:.2f}{mirrored}",
        )


def chosen_first(facts: ReportFacts) -> ReportFacts:
    """Return the facts as they speak for the chosen checkpoint and its strength."""
    choice = facts.choice
    if choice is None or not (facts.run / choice.checkpoint).is_file():
        return facts
    from maquette.files import sha256_file

    lora = facts.run / choice.checkpoint
    return replace(
        facts,
        lora=lora,
        lora_sha256=sha256_file(lora),
        lora_bytes=lora.stat().st_size,
        strength=choice.strength,
    )
