"""What the base says under an adapter is what it says without one."""

from __future__ import annotations

from pathlib import Path

import torch

from maquette import families
from maquette.families.protocol import PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.base_prediction import BasePrediction

CAPTIONS = ("zkw, standing", "a person", "zkw, standing")


def test_the_base_speaks_for_itself_under_trained_adapters(tiny_base: Path) -> None:
    model = families.load(tiny_base)
    noisy, timesteps = torch.randn(3, 4, 8, 8), torch.tensor([10, 500, 900])
    sizes = [PictureSize((64, 64), (0, 0), (64, 64))] * 3
    with torch.no_grad():
        expected = model.predict(noisy, timesteps, model.encode_text(model.tokenize(CAPTIONS)), sizes)
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=2, seed=1), TrialSpec(rank=2, seed=2), None])
    with torch.no_grad():
        for leaf in adapter.parameters():
            leaf.fill_(0.1)
    base = BasePrediction(model, adapter, lambda captions: model.encode_text(model.tokenize(captions)))
    for _ in range(2):  # the second time from what was encoded before
        found = base.predict(noisy, timesteps, CAPTIONS, sizes)
        torch.testing.assert_close(found, expected)
        assert not found.requires_grad and adapter.enabled
    with torch.no_grad():
        moved = model.predict(noisy, timesteps, model.encode_text(model.tokenize(CAPTIONS)), sizes)
    assert not torch.allclose(moved[:2], expected[:2])
