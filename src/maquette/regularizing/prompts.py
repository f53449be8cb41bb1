"""Prompts for pictures of the class: templates whose choices are dealt out evenly, the same for every number of pictures.

    "photo of {class}, {front view|side view|back view}, {daylight|lamplight}"

Each group of choices is dealt like a deck of cards: every choice once before any comes again, each deck shuffled by the
seed. So the first fifty prompts are the same whether fifty or five hundred are asked for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from maquette.errors import ConfigError, Problem
from maquette.project.profile import Kind
from maquette.words.class_words import with_article

CLASS = "{class}"

_PEOPLE_SHOTS = (
    "{full body, front view|full body, three-quarter view|full body, side view|full body, back view|upper body, front view|"
    "upper body, three-quarter view|upper body, side view|face close-up, front view|face close-up, three-quarter view}"
)
_PLACES = (
    "{white background|grey background|in a street|in a forest|in a room|by the sea|in a park|on a stage}"
)
_LIGHT = "{soft light|bright daylight|evening light|light from behind|lamplight}"
_FACES = "{neutral expression|smiling|serious|laughing|surprised|eyes closed}"
_POSES = "{standing|walking|sitting|running|arms crossed|waving|hands on hips|looking over the shoulder|kneeling|jumping}"

TEMPLATES: dict[Kind, tuple[str, ...]] = {
    "character": (f"{CLASS}, {_PEOPLE_SHOTS}, {_POSES}, {_FACES}, {_PLACES}, {_LIGHT}",),
    "person": (f"photo of {CLASS}, {_PEOPLE_SHOTS}, {_POSES}, {_FACES}, {_PLACES}, {_LIGHT}",),
    "object": (
        f"photo of {CLASS}, {{from the front|from the side|from behind|from above|three-quarter view|close-up}}, "
        "{on a wooden table|on a white surface|on the floor|on grass|on a shelf|held in a hand|on sand}, "
        + _LIGHT,
    ),
    "style": (
        f"{CLASS} of {{a woman|a man|a child|an old man|a cat|a dog|a horse|a bird|a tree|a house|a street|a mountain|a boat|"
        "a car|a bowl of fruit|a flower|a room|a castle}, {close-up|seen from afar|in the middle of the picture}, "
        "{daylight|evening|night|overcast}",
    ),
}
"""What is drawn for each kind of subject: the class alone, in as many ways as training pictures may show it."""

_GROUP = re.compile(r"\{([^{}]*)\}")


def prompts_for(templates: Sequence[str], class_word: str, count: int, seed: int) -> list[str]:
    """Return `count` prompts, the templates taken in turn. Raises ConfigError for a template without an end or choices."""
    problems = [problem for template in templates for problem in template_problems(template)]
    if problems or not templates:
        raise ConfigError(problems or Problem("prompts", "none given", "one or more", "Give --prompt."))
    streams = [
        _prompts(template, with_article(class_word), random.Random(f"{seed}:{number}:{template}"))
        for number, template in enumerate(templates)
    ]
    return [next(streams[index % len(streams)]) for index in range(count)]


def template_problems(template: str) -> list[Problem]:
    """Return what keeps a template from being used."""
    rest = _GROUP.sub("", template)
    if "{" in rest or "}" in rest:
        return [
            Problem("--prompt", f"'{template}'", "braces in pairs, not nested", "Close each group: {a|b}.")
        ]
    known = [group for group in _GROUP.findall(template) if "|" not in group and group != "class"]
    return [
        Problem("--prompt", f"{{{group}}}", "choices {a|b}, or {class}", "Write out what it stands for.")
        for group in known
    ]


def _prompts(template: str, class_words: str, generator: random.Random) -> Iterator[str]:
    parts = re.split(r"(\{[^{}]*\})", template.replace(CLASS, class_words))
    decks = [_deck(part[1:-1].split("|"), generator) if part.startswith("{") else None for part in parts]
    while True:
        yield "".join(part if deck is None else next(deck) for part, deck in zip(parts, decks, strict=True))


def _deck(choices: Sequence[str], generator: random.Random) -> Iterator[str]:
    """Deal the choices for ever; its own generator, so that decks do not depend on one another's lengths."""
    own = random.Random(generator.random())
    while True:
        yield from own.sample(choices, len(choices))
