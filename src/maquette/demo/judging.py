"""What the small world's judge measures in the demo's first look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maquette.measuring.looks import Look, LookPrompt
from maquette.measuring.protocol import Measure, PictureMeasurer
from maquette.world.cast import PROMPTS, TOVAKI
from maquette.world.cleanness import clean

if TYPE_CHECKING:
    from PIL import Image

    from maquette.world.judge import Judge as WorldJudge

ROLES = {"trigger": "bare", "scene": "full", "edit": "edit", "class": "leak"}
"""The report's roles of what the cast's prompts are for."""

CLEAN_ROLES = ("bare", "full")
"""The roles whose pictures should show the character as clean as the base can draw."""

MEASURES = (
    Measure(
        name="identity",
        title="Identity",
        definition=(
            "the share of the character's features that the judge recognises in a picture: hair, skin, "
            "clothes, the one red glove on the right hand, the bandana; from 0 to 1, more is better. "
            "The judge is a small network trained on drawings of the small world, "
            "never on this LoRA's pictures."
        ),
    ),
    Measure(
        name="following",
        title="Prompt following",
        definition="the share of view, pose and background that are as asked; from 0 to 1, more is better.",
    ),
    Measure(
        name="cleanness",
        title="Clean heads",
        definition=(
            "the share of pictures whose head comes as near to a sharp drawing of what the judge sees there as the small "
            "world's own VAE can; a face that blends two views, or a colour that runs, does not."
        ),
        least=0.75,
        lack="heads are smeared",
    ),
)


def look_prompts(*, seeds_each: int) -> tuple[LookPrompt, ...]:
    """Return the cast's prompts: the bare trigger with every seed of a plan, the others with `seeds_each`."""
    return tuple(
        LookPrompt(
            text=prompt.text,
            role=ROLES[prompt.purpose],
            num_seeds=None if prompt.purpose == "trigger" else seeds_each,
        )
        for prompt in PROMPTS
        if prompt.purpose in ROLES
    )


class CastMeasurer(PictureMeasurer):
    """Reads off drawings of the cast's prompts: identity of every one but edits, following where the prompt names a scene."""

    measures = MEASURES

    def __init__(self, judge: WorldJudge) -> None:
        self._judge = judge
        self._scenes = {prompt.text: prompt.scene for prompt in PROMPTS if prompt.scene is not None}

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return the scores of each picture that its prompt's role asks for."""
        found: list[dict[str, float]] = []
        identities = self._judge.identity(pictures, TOVAKI)
        heads = clean(self._judge, pictures)
        for picture, look, identity, is_clean in zip(pictures, looks, identities, heads, strict=True):
            told = {} if look.role == "edit" else {"identity": identity}
            if look.role in CLEAN_ROLES:
                told["cleanness"] = float(is_clean)
            if look.prompt in self._scenes:
                told["following"] = self._judge.following([picture], self._scenes[look.prompt])[0]
            found.append(told)
        return found
