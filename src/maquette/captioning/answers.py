"""From a source's answer to a draft: cleaned, arranged under the strategy, and refused where it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from maquette.captioning.arrange import arrange, subject_parts
from maquette.captioning.options import MAX_TOKENS
from maquette.captioning.records import Answer, Draft, Target
from maquette.captioning.strategies import Strategy
from maquette.project.profile import Profile
from maquette.words.phrases import split_parts
from maquette.words.reading import (
    SideMistake,
    appearance_in,
    contradictions,
    mentions,
    refusal_in,
    side_mistakes,
)

"""Tokens that a text encoder sees at once, begin and end not counted."""
TOO_MANY_WORDS = 400
"""A source that says more than this has not understood what it was asked."""

THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>|^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
SPECIAL = re.compile(r"</?s>|<pad>|<\|[^|>]*\|>")
FENCE = re.compile(r"^```\w*\n|\n```$|```")
LABEL = re.compile(
    r"^\W*(?:(?:here(?:'s| is)|sure|certainly|of course)\b[^:\n]*:\s*|"
    r"(?:captions?|tags|description|output|answer|prompt)\s*:\s*)",
    re.IGNORECASE,
)
SHOWS = re.compile(
    r"^\s*(?:the|this|in (?:the|this)) (?:image|picture|photo|photograph|illustration|drawing)(?: \w+){0,2}? "
    r"(?:shows?|depicts?|features?|displays?|presents?|contains?|captures?|portrays?|is of)\s+",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[a-z)\]\"'])[.!?;](?:\s+|$)")
LIST_MARK = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s+")
QUOTES = "\"'“”„`*_ \n\t"


@dataclass(frozen=True)
class Judge:
    """What every answer of one run is held against."""

    strategy: Strategy
    profile: Profile
    count_tokens: Callable[[str], int]
    max_tokens: int = MAX_TOKENS
    literal: bool = False
    """The source writes whole captions in an order of its own (a template): they are checked, not rearranged."""
    fill_in: bool = False

    def draft(self, target: Target, answer: Answer) -> Draft:
        """Return the caption made of an answer, or the reasons against it."""
        if answer.failed:
            return Draft(target=target, reasons=(answer.failed,), is_final=False)
        if answer.refused:
            return Draft(target=target, said=answer.text, reasons=(answer.refused,))
        said = answer.text.strip() if self.literal else cleaned(answer.text)
        reasons = tuple(self._against_answer(said))
        if reasons:
            return Draft(target=target, said=answer.text, reasons=reasons)
        text = said
        if not self.literal:
            text = arrange(said, self.strategy, self.profile, about=target.existing, fill_in=self.fill_in)
        return Draft(
            target=target, said=answer.text, text=text, reasons=tuple(self._against_caption(text, said))
        )

    def _against_answer(self, said: str) -> Iterator[str]:
        """Yield what is wrong with an answer as it was given, before it is cleaned of appearance."""
        if not said:
            yield "empty"
            return
        words = refusal_in(said)
        if words:
            yield f'no caption but "{words}"'
        if len(said.split()) > TOO_MANY_WORDS:
            yield f"too long: {len(said.split())} words"
        # A tagger's bare `gloves` in a back view is only taken out; a side that was looked at is a claim.
        claimed = {mention.start for mention in mentions(said, self.profile) if mention.side is not None}
        for mistake in side_mistakes(said, self.profile):
            hidden = mistake.kind == "not in view" and mistake.start in claimed
            if hidden or mistake.kind in ("wrong side", "face from behind"):
                yield side_reason(mistake)

    def _against_caption(self, text: str, said: str) -> Iterator[str]:
        """Yield what is wrong with the caption as it would be written."""
        if not text.strip() or (said and not self.literal and not self._says_something(text)):
            yield "nothing is left of it once the subject's own looks are taken out"
            return
        if "\n" in text:
            yield "more than one line"
        tokens = self.count_tokens(text)
        if tokens > self.max_tokens:
            yield f"too long: {tokens} tokens, {self.max_tokens} are read"
        if self.strategy.hides_appearance:
            for hit in appearance_in(text, self.profile):
                yield f'"{hit.found}" describes what the trigger should carry ({hit.phrase})'
        for mistake in side_mistakes(text, self.profile):
            if mistake.kind != "missing":
                yield side_reason(mistake)
        for pair in contradictions(text):
            yield f'"{pair.one}" and "{pair.other}" contradict each other ({pair.about})'

    def _says_something(self, text: str) -> bool:
        return bool(subject_parts(text, self.strategy, self.profile))


def side_reason(mistake: SideMistake) -> str:
    """Return a side mistake as a reason."""
    detail = mistake.detail
    if mistake.kind == "wrong side" and detail is not None:
        return f'"{mistake.found}" is said on the {mistake.said}, the profile has it on the {detail.side}'
    if mistake.kind == "no side" and detail is not None:
        return f'"{mistake.found}" is said without its side ({detail.side})'
    if mistake.kind == "not in view":
        return f'"{mistake.found}" cannot be seen in this view'
    return f'"{mistake.found}" cannot be seen from behind'


def cleaned(answer: str) -> str:
    """Return an answer as comma-separated phrases on one line: thoughts, labels, quotes, lists and full stops taken out."""
    text = SPECIAL.sub(" ", THOUGHT.sub("", answer)).strip()
    text = FENCE.sub("", text).strip()
    text = LABEL.sub("", text).strip(QUOTES)
    text = LIST_MARK.sub(", ", text)
    text = text.replace("**", "")
    text = SHOWS.sub("", text)
    text = SENTENCE_END.sub(", ", text)
    parts = split_parts(" ".join(re.sub(r"\s*\n+\s*", ", ", text).split()))
    return ", ".join(part for part in (each.strip(QUOTES).rstrip(".") for each in parts) if part)


def same_for_all(drafts: list[Draft], least: int = 3) -> bool:
    """Say whether a source said one and the same of every picture, as a broken or blind model does."""
    said = {cleaned(draft.said) for draft in drafts if draft.said}
    return len(said) == 1 and sum(bool(draft.said) for draft in drafts) >= least
