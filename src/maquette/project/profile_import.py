"""Another program's character file as a profile: keys that people use are understood, the others are noted.

Such files have no fixed form. A text with a side in it ("red glove on the right arm") becomes an asymmetric detail, other
words of appearance become `appearance`; sentences are not taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem
from maquette.project.profile import KINDS, Detail, Form, Profile

NAMES = ("name", "character_name", "character", "full_name", "title")
TRIGGERS = (
    "trigger",
    "trigger_word",
    "triggerword",
    "activation_text",
    "activation",
    "instance_token",
    "token",
)
CLASSES = ("class", "class_word", "class_token", "class_tokens", "class_name", "species")
KEYS_OF_KIND = ("kind", "type", "subject_type", "category")
APPEARANCE = (
    "appearance", "features", "distinctive_features", "distinguishing_features", "physical_features", "physical",
    "face", "outfit", "outfits", "clothing", "clothes", "costume", "attire", "accessories", "weapons", "weapon",
    "props", "markings", "visual", "visual_description", "looks",
)  # fmt: skip
WITH_NOUN = {"hair": "hair", "hair_color": "hair", "hair_colour": "hair", "eyes": "eyes", "eye": "eyes",
             "eye_color": "eyes", "eye_colour": "eyes", "skin": "skin", "skin_tone": "skin", "fur": "fur",
             "beard": "beard", "eyebrows": "eyebrows", "nose": "nose", "build": "build", "body": "build"}  # fmt: skip
"""Keys whose bare adjectives need the noun: `hair: ginger` means `ginger hair`."""
NOUNS_OF_HAIR = (
    "curls",
    "locks",
    "braids",
    "dreadlocks",
    "ponytail",
    "pigtails",
    "bun",
    "afro",
    "mohawk",
    "bald",
    "fringe",
)
DETAILS = ("details", "asymmetric", "asymmetric_details", "asymmetries", "asymmetry")
PALETTES = ("palette", "colors", "colours", "color_palette", "colour_palette")
REFERENCES = ("references", "reference", "reference_images", "reference_image", "reference_pictures")
STYLES = ("style", "style_words", "art_style")
VARIES = ("varies", "variations", "vary")
FORMS = ("forms", "variants", "alternate_forms")
PROSE = ("description", "caption_prefix", "summary", "prompt", "bio")
WRAPPERS = ("character", "profile", "subject")
ADJECTIVE_ORDER = ("size", "length", "shape", "texture", "style", "tone", "shade", "color", "colour")

SIDED = re.compile(r"\b(left|right)\b", re.IGNORECASE)
PARTS = (
    "upper arm", "forearm", "arm", "hand", "wrist", "elbow", "shoulder", "knee", "thigh", "shin", "leg", "ankle", "foot",
    "ear", "eye", "eyebrow", "cheek", "temple", "hip", "chest", "side", "horn", "wing", "sleeve", "hair",
)  # fmt: skip
HEX = re.compile(r"#?([0-9a-fA-F]{6})")
LONGEST_PHRASE = 8
"""Words; anything longer is a sentence, and is not taken as appearance."""

VIEW_WORDS = {
    "front": ("front", "front view", "frontal", "from front"),
    "three quarter": (
        "three quarter",
        "three quarters",
        "3/4",
        "34",
        "quarter",
        "three quarter view",
        "3/4 view",
    ),
    "side": ("side", "side view", "profile", "side profile", "from side"),
    "back": ("back", "back view", "rear", "behind", "from behind", "rear view"),
}


def view_named(written: str) -> str | None:
    """Return the view that a person's word for it means: `3/4` and `three-quarter view` are `three quarter`."""
    word = " ".join(re.sub(r"[-_]", " ", written.lower()).split())
    return next((view for view, words in VIEW_WORDS.items() if word in words), None)


def detail_from_text(text: str) -> Detail | None:
    """Return the detail that `right arm red glove` or `red glove on the right arm` says; None without one side."""
    sides = {side.lower() for side in SIDED.findall(text)}
    if len(sides) != 1:
        return None
    rest = " ".join(re.sub(r"[-_]", " ", text).split())
    part = r"(?P<part>" + "|".join(PARTS) + r")"
    behind = re.fullmatch(rf"(?P<name>.+?),? (?:on|at|over|around|in|of) (?:the |his |her |its |their )?"
                          rf"(?P<side>left|right)(?: {part})?", rest, re.IGNORECASE)  # fmt: skip
    ahead = re.fullmatch(rf"(?:the )?(?P<side>left|right)(?: {part})?:? (?:has |with )?(?:a |an )?(?P<name>.+)",
                         rest, re.IGNORECASE)  # fmt: skip
    match = behind or ahead
    if match is None or SIDED.search(match["name"]):
        return None
    name = re.sub(r"^(a|an|the) ", "", match["name"].lower())
    return Detail(
        name=name, side="left" if sides == {"left"} else "right", part=(match["part"] or "").lower()
    )


def profile_from_sheet(sheet: Any, path: Path) -> Profile:
    """Return what `sheet` (parsed YAML or JSON) says of a subject. Raises ConfigError when it names no trigger."""
    if not isinstance(sheet, Mapping):
        given = f"a {type(sheet).__name__}" if sheet is not None else "nothing in it"
        problem = Problem(
            str(path), given, "keys and values that describe a character", "Or write a profile.toml."
        )
        raise ConfigError(problem)
    reading = _Reading(path.parent)
    reading.take(_unwrapped(sheet))
    trigger = reading.trigger or reading.trigger_from_name()
    if not trigger and not reading.style:
        required = "a trigger: the invented word that means the subject"
        raise ConfigError(Problem(str(path), "no key names one", required, "Add a line  trigger: my_word"))
    return Profile(
        kind=reading.kind_or_guess(),
        trigger=trigger,
        class_word=reading.class_word,
        appearance=tuple(dict.fromkeys(reading.appearance)),
        details=tuple(dict.fromkeys(reading.details)),
        references=tuple(reading.references),
        palette=tuple(dict.fromkeys(reading.palette)),
        varies=tuple(reading.varies),
        style=tuple(reading.style),
        forms=tuple(reading.forms),
        source=path,
        notes=tuple(reading.notes),
    )


def _unwrapped(sheet: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the inner table where everything stands below one key `character:`, other keys beside it."""
    for key, value in sheet.items():
        if _plain(key) in WRAPPERS and isinstance(value, Mapping):
            return {**{k: v for k, v in sheet.items() if k != key}, **value}
    return sheet


@dataclass
class _Reading:
    """What was understood so far."""

    folder: Path
    name: str = ""
    trigger: str = ""
    class_word: str = ""
    kind: str = ""
    appearance: list[str] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    references: list[Path] = field(default_factory=list)
    palette: list[str] = field(default_factory=list)
    varies: list[str] = field(default_factory=list)
    style: list[str] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, sheet: Mapping[Any, Any]) -> None:
        for written, value in sheet.items():
            if value is not None and value != "" and value != []:
                self._key(_plain(written), str(written), value)

    def _key(self, key: str, written: str, value: Any) -> None:
        if key in NAMES and isinstance(value, str):
            self.name = self.name or value.strip()
        elif key in TRIGGERS and isinstance(value, str):
            self.trigger = value.strip()
        elif key in CLASSES and isinstance(value, str):
            self.class_word = value.strip()
        elif key in KEYS_OF_KIND and isinstance(value, str):
            self._kind(value)
        elif key in APPEARANCE:
            self._looks(written, value)
        elif key in WITH_NOUN:
            self._described(written, WITH_NOUN[key], value)
        elif key in DETAILS:
            self._details(written, value)
        elif key in PALETTES:
            self._colours(written, value)
        elif key in REFERENCES:
            self._references(value)
        elif key in STYLES:
            self.style += list(_phrases(value))
        elif key in VARIES:
            self.varies += list(_phrases(value))
        elif key in FORMS:
            self._forms(written, value)
        elif key in PROSE and isinstance(value, str):
            self._prose(written, value)
        else:
            self.notes.append(f"The key '{written}' was not understood and is left out.")

    def _kind(self, value: str) -> None:
        word = value.strip().lower()
        if word in KINDS:
            self.kind = word
        else:
            self.class_word = self.class_word or value.strip()
            self.notes.append(f"'{value}' is no kind of subject ({', '.join(KINDS)}); taken as class word.")

    def _looks(self, written: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for inner, content in value.items():
                key = _plain(inner)
                if key in WITH_NOUN:
                    self._described(str(inner), WITH_NOUN[key], content)
                elif SIDED.search(str(inner).replace("_", " ")):
                    for phrase in _phrases(content):
                        self._phrase(written, f"{str(inner).replace('_', ' ')} {phrase}")
                else:
                    self._looks(f"{written}.{inner}", content)
            return
        for phrase in _phrases(value):
            self._phrase(written, phrase)

    def _described(self, written: str, noun: str, value: Any) -> None:
        if isinstance(value, Mapping):
            ordered = sorted(value.items(), key=lambda pair: _adjective_rank(_plain(pair[0])))
            words = " ".join(phrase for _, content in ordered for phrase in _phrases(content))
            phrases = [words] if words else []
        else:
            phrases = list(_phrases(value))
        for phrase in phrases:
            has_noun = noun.rstrip("s") in phrase.lower() or phrase.lower().split()[-1] in NOUNS_OF_HAIR
            self._phrase(written, phrase if has_noun else f"{phrase} {noun}")

    def _phrase(self, written: str, phrase: str) -> None:
        if SIDED.search(phrase):
            detail = detail_from_text(phrase)
            if detail is not None:
                self.details.append(detail)
            else:
                self.notes.append(
                    f"'{phrase}' ({written}) names a side in a way that was not understood; it is left out."
                )
        elif len(phrase.split()) > LONGEST_PHRASE:
            self.notes.append(
                f"'{phrase}' ({written}) is a sentence; write its words of appearance one by one."
            )
        else:
            self.appearance.append(phrase)

    def _details(self, written: str, value: Any) -> None:
        if isinstance(value, Mapping) and not {"name", "side"} <= {_plain(key) for key in value}:
            self._looks(written, value)
            return
        for each in value if isinstance(value, list) else [value]:
            table = (
                {_plain(key): content for key, content in each.items()} if isinstance(each, Mapping) else {}
            )
            side, name = str(table.get("side", "")).lower(), str(table.get("name", "")).strip()
            if side in ("left", "right") and name:
                views = (view_named(str(view)) for view in table.get("views") or ())
                self.details.append(
                    Detail(
                        name=name,
                        side="left" if side == "left" else "right",
                        part=str(table.get("part", "")),
                        views=tuple(view for view in views if view),
                    )
                )
            elif isinstance(each, str):
                self._phrase(written, each)
            else:
                self.notes.append(
                    f"A detail below '{written}' has no name and side, and is left out: {each!r}."
                )

    def _colours(self, written: str, value: Any) -> None:
        for text in (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        ):
            match = HEX.fullmatch(str(text).strip())
            if match:
                self.palette.append(f"#{match[1].lower()}")
            else:
                self.notes.append(f"'{text}' ({written}) is no colour like #a0b1a6, and is left out.")

    def _references(self, value: Any) -> None:
        for text in value if isinstance(value, list) else [value]:
            path = (self.folder / Path(str(text)).expanduser()).resolve()
            if path.exists():
                self.references.append(path)
            else:
                self.notes.append(f"The reference {text} is not there, and is left out.")

    def _forms(self, written: str, value: Any) -> None:
        named = value.items() if isinstance(value, Mapping) else [("", each) for each in value]
        for name, table in named:
            inner = _Reading(self.folder)
            if isinstance(table, Mapping):
                inner.take(table)
            title = inner.name or str(name)
            if inner.trigger and title:
                self.forms.append(Form(name=title, trigger=inner.trigger, appearance=tuple(inner.appearance),
                                       details=tuple(inner.details)))  # fmt: skip
                self.notes += inner.notes
            else:
                self.notes.append(
                    f"A form below '{written}' has no name and trigger of its own, and is left out."
                )

    def _prose(self, written: str, value: str) -> None:
        """A list of short phrases is appearance; sentences are for a person to take apart."""
        phrases = list(_phrases(value))
        if len(phrases) >= 2 and "." not in value.rstrip("."):
            for phrase in phrases:
                self._phrase(written, phrase)
            self.notes.append(
                f"'{written}' was taken as words of appearance; check that each always belongs to the subject."
            )
        else:
            self.notes.append(
                f"'{written}' is prose and was not taken apart; write appearance as a list of short phrases."
            )

    def trigger_from_name(self) -> str:
        if self.name and " " not in self.name:
            self.notes.append(f"No trigger is given; the name '{self.name}' is taken for it.")
            return self.name
        return ""

    def kind_or_guess(self) -> Any:
        if self.kind:
            return self.kind
        guess = "style" if self.style and not self.appearance and not self.details else "character"
        self.notes.append(f"No kind is given; '{guess}' is assumed.")
        return guess


def _plain(key: Any) -> str:
    return re.sub(r"[\s-]+", "_", str(key).strip().lower())


def _phrases(value: Any) -> Iterator[str]:
    """Yield the short texts in a text (comma-separated), a list or a table of them."""
    if isinstance(value, str):
        yield from (" ".join(part.split()).rstrip(".") for part in re.split(r"[,;\n]", value) if part.strip())
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _phrases(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _phrases(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _adjective_rank(key: str) -> int:
    return next((rank for rank, word in enumerate(ADJECTIVE_ORDER) if word in key), 0)
