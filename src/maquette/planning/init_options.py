"""What `init` is asked for and what it answers, whatever a project is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from maquette.errors import ConfigError, Problem
from maquette.project.fields import Flag, Options
from maquette.project.profile import Kind
from maquette.project.scaffold import DEFAULT_RANK

if TYPE_CHECKING:
    from maquette.dataset.facts import DatasetFacts
    from maquette.project.profile import Profile


PROPOSED = ("kind", "resolution", "steps", "rank")
"""What is proposed for pictures and a base, where nobody says it."""


class InitOptions(Options):
    """What a new project is made from."""

    source: Annotated[Path | None, Flag("--from", "FILE")] = Field(
        None,
        description="Start from a run that you have: a script, a --config_file, or the settings of kohya_ss' GUI, OneTrainer, "
        "ai-toolkit or another trainer. Flags win over it.",
    )
    images: Path | None = Field(
        None,
        description="Folder of pictures with captions beside them, or a kohya folder. Needed without --from.",
    )
    base: str = Field(
        "", description="The base model: .safetensors, diffusers folder or hub name. Needed without --from."
    )
    trigger: str = Field(
        "",
        description="The invented word that will mean the subject. Needed, but for a style whose captions all begin alike.",
    )
    class_word: str = Field("", description="The ordinary word for it: man, dog, anime character.")
    regularization: Path | None = Field(None, description="Folder of class pictures.")
    kind: Kind | None = Field(
        None, description="What is learned. Default: guessed from class word and captions, and said."
    )
    resolution: int | None = Field(
        None, ge=64, le=4096, description="Edge of a square picture in pixels. Default: the base's own."
    )
    steps: int | None = Field(
        None, ge=1, description="Optimizer steps. Default: as many as suit so many pictures of this kind."
    )
    rank: int | None = Field(
        None, ge=1, le=1024, description=f"Rank of the LoRA. Default: {DEFAULT_RANK}; alpha is half of it."
    )

    @property
    def changed(self) -> tuple[str, ...]:
        """Flags that change what would be proposed, and were given."""
        return tuple(f"--{name}" for name in PROPOSED if getattr(self, name) is not None)


@dataclass(frozen=True, kw_only=True)
class NewProjectResult:
    """A project folder that was made."""

    config: Path
    pictures: int
    family: str
    steps: int
    profile: Path
    profile_is_new: bool
    """False where a profile.toml was there already: it is left as it is."""
    has_captions: bool = True
    guesses: tuple[str, ...] = ()
    """What the proposed profile was guessed from, and what is left to fill in."""
    warnings: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    """With --from: each setting that was taken over, with the name it had."""
    left: tuple[str, ...] = ()
    """With --from: what was said and has no counterpart."""


def require_opening(profile: Profile, options: InitOptions) -> None:
    """Raise ConfigError where nothing would mean the subject: no trigger, and no words of a style."""
    if not options.trigger and not profile.opening:
        raise ConfigError(
            Problem(
                "--trigger",
                "not given",
                "the invented word that will mean the subject (a style whose captions all begin alike needs none)",
                "Add for example: --trigger zkw_fox",
            )
        )


def proposed_profile(facts: DatasetFacts, options: InitOptions) -> Profile:
    """Return a profile guessed from the subject's captions and the colours of its pictures."""
    from maquette.dataset.profile_proposal import propose_profile

    return propose_profile(
        [caption.text for caption in facts.captions if caption.picture is not None],
        trigger=options.trigger,
        class_word=options.class_word,
        pictures=facts.pictures,
        kind=options.kind,
    )
