"""A decision in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maquette.choosing.decide import NEAR, TIE, Candidate, Decision, Gap
from maquette.measuring.scorecards import Scorecards
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Rival
from maquette.spoken import counted

_MOST_NAMED = 4


def headline_of(decision: Decision) -> str:
    """Return the decision in one sentence."""
    chosen, score = _begun(named(decision.chosen)), _score(decision.chosen.score)
    gap = decision.runner_up
    if gap is None:
        return f"{chosen} is the only checkpoint that was measured: score {score}."
    if decision.distinguishable:
        return f"{chosen} is the best: score {score}, {_signed(gap.difference)} above {named(gap.other)}."
    if decision.by_loss_of:
        others = _listing(decision.by_loss_of)
        return f"{chosen}: these pictures cannot tell it from {others}, and held-out pictures have the lowest loss there."
    if gap.other.label in decision.tied_with:
        others = _listing(decision.tied_with)
        return f"{chosen}: the earliest of those that score best; {others} {_score_the_same(decision)}."
    return f"{chosen} scores best, but these pictures cannot tell it from {named(gap.other)}."


def reasons_of(decision: Decision, cards: Scorecards, rivals: Sequence[Rival]) -> tuple[str, ...]:
    """Return the sentences beneath the headline, in the order in which a person asks for them."""
    return (
        _made_of(decision.chosen, cards),
        *_beside_runner_up(decision),
        *_ties(decision),
        *_others(decision),
        *_strengths(decision.chosen),
        *_failing(decision),
        *(_rival(each) for each in rivals),
    )


def named(candidate: Candidate) -> str:
    """Return a candidate as a person says it."""
    strength = candidate.column.strength
    at = f" at strength {strength:g}" if len(candidate.strengths) > 1 or strength != 1 else ""
    label = candidate.label if candidate.step == 0 else _label(candidate)
    return f"{label}{at}"


def _label(candidate: Candidate) -> str:
    """Return the label without the strength that a column of several strengths has in it."""
    return candidate.label.split(" × ")[0]


def _made_of(chosen: Candidate, cards: Scorecards) -> str:
    scores = cards.card(chosen.label).scores
    counts = {headline.name: headline.aspect for headline in cards.headlines}
    parts, aspects = [], set()
    for headline in cards.headlines:
        score = scores.get(headline.name)
        if score is not None and counts[headline.name] is not None:
            aspects.add(counts[headline.name])
            floor = "" if score.floor is None else f" (the base {score.floor:.2f})"
            parts.append(f"{headline.title.lower()} {score.value.mean:.2f}{floor}")
    weights = ", ".join(
        f"{name} {weight:g}" for name, weight in cards.weights.items() if weight and name in aspects
    )
    what = "; ".join(parts) if parts else "nothing that counts was measured"
    return f"Its score is {_score(chosen.score)} of 1, by weights of {weights}: {what}."


def _beside_runner_up(decision: Decision) -> Iterator[str]:
    gap = decision.runner_up
    if gap is None:
        return
    beside = f"The runner-up is {named(gap.other)}, {_behind(gap.difference)}"
    if decision.distinguishable:
        yield f"{beside}: more than noise."
        return
    yield f"{beside}: cannot tell. {_settled(decision, gap)}"


def _settled(decision: Decision, gap: Gap) -> str:
    if abs(gap.difference.mean) < TIE:
        return "They score the same for anybody who looks; take either."
    if gap.difference.low is None:
        return "One picture leaves nothing to vary: draw more seeds."
    more = decision.more
    if more is None:
        return "No reasonable number of pictures would settle it: the difference is too small to matter."
    design = [counted(more.seeds, "more seed")] if more.seeds else []
    design += [counted(more.prompts, "more prompt")] if more.prompts else []
    number = counted(more.pictures, "more picture")
    return f"About {number} of the two ({' and '.join(design)}) would settle it, if the difference is real."


def _ties(decision: Decision) -> Iterator[str]:
    if decision.by_loss_of:
        who = _begun(_listing(decision.by_loss_of))
        verb = "scores" if len(decision.by_loss_of) == 1 else "score"
        yield (
            f"{who} {verb} within {NEAR:g} of the best and cannot be told apart; the loss of held-out pictures decides between "
            "such, the earlier checkpoint where it is the same."
        )
    if decision.tied_with:
        who = _begun(_listing(decision.tied_with))
        yield f"{who} {_score_the_same(decision)} (within {TIE:g}); the earlier checkpoint wins a tie."


def _score_the_same(decision: Decision) -> str:
    return "scores the same" if len(decision.tied_with) == 1 else "score the same"


def _others(decision: Decision) -> Iterator[str]:
    """Name those beyond the runner-up that cannot be told apart either."""
    said = {
        *decision.tied_with,
        *decision.by_loss_of,
        decision.runner_up.other.label if decision.runner_up else "",
    }
    others = [gap for gap in decision.undecided if gap.other.label not in said]
    if not others:
        return
    names = [named(gap.other) for gap in others[:_MOST_NAMED]]
    names += [f"{len(others) - _MOST_NAMED} more"] if len(others) > _MOST_NAMED else []
    yield f"Nor can it be told from {_listing(names)}."


def _strengths(chosen: Candidate) -> Iterator[str]:
    if len(chosen.strengths) > 1:
        told = ", ".join(f"{strength:g}: {score:.2f}" for strength, score in chosen.strengths)
        yield f"By strength it scores {told}; of strengths that tie the one nearest to 1 is taken."


def _failing(decision: Decision) -> Iterator[str]:
    """Name those that would have been chosen but for a floor that they fail."""
    if decision.chosen.failures:
        return
    better = [gap.other for gap in decision.gaps if gap.other.failures and gap.difference.mean < 0]
    for each in better:
        yield f"{_begun(named(each))} scores higher ({each.score.mean:.2f}), but fails: {_listing(each.failures)}."


def _rival(rival: Rival) -> str:
    if rival.is_chosen:
        return f"{_begun(rival.rule)} would have chosen the same."
    behind = Estimate(mean=rival.behind or 0.0, low=rival.behind_low, high=rival.behind_high, count=0)
    told = f"{_begun(rival.rule)} would have chosen {rival.label}, {_behind(behind)}"
    if abs(behind.mean) < TIE:
        return f"{_begun(rival.rule)} would have chosen {rival.label}, which scores the same."
    return told + ("." if behind.low is not None and behind.low > 0 else ", which may be noise.")


def _behind(difference: Estimate) -> str:
    if difference.mean < 0:
        return f"{-difference.mean:.3f} ahead{_range(difference)}"
    return f"{difference.mean:.3f} behind{_range(difference)}"


def _range(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" (95 % {estimate.low:+.3f} to {estimate.high:+.3f}, paired)"


def _signed(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.3f}"
    return f"{estimate.mean:+.3f} (95 % {estimate.low:+.3f} to {estimate.high:+.3f})"


def _score(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.2f}"
    low, high = max(estimate.low, 0.0), min(estimate.high, 1.0)
    return f"{estimate.mean:.2f} (95 % {low:.2f}–{high:.2f})"


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listing(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
