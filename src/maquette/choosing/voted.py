"""What a person's votes make of the choice: they may decide it, and where they disagree with the measures it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

from maquette.choosing.options import Judges
from maquette.choosing.vote import Counted, counted
from maquette.errors import ConfigError, Problem
from maquette.measuring.looks import FirstLook
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Choice, Ranked, Suspicion
from maquette.runs.votes import NAME
from maquette.spoken import counted as number


def with_votes(choice: Choice, folder: Path, look: FirstLook, by: Judges) -> Choice:
    """Return the choice with the person's voice in it. Raises ConfigError where votes are to decide and there are none."""
    votes = counted(folder, look) if (folder / NAME).is_file() else None
    if votes is None or not votes.votes:
        if by == "votes":
            raise ConfigError(
                Problem(
                    "--by votes", "no votes were stored", f"a {NAME}", f"Vote first: maquette vote {folder}"
                )
            )
        return choice
    favourite, *others = votes.strengths.ranking()
    liked = _ranked(choice, look, votes, favourite)
    if liked is None or by == "measures":
        return _beside(choice, votes, favourite, liked)
    measured = _voice_of(choice, look, votes)
    agrees = liked.checkpoint == choice.checkpoint or measured is None
    is_judged = by == "auto" and choice.decided_by != "nobody"
    if is_judged and (agrees or not _prefers(votes, favourite, measured or favourite)):
        return _beside(choice, votes, favourite, liked)
    return _decided(choice, look, votes, liked, favourite, others[0] if others else None)


def _voice_of(choice: Choice, look: FirstLook, votes: Counted) -> str | None:
    return next((voice for voice, label in votes.labels.items() if label == choice.label), None)


def _ranked(choice: Choice, look: FirstLook, votes: Counted, voice: str) -> Ranked | None:
    """Return the ranked checkpoint that a voice speaks for: of its strengths the one that was voted on."""
    column = look.column(votes.labels[voice])
    name = PurePath(column.file or column.label).name
    known = next((each for each in choice.ranking if PurePath(each.checkpoint).name == name), None)
    return None if known is None else replace(known, label=column.label, strength=column.strength)


def _prefers(votes: Counted, one: str, other: str) -> bool:
    chance = votes.strengths.preferred(one, other)
    return chance.low is not None and chance.low > 0.5


def _beside(choice: Choice, votes: Counted, favourite: str, liked: Ranked | None) -> Choice:
    """Return the measures' choice with what the votes say of it."""
    label = votes.labels[favourite]
    measured = next((voice for voice, each in votes.labels.items() if each == choice.label), None)
    if liked is not None and liked.checkpoint == choice.checkpoint:
        told = f"A person's {number(votes.votes, 'vote')} prefer the same."
        return replace(choice, reasons=(*choice.reasons, told))
    if measured is None:
        return choice
    chance = votes.strengths.preferred(favourite, measured)
    told = f"A person's {number(votes.votes, 'vote')} prefer {label} to {choice.label}: {_share(chance)}"
    if not _prefers(votes, favourite, measured):
        return replace(choice, reasons=(*choice.reasons, f"{told}, which may be chance."))
    disagree = Suspicion(
        kind="person disagrees",
        told=f"{told}; the measures decided all the same.",
        remedy="Look at both; --by votes lets the person decide.",
    )
    return replace(choice, suspicions=(*choice.suspicions, disagree))


def _decided(
    choice: Choice, look: FirstLook, votes: Counted, liked: Ranked, favourite: str, second: str | None
) -> Choice:
    """Return the choice of the votes; what the measures would have chosen stands beside it."""
    clear = second is None or _prefers(votes, favourite, second)
    next_best = _ranked(choice, look, votes, second) if second is not None else None
    headline = f"A person's {number(votes.votes, 'vote')} decide: {liked.label}"
    if second is not None:
        chance = votes.strengths.preferred(favourite, second)
        headline += f", preferred to {votes.labels[second]} {_share(chance)}"
    headline += "." if clear else "; that may be chance."
    same = liked.checkpoint == choice.checkpoint
    was = (
        "The measures choose the same."
        if same
        else f"The measures would have chosen {choice.label}. {choice.headline}"
    )
    return replace(
        choice,
        checkpoint=liked.checkpoint,
        label=liked.label,
        step=liked.step,
        strength=liked.strength,
        score=liked.score,
        low=liked.low,
        high=liked.high,
        runner_up=next_best.checkpoint if next_best is not None else None,
        distinguishable=clear,
        more=None,
        decided_by="votes",
        headline=headline,
        reasons=((was,) if choice.decided_by != "nobody" else ()) + choice.reasons,
    )


def _share(chance: Estimate) -> str:
    if chance.low is None or chance.high is None:
        return f"in {chance.mean:.0%} of pairs"
    return f"in {chance.mean:.0%} of pairs (95 % {chance.low:.0%}–{chance.high:.0%})"
