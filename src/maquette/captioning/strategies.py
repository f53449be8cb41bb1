"""Caption strategies: what a caption names, what it leaves to the trigger, in which order, and what follows from it.

What captions name stays changeable at drawing time and fires only when it is named; what they leave out sinks into the
trigger word. The figures come from a trial on this project's small world: rank 8, 15 pictures, 500 steps, one seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.profile import Profile
from maquette.words.phrases import Slot


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to caption a whole dataset."""

    name: str
    summary: str
    order: tuple[Slot, ...]
    """The order of a caption's parts; slots missing here stay where `other` stands."""
    leaves_out: frozenset[Slot]
    hides_appearance: bool
    """Whether the profile's appearance is left to the trigger, and a caption that names it is refused."""
    wanted: str
    """What a model is asked to describe."""
    explanation: str
    """For the person: format, example, consequence, in a few lines."""


_CHARACTER = Strategy(
    name="character",
    summary="pose, framing, expression, background; looks are left to the trigger, save what shows on one side only",
    order=(
        *("trigger", "framing", "view", "pose", "expression", "clothes", "other", "detail"),
        *("light", "background", "palette", "finish"),
    ),
    leaves_out=frozenset({"people", "looks", "clothes", "class"}),
    hides_appearance=True,
    wanted=(
        "framing (full body, upper body, closeup face), view (front view, three quarter view, side view, back view), "
        "pose and action, facial expression where a face shows, background"
    ),
    explanation="""\
character: the trigger first, then framing, view, pose, expression, the asymmetric details that this view shows, background.
  spyke_plasma_v1, full body, front view, standing neutral, right arm red fingerless glove, white background
Left out: hair, eyes, clothes, whatever the profile calls appearance. Pictures teach it, and the bare trigger word draws it.
Kept: what the subject has on one side only, since without words nothing tells a model left from right.
Consequence, measured on the small world: identity from the bare trigger 0.86 (detailed captions: 0.24, as without a LoRA);
the glove is on its hand when the prompt names it (1.00), and seldom drawn when it does not (0.00). The price: the look leaks
onto characters drawn without the trigger (0.89; detailed 0.28) and may resist editing. Regularization pictures are the remedy
for the leak. What should stay changeable (outfit, hairstyle) belongs into the profile's `varies`.""",
)

_STYLE = Strategy(
    name="style",
    summary="the style's words first, then everything that is in the picture",
    order=("style", "trigger", "other", "palette", "finish"),
    leaves_out=frozenset(),
    hides_appearance=False,
    wanted=(
        "everything that is in the picture: who or what, hair, face, clothes, objects, background, colours; "
        "but not the manner of drawing, which is said already"
    ),
    explanation="""\
style: the profile's style words first, the trigger where there is one, then the contents in full, palette and edges last.
  pixel art, 24x24, portrait of bespoke punk lady, brown hair, grey background, palette: #a0b1a6, #4f2526, sharp pixel edges
Contents are named so that they do not become part of the style; the manner of drawing is named by the same words in every
caption, so that those words carry it. Put the style words into every prompt when drawing.
Consequence: a content left unnamed that most pictures share (one face, one background) is learned as style and comes along
with every picture. keep_tokens should protect as many parts as there are style words when captions are shuffled.""",
)

_OBJECT = Strategy(
    name="object",
    summary="the trigger and its class word, how it is seen and where it stands; its looks are left to the trigger",
    order=(
        *(
            "trigger",
            "class",
            "framing",
            "view",
            "pose",
            "other",
            "detail",
            "expression",
            "people",
            "clothes",
            "looks",
        ),
        *("light", "background", "palette", "finish"),
    ),
    leaves_out=frozenset(),
    hides_appearance=True,
    wanted=(
        "from where and how close the object is seen, how it lies or stands, what is beside it, lighting, background; "
        "but not its own shape, material or colours"
    ),
    explanation="""\
object: the trigger, the class word, view and placement, what is beside it, light, background; its own looks are left out.
  zkw_teapot, teapot, closeup, on a wooden table, soft lighting, white background
The class word lends the object what the model knows of its kind (how a teapot stands, pours, reflects).
Consequence: as with characters, what is left out sinks into the trigger and what is named stays changeable: name the table,
the hand that holds it and the light, or they come along with every picture. People and their clothes are described in full.""",
)

_DETAILED = Strategy(
    name="detailed",
    summary="everything is described: the most editable, with the weakest bare trigger",
    order=(
        *(
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
        ),
        *("light", "background", "palette", "finish"),
    ),
    leaves_out=frozenset(),
    hides_appearance=False,
    wanted=(
        "everything visible: framing, view, pose, expression, hair, eyes, clothes, accessories, objects, background, light"
    ),
    explanation="""\
detailed: the trigger, then everything that can be seen: framing, view, pose, expression, looks, clothes, details, background.
  spyke_plasma_v1, 1boy, full body, front view, standing, ginger hair, right arm red fingerless glove, white background
Consequence, measured on the small world: the bare trigger draws nothing of the subject (identity 0.24, as without a LoRA;
0.86 with character captions); the full description brings it back (1.00). In return it leaks little onto others (0.28 against
0.89) and stays open to editing. Choose it when prompts will always be long, or looks must change.""",
)

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (_CHARACTER, _STYLE, _OBJECT, _DETAILED)
}


def strategy_named(name: str) -> Strategy:
    """Return a strategy by its name. Raises ConfigError with the nearest name."""
    if name not in STRATEGIES:
        raise ConfigError(
            Problem(
                "--strategy",
                f"'{name}'",
                f"one of {', '.join(STRATEGIES)}",
                did_you_mean(name, STRATEGIES),
            )
        )
    return STRATEGIES[name]


def instructions(strategy: Strategy, profile: Profile) -> str:
    """Return what a language model is told before it sees a picture: the subject, what to say, what to leave out."""
    lines = [
        "You write captions for pictures that will train an image model.",
        "Answer with one line of short lower-case phrases separated by commas. No sentences, no introduction, no quotes.",
        f"Describe only what is visible: {strategy.wanted}.",
        f"The subject is called '{profile.trigger}'"
        + (f", which is a {profile.class_word}." if profile.class_word else ".")
        if profile.trigger
        else "",
        "Do not write that name; it is added." if profile.trigger else "",
    ]
    if strategy.hides_appearance:
        looks = ", ".join(
            dict.fromkeys((*profile.appearance, *(a for f in profile.forms for a in f.appearance)))
        )
        lines.append(f"Never mention what always belongs to the subject: {looks}." if looks else "")
        if strategy.name == "character":
            also = "" if profile.varies else " or clothes"
            lines.append(f"Do not describe hair, eyes, skin{also} of the subject at all.")
    if profile.varies:
        lines.append(f"What changes from picture to picture and must be said: {', '.join(profile.varies)}.")
    if profile.details:
        known = "; ".join(
            f"{detail.phrase}" + (f" (shows in: {', '.join(detail.views)} view)" if detail.views else "")
            for detail in profile.details
        )
        lines.append(
            f"On one side only, left and right being the subject's own: {known}. Leave these out; they are added by view."
        )
    if profile.style and strategy.name == "style":
        lines.append(f"These words are added in front: {', '.join(profile.style)}. Do not repeat them.")
    lines.append(
        "Example of the form: full body, side view, walking, neutral expression, city street background"
    )
    return "\n".join(line for line in lines if line)
