"""What stands out in one caption, with its place in the text: what a person should look at while writing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maquette.project.profile import Profile
from maquette.words.appearance import appearance_in
from maquette.words.reading import contradictions, duplicates, preamble_in, refusal_in
from maquette.words.sides import side_mistakes
from maquette.words.text import has_word


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One thing in a caption. `start` to before `end` are its characters; equal where it is about something missing."""

    kind: str
    """appearance, side, trigger, contradiction, duplicate, answer."""
    start: int
    end: int
    text: str
    """What is wrong, in words."""


def marks_of(caption: str, profile: Profile | None) -> list[Mark]:
    """Return what stands out in a caption, in the order of its text; what is missing comes first."""
    return sorted(_marks(caption, profile), key=lambda mark: (mark.start, mark.end))


def _marks(caption: str, profile: Profile | None) -> Iterator[Mark]:
    if profile is not None:
        yield from _of_the_subject(caption, profile)
    for said in (refusal_in(caption), preamble_in(caption)):
        if said:
            yield _found(caption, said, "answer", "the captioning model's own talk, not the picture")
    for each in contradictions(caption):
        yield _found(
            caption, each.other, "contradiction", f"cannot be true beside '{each.one}' ({each.about})"
        )
    for part in duplicates(caption):
        yield _found(caption, part, "duplicate", "said twice")


def _of_the_subject(caption: str, profile: Profile) -> Iterator[Mark]:
    if not any(has_word(caption, trigger) for trigger in profile.triggers):
        yield Mark(kind="trigger", start=0, end=0, text=f"the trigger '{profile.trigger}' is missing")
    for hit in appearance_in(caption, profile):
        told = (
            f"the profile says '{hit.phrase}'"
            if hit.match == "other"
            else f"'{hit.phrase}' belongs to the trigger: leave it out"
        )
        yield Mark(kind="appearance", start=hit.start, end=hit.end, text=told)
    for mistake in side_mistakes(caption, profile):
        if mistake.kind == "missing" or not mistake.found:
            name = mistake.detail.name if mistake.detail else "a detail"
            yield Mark(kind="side", start=0, end=0, text=f"{name} should be named with its side")
        else:
            end = mistake.start + len(mistake.found)
            yield Mark(kind="side", start=mistake.start, end=end, text=f"{mistake.kind}: {mistake.found}")


def _found(caption: str, said: str, kind: str, text: str) -> Mark:
    place = max(caption.lower().rfind(said.strip().lower()), 0)
    return Mark(kind=kind, start=place, end=place + len(said.strip()), text=text)
