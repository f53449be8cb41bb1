"""Trials trained together are the runs they would have been alone.

Tolerance: packed trials compute their products as one batched matmul, separate ones as single matmuls, which round
differently in float32's last place. AdamW divides each gradient by its own size, so entries whose true gradient is zero (a key
projection where attention has a single key) walk by their rounding error. Hence, of weights that move by up to 6e-3 in six steps,
all but one in a thousand agree to 1e-4, and on average to 5e-6; losses, which feel all of them, to 2e-5 relative.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maquette import families
from maquette.devices import place
from maquette.families.protocol import PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine

STEPS = 6
TRIALS = [
    TrialSettings(rank=2, alpha=2, unet_lr=1e-3, text_encoder_lr=5e-4, seed=1),
    TrialSettings(
        rank=5, alpha=1, dropout=0.2, unet_lr=3e-4, text_encoder_lr=1e-4, min_snr_gamma=5.0, seed=2
    ),
    TrialSettings(
        rank=3, alpha=6, unet_lr=5e-4, text_encoder_lr=2e-4, noise_offset=0.1, max_grad_norm=0.01, seed=3
    ),
    TrialSettings(
        rank=2,
        alpha=2,
        unet_lr=1e-3,
        text_encoder_lr=5e-4,
        prior_loss_weight=0.3,
        lr_scheduler="linear",
        seed=1,
    ),
]


def _batch(index: int) -> MicroBatch:
    generator = torch.Generator().manual_seed(100 + index)
    return MicroBatch(
        clean_BCHW=torch.randn(2, 4, 8, 8, generator=generator),
        captions=("zkw, standing", "a person, sitting"),
        sizes=(PictureSize((64, 64), (0, 0), (64, 64)),) * 2,
        regularization_B=torch.tensor([False, True]),
        names=("a", "b"),
    )


def _train(
    base: Path, trials: list[TrialSettings]
) -> tuple[list[dict[str, torch.Tensor]], list[list[float]]]:
    model = families.load(base, dtype=torch.float32)
    specs = [TrialSpec(rank=t.rank, alpha=t.alpha, dropout=t.dropout, seed=t.seed) for t in trials]
    adapter = LoraAdapter.attach(model, specs)
    engine = Engine(
        model,
        adapter,
        trials,
        place("cpu", "no"),
        total_steps=STEPS,
        clip_skip=2,
        max_token_length=75,
    )
    losses = []
    for step in range(STEPS):
        micro = [(index, lambda index=index: _batch(index)) for index in (2 * step, 2 * step + 1)]
        losses.append(list(engine.step(step, micro, 2).losses))
    return [adapter.state_dict(index) for index in range(len(trials))], losses


@pytest.mark.slow
def test_trials_of_every_kind_trained_together_equal_separate_runs(tiny_base: Path) -> None:
    together, packed_losses = _train(tiny_base, TRIALS)
    for index, trial in enumerate(TRIALS):
        (alone,), losses = _train(tiny_base, [trial])
        assert [row[index] for row in packed_losses] == pytest.approx([row[0] for row in losses], rel=2e-5)
        assert together[index].keys() == alone.keys()
        apart = torch.cat([(together[index][key] - value).abs().flatten() for key, value in alone.items()])
        moved = torch.cat([value.abs().flatten() for key, value in alone.items() if "lora_up" in key])
        assert apart.mean() <= 5e-6 and apart.quantile(0.999) <= 1e-4 and moved.max() > 1e-3, index


def test_trials_differ_by_their_seed_alone(tiny_base: Path) -> None:
    same, losses = _train(tiny_base, [TRIALS[0], TRIALS[0], TrialSettings(**{**vars(TRIALS[0]), "seed": 9})])
    assert all(row[0] == pytest.approx(row[1], rel=2e-5) for row in losses)
    key = next(key for key in same[0] if "lora_up" in key and "unet" in key)
    assert not torch.allclose(same[0][key], same[2][key])
