"""What each part of a caption is about: framing, view, pose, expression, looks, surroundings.

Parts are sorted by their words alone, in the order of `PATTERNS`; what nothing fits is `other` and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from maquette.words.appearance import head_of
from maquette.words.reading import framings_named, views_named
from maquette.words.text import HEX_COLOUR, STATES, parts_of, plain, same_part, word_set, words_of

Slot = Literal[
    "style",
    "trigger",
    "class",
    "people",
    "framing",
    "view",
    "pose",
    "expression",
    "looks",
    "clothes",
    "other",
    "detail",
    "light",
    "background",
    "palette",
    "finish",
]

PATTERNS: tuple[tuple[Slot, re.Pattern[str]], ...] = (
    ("palette", re.compile(r"^palette\b|^#[0-9a-f]{6}\b")),
    (
        "people",
        re.compile(
            r"^(solo|alone|\d\+?(boys?|girls?|others?)|(fe)?male focus|no humans|(a |an |the )?(young |old |adult )?"
            r"(man|woman|boy|girl|person|male|female|character|figure|humanoid))$"
        ),
    ),
    (
        "finish",
        re.compile(r"\b(borders?|outlines?|linework|cel shad\w+|flat shading|pixel edges|sharp edges|no anti ?aliasing)\b"),
    ),
    ("background", re.compile(r"\b(backgrounds?|backdrop)\b")),
    ("light", re.compile(r"\b(lighting|lights?$|(back|under|dimly |softly )lit|sunlight|moonlight|shadows?|glow(ing)?|haze)\b")),
    (
        "pose",
        re.compile(
            r"\b(stand(s|ing)?|sit(s|ting)?|seated|kneel\w*|squat\w*|crouch\w*|walk\w*|run(s|ning)?|jump\w*|leap\w*|lying|laying|"
            r"reclin\w*|lean(s|ing)?|fly(ing)?|float\w*|swim\w*|danc\w*|fight\w*|stance|poses?|posing|raised|raising|hold(s|ing)|"
            r"wield\w*|swing\w*|point(s|ing)|reach\w*|cross(ed|ing)|stretch\w*|bent|bow(s|ing)|turn(s|ed|ing)|looking back|"
            r"hands? (on|in|behind|up|over|together)|arms? (up|out|crossed|behind|raised|at|spread|folded)|action|mid ?air|idle|"
            r"t ?pose|a ?pose|salut\w*|wav(es|ing)|carry\w*|attack\w*|guard\w*|contrapposto|head tilt|tilted head)\b"
        ),
    ),
    (
        "expression",
        re.compile(
            r"\b(expression(less)?|smil\w+|smirk\w*|grin\w*|frown\w*|scowl\w*|laugh\w*|cry\w*|tears?|blush\w*|pout\w*|wink\w*|"
            r"angry|anger|furious|sad|happy|joyful|neutral|calm|serious|shocked|surpris\w*|pained|scared|afraid|worried|bored|tired|"
            r"sleepy|determined|embarrassed|(open|closed|parted) (mouth|lips|eyes?)|(mouth|eyes?) (open|closed|shut)|"
            r"clenched teeth|looking (at|away|to|up|down|aside|into)\b.*|gaz\w+|star(es|ing)|:d|:o|;d|xd)\b"
        ),
    ),
    (
        "background",
        re.compile(
            r"\b(indoors?|outdoors?|sky|clouds?|forest|trees?|grass|beach|ocean|sea|street|city|town|village|room|kitchen|bedroom|"
            r"office|school|park|garden|field|mountains?|desert|snow(ing)?|rain(ing)?|night|day(time)?|sunset|sunrise|dusk|dawn|"
            r"wall|floor|window|table|scenery|landscape|interior|ruins|stage|studio)$|^(in|on|at|inside|outside|against|near|beside|"
            r"in front of|surrounded by) (a|an|the|some|his|her|its|\w+)\b"
        ),
    ),
)  # fmt: skip

BODY = word_set(
    "hair hairstyle haircut bang fringe ponytail twintail pigtail braid bun ahoge sidelock mohawk afro eye iris pupil eyelash",
    "eyebrow skin complexion freckle mole scar tattoo beard moustache mustache goatee stubble sideburn breast abs muscle",
    "physique build horn fang tail fur whisker fin scale wing mane snout muzzle paw hooves",
)
"""Nouns of what a body has; with an adjective they are looks."""
BALD = frozenset({"bald", "bearded", "muscular", "freckled", "redhead", "brunette", "blonde"})
SKIN = re.compile(r"\bskin( tone| colou?r)*$")
CLOTHES = word_set(
    "shirt tshirt blouse jacket coat cloak cape mantle dress skirt pant trouser jean short legging tight stocking sock shoe boot",
    "sandal sneaker heel glove gauntlet mitten hat cap beret helmet crown tiara hood hoodie scarf bandana bandanna headband",
    "hairband hairclip hairpin belt vest sweater jumper cardigan uniform armor armour robe kimono yukata necktie tie bow ribbon",
    "necklace earring choker bracelet ring jewelry jewellery glasse eyeglasse spectacle sunglasse goggle mask eyepatch apron",
    "suit tuxedo swimsuit bikini leotard bodysuit jumpsuit overall sleeve collar pauldron bracer vambrace breastplate pouch",
    "holster backpack clothing clothe outfit costume garment footwear headwear eyewear legwear handwear undershirt underwear",
)
VARYING = {
    "clothes": word_set(
        "outfit outfits clothes clothing costume costumes dress wardrobe attire armor armour"
    ),
    "looks": word_set("hair hairstyle hairstyles haircut age body makeup appearance"),
}
"""Words of a profile's `varies` that turn a kind of look into something that captions should say."""


def split_parts(text: str, separator: str = ",") -> list[str]:
    """Return a caption's parts; colours that follow `palette:` stay one part with it."""
    parts: list[str] = []
    for part in parts_of(text, separator):
        in_palette = parts and plain(parts[-1]).startswith("palette")
        if in_palette and HEX_COLOUR.match(part):
            parts[-1] = f"{parts[-1]}{separator} {part}"
        else:
            parts.append(part)
    return parts


def slot_of(part: str) -> Slot:
    """Return what a part of a caption is about, without regard to any subject."""
    text = same_part(part)
    if framings_named([part]):
        return "framing"
    if views_named([part]):
        return "view"
    looks = looks_slot(part)
    if looks is not None:
        return looks
    return next((slot for slot, pattern in PATTERNS if pattern.search(text)), "other")


def looks_slot(part: str) -> Literal["looks", "clothes"] | None:
    """Return whether a part describes a body or what it wears; None for anything else, poses included."""
    words = words_of(part)
    if not words or any(word.text.lower() in STATES for word in words):
        return None
    if words[0].text.lower() == "wearing":
        return "clothes"
    head = head_of(part)
    if head in CLOTHES or any(word.stem in CLOTHES and word.text.endswith("less") for word in words):
        return "clothes"
    compound = words[-1].text.lower()
    if plain(part) in BALD or SKIN.search(plain(part)):
        return "looks"
    if head in BODY or compound.endswith(("-haired", "-eyed", "-skinned")):
        return "looks"
    return None


def unique_parts(parts: Iterable[str]) -> list[str]:
    """Return the parts without repetitions, the first of each kept."""
    seen: dict[str, str] = {}
    for part in parts:
        seen.setdefault(same_part(part), part)
    return [part for said, part in seen.items() if said]
