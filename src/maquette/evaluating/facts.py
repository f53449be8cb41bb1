"""What a report says: the facts, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.evaluating.looks import FLOOR, FirstLook, Measure, Summary, choose
from maquette.evaluating.statistics import Estimate
from maquette.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where a drawing program finds the LoRA, and how it is used there."""

    program: str
    lora: str
    lora_name: str
    workflow: str | None = None
    prompts: str | None = None
    steps: tuple[str, ...] = ()
    """What a person does, in order."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """Everything that a report shows. Pictures are read from their files when the page is written."""

    title: str
    trigger: str
    record: RunRecord
    run: Path
    lora: Path
    """The LoRA file that this report speaks for."""
    lora_sha256: str
    lora_bytes: int
    strength: float = 1.0
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of metrics.jsonl: step, loss, learning rates."""
    look: FirstLook | None = None
    pictures: Sequence[tuple[Path, str]] = ()
    """The training pictures with their captions."""
    deliveries: tuple[Delivery, ...] = ()
    prompt_template: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, beyond the record's own."""
    notes: tuple[str, ...] = ()


LEAK_ROLE = "leak"
"""The role of prompts without the trigger: what the LoRA changes there, it was not asked to."""

Outcome = Literal["learned", "unclear", "worse", "unjudged", "unfinished"]


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

    @property
    def ratio(self) -> float | None:
        """How many times the floor the score is; None without both, or over a floor of zero."""
        if self.floor is None or self.score is None or self.floor.mean <= 0:
            return None
        return self.score.mean / self.floor.mean


def verdict_of(facts: ReportFacts, *, role: str = "bare") -> Verdict:
    """Return what the facts say about the LoRA, by the first look's first measure where there is one."""
    if facts.record.state != "finished":
        return _unfinished(facts)
    look = facts.look
    if look is None or not look.measures:
        return _unjudged(facts)
    measure = look.measures[0]
    role = role if role in look.roles() else look.roles()[0]
    choice = choose(look, measure=measure.name, role=role)
    floor = look.summary(FLOOR, role, measure.name)
    best = look.summary(choice.checkpoint, role, measure.name) if choice else None
    if choice is None or floor is None or best is None:
        return _unjudged(facts)
    leak = look.summary(choice.checkpoint, LEAK_ROLE, measure.name)
    return _judged(facts, measure, floor, best, leak, choice.undecided)


def _judged(
    facts: ReportFacts,
    measure: Measure,
    floor: Summary,
    best: Summary,
    leak: Summary | None,
    undecided: tuple[str, ...],
) -> Verdict:
    change = best.change
    assert change is not None
    decided = change.shows_difference_from(0.0)
    outcome: Outcome = "unclear" if not decided else "learned" if change.mean > 0 else "worse"
    name = measure.title.lower()
    numbers = f"{name} {floor.score.mean:.2f} → {best.score.mean:.2f}"
    headline = {
        "learned": f"The LoRA learned “{facts.trigger}”: {numbers}.",
        "unclear": f"Whether the LoRA learned “{facts.trigger}” cannot be told: {numbers}.",
        "worse": f"The LoRA draws “{facts.trigger}” worse than the base alone: {numbers}.",
    }[outcome]
    what = "the trigger word alone" if best.role == "bare" else "the same prompts"
    sentences = [
        f"Drawn from {what}, with the same seeds: {_spoken(floor.score)} without the LoRA (the floor), "
        f"{_spoken(best.score)} with {best.checkpoint}.",
        f"The paired change is {_signed(change)}{_times(floor.score, best.score)}.",
    ]
    if undecided:
        sentences.append(f"With these pictures it cannot be told apart from {_listing(undecided)}.")
    if leak is not None and leak.change is not None and leak.change.low is not None and leak.change.low > 0:
        sentences.append(
            f"It leaks: without the trigger, too, {name} rises, from {leak.score.mean - leak.change.mean:.2f} to "
            f"{leak.score.mean:.2f}. Regularization pictures of the class hold that back."
        )
    sentences.append(f"{measure.title}: {measure.definition}")
    return Verdict(
        outcome=outcome,
        headline=headline,
        sentences=tuple(sentences),
        checkpoint=best.checkpoint,
        measure=measure.name,
        floor=floor.score,
        score=best.score,
        change=change,
    )


def _unjudged(facts: ReportFacts) -> Verdict:
    record = facts.record
    loss = f", loss {record.final_loss:.3f} at the end" if record.final_loss is not None else ""
    drawn = "Compare the pictures below" if facts.look else "Draw with it"
    return Verdict(
        outcome="unjudged",
        headline=f"“{facts.trigger or record.run}” is trained: {record.step:,} steps{loss}.",
        sentences=(
            f"No judge has measured it. {drawn}: only what is drawn shows whether the subject was learned; "
            "a training loss does not.",
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
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
        "first_look": facts.look.to_json() if facts.look else None,
        "metrics": [dict(row) for row in facts.metrics],
        "pictures": [{"path": str(path), "caption": caption} for path, caption in facts.pictures],
        "deliveries": [asdict(delivery) for delivery in facts.deliveries],
        "prompt_template": facts.prompt_template,
        "timings": {**facts.record.timings, **facts.timings},
        "notes": list(facts.notes),
    }
