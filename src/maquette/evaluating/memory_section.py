"""What a report shows of memory: likeness to pictures that were trained on beside likeness to unseen ones, losses of either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maquette.evaluating.facts import ReportFacts
from maquette.measuring.memorization import GAP
from maquette.measuring.memorization import NAME as MEMORISATION
from maquette.measuring.scorecards import Scorecard
from maquette.measuring.training_likeness import BONUS, LIKENESS

_NO_MORE = 0.01
"""A bonus that exceeds the base's by less is nothing that anybody would be rewarded for."""


@dataclass(frozen=True)
class MemoryShown:
    """What it comes to in sentences, and the numbers of each checkpoint."""

    told: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str], bool]]


def memory(facts: ReportFacts) -> MemoryShown | None:
    """Return what is known of memory, None where neither pictures nor losses of unseen pictures were compared."""
    if facts.cards is None:
        return None
    strength = facts.choice.strength if facts.choice is not None else 1.0
    cards = [card for card in facts.cards.cards if card.is_floor or card.column.strength == strength]
    known = [
        name for name in (LIKENESS, BONUS, MEMORISATION, GAP) if any(name in card.scores for card in cards)
    ]
    if not known:
        return None
    titles = {
        LIKENESS: ("like the trained", "like the unseen"),
        BONUS: ("bonus", "95 %"),
        MEMORISATION: ("memorisation", "95 %"),
        GAP: ("gap of losses", "95 %"),
    }
    chosen = facts.choice.label if facts.choice is not None else None
    rows = [
        (
            card.column.label,
            [cell for name in known for cell in _cells(card, name)],
            card.column.label == chosen,
        )
        for card in cards
    ]
    return MemoryShown(tuple(_told(cards)), [title for name in known for title in titles[name]], rows)


def _cells(card: Scorecard, name: str) -> tuple[str, str]:
    score = card.scores.get(name)
    if score is None:
        return "–", ""
    value = score.value
    if name == LIKENESS:
        bonus = card.scores.get(BONUS)
        return f"{value.mean:.3f}", "–" if bonus is None else f"{value.mean - bonus.value.mean:.3f}"
    form = {BONUS: "{:+.3f}", GAP: "{:+.4f}"}.get(name, "{:.2f}")
    span = "" if value.low is None else f"{form.format(value.low)} to {form.format(value.high)}"
    return form.format(value.mean), span


def _told(cards: Sequence[Scorecard]) -> Iterator[str]:
    drawn = [card for card in cards if not card.is_floor and {LIKENESS, BONUS} <= card.scores.keys()]
    if not drawn:
        return
    seen = max(drawn, key=lambda card: card.scores[LIKENESS].value.mean)
    unseen = max(drawn, key=lambda card: card.scores[LIKENESS].value.mean - card.scores[BONUS].value.mean)
    if seen is unseen:
        yield f"Scored by likeness alone, training pictures and unseen ones would choose the same: {seen.column.label}."
    else:
        yield (
            f"Scored by likeness to the training pictures {seen.column.label} would be chosen, by likeness to unseen ones "
            f"{unseen.column.label}."
        )
    bonus = seen.scores[BONUS]
    gained = bonus.value.mean - (bonus.floor or 0.0)
    if gained < _NO_MORE:
        yield (
            "Training pictures would give no checkpoint more than they give the base, which never saw them: scoring against them "
            "would have rewarded no copy here."
        )
        return
    yield (
        f"Training pictures would give {seen.column.label} {gained:+.2f} more than unseen ones do, beyond what they give the "
        "base: that is what copying earns where a LoRA is scored against what it was trained on."
    )
