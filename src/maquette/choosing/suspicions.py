"""What speaks against a run, whatever was chosen of it: over-training, nothing learned, a trigger without its subject, a leak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from maquette.choosing.caption_words import BesideWord, words_beside
from maquette.choosing.decide import Decision, floor_of, widened
from maquette.measuring.headlines import Headline
from maquette.measuring.scorecards import Reading, Scorecards
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Suspicion

IDENTITY = ("identity_bare", "identity", "identity_novel")
DESCRIBED = ("identity", "identity_novel")
REMEDY = (
    "Leave these words out of the captions (what is not named is learned as the trigger), or write them into every prompt; then "
    "train again."
)
_LEAST_SHARE = 0.5
"""A bare trigger that draws less than this share of what described prompts gain is decoupled from its subject."""


def suspicions_of(
    decision: Decision,
    cards: Scorecards,
    reading: Reading,
    *,
    captions: Sequence[str] = (),
    trigger: str = "",
    class_word: str = "",
) -> tuple[Suspicion, ...]:
    """Return every suspicion, the gravest first. `captions` are the training captions."""
    chosen = reading.table.columns.index(decision.chosen.label)
    seen = _Seen(reading, chosen)
    unlearned = tuple(_never_learned(seen))
    return (
        *unlearned,
        *(() if unlearned else _decoupled(seen, captions, trigger, class_word)),
        *_over_trained(decision, cards, reading),
        *_leak(seen),
        *_failed(decision),
    )


class _Seen:
    """The chosen column beside the base."""

    def __init__(self, reading: Reading, chosen: int) -> None:
        self.reading = reading
        self.chosen = chosen
        self.floor = floor_of(reading)
        self.headlines = {headline.name: headline for headline in reading.headlines}

    def gains(self, names: Iterable[str]) -> list[tuple[Headline, Estimate]]:
        """Return by how much the chosen column exceeds the base on each headline that was measured."""
        if self.floor is None:
            return []
        return [
            (self.headlines[name], self.reading.difference(self.headlines[name], self.chosen, self.floor))
            for name in names
            if name in self.headlines
        ]


def _never_learned(seen: _Seen) -> Iterator[Suspicion]:
    gains = seen.gains(IDENTITY)
    if not gains or any(_is_above(gain) for _, gain in gains):
        return
    told = "; ".join(f"{headline.title.lower()} {_signed(gain)}" for headline, gain in gains)
    yield Suspicion(
        kind="never learned",
        told=f"Even the chosen checkpoint draws the subject no better than the base alone ({told}).",
        remedy="Train longer or at a higher learning rate; where the loss fell all the same, see that the trigger stands in "
        "the captions, and that nothing rare about it is spelled differently when drawing.",
    )


def _decoupled(seen: _Seen, captions: Sequence[str], trigger: str, class_word: str) -> Iterator[Suspicion]:
    """Return the suspicion where described prompts draw the subject and the trigger alone does not."""
    bare = next((gain for _, gain in seen.gains(("identity_bare",))), None)
    described = [gain for _, gain in seen.gains(DESCRIBED) if _is_above(gain)]
    if bare is None or not described or bare.high is None:
        return
    best = max(described, key=lambda gain: gain.mean)
    if bare.high >= best.mean or bare.mean >= _LEAST_SHARE * best.mean:
        return
    words = words_beside(captions, trigger, class_word=class_word, reading=seen.reading, column=seen.chosen)
    at_fault = ", ".join(_at_fault(each) for each in words)
    told = (
        f"The trigger alone gains {_signed(bare)} of the subject, prompts that describe it {_signed(best)}: what was learned "
        "hangs on words beside the trigger."
    )
    yield Suspicion(
        kind="trigger decoupled",
        told=told + (f" These stand beside it in most captions: {at_fault}." if words else ""),
        remedy=REMEDY,
        words=tuple(each.word for each in words),
    )


def _at_fault(each: BesideWord) -> str:
    drawn = "" if each.gain is None else f"; prompts with it gain {each.gain:+.2f}"
    return f"“{each.word}” ({each.share:.0%} of the captions{drawn})"


def _over_trained(decision: Decision, cards: Scorecards, reading: Reading) -> Iterator[Suspicion]:
    """Return the suspicion where the last checkpoint is worse than the chosen one, and what over-training does is seen."""
    last = max((gap for gap in decision.gaps), key=lambda gap: gap.other.step, default=None)
    if last is None or last.other.step <= decision.chosen.step:
        return
    # The chosen one is the best of them all by choice: its lead must be more than the best of so many would have by chance.
    looks = len(decision.gaps)
    lead = widened(last.difference, looks)
    if lead.low is None or lead.low <= 0:
        return
    chosen, end = (reading.table.columns.index(each) for each in (decision.chosen.label, last.other.label))
    signs = list(_signs(reading, cards, chosen, end, looks))
    if not signs:
        return
    worse = [gap.other for gap in decision.gaps if gap.other.step > decision.chosen.step and gap.is_clear]
    since = min(each.step for each in worse) if worse else last.other.step
    yield Suspicion(
        kind="over-trained",
        step=decision.chosen.step,
        told=f"Over-trained from step {decision.chosen.step:,}: {_listing(signs)} by step {last.other.step:,}"
        f" (clearly worse since step {since:,}).",
        remedy=f"Use the chosen checkpoint; train the next run {decision.chosen.step:,} steps, or with more pictures.",
    )


def _signs(reading: Reading, cards: Scorecards, chosen: int, end: int, looks: int) -> Iterator[str]:
    """Return what got worse by more than noise from the chosen column to the last, in words."""
    told = {
        "identity_novel": (-1, "identity in novel contexts fell"),
        "variety": (-1, "variety fell"),
        "copying": (1, "pictures came nearer to training pictures"),
    }
    for headline in reading.headlines:
        if headline.name in told:
            sign, words = told[headline.name]
            change = widened(reading.difference(headline, end, chosen), looks)
            if (
                change.low is not None
                and change.high is not None
                and (change.low if sign > 0 else -change.high) > 0
            ):
                yield f"{words} by {abs(change.mean):.2f}"
    before, after = (_memorised(cards, reading.table.columns[place]) for place in (chosen, end))
    if before is not None and after is not None and after.low is not None and after.low > before.mean:
        yield f"memorisation rose from {before.mean:.2f} to {after.mean:.2f}"


def _memorised(cards: Scorecards, label: str) -> Estimate | None:
    score = cards.card(label).scores.get("memorisation")
    return score.value if score else None


def _leak(seen: _Seen) -> Iterator[Suspicion]:
    for headline, gain in seen.gains(("leakage", "bleed")):
        if not _is_above(gain):
            continue
        where = "the class word without the trigger" if headline.name == "leakage" else "other subjects"
        yield Suspicion(
            kind="leak",
            told=f"It leaks: with prompts for {where}, identity rises by {_signed(gain)} over the base's.",
            remedy="`preservation` in [objective] holds that back, or regularization pictures (maquette regularize).",
        )


def _failed(decision: Decision) -> Iterator[Suspicion]:
    if decision.chosen.failures:
        yield Suspicion(
            kind="failed floor",
            told=f"No checkpoint holds every floor; the chosen one fails: {_listing(decision.chosen.failures)}.",
            remedy="Look at its pictures before you use it; its score does not make up for that.",
        )


def _is_above(gain: Estimate) -> bool:
    return gain.low is not None and gain.low > 0


def _signed(gain: Estimate) -> str:
    if gain.low is None or gain.high is None:
        return f"{gain.mean:+.2f}"
    return f"{gain.mean:+.2f} (95 % {gain.low:+.2f} to {gain.high:+.2f})"


def _listing(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
