"""Captions encoded before training, in memory or on a disk, train to the same weights as captions encoded when shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import maquette
from maquette import families
from maquette.dataset.cache_folder import CacheFolder
from maquette.devices import place
from maquette.events import Event, Message, Started
from maquette.training.texts import CaptionEncoder

ShortRun = Callable[..., dict[str, Any]]


def trained(short_run: ShortRun, name: str, **changes: Any) -> tuple[dict[str, torch.Tensor], list[Event]]:
    events: list[Event] = []
    settings = {"text_encoder_lr": 0.0, "steps": 2, "name": name, "shuffle_caption": False} | changes
    run = maquette.train(**short_run(**settings), on_event=events.append)
    return load_file(run.lora), events


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def left(events: list[Event]) -> bool:
    return any("leave the device" in event.text for event in events if isinstance(event, Message))


def test_cached_captions_train_to_the_same_weights(short_run: ShortRun, tmp_path: Path) -> None:
    shown, events = trained(short_run, "shown", cache_text_encoder_outputs=False)
    assert not left(events)
    held, events = trained(short_run, "held")
    assert left(events) and any(e.stage == "encode captions" for e in events if isinstance(e, Started))
    trained(short_run, "written", cache_folder=tmp_path / "cache")
    read, events = trained(short_run, "read", cache_folder=tmp_path / "cache", validation_training=True)
    assert left(events)
    assert same(shown, held) and same(shown, read)


def test_text_encoders_that_train_or_draw_stay(short_run: ShortRun) -> None:
    _, events = trained(short_run, "trains", text_encoder_lr=1e-4)
    assert not left(events)
    _, events = trained(short_run, "draws", sample_prompts=("zkw",), sample_steps=1, steps=1)
    assert not left(events)


def test_more_captions_than_memory_holds_are_encoded_as_they_are_shown(tiny_base: Path) -> None:
    model = families.load(str(tiny_base))
    texts = CaptionEncoder(model, place("cpu", "no"), {}, trains=False, memory_limit_bytes=1)
    events = list(texts.fill(["a", "b"]))
    list(texts.release())
    assert not texts.is_complete and not any(tensor.is_meta for tensor in model.text_encoders[0].parameters())
    assert any("as they are shown" in event.text for event in events if isinstance(event, Message))
    assert torch.equal(
        texts.conditioning(["b"]).tensors()["text_BTD"], texts.encode(["b"]).tensors()["text_BTD"]
    )


def test_an_entry_is_named_by_tokens_options_and_weights(tiny_base: Path, tmp_path: Path) -> None:
    model = families.load(str(tiny_base))

    def key(caption: str = "zkw, blue wall", **options: Any) -> str:
        texts = CaptionEncoder(model, place("cpu", "no"), options, trains=False, folder=CacheFolder(tmp_path))
        return texts._key(caption)

    plain = key()
    assert plain == key() and plain == key("ZKW,  blue wall"), "the same tokens"
    others = {key("zkw"), key(clip_skip=2), key(max_token_length=150)}
    next(model.text_encoders[0].parameters()).data.add_(1)
    others.add(key())
    assert len(others) == 4 and plain not in others
