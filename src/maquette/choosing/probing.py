"""Which words of the captions are at fault where the trigger is decoupled from its subject, by drawings made to find out.

The trigger alone, the trigger with each word that most captions share, and with all of them, drawn with the base alone, the
chosen checkpoint and the last one, on the same seeds. A word is at fault as far as it adds identity to the trigger. Where it adds
as much to the base, the base knew it, and nothing was left for the trigger to mean; else the LoRA hung the subject on it.

RUN/evaluation/probes/first_look.json  pictures/…   as any look
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from maquette.choosing.caption_words import phrases_beside
from maquette.choosing.decide import widened
from maquette.choosing.options import SelectOptions
from maquette.choosing.suspicions import REMEDY
from maquette.evaluating.asked import Asked, asked_of
from maquette.evaluating.base import load_base
from maquette.evaluating.first_look import LookCheckpoint, first_look
from maquette.evaluating.measurers import measuring_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import plan_of, references_for
from maquette.evaluating.suites import SuiteSubject
from maquette.events import Message, Stage
from maquette.measuring.looks import FLOOR, FirstLook, LookPrompt
from maquette.measuring.measure import measured
from maquette.measuring.statistics import estimate
from maquette.runs.choice import Choice, Probe, Suspicion
from maquette.runs.folder import RunFolder
from maquette.spoken import counted

FOLDER = "probes"
DECOUPLED: Literal["trigger decoupled"] = "trigger decoupled"
UNLEARNED: Literal["never learned"] = "never learned"
SEEDS = (1, 2, 3, 4)
MOST_PHRASES = 6
MOST_PROBED = 3 * (MOST_PHRASES + 2) * len(SEEDS)
"""Pictures: of the base, the chosen checkpoint and the last one, with the trigger alone, each phrase and all of them."""
TOGETHER = "all of them together"


def with_probes(choice: Choice, folder: RunFolder, options: SelectOptions) -> Stage[Choice]:
    """Return the choice with the words at fault drawn and named, where it says that the trigger is decoupled; else as it is."""
    if not any(each.kind in (DECOUPLED, UNLEARNED) for each in choice.suspicions):
        return choice
    asked = asked_of([folder.path], EvaluateOptions(references=options.references, encoder=options.encoder))
    subject = asked.settings.subject
    phrases = phrases_beside(
        asked.captions, subject.trigger, class_word=subject.class_word, most=MOST_PHRASES
    )
    columns = _columns(choice, asked)
    if not phrases or not columns:
        return choice
    prompts = _prompts(asked, [phrase for phrase, _ in phrases])
    yield Message(
        f"The trigger alone does not draw the subject: {counted(len(phrases), 'phrase')} of the captions are drawn with it, one "
        "by one, to find those at fault."
    )
    look = yield from _drawn(asked, columns, prompts, folder, options)
    shares = {**dict(phrases), TOGETHER: 1.0}
    probes = tuple(
        probe
        for column in columns
        for phrase, prompt in zip(shares, prompts[1:], strict=False)
        if (probe := _probe(look, column.label, phrase, shares[phrase], prompts[0], prompt, len(phrases)))
        is not None
    )
    return told_by(choice, probes)


def told_by(choice: Choice, probes: Sequence[Probe]) -> Choice:
    """Return the choice with its suspicion told by what was drawn.

    A run that seemed to have learned nothing, and draws the subject by the captions' words, has its trigger decoupled.
    """
    own = [each for each in probes if each.label == choice.label]
    fault = sorted(
        (each for each in own if each.is_at_fault and each.word != TOGETHER), key=lambda each: -each.gain
    )
    if not own:
        return choice
    sentence = _sentence(own, fault)
    suspicions = tuple(_with_words(each, sentence, fault) for each in choice.suspicions)
    return replace(choice, probes=tuple(probes), suspicions=suspicions, reasons=(*choice.reasons, sentence))


def _with_words(suspicion: Suspicion, sentence: str, fault: Sequence[Probe]) -> Suspicion:
    if suspicion.kind == DECOUPLED:
        words = tuple(each.word for each in fault) or suspicion.words
        return replace(suspicion, told=f"{suspicion.told} {sentence}", words=words)
    if suspicion.kind == UNLEARNED and fault:
        return replace(
            suspicion,
            kind=DECOUPLED,
            told=f"{suspicion.told} It is the captions' words that draw the subject, not the trigger. {sentence}",
            remedy=REMEDY,
            words=tuple(each.word for each in fault),
        )
    return suspicion


def _sentence(own: Sequence[Probe], fault: Sequence[Probe]) -> str:
    """Say which words bring the subject back, and which were found to bring nothing."""
    together = next((each for each in own if each.word == TOGETHER), None)
    whole = f"; all of them together {_signed(together)}" if together is not None else ""
    if not fault:
        return f"Drawn word by word, no word of the captions by itself brings more of the subject than the trigger{whole}."
    told = ", ".join(f"“{each.word}” {_signed(each)}" for each in fault)
    rest = [each.word for each in own if each not in fault and each.word != TOGETHER]
    idle = f" No more than noise: {', '.join(f'“{word}”' for word in rest)}." if rest else ""
    known = [each.word for each in fault if each.of_base >= each.gain / 2]
    base = (
        " The base alone draws it from these words as well, so they left the trigger little to mean."
        if known
        else ""
    )
    return f"Drawn word by word, with the trigger these bring the subject: {told}{whole}.{base}{idle}"


def _signed(probe: Probe) -> str:
    if probe.low is None or probe.high is None:
        return f"{probe.gain:+.2f}"
    return f"{probe.gain:+.2f} (95 % {probe.low:+.2f} to {probe.high:+.2f})"


def _columns(choice: Choice, asked: Asked) -> list[LookCheckpoint]:
    """Return the chosen checkpoint at its strength, and the last one where that is another."""
    files = {entry.path.name: entry for entry in asked.checkpoints}
    chosen = files.get(PurePath(choice.checkpoint).name)
    if chosen is None:
        return []
    found = [replace(chosen, label=choice.label, strength=choice.strength)]
    last = asked.checkpoints[-1]
    return found if last.path == chosen.path else [*found, last]


def _prompts(asked: Asked, phrases: Sequence[str]) -> list[str]:
    """Return the trigger alone, with each phrase, and with all of them, as captions begin."""
    subject = asked.settings.subject
    opening = SuiteSubject(
        trigger=subject.trigger, class_word=subject.class_word, captions=asked.captions, profile=asked.profile
    ).opening
    several = [", ".join([opening, *phrases])] if len(phrases) > 1 else []
    return [opening, *(f"{opening}, {phrase}" for phrase in phrases), *several]


def _drawn(
    asked: Asked,
    columns: Sequence[LookCheckpoint],
    prompts: Sequence[str],
    folder: RunFolder,
    options: SelectOptions,
) -> Stage[FirstLook]:
    model = load_base(asked.settings)
    shown = tuple(LookPrompt(text=text, role="bare") for text in prompts)
    plan = replace(plan_of(asked.settings, shown, SEEDS, model, size_wh=asked.size_wh), beside=asked.beside)
    look = yield from first_look(model, columns, plan, folder.evaluation / FOLDER)
    measuring = measuring_of(
        look, references_for(asked, options.references), asked.training, encoder=options.encoder
    )
    return (yield from measured(look, measuring.measurers))


def _probe(
    look: FirstLook, label: str, phrase: str, share: float, bare: str, prompt: str, looks: int
) -> Probe | None:
    """Return what `phrase` adds to the trigger under a column, paired over seeds, with an interval for one of `looks`."""
    gains = {column: _gains(look, column, bare, prompt) for column in (label, FLOOR)}
    if None in gains.values():
        return None
    found, base = (estimate([gains[column] or []]) for column in (label, FLOOR))
    found = widened(found, looks)
    return Probe(
        word=phrase,
        share=share,
        label=label,
        gain=found.mean,
        low=found.low,
        high=found.high,
        of_base=base.mean,
        pictures=2 * len(SEEDS),
    )


def _gains(look: FirstLook, column: str, bare: str, prompt: str) -> list[float] | None:
    """Return by how much identity under `prompt` exceeds that under the trigger alone, seed by seed; None where not measured."""
    pairs = [
        [look.find(column, text, seed).scores.get("identity") for text in (prompt, bare)] for seed in SEEDS
    ]
    found = [one - other for one, other in pairs if one is not None and other is not None]
    return found if len(found) == len(SEEDS) else None
