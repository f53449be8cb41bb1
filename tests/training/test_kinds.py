"""Every kind of adapter trains, is limited, counted and resumed alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maquette.errors import ConfigError
from maquette.families import BaseModel, inspect, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.files import save_lora
from maquette.lora.kinds import KINDS, rows
from maquette.lora.size import lora_file_bytes, lora_parameters
from maquette.project.adapter_kinds import ADAPTER_KINDS
from maquette.project.config_file import load_settings
from maquette.training.adapting import require_layers
from maquette.training.config import TrialSettings, trial_of
from maquette.training.job import adapter_spec
from maquette.training.optimize import TrialOptimizer
from maquette.training.rates import rate_groups
from maquette.training.state import latest_state, restore_state, save_state
from tests.lora.test_adapter import prediction


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> BaseModel:
    return load(tiny_base)


def test_settings_name_the_kinds_that_there_are() -> None:
    assert {name: KINDS[name].title for name in rows()} == dict(ADAPTER_KINDS)


def trial(kind: str, **given: object) -> TrialSettings:
    dropouts = dict.fromkeys(KINDS[kind].dropouts, 0.2)
    values = {
        "base": "x",
        "adapter": kind,
        "rank": 2,
        "conv_rank": 1,
        "learning_rate": 1e-2,
        **dropouts,
        **given,
    }
    return trial_of(load_settings(None, values))


class Training:
    """A trial of a kind at work on a tiny model, as the engine drives it."""

    def __init__(self, model: BaseModel, settings: TrialSettings) -> None:
        self.model = model
        self.adapter = LoraAdapter.attach(model, [adapter_spec(settings, model.spec)]).train()
        self.optimizer = TrialOptimizer(settings, rate_groups(self.adapter, 0, settings), total_steps=4)

    def steps(self, *numbers: int) -> None:
        for number in numbers:
            self.adapter.set_step(number)
            (prediction(self.model) - 0.1 * number).square().sum().backward()
            self.optimizer.update(number)

    def values(self) -> dict[str, torch.Tensor]:
        return self.adapter.state_dict(0)


@pytest.mark.parametrize(
    "kind", [name if name == "dora" else pytest.param(name, marks=pytest.mark.slow) for name in rows()]
)
def test_a_resumed_trial_ends_where_one_ends_that_was_never_stopped(
    model: BaseModel, kind: str, tmp_path: Path
) -> None:
    settings = trial(kind)
    first = Training(model, settings)
    before = first.values()
    first.steps(0, 1)
    save_state(tmp_path, 2, "digest", first.adapter.named_parameters_of(0), first.optimizer, None)
    first.steps(2, 3)
    first.adapter.detach()
    second = Training(model, settings)
    state = latest_state(tmp_path)
    assert state is not None
    restore_state(state, second.adapter.named_parameters_of(0), second.optimizer, None)
    second.steps(2, 3)
    second.adapter.detach()
    ended, resumed = first.values(), second.values()
    assert ended.keys() == resumed.keys() == before.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in ended.items())
    assert any(not torch.equal(value, ended[name]) for name, value in before.items())


@pytest.mark.parametrize("kind", rows())
def test_what_is_attached_and_saved_is_what_was_counted(
    model: BaseModel, tiny_base: Path, kind: str, tmp_path: Path
) -> None:
    factor = {"lokr_factor": 4} if kind == "lokr" else {}
    spec = adapter_spec(trial(kind, rank=8, **factor), model.spec)
    adapter = LoraAdapter.attach(model, [spec])
    adapter.detach()
    info = inspect(tiny_base)
    assert lora_parameters(info, spec) == sum(leaf.numel() for leaf in adapter.parameters())
    saved = save_lora(tmp_path / "a.safetensors", adapter.state_dict(0), {}, dtype="fp32")
    assert lora_file_bytes(info, spec, precision="fp32") == pytest.approx(saved.num_bytes, rel=0.03)


def test_settings_that_a_kind_has_no_use_for_are_refused(model: BaseModel, tiny_base: Path) -> None:
    info = inspect(tiny_base)
    for given, said in (
        ({"adapter": "oft", "scale_weight_norms": 1.0}, "--scale-weight-norms: 1 with OFT"),
        ({"adapter": "loha", "loraplus_lr_ratio": 16}, "--loraplus-lr-ratio: with LoHa"),
        ({"adapter": "dora", "lokr_factor": 8}, "--lokr-factor: 8 with DoRA"),
        ({"adapter": "oft", "dropout": 0.1}, "Leave dropout at 0 for OFT"),
    ):
        with pytest.raises(ConfigError) as error:
            require_layers(load_settings(None, {"base": "x", **given}), model.spec, info)
        assert said in str(error.value)


@pytest.mark.parametrize("kind", [name for name in rows() if KINDS[name].factors])
def test_a_limited_change_is_as_long_as_the_limit(model: BaseModel, kind: str) -> None:
    """Tolerance: a root of the ratio on each factor, float32."""
    training = Training(model, trial(kind))
    for leaf in training.adapter.parameters():
        leaf.data.normal_(generator=torch.Generator().manual_seed(leaf.numel()))
    done = training.adapter.limit_norms(0, 0.3)
    training.adapter.detach()
    assert done.shrunk and done.largest == pytest.approx(0.3)
    for layer in training.adapter.layers.values():
        assert float(layer.delta(0).norm()) <= 0.3 * 1.001
