"""Optimizers of gathered weights: the same numbers as each trial's own optimizer, the same states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from maquette.families import BaseModel
from maquette.families.protocol import LoraTarget
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.training.config import TrialSettings
from maquette.training.optimize import BrokenGradient, TrialOptimizer
from maquette.training.rates import rate_groups
from maquette.training.stacked_optimizer import GatheredAdamW, Twins
from maquette.training.state import latest_state, restore_state, save_state

STEPS = 24


class Net(nn.Module):
    """Linear layers after one another, a convolution beside them, and a layer that no gradient reaches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 7), nn.Linear(7, 4)
        self.never = nn.Linear(6, 3)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        beside = self.conv(x[:, :, :2].mT.reshape(len(x), 2, -1, 1)).square().mean((1, 2, 3))
        for layer in (self.a, self.b, self.c):
            x = torch.tanh(layer(x))
        return x.square().mean((1, 2)) + beside


def model_of(dtype: torch.dtype) -> BaseModel:
    net = Net().to(dtype)
    parts = {"a": "text_encoder", "b": "denoiser", "never": "denoiser", "c": "denoiser", "conv": "denoiser"}
    targets = tuple(
        LoraTarget(
            part=part,  # type: ignore[arg-type]
            module=getattr(net, name),
            parent=net,
            attribute=name,
            key=f"lora_{name}",
            diffusers_key=f"{'text_encoder' if part == 'text_encoder' else 'unet'}.{name}",
            kind="conv3x3" if name == "conv" else "linear",
            default=True,
        )
        for name, part in parts.items()
    )
    model = SimpleNamespace(denoiser=net, text_encoders=(), vae=nn.Identity(), lora_targets=lambda: targets)
    return cast(BaseModel, model)


@dataclass(frozen=True)
class Lane:
    """A trial, and in which passes it takes part."""

    spec: TrialSpec
    trial: TrialSettings
    passes: int = 1
    """How many passes make a step of it."""


def lane(rank: int, seed: int, passes: int = 1, module_dropout: float = 0.0, **trial: object) -> Lane:
    spec = TrialSpec(
        rank=rank, alpha=rank * 0.7, conv_rank=rank, conv_alpha=1.0, seed=seed, module_dropout=module_dropout
    )
    # AdamW divides a gradient by its size plus epsilon: with 1e-8 values that are nothing but rounding walk by their sign.
    own = {"optimizer_args": {"eps": 1e-6}, **trial} if trial.get("optimizer", "adamw") == "adamw" else trial
    return Lane(spec, TrialSettings(seed=seed, **own), passes)  # type: ignore[arg-type]


LANES = (
    lane(2, 1, denoiser_lr=1e-2, text_encoder_lr=3e-3, max_grad_norm=0.05),
    lane(5, 2, passes=2, denoiser_lr=3e-3, text_encoder_lr=3e-3, weight_decay=0.2, lr_scheduler="constant"),
    lane(
        3, 3, denoiser_lr=5e-3, loraplus_unet_lr_ratio=4.0, ema_decay=0.9, max_grad_norm=0.0,
        optimizer_args={"betas": (0.8, 0.95), "eps": 1e-5},
    ),
    lane(4, 4, module_dropout=0.4, denoiser_lr=1e-2, text_encoder_lr=1e-2),
    lane(2, 5, optimizer="sgd", denoiser_lr=0.1, text_encoder_lr=0.1, ema_decay=0.5),
)  # fmt: skip


class Place:
    """A lane at work: its optimizer and the steps it has taken."""

    def __init__(self, adapter: LoraAdapter, place: int, own: Lane) -> None:
        self.adapter, self.place, self.own = adapter, place, own
        self.optimizer = TrialOptimizer(own.trial, rate_groups(adapter, place, own.trial), STEPS)
        self.micro_step = 0

    def data(self) -> Tensor:
        generator = torch.Generator().manual_seed(100 * self.own.spec.seed + self.micro_step)
        return torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)

    def after_pass(self) -> None:
        self.micro_step += 1
        if self.micro_step % self.own.passes == 0:
            step = self.micro_step // self.own.passes - 1
            self.optimizer.update(step)
            self.optimizer.take_in(step)

    @property
    def state(self) -> dict[str, Tensor]:
        self.optimizer.train(False)
        state = self.adapter.state_dict(self.place)
        self.optimizer.train(True)
        return state


def go(model: BaseModel, places: list[Place], passes: int) -> None:
    """Take passes in which each place sees its own data at its own micro-step."""
    adapter = places[0].adapter
    for _ in range(passes):
        for place in places:
            adapter.set_step(place.micro_step, place=place.place)
        with adapter.taking([place.place for place in places]):
            rows = torch.cat([place.data() for place in places]).to(next(model.denoiser.parameters()).dtype)
            (model.denoiser(rows).view(len(places), -1).mean(1).sum() / 2).backward()
        for place in places:
            place.after_pass()


def alone(own: Lane, passes: int, dtype: torch.dtype) -> Place:
    model = model_of(dtype)
    adapter = LoraAdapter.attach(model, [own.spec]).to(dtype=dtype).train()
    place = Place(adapter, 0, own)
    go(model, [place], passes)
    return place


def gathered(dtype: torch.dtype) -> tuple[BaseModel, LoraAdapter, list[Place]]:
    model = model_of(dtype)
    adapter = LoraAdapter.attach(model, [own.spec for own in LANES]).to(dtype=dtype).train()
    assert adapter.gather()
    return model, adapter, [Place(adapter, number, own) for number, own in enumerate(LANES)]


def apart(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return how far two states are apart, as a share of the way that training went."""
    assert list(one) == list(two)
    way = sum(float(value.double().square().sum()) for name, value in two.items() if "up" in name) ** 0.5
    far = sum(float((one[name].double() - value.double()).square().sum()) for name, value in two.items())
    return far**0.5 / way


# In double precision rounding hides nothing. In single, sums in another order: the last place (6e-8), some dozen times over.
WAYS = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.mark.parametrize("dtype", WAYS, ids=str)
def test_each_place_goes_the_way_of_its_own_optimizer(dtype: torch.dtype) -> None:
    """Rates of their own for parts and layers, betas, decay, clipping, averages, and steps at other times than the others."""
    model, _, places = gathered(dtype)
    go(model, places, STEPS)
    assert [type(place.optimizer.torch_optimizer) for place in places[:4]] == [GatheredAdamW] * 4
    for place, own in zip(places, LANES, strict=True):
        assert apart(place.state, alone(own, STEPS, dtype).state) < WAYS[dtype]


def test_weights_that_no_gradient_reached_are_not_decayed() -> None:
    model, adapter, places = gathered(torch.float64)
    before = {
        number: value.detach().clone() for number, value in adapter.layers["lora_never"].named_parameters()
    }
    go(model, places, 3)
    after = dict(adapter.layers["lora_never"].named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_trials_come_and_go_while_the_others_train_on() -> None:
    """A place is emptied, given away to a larger rank, and the others' moments move with their weights."""
    model, adapter, places = gathered(torch.float64)
    go(model, places, 6)
    large = lane(9, 8, denoiser_lr=1e-2)
    adapter.replace(1, None)
    go(model, [places[3], places[0], places[2]], 4)
    adapter.replace(1, large.spec)
    newcomer = Place(adapter, 1, large)
    go(model, [places[0], newcomer, places[2], places[3]], 8)
    for place in (places[0], places[2], places[3]):
        assert apart(place.state, alone(place.own, 18, torch.float64).state) < WAYS[torch.float64]
    assert apart(newcomer.state, alone(large, 8, torch.float64).state) < WAYS[torch.float64]


@pytest.mark.parametrize("number", range(len(LANES)))
def test_a_state_goes_from_a_pack_to_a_training_of_its_own_and_back(tmp_path: Path, number: int) -> None:
    own = LANES[number]
    whole = alone(own, STEPS, torch.float64).state
    first = alone(own, 12, torch.float64)
    model, adapter, places = gathered(torch.float64)
    go(model, places, 4)
    places[number] = Place(adapter, number, own)
    _hand_over(first, places[number], tmp_path / "alone")
    go(model, places, 6)
    packed = places[number]
    last = alone(own, 0, torch.float64)
    _hand_over(packed, last, tmp_path / "packed")
    go(cast(BaseModel, SimpleNamespace(denoiser=last.adapter._targets["lora_a"].parent)), [last], STEPS - 18)
    assert apart(last.state, whole) < WAYS[torch.float64]
    # Handed over and saved again at once, a state is the same file to the bit.
    again = alone(own, 0, torch.float64)
    _hand_over(first, again, tmp_path / "one")
    model, adapter, others = gathered(torch.float64)
    _hand_over(first, others[number], tmp_path / "two")
    for at, name in ((again, "one"), (others[number], "two")):
        (tmp_path / f"{name}-again").mkdir()
        _save(at, tmp_path / f"{name}-again")
    one, two = (_content(tmp_path / f"{name}-again") for name in ("one", "two"))
    assert one == two


def _save(place: Place, folder: Path) -> None:
    parameters = place.adapter.named_parameters_of(place.place)
    save_state(folder, max(place.micro_step, 1), "digest", parameters, place.optimizer, None)


def _hand_over(given: Place, taker: Place, folder: Path) -> None:
    folder.mkdir()
    _save(given, folder)
    state = latest_state(folder)
    assert state is not None
    restore_state(state, taker.adapter.named_parameters_of(taker.place), taker.optimizer, None)
    taker.micro_step = given.micro_step


def _content(folder: Path) -> tuple[dict[str, str], dict[str, list[float]]]:
    (path,) = folder.iterdir()
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key).flatten().tolist() for key in file.keys()}  # noqa: SIM118
        return dict(file.metadata()), tensors


def test_a_gradient_that_is_no_number_changes_nothing_and_can_be_looked_at() -> None:
    model, adapter, places = gathered(torch.float64)
    go(model, places, 2)
    before = [adapter.state_dict(place) for place in range(len(places))]
    with adapter.taking([0, 1]):
        rows = torch.cat([places[0].data(), places[1].data()])
        losses = model.denoiser(rows).view(2, -1).mean(1)
        (losses * torch.tensor([float("nan"), 1.0])).sum().backward()
    with pytest.raises(BrokenGradient):
        places[0].optimizer.update(2)
    assert any(leaf.grad is not None and leaf.grad.isnan().any() for leaf in adapter.parameters_of(0))
    places[1].optimizer.update(2)
    assert all(torch.equal(value, adapter.state_dict(0)[name]) for name, value in before[0].items())
    assert any(not torch.equal(value, adapter.state_dict(1)[name]) for name, value in before[1].items())
    assert all(value.isfinite().all() for value in adapter.state_dict(1).values())


def test_gathered_leaves_are_one_stretch_of_memory_each() -> None:
    _, adapter, _ = gathered(torch.float32)
    assert adapter.pool is not None
    for place in range(len(LANES)):
        for leaf in adapter.parameters_of(place):
            row = adapter.pool.values[place]
            assert leaf.untyped_storage().data_ptr() == row.untyped_storage().data_ptr()
            # Only of dense tensors an empty like is laid out as they are.
            assert torch.empty_like(leaf).stride() == leaf.stride()
    twins = Twins(adapter.parameters_of(4))
    assert all(twin.is_contiguous() for twin in twins.parameters)


def test_a_loss_scaler_leaves_a_broken_step_out() -> None:
    model, adapter, places = gathered(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = adapter.state_dict(0)
    for broken in (True, False):
        with adapter.taking([0]):
            loss = model.denoiser(places[0].data().float()).mean()
            scaler.scale(loss * (float("inf") if broken else 1.0)).backward()
        places[0].optimizer.update(0, scaler)
        scaler.update()
        after = adapter.state_dict(0)
        same = all(torch.equal(value, after[name]) for name, value in before.items())
        assert same == broken
