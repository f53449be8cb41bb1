"""The verdict that follows from a report's facts: did it learn, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from maquette.evaluating.facts import ReportFacts
from maquette.measuring.looks import FLOOR, Choice, FirstLook, Measure, Summary, choose
from maquette.measuring.statistics import Estimate

LEAK_ROLE = "leak"
"""The role of prompts without the trigger: what the LoRA changes there, it was not asked to."""

Outcome = Literal["learned", "flawed", "unclear", "worse", "unjudged", "unfinished"]
"""`flawed` has learned, but something speaks against it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The report's first sentence, the sentences beneath it, and the numbers they stand on."""

    outcome: Outcome
    headline: str
    sentences: tuple[str, ...]
    checkpoint: str | None = None
    measure: str | None = None
    floor: Estimate | None = None
    score: Estimate | None = None
    change: Estimate | None = None
    flaws: tuple[Flaw, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times the floor the score is; None without both, or over a floor of zero."""
        if self.floor is None or self.score is None or self.floor.mean <= 0:
            return None
        return self.score.mean / self.floor.mean


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """What speaks against a LoRA that learned: in a few words for the headline, and with its numbers."""

    words: str
    sentence: str
    name: str
    value: str


def verdict_of(facts: ReportFacts, *, role: str = "bare") -> Verdict:
    """Return what the facts say about the LoRA, by the first look's first measure where there is one."""
    if facts.record.state != "finished":
        return _unfinished(facts)
    look = facts.look
    measure = look.leading if look is not None else None
    if look is None or measure is None:
        return _unjudged(facts)
    role = role if role in look.roles() else look.roles()[0]
    choice = _speaking(facts, look, measure, role)
    floor = look.summary(FLOOR, role, measure.name)
    best = look.summary(choice.checkpoint, role, measure.name) if choice else None
    if choice is None or floor is None or best is None:
        return _unjudged(facts)
    flaws = (*_unclean(look, facts.trigger, best), *_leaks(look, measure, best))
    return _judged(facts, look, measure, floor, best, flaws, choice.undecided)


def _speaking(facts: ReportFacts, look: FirstLook, measure: Measure, role: str) -> Choice | None:
    """Return the checkpoint that the verdict is about: the chosen one, else the measure's best."""
    made = facts.choice
    if made is None or not look.scores(made.label, role, measure.name):
        return choose(look, measure=measure.name, role=role)
    undecided = tuple(each.label for each in made.ranking if each.is_undecided)
    return Choice(checkpoint=made.label, role=role, measure=measure.name, undecided=undecided)


def _unclean(look: FirstLook, trigger: str, best: Summary) -> Iterator[Flaw]:
    """Return what the measures that ask for a least value say of the chosen checkpoint's pictures."""
    for measure in look.measures:
        found = look.summary(best.checkpoint, best.role, measure.name)
        if measure.least is None or found is None or found.score.mean >= measure.least:
            continue
        count = found.score.count
        lacking = f"{round((1 - found.score.mean) * count)} of {count} {measure.lack}"
        base = look.summary(FLOOR, best.role, measure.name)
        beside = f" ({round((1 - base.score.mean) * base.score.count)} with the base alone)" if base else ""
        yield Flaw(
            words=lacking,
            sentence=f"Of the pictures from {_prompts_in_words(look, trigger, best.role)}, {lacking}{beside}.",
            name=measure.lack,
            value=f"{round((1 - found.score.mean) * count)} of {count}",
        )


def _leaks(look: FirstLook, measure: Measure, best: Summary) -> Iterator[Flaw]:
    """Return the leak, where prompts without the trigger score higher than the base alone does there."""
    leak = look.summary(best.checkpoint, LEAK_ROLE, measure.name)
    if leak is None or leak.change is None or leak.change.low is None or leak.change.low <= 0:
        return
    before = leak.score.mean - leak.change.mean
    is_total = leak.score.mean >= (before + best.score.mean) / 2
    name = measure.title.lower()
    numbers = f"without the trigger, too, {name} rises, from {before:.2f} to {leak.score.mean:.2f}"
    yield Flaw(
        words="it draws the subject without the trigger, too" if is_total else "it leaks without the trigger",
        sentence=f"It leaks: {numbers}. `preservation` holds that back, or regularization pictures of the class.",
        name="leak without the trigger",
        value=f"{before:.2f} → {leak.score.mean:.2f}",
    )


def _judged(
    facts: ReportFacts,
    look: FirstLook,
    measure: Measure,
    floor: Summary,
    best: Summary,
    flaws: tuple[Flaw, ...],
    undecided: tuple[str, ...],
) -> Verdict:
    change = best.change
    assert change is not None
    decided = change.shows_difference_from(0.0)
    outcome: Outcome = (
        "unclear" if not decided else "worse" if change.mean <= 0 else "flawed" if flaws else "learned"
    )
    name = measure.title.lower()
    numbers = f"{name} {floor.score.mean:.2f} → {best.score.mean:.2f}"
    headline = {
        "learned": f"The LoRA learned “{facts.trigger}”: {numbers}.",
        "flawed": f"The LoRA learned “{facts.trigger}” ({numbers}), but {_listing([flaw.words for flaw in flaws])}.",
        "unclear": f"Whether the LoRA learned “{facts.trigger}” cannot be told: {numbers}.",
        "worse": f"The LoRA draws “{facts.trigger}” worse than the base alone: {numbers}.",
    }[outcome]
    sentences = [flaw.sentence for flaw in flaws]
    sentences += [
        f"Drawn from {_prompts_in_words(look, facts.trigger, best.role)}, with the same seeds: "
        f"{_spoken(floor.score)} without the LoRA (the floor), {_spoken(best.score)} with {best.checkpoint}.",
        f"The paired change is {_signed(change)}{_times(floor.score, best.score)}.",
    ]
    if undecided:
        sentences.append(f"With these pictures it cannot be told apart from {_listing(undecided)}.")
    return Verdict(
        outcome=outcome,
        headline=headline,
        sentences=tuple(sentences),
        checkpoint=best.checkpoint,
        measure=measure.name,
        floor=floor.score,
        score=best.score,
        change=change,
        flaws=flaws,
    )


def _prompts_in_words(look: FirstLook, trigger: str, role: str) -> str:
    """Return what was drawn: the trigger word alone only where nothing else stood in the prompt."""
    prompts = look.prompts(role)
    if prompts == (trigger,):
        return f"the trigger word alone, “{trigger}”"
    return f"“{prompts[0]}”" if len(prompts) == 1 else f"{len(prompts)} prompts"


def _unjudged(facts: ReportFacts) -> Verdict:
    record = facts.record
    name = facts.trigger or record.run
    advice = "Compare the pictures" if facts.look else "Draw with it"
    return Verdict(
        outcome="unjudged",
        headline=f"“{name}” is trained, {record.step:,} steps. {advice}: nobody has judged it yet.",
        sentences=(
            "No judge has measured it. Only what is drawn shows whether the subject was learned; a training loss does not.",
        ),
    )


def _unfinished(facts: ReportFacts) -> Verdict:
    record = facts.record
    why = f": {record.error}" if record.error else "."
    return Verdict(
        outcome="unfinished",
        headline=f"The run “{record.run}” is not finished ({record.state}, {record.step:,} steps done).",
        sentences=(f"What is shown here is what there is so far{why}",),
    )


def _spoken(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.2f}"
    return f"{estimate.mean:.2f} (95 % {estimate.low:.2f}–{estimate.high:.2f})"


def _signed(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} (95 % {estimate.low:+.2f} to {estimate.high:+.2f})"


def _times(floor: Estimate, score: Estimate) -> str:
    return f", {score.mean / floor.mean:.1f} times the floor" if floor.mean > 0.01 else ""


def _listing(names: Sequence[str]) -> str:
    if not names:
        return ""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
