"""The trial axis: P trials trained in one pass are P separate runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from maquette.families import BaseModel, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec

pytestmark = pytest.mark.slow  # trains on a tiny model a dozen times

NUM_STEPS = 3
# AdamW divides a gradient by its size plus epsilon, so elements whose gradient is nothing but rounding walk by its sign: with
# 1e-8, up to 7 % of the whole way depended on the processor. Float32 sums leave gradients of up to 0.05 uncertain by 4e-9;
# over 1e-5 this moves such an element by less than a thousandth of a step.
EPSILON = 1e-5
WAY_SHARE = 1e-3
# A loss is a mean of 256 squares of predictions that are right to 1e-6, as in tests/rounding.py.
LOSS_ROUNDING = 2e-6
NUM_ROWS = 2


@dataclass(frozen=True)
class Run:
    """One trial and how its caller trains it."""

    spec: TrialSpec
    text_lr: float
    denoiser_lr: float
    max_norm: float


RUNS = (
    Run(TrialSpec(rank=4, alpha=2.0, seed=1), 5e-4, 1e-3, 1.0),
    Run(TrialSpec(rank=2, alpha=8.0, seed=2, dropout=0.2), 1e-3, 4e-3, 0.01),
    Run(
        TrialSpec(rank=3, alpha=1.0, seed=3, conv_rank=2, conv_alpha=2.0, parts=("denoiser",)),
        0.0,
        2e-3,
        0.05,
    ),
)
EQUAL_RANKS = (
    Run(TrialSpec(rank=4, alpha=2.0, seed=1), 5e-4, 1e-3, 1.0),
    Run(TrialSpec(rank=4, alpha=4.0, seed=2, dropout=0.1), 1e-3, 4e-3, 0.01),
)


def optimizers(adapter: LoraAdapter, runs: Sequence[Run], fused: bool) -> list[torch.optim.Optimizer]:
    made: list[torch.optim.Optimizer] = []
    for index, run in enumerate(runs):
        rates = {"text_encoder": run.text_lr, "denoiser": run.denoiser_lr}
        groups = [
            {"params": adapter.parameters_of(index, part), "lr": rates[part]} for part in run.spec.parts
        ]
        made.append(torch.optim.AdamW(groups, weight_decay=0.01, eps=EPSILON, fused=fused))
    return made


def step_loss(model: BaseModel, step: int, num_trials: int) -> Tensor:
    """Return each trial's loss [P] on the same data: rows of trial 0 first."""
    generator = torch.Generator().manual_seed(step)
    noisy, target = torch.randn(2, NUM_ROWS, 4, 8, 8, generator=generator).to(model.dtype)
    timesteps = torch.randint(0, 1000, (NUM_ROWS,), generator=generator)
    tokens = model.tokenize(["sks dog on a beach", "a dog"] * num_trials)
    conditioning = model.encode_text(tokens, clip_skip=2)
    predicted = model.predict(noisy.repeat(num_trials, 1, 1, 1), timesteps.repeat(num_trials), conditioning)
    return (predicted - target.repeat(num_trials, 1, 1, 1)).square().reshape(num_trials, -1).mean(1)


def train(
    model: BaseModel, runs: Sequence[Run], fused: bool = False
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Train `runs` packed for a few steps; return each trial's tensors and its losses [steps, P]."""
    adapter = LoraAdapter.attach(model, [run.spec for run in runs]).to(dtype=model.dtype).train()
    owners, losses = optimizers(adapter, runs, fused), []
    for step in range(NUM_STEPS):
        adapter.set_step(step)
        losses_P = step_loss(model, step, len(runs))
        losses_P.sum().backward()
        for index, (run, owner) in enumerate(zip(runs, owners, strict=True)):
            torch.nn.utils.clip_grad_norm_(adapter.parameters_of(index), run.max_norm)
            owner.step()
            owner.zero_grad(set_to_none=True)
        losses.append(losses_P.detach())
    states = [adapter.state_dict(index) for index in range(len(runs))]
    adapter.detach()
    return states, torch.stack(losses)


Alone = tuple[dict[str, Tensor], Tensor]
"""A trial's tensors and its losses [steps], from a training of its own."""


@pytest.fixture(scope="module")
def exact_model(tiny_sd1_path: Path) -> BaseModel:
    return load(tiny_sd1_path, dtype=torch.float64)


@pytest.fixture(scope="module")
def exact_alone(exact_model: BaseModel) -> Callable[[Run], Alone]:
    """Train a run by itself in double precision, once."""

    @cache
    def trained(run: Run) -> Alone:
        (state,), losses = train(exact_model, [run])
        return state, losses[:, 0]

    return trained


@pytest.mark.parametrize("runs", [RUNS, EQUAL_RANKS], ids=["mixed", "equal ranks"])
def test_trials_trained_together_are_separate_runs(
    exact_model: BaseModel, exact_alone: Callable[[Run], Alone], runs: Sequence[Run]
) -> None:
    """In double precision, where rounding hides nothing: the same algorithm."""
    packed, packed_losses = train(exact_model, runs)
    for index, run in enumerate(runs):
        alone, losses = exact_alone(run)
        torch.testing.assert_close(packed_losses[:, index], losses, rtol=1e-10, atol=0)
        assert list(alone) == list(packed[index])
        for name, value in alone.items():
            # 1e-16 of rounding, blown up where AdamW divides a tiny gradient by its own size plus 1e-8.
            torch.testing.assert_close(packed[index][name], value, rtol=0, atol=1e-7)


@pytest.mark.parametrize("fused", [False, True], ids=["AdamW", "fused AdamW"])
@pytest.mark.parametrize("runs", [RUNS, EQUAL_RANKS], ids=["mixed", "equal ranks"])
def test_in_single_precision_they_go_the_exact_way_too(
    tiny_sd1_path: Path, exact_alone: Callable[[Run], Alone], runs: Sequence[Run], fused: bool
) -> None:
    model = load(tiny_sd1_path)
    packed, packed_losses = train(model, runs, fused)
    for index, run in enumerate(runs):
        exact, exact_losses = exact_alone(run)
        (alone,), losses = train(model, [run], fused)
        for state in (alone, packed[index]):
            assert distance(state, exact) < WAY_SHARE * way(exact)
        for found in (losses[:, 0], packed_losses[:, index]):
            torch.testing.assert_close(found.double(), exact_losses, rtol=LOSS_ROUNDING, atol=0)


def way(state: dict[str, Tensor]) -> float:
    """Return how far training moved the up weights, which begin at zero (L2)."""
    ups = [value.double() for name, value in state.items() if name.endswith("lora_up.weight")]
    return sum(float(value.square().sum()) for value in ups) ** 0.5


def distance(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return how far two states are apart (L2)."""
    return sum(float((one[name].double() - two[name].double()).square().sum()) for name in two) ** 0.5


def test_trials_do_not_leak_into_each_other(tiny_sd1_path: Path) -> None:
    """A trial's gradient is not touched by another's loss, not even by one that is not a number."""
    model = load(tiny_sd1_path)
    adapter = LoraAdapter.attach(model, [run.spec for run in EQUAL_RANKS])
    step_loss(model, 0, 2)[0].backward()
    assert any(leaf.grad is not None and leaf.grad.any() for leaf in adapter.parameters_of(0))
    assert not any(leaf.grad is not None and leaf.grad.any() for leaf in adapter.parameters_of(1))


def test_a_trial_does_not_depend_on_its_place(exact_model: BaseModel) -> None:
    """In double precision: in single, places in a batched product may round differently on some processors."""
    forward, losses = train(exact_model, EQUAL_RANKS)
    backward, reversed_losses = train(exact_model, EQUAL_RANKS[::-1])
    torch.testing.assert_close(losses, reversed_losses.flip(1), rtol=1e-10, atol=0)
    assert list(forward[0]) == list(backward[1])


def test_the_last_text_layer_stays_untrained_under_clip_skip_two(tiny_sd1_path: Path) -> None:
    model = load(tiny_sd1_path)
    (state,), _ = train(model, RUNS[:1])
    last = len(model.text_encoders[0].encoder.layers) - 1  # type: ignore[union-attr, arg-type]
    ups = {
        name: value for name, value in state.items() if name.endswith("lora_up.weight") and "lora_te" in name
    }
    untrained = {name for name, value in ups.items() if not value.any()}
    assert untrained == {name for name in ups if f"layers_{last}_" in name} and len(untrained) == 6
