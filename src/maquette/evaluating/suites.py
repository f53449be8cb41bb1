"""Prompt suites: what a LoRA is asked to draw, and what each prompt is there for (`LookPrompt.role`).

    quick     a prompt or a few of every role: enough to see what a LoRA does, done soon
    profile   several of every role, with every seed: what a choice stands on
    thirty    nine categories of three (close-up, full body, angles, environments, expressions, action, clothing, lighting,
              composition), the bare trigger, the class word and an unrelated prompt

A context counts as novel where no caption names what it asks for; one that captions name tells only what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from maquette.evaluating.suite_words import BLEED, DRIFT, NOVEL, POSES, THIRTY
from maquette.measuring.looks import LookPrompt
from maquette.project.profile import Detail, Kind, Profile
from maquette.words.class_words import with_article
from maquette.words.text import BREAKERS, COLOUR_WORDS, alike, has_word, words_of

SuiteName = Literal["quick", "profile", "thirty"]
_FEW = 2
"""Seeds of the prompts of a quick suite, all but the trigger alone."""
_OWN = 2
"""Of a person's own sample prompts, so many are in a quick suite."""


@dataclass(frozen=True, kw_only=True)
class SuiteSubject:
    """Who or what is drawn, as far as it is known: from a run's record, a profile, or the command line."""

    trigger: str
    class_word: str = ""
    profile: Profile | None = None
    captions: tuple[str, ...] = ()
    """What it was trained with, to know what is new to it."""
    samples: tuple[str, ...] = ()
    """A person's own prompts."""
    is_of_small_world: bool = False
    """Whether the base is the small world's, which knows no other words than its own."""

    @property
    def kind(self) -> Kind:
        return self.profile.kind if self.profile else "character"

    @property
    def opening(self) -> str:
        """What prompts begin with: as captions have it, the class word behind the trigger or not."""
        trigger = self.trigger or (self.profile.opening if self.profile else "")
        both = f"{trigger} {self.class_word}".strip()
        named = sum(has_word(caption, both) for caption in self.captions)
        return both if self.class_word and 2 * named >= len(self.captions) > 0 else trigger


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Prompts with their roles, and what could not be asked and why."""

    prompts: tuple[LookPrompt, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Size:
    """How many prompts of each role."""

    roles: Mapping[str, int] = field(default_factory=dict)
    seeds: int | None = None


_SIZES: Mapping[str, _Size] = MappingProxyType(
    {
        "quick": _Size(
            roles={"pose": 1, "novel": 3, "asymmetry": 1, "full": 1, "leak": 1, "bleed": 1, "drift": 1},
            seeds=_FEW,
        ),
        "profile": _Size(
            roles={"pose": 4, "novel": 6, "asymmetry": 3, "full": 2, "leak": 3, "bleed": 3, "drift": 4}
        ),
        "thirty": _Size(
            roles={"pose": 6, "novel": 11, "asymmetry": 3, "full": 2, "leak": 3, "bleed": 2, "drift": 2}
        ),
    }
)


def suite_of(name: SuiteName, subject: SuiteSubject) -> Suite:
    """Return the prompts of a suite for `subject`. What is not known of it is left out, and said."""
    from maquette.evaluating.world_suite import world_parts

    if not subject.opening:
        return _without_a_trigger(subject)
    parts = world_parts(subject) if subject.is_of_small_world else _parts(subject)
    notes = _missing(subject)
    if name == "thirty" and not subject.is_of_small_world:
        return Suite(prompts=_thirty(subject), notes=notes)
    size = _SIZES[name]
    found = [LookPrompt(text=subject.trigger or subject.opening, role="bare")]
    for role, count in size.roles.items():
        found += [LookPrompt(text=text, role=role, num_seeds=size.seeds) for text in parts[role][:count]]
    own = subject.samples if size.seeds is None else subject.samples[:_OWN]
    found += [LookPrompt(text=text, role="prompt", num_seeds=size.seeds) for text in own]
    return Suite(prompts=each_once(found), notes=notes)


def given_prompts(texts: Iterable[str], trigger: str) -> tuple[LookPrompt, ...]:
    """Return a person's own prompts; {trigger} stands for the trigger."""
    filled = (text.replace("{trigger}", trigger) for text in texts)
    return each_once(LookPrompt(text=text, role="bare" if text == trigger else "prompt") for text in filled)


def each_once(prompts: Iterable[LookPrompt]) -> tuple[LookPrompt, ...]:
    """Return the prompts without those whose text an earlier one has."""
    found: dict[str, LookPrompt] = {}
    for prompt in prompts:
        found.setdefault(prompt.text, prompt)
    return tuple(found.values())


def _without_a_trigger(subject: SuiteSubject) -> Suite:
    """Return captions as they are: without a trigger nothing else is known to call the subject."""
    own = subject.samples or tuple(subject.captions[:: max(1, len(subject.captions) // 4)][:4])
    drawn = [LookPrompt(text=text, role="prompt") for text in own]
    drift = [LookPrompt(text=text, role="drift", num_seeds=_FEW) for text in DRIFT[:2]]
    note = "No trigger is known: captions are drawn as they are, and neither the bare trigger nor novel contexts."
    return Suite(prompts=each_once([*drawn, *drift]), notes=(note,))


def _missing(subject: SuiteSubject) -> tuple[str, ...]:
    notes = []
    if not subject.class_word and subject.kind != "style":
        notes.append("No class word is known, so nothing is drawn without the trigger: --class-word WORD.")
    if not subject.captions:
        notes.append("No captions are known: contexts count as novel though they may have been trained.")
    return tuple(notes)


# --- what each role asks ---------------------------------------------------------------------------------


def _parts(subject: SuiteSubject) -> dict[str, list[str]]:
    """Return every prompt of every role, the most telling first."""
    kind = subject.kind
    ask = _asking(subject)
    return {
        "pose": [ask(pose) for pose in POSES[kind]],
        "novel": [ask(context) for context in novel_contexts(NOVEL[kind], subject.captions)],
        "asymmetry": [ask(text) for text in _sides(subject.profile)],
        "full": _full(subject),
        "leak": _leak(subject),
        "bleed": _others(BLEED[kind], subject.class_word),
        "drift": list(DRIFT),
    }


def _asking(subject: SuiteSubject) -> Callable[[str], str]:
    opening = subject.opening
    return lambda text: f"{opening}, {text}"


def novel_contexts(groups: Sequence[Sequence[str]], captions: Sequence[str]) -> list[str]:
    """Return the contexts that no caption names, of each group in turn.

    A context is named where one of its words, colours and small words aside, is in a caption, in whatever number or spelling.
    """
    named = {word.stem for caption in captions for word in words_of(caption)}
    kept = [[each for each in group if not is_named(each, named)] for group in groups]
    longest = max((len(group) for group in kept), default=0)
    return [group[index] for index in range(longest) for group in kept if index < len(group)]


def is_named(context: str, stems: Iterable[str]) -> bool:
    """Return whether what `context` asks for is among `stems` of caption words."""
    known = set(stems)
    own = {word.stem for word in words_of(context)} - BREAKERS - COLOUR_WORDS
    return any(stem in known or any(alike(stem, other) for other in known) for stem in own)


def _sides(profile: Profile | None) -> list[str]:
    """Return what shows the details that are on one side only: unnamed, then named."""
    details = profile.details if profile else ()
    if not details:
        return []
    views = [
        view for view in ("front", "three quarter", "side") if any(_shows(each, view) for each in details)
    ]
    unnamed = [f"full body, {view.replace(' ', '-')} view, standing, arms at the sides" for view in views]
    named = ", ".join(each.phrase for each in details if _shows(each, "front"))
    return [*unnamed[:1], *([f"full body, front view, {named}"] if named else []), *unnamed[1:]]


def _shows(detail: Detail, view: str) -> bool:
    return not detail.views or view in detail.views


def _full(subject: SuiteSubject) -> list[str]:
    """Return full descriptions: all that the profile says of the looks, else the captions that say most."""
    profile = subject.profile
    looks = [*profile.appearance, *(each.phrase for each in profile.details)] if profile else []
    if looks and subject.kind != "style":
        told = ", ".join([subject.opening, *looks])
        return [f"{told}, {pose}" for pose in POSES[subject.kind][:2]]
    telling = [each for each in subject.captions if has_word(each, subject.trigger or subject.opening)]
    return sorted(telling, key=lambda each: -len(words_of(each)))[:2]


def _leak(subject: SuiteSubject) -> list[str]:
    if not subject.class_word:
        return []
    called = with_article(subject.class_word)
    return [called, *(f"{called}, {pose}" for pose in POSES[subject.kind][:2])]


def _others(texts: Sequence[str], class_word: str) -> list[str]:
    """Return other subjects: those that are not of the class itself."""
    own = {word.stem for word in words_of(class_word)}
    return [text for text in texts if not own & {word.stem for word in words_of(text)}]


def _thirty(subject: SuiteSubject) -> tuple[LookPrompt, ...]:
    """Return the nine categories, and one each of the bare trigger, the class word and an unrelated prompt."""
    ask = _asking(subject)
    named = {word.stem for caption in subject.captions for word in words_of(caption)}
    found = [LookPrompt(text=subject.trigger or subject.opening, role="bare")]
    for texts in THIRTY[subject.kind].values():
        found += [
            LookPrompt(text=ask(text), role="pose" if is_named(text, named) else "novel") for text in texts
        ]
    found += [LookPrompt(text=text, role="leak") for text in _leak(subject)[:1]]
    drift = DRIFT[: 30 - len(found)]
    return each_once([*found, *(LookPrompt(text=text, role="drift") for text in drift)])
