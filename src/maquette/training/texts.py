"""Captions on their way to the denoiser: while no text encoder trains, each is encoded once and kept, in memory and on disk.

An entry on disk is named by what is encoded (token ids), how (options, precision) and by which weights. What is kept lies in
this machine's memory, not the device's. Whose captions are known beforehand needs no text encoder while it trains.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from maquette.dataset.cache_folder import CacheFolder
from maquette.events import Event, Finished, Message, Progress, Started
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel, Conditioning
    from maquette.training.job import Job, TrainingDataset

SCHEMA = 1
STAGE = "encode captions"
MEMORY_LIMIT_BYTES = 1 << 30
"""Captions beyond this are encoded again when they come again."""


def reading_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run's captions are tokenized, by the family's own settings."""
    weighted = {"weighted": True} if options.get("weighted_captions") else {}
    return {"max_tokens": options.get("max_token_length"), **weighted}


class CaptionEncoder:
    """What the denoiser is told of captions, by the model's text encoders or from what is kept of them."""

    def __init__(
        self,
        model: BaseModel,
        placement: Placement,
        options: Mapping[str, Any],
        *,
        trains: bool,
        folder: CacheFolder | None = None,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`aside`: within it no adapter stands in the text encoders, where those of other trials may."""
        self.model = model
        self.placement = placement
        self.trains = trains
        """Whether text encoders train, so that what they say changes from step to step."""
        self._reading = reading_of(options)
        self._options = model.spec.of_stage("text", options)
        self._aside = aside
        self._folder = None if trains else folder
        self._memory_limit_bytes = memory_limit_bytes
        self._kept: OrderedDict[str, Conditioning] = OrderedDict()
        self._kept_bytes = 0
        self._weights = ""
        self.is_complete = False
        """Whether every caption that `fill` was given is kept, so that none of them needs a text encoder any more."""

    def encode(self, captions: Sequence[str]) -> Conditioning:
        """Return what the text encoders say of `captions` as they stand now."""
        tokens = self.model.tokenize(captions, **self._reading)
        with self.placement.autocast():
            return self.model.encode_text(tokens, **self._options)

    def conditioning(self, captions: Sequence[str]) -> Conditioning:
        """Return the same; while no text encoder trains, each distinct caption is encoded once, by itself."""
        if self.trains:
            return self.encode(captions)
        distinct = {caption: self._of_caption(caption) for caption in dict.fromkeys(captions)}
        encoded = [distinct[caption] for caption in captions]
        return encoded[0].cat(encoded).to(self.placement.device)

    def fill(self, captions: Iterable[str]) -> Iterator[Event]:
        """Encode every caption before training, or say why they are encoded as they are shown."""
        distinct = self._that_fit(captions)
        if distinct is None:
            yield Message(
                "Captions change from showing to showing, and memory does not hold them all encoded: "
                "they are encoded as they are shown."
            )
            return
        if self._folder is not None:
            self._folder.open()
            self._folder.need({self._key(caption) for caption in distinct})
        yield Started(STAGE, len(distinct), "caption")
        for done, caption in enumerate(distinct, start=1):
            self._of_caption(caption)
            yield Progress(STAGE, done, len(distinct), "caption")
        yield Finished(STAGE)
        self.is_complete = True

    def kept(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return what is kept of each caption, taken apart, on the CPU."""
        return {caption: encoded.tensors() for caption, encoded in self._kept.items()}

    def take(self, kept: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Keep what another process has encoded: every caption that will be asked for."""
        for caption, tensors in kept.items():
            self._keep(caption, self.model.text_type.of_tensors(tensors))
        self.is_complete = True

    def release(self) -> Iterator[Event]:
        """Take the text encoders from the device: on the meta device they keep their shape and cost nothing."""
        if not self.is_complete:
            return
        freed = sum(_bytes_of(encoder.state_dict()) for encoder in self.model.text_encoders)
        for encoder in self.model.text_encoders:
            encoder.to("meta")
        number = counted(len(self._kept), "caption")
        yield Message(f"{number} encoded; the text encoders leave the device ({freed / 1e6:,.0f} MB).")

    def _that_fit(self, captions: Iterable[str]) -> list[str] | None:
        """Return each distinct caption once; None for more than may be kept."""
        distinct: dict[str, None] = {}
        most = 0
        for caption in captions:
            if not distinct:
                most = self._memory_limit_bytes // max(1, _bytes_of(self._of_caption(caption).tensors()))
            distinct[caption] = None
            if len(distinct) > most:
                return None
        return list(distinct)

    @torch.no_grad()
    def _of_caption(self, caption: str) -> Conditioning:
        if caption in self._kept:
            self._kept.move_to_end(caption)
            return self._kept[caption]
        key = self._key(caption) if self._folder is not None else ""
        found = self._folder.read(key) if self._folder is not None else None
        if isinstance(found, dict):
            encoded = self.model.text_type.of_tensors(found)
        else:
            with self._aside():
                encoded = self.encode([caption]).detach().to("cpu")
            if self._folder is not None:
                tensors = {name: tensor.contiguous() for name, tensor in encoded.tensors().items()}
                self._folder.write(key, tensors)
        self._keep(caption, encoded)
        return encoded

    def _keep(self, caption: str, encoded: Conditioning) -> None:
        self._kept[caption] = encoded
        self._kept_bytes += _bytes_of(encoded.tensors())
        while self._kept_bytes > self._memory_limit_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= _bytes_of(gone.tensors())

    def _key(self, caption: str) -> str:
        self._weights = self._weights or weights_fingerprint(self.model.text_encoders)
        tokens = self.model.tokenize([caption], **self._reading)
        parts = {
            "schema": SCHEMA,
            "tokens": [ids.tolist() for ids in tokens.ids],
            **({"weights": [each.tolist() for each in tokens.weights]} if tokens.weights else {}),
            "options": self._options,
            "precision": self.placement.precision,
            "encoders": self._weights,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def texts_of(job: Job, model: BaseModel, placement: Placement) -> CaptionEncoder:
    """Return what encodes a run's captions."""
    return CaptionEncoder(
        model,
        placement,
        job.options,
        trains="text_encoder" in job.parts,
        folder=job.dataset.cache_folder,
    )


def encoded_ahead(
    dataset: TrainingDataset, texts: CaptionEncoder, captions: Iterable[str], *, keep_encoders: bool
) -> Iterator[Event]:
    """Encode a run's captions before it trains where that is asked for; then free the text encoders unless they are kept."""
    if not dataset.caches_texts or texts.trains:
        return
    yield from texts.fill(captions)
    if not keep_encoders:
        yield from texts.release()


def weights_fingerprint(modules: Iterable[torch.nn.Module]) -> str:
    """Return a hash of the modules' weights in their present precision."""
    found = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _bytes_of(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
