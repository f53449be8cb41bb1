"""What `init` proposes, each with its reason: what a face shows before a project is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maquette.dataset.targets import step_target
from maquette.planning.init_options import PROPOSED, InitOptions
from maquette.planning.new_project import Proposed
from maquette.project.profile import KINDS
from maquette.project.scaffold import CHECKPOINTS, DEFAULT_RANK, fallback_caption
from maquette.spoken import counted

YOU = "You chose it."


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing that a new project would have, and why."""

    name: str
    """What `init` calls it; a name of PROPOSED can be changed by it."""
    title: str
    value: str
    why: str
    choices: tuple[str, ...] = ()
    """What it may be changed to; empty where any number may be typed, or nothing."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "choices": list(self.choices),
            "can_change": self.name in (*PROPOSED, "class_word"),
        }


def reasons_for(proposed: Proposed, options: InitOptions) -> list[Reason]:
    """Return everything that is proposed, in the order in which a person thinks of it."""
    new, profile, info = proposed.new, proposed.profile, proposed.info
    return [
        Reason(name="pictures", title="Pictures", value=f"{new.num_pictures:,}", why=_of_captions(proposed)),
        Reason(
            name="kind",
            title="What is learned",
            value=profile.kind,
            why=_of_kind(proposed, options),
            choices=() if proposed.has_profile else KINDS,
        ),
        Reason(
            name="class_word",
            title="In ordinary words",
            value=new.class_word,
            why="What anybody would call it: man, dog, anime character. It stands beside the trigger, and tells the kind.",
        ),
        Reason(
            name="resolution",
            title="Size",
            value=str(new.resolution_px),
            why=YOU if options.resolution else f"{info.title} draws at {info.resolution} px.",
        ),
        Reason(name="rank", title="Rank", value=str(new.rank), why=_of_rank(options)),
        Reason(name="steps", title="Steps", value=str(new.steps), why=_of_steps(proposed, options)),
        Reason(
            name="checkpoints",
            title="Checkpoints",
            value=f"every {new.save_every_steps:,} steps",
            why=f"{CHECKPOINTS} to choose from: the best one is rarely the last.",
        ),
        Reason(
            name="sampling",
            title="Samples",
            value=f"{new.sampler}, guidance {new.guidance:g}",
            why=f"What {info.title} is drawn with.",
        ),
    ]


def _of_captions(proposed: Proposed) -> str:
    new = proposed.new
    if new.without_captions:
        stand_in = fallback_caption(new.trigger, new.class_word)
        return f"None has a caption: '{stand_in}' stands for each until captions are written on the Captions page."
    if proposed.num_captioned < new.num_pictures:
        return f"{proposed.num_captioned:,} of them with a caption: training waits for the others."
    return "Each with a caption."


def _of_kind(proposed: Proposed, options: InitOptions) -> str:
    if proposed.has_profile:
        return "The profile.toml that is there says so."
    if options.kind is not None:
        return YOU
    told = next((note for note in proposed.profile.notes if note.startswith("Kind ")), "")
    why = told.partition(": ")[2].partition(". ")[0]
    return f"{why[:1].upper()}{why[1:]}."


def _of_rank(options: InitOptions) -> str:
    if options.rank and options.rank != DEFAULT_RANK:
        return f"{YOU} Alpha is half of it."
    return "Enough for one subject, in a small file; alpha is half of it. Higher ranks learn a small set by heart sooner."


def _of_steps(proposed: Proposed, options: InitOptions) -> str:
    new = proposed.new
    target = step_target(new.num_pictures, new.kind)
    band = f"{target} suit {counted(new.num_pictures, 'picture')} of {_a(new.kind)}"
    if options.steps:
        return f"{YOU} {band}." if new.steps in target else f"{YOU} Outside what is usual: {band}."
    return f"{band}; this is their middle."


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
