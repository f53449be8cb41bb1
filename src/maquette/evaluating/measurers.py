"""Who measures an evaluation's pictures: what can be measured here, and what cannot and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.dataset.opening import picture_rgb
from maquette.encoders import Encoder, load_encoder
from maquette.errors import ModelError
from maquette.measuring.adherence import AdherenceMeasurer
from maquette.measuring.copying import CopyingMeasurer
from maquette.measuring.drift import DriftMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.identity import IdentityMeasurer
from maquette.measuring.looks import FirstLook
from maquette.measuring.protocol import Measurer
from maquette.measuring.references import References
from maquette.measuring.style import StyleMeasurer
from maquette.measuring.technical import TechnicalMeasurer
from maquette.measuring.training_likeness import TrainingLikenessMeasurer, of_copies
from maquette.measuring.variety import VarietyMeasurer

if TYPE_CHECKING:
    from maquette.encoders.clip_text import ClipText

_SEEN = 64
"""Training pictures that drawings are compared with, at most."""
_SOUND = 64
"""Pictures of the subject that say what a sound one is, at most."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The measurers of one evaluation, and what its reader must know of them."""

    measurers: tuple[Measurer, ...]
    notes: tuple[str, ...] = ()
    copying: CopyingMeasurer | None = None


def measuring_of(
    look: FirstLook,
    references: References | None,
    training: Sequence[Path],
    *,
    encoder: str = "",
    loaded: dict[str, Encoder] | None = None,
    texts: dict[str, ClipText] | None = None,
    trigger: str = "",
    class_word: str = "",
) -> Measuring:
    """Return who measures `look`. `encoder` names one; else it is the one that suits the references.

    `loaded` and `texts` keep encoders, and their halves that read words, from one round of an evaluation to the next.
    """
    texts = {} if texts is None else texts
    loaded = {} if loaded is None else loaded
    there = [path for path in training if path.is_file()]
    if references is None:
        parts = Measuring(measurers=(_technical(there),), notes=(_NO_REFERENCES,))
    else:
        parts = _by_references(look, references, encoder, (trigger, class_word), loaded, texts, there)
    copying = CopyingMeasurer(there) if there else None
    measurers = (*parts.measurers, copying) if copying is not None else parts.measurers
    return Measuring(measurers=measurers, notes=parts.notes, copying=copying)


def _by_references(
    look: FirstLook,
    references: References,
    encoder: str,
    subject: tuple[str, str],
    loaded: dict[str, Encoder],
    texts: dict[str, ClipText],
    training: Sequence[Path],
) -> Measuring:
    sees, said = _encoder(encoder, references, loaded)
    seeds = len({entry.seed for entry in look.looks})
    if sees is not None and sees.name == "world":
        embedder = Embedder(sees)
        rows = embedder.of_files(references.pictures)
        # The judge reads features off a drawing: it compares with no picture, so nothing is to be said of the references.
        world = (_world(references), VarietyMeasurer(embedder, rows, seeds), DriftMeasurer(embedder, look))
        notes = (_TRAINED_ON,) if references.were_trained_on else ()
        return Measuring(
            measurers=(*world, *_training_likeness(embedder, rows, references, training)), notes=notes
        )
    measurers: list[Measurer] = [_technical(references.pictures)]
    if sees is not None:
        embedder = Embedder(sees)
        rows = embedder.of_files(references.pictures)
        measurers += [
            IdentityMeasurer(embedder, rows),
            VarietyMeasurer(embedder, rows, seeds),
            DriftMeasurer(embedder, look),
            *_training_likeness(embedder, rows, references, training),
        ]
        said += _copies_told(embedder, rows, references)
        follows, unread = _adherence(embedder, subject, texts)
        measurers += follows
        said += unread
    style, why_not = _style(look, references, loaded)
    return Measuring(measurers=(*measurers, *style), notes=(*references.notes, *said, *why_not))


def _training_likeness(
    embedder: Embedder, rows_RD: Any, references: References, training: Sequence[Path]
) -> list[Measurer]:
    """Return the measurer of what training pictures would reward, where there are others to hold against them."""
    if references.were_trained_on or not training:
        return []
    training_TD = embedder.of_files(training[:_SEEN])
    return [TrainingLikenessMeasurer(embedder, rows_RD, training_TD)]


def _copies_told(embedder: Embedder, rows_RD: Any, references: References) -> list[str]:
    """Say what copies would score where the training pictures have to be the references."""
    found = of_copies(embedder.encoder, rows_RD) if references.were_trained_on else None
    if found is None:
        return []
    copies, others = found
    return [
        f"A LoRA that copied its training pictures would score an identity of {copies:.2f} against them, and one that draws the "
        f"subject as well as another picture of it {others:.2f}: the difference rewards copying."
    ]


def _technical(subject: Sequence[Path]) -> Measurer:
    return TechnicalMeasurer([picture_rgb(path) for path in subject[:_SOUND]])


def _adherence(
    embedder: Embedder, subject: tuple[str, str], texts: dict[str, ClipText]
) -> tuple[list[Measurer], list[str]]:
    """Return the measurer of prompt adherence where the encoder reads words, too, else why there is none."""
    kind, _, source = embedder.encoder.name.partition("=")
    if kind != "clip":
        return [], [
            "Prompt adherence was not measured: it takes an encoder that reads words, --encoder clip."
        ]
    from maquette.devices import resolve_device
    from maquette.encoders import clip_text

    try:
        text = texts[source] if source in texts else clip_text.load(source, resolve_device("auto"))
    except ModelError as error:
        return [], [f"Prompt adherence was not measured: {error}"]
    texts[source] = text
    return [AdherenceMeasurer(embedder, text, trigger=subject[0], class_word=subject[1])], []


def _style(
    look: FirstLook, references: References, loaded: dict[str, Encoder]
) -> tuple[list[Measurer], list[str]]:
    """Return the measurer of style where it can tell this one, else why it cannot."""
    embedder = Embedder(_loaded("style", loaded))
    measurer = StyleMeasurer(embedder, embedder.of_files(references.pictures), look)
    test = measurer.test
    return ([measurer], []) if test.is_passed else ([], [test.sentence])


_TRAINED_ON = (
    "There are no references but the training pictures. The small world's judge compares with no picture, so its identity "
    "rewards no copies; what is memorised takes pictures that were held out."
)
_NO_REFERENCES = "No pictures say who the subject is: name some with --references."


def _loaded(name: str, loaded: dict[str, Encoder]) -> Encoder:
    if name not in loaded:
        loaded[name] = load_encoder(name)
    return loaded[name]


def _encoder(
    name: str, references: References, loaded: dict[str, Encoder]
) -> tuple[Encoder | None, list[str]]:
    """Return the encoder that was named, or the one that suits the references as far as it is here; and what to know of it.

    Raises ModelError for a named one that is not to be had.
    """
    from maquette.encoders.choosing import DRAWINGS, encoder_for

    if name:
        return _loaded(name, loaded), []
    suits, why = encoder_for(references.pictures)
    if suits == DRAWINGS and not _is_here(suits):
        return None, [_NOBODY_LOOKED]
    sees = _loaded(suits, loaded)
    if sees.name == "world":
        return sees, []
    said = f"{sees.name} compared the pictures with the references, since {why}. It cannot tell: {sees.blind_to}."
    return sees, [said]


_NOBODY_LOOKED = (
    "Identity and variety were not measured: the references are drawings, and no encoder for drawings is on this machine. "
    "Name one: --encoder clip, dinov2, ccip or face (fetched once)."
)


def _is_here(name: str) -> bool:
    from maquette.encoders.transformers_vision import is_here

    return is_here(name)


def _world(references: References) -> Measurer:
    from maquette.measuring.world import WorldMeasurer, character_of
    from maquette.world.pack import load_judge

    judge = load_judge()
    return WorldMeasurer(judge, character_of(judge, references.pictures))
