"""Losses are the reference trainer's, and each trial's rows are measured as that trial measures them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from maquette.families.common.objective import DiscreteDiffusion
from maquette.project.settings import ObjectiveSettings
from maquette.training.config import TrialSettings
from maquette.training.losses import element_losses, huber_thresholds
from maquette.training.objective import row_errors
from tests.reference import golden_json

GOLDEN = golden_json("losses.json")
TIMESTEPS = torch.tensor(GOLDEN["timesteps"])
# Two float32 functions of a few operations each, and a table of 1000 products that processors round apart.
CLOSE = {"rtol": 2e-5, "atol": 1e-9}


def _errors() -> torch.Tensor:
    return torch.tensor(GOLDEN["errors"]).view(1, 1, 1, -1).repeat(len(TIMESTEPS), 1, 1, 1)


@pytest.mark.parametrize("title", GOLDEN["losses"])
def test_every_loss_is_the_reference_s(title: str) -> None:
    kind, schedule = title.split()
    wanted = ObjectiveSettings(
        loss_type=kind,
        huber_schedule=schedule,
        huber_c=GOLDEN["huber_c"],
        huber_scale=GOLDEN["huber_scale"],
    )
    errors = _errors()
    # The error is what counts, not where it lies.
    target = torch.full_like(errors, 0.25)
    exact = element_losses(wanted, DiscreteDiffusion(), errors, torch.zeros_like(errors), TIMESTEPS)
    moved = element_losses(wanted, DiscreteDiffusion(), errors + target, target, TIMESTEPS)
    expected = torch.tensor(GOLDEN["losses"][title]).view_as(errors)
    # sqrt(e^2 + d^2) - d of small errors cancels: what is left is off by a few times float32's last place of d, at most 1.
    torch.testing.assert_close(exact, expected, rtol=CLOSE["rtol"], atol=1e-6)
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("title", GOLDEN["weights"])
def test_debiased_weights_are_the_reference_s(title: str) -> None:
    prediction, _, after = title.partition(" debiased")
    weights = DiscreteDiffusion(prediction).loss_weights(
        TIMESTEPS, debiased_estimation_loss=True, min_snr_gamma=5.0 if after else None
    )
    torch.testing.assert_close(weights, torch.tensor(GOLDEN["weights"][title]), **CLOSE)


def test_small_errors_are_squared_and_large_ones_counted() -> None:
    """Far below the threshold pseudo-Huber is e^2, far above it 2 delta |e|."""
    wanted = ObjectiveSettings(loss_type="huber", huber_schedule="constant", huber_c=0.1)
    errors = torch.tensor([1e-3, 50.0]).view(1, 1, 1, 2)
    losses = element_losses(wanted, DiscreteDiffusion(), errors, torch.zeros_like(errors), torch.tensor([0]))
    assert losses.flatten().tolist() == pytest.approx([1e-6, 2 * 0.1 * 50], rel=5e-3)


def test_thresholds_need_nothing_of_a_schedule_but_shares_and_levels() -> None:
    """So they hold for any family: here one whose timesteps are times."""
    flow = SimpleNamespace(shares=lambda t: t, noise_levels=lambda t: t / (1 - t))
    times = torch.tensor([0.0, 0.5, 1.0])
    by_level = huber_thresholds(ObjectiveSettings(loss_type="huber", huber_c=0.2), flow, times)
    assert by_level.tolist() == pytest.approx([1.0, 0.8 / 4 + 0.2, 0.2])
    falling = ObjectiveSettings(loss_type="huber", huber_schedule="exponential", huber_c=0.2)
    assert huber_thresholds(falling, flow, times).tolist() == pytest.approx([1.0, math.sqrt(0.2), 0.2])


def test_each_trial_is_measured_its_own_way() -> None:
    wanted = [ObjectiveSettings(), ObjectiveSettings(loss_type="l1"), ObjectiveSettings(loss_type="huber")]
    trials = [TrialSettings(objective=each) for each in wanted]
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.randn(2, 6, 4, 3, 3, generator=generator)
    timesteps = torch.tensor([5, 900, 10, 20, 700, 1])
    model = SimpleNamespace(objective=DiscreteDiffusion())
    together = row_errors(model, trials, prediction, target, timesteps)
    for number, each in enumerate(wanted):
        rows = slice(2 * number, 2 * number + 2)
        alone = element_losses(each, model.objective, prediction[rows], target[rows], timesteps[rows])
        assert torch.equal(together[rows], alone)
