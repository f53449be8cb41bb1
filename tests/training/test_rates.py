"""Which weights train at which rate: parts, text encoders, LoRA+, blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maquette.errors import ConfigError
from maquette.families import FAMILIES, BaseModel, inspect, load
from maquette.families.tiny import write_tiny
from maquette.lora.adapter import LoraAdapter
from maquette.project.config_file import load_settings
from maquette.training.adapting import require_layers
from maquette.training.config import trial_of
from maquette.training.job import adapter_spec
from maquette.training.rates import RateGroup, rate_groups


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(request.param, tmp_path_factory.mktemp("base") / f"{request.param}.safetensors")


@pytest.fixture(scope="module")
def model(base: Path) -> BaseModel:
    return load(base)


def groups_of(model: BaseModel, **given: Any) -> list[RateGroup]:
    settings = load_settings(None, {"base": "x", "learning_rate": 1e-4, **given})
    trial = trial_of(settings)
    adapter = LoraAdapter.attach(model, [adapter_spec(trial, model.spec)])
    adapter.detach()
    groups = rate_groups(adapter, 0, trial)
    assert sum(len(group.parameters) for group in groups) == len(adapter.parameters_of(0))
    return groups


def rates(groups: list[RateGroup]) -> dict[str, float]:
    return {group.name: pytest.approx(group.lr, rel=1e-12) for group in groups}


def test_two_parts_have_two_rates(model: BaseModel) -> None:
    assert rates(groups_of(model)) == {"text_encoder": 5e-5, "denoiser": 1e-4}


def test_lora_plus_raises_the_up_halves(model: BaseModel) -> None:
    groups = groups_of(model, loraplus_lr_ratio=16, loraplus_text_encoder_lr_ratio=4)
    assert [group.name for group in groups] == [
        "text_encoder", "text_encoder_plus", "denoiser", "denoiser_plus"
    ]  # fmt: skip
    assert rates(groups) == {
        "text_encoder": 5e-5, "text_encoder_plus": 2e-4, "denoiser": 1e-4, "denoiser_plus": 16e-4
    }  # fmt: skip
    assert all(not leaf.any() for group in groups for leaf in group.parameters if group.name.endswith("plus"))
    assert all(leaf.any() for group in groups for leaf in group.parameters if not group.name.endswith("plus"))


def test_blocks_have_rates_of_their_own(model: BaseModel) -> None:
    groups = groups_of(model, blocks=("unet: lr=0.5", "MID: lr=2"), loraplus_unet_lr_ratio=10)
    assert rates(groups) == {
        "text_encoder": 5e-5,
        "denoiser_x0.5": 5e-5,
        "denoiser_x0.5_plus": 5e-4,
        "denoiser_x2": 2e-4,
        "denoiser_x2_plus": 2e-3,
    }


def test_each_of_two_text_encoders_may_have_a_rate(model: BaseModel, base: Path) -> None:
    spec, info = FAMILIES[model.family].spec, inspect(base)
    settings = load_settings(None, {"base": "x", "text_encoder_lr": 1e-5, "text_encoder_2_lr": 0.0})
    if info.text_encoders == 1:
        with pytest.raises(ConfigError, match="has one text encoder"):
            require_layers(settings, spec, info)
        return
    require_layers(settings, spec, info)
    assert rates(groups_of(model, text_encoder_lr=1e-5, text_encoder_2_lr=3e-5)) == {
        "text_encoder": 1e-5, "text_encoder_2": 3e-5, "denoiser": 1e-4
    }  # fmt: skip
    only_first = groups_of(model, text_encoder_lr=1e-5, text_encoder_2_lr=0.0)
    only_second = groups_of(model, text_encoder_lr=0.0, text_encoder_2_lr=1e-5)
    assert rates(only_first) == {"text_encoder": 1e-5, "denoiser": 1e-4}
    assert rates(only_second) == {"text_encoder_2": 1e-5, "denoiser": 1e-4}


def test_a_pattern_that_means_nothing_is_named_with_what_is_near(base: Path) -> None:
    info = inspect(base)
    settings = load_settings(None, {"base": "x", "include_layers": ("atention",), "blocks": ("IN99: 4",)})
    with pytest.raises(ConfigError) as error:
        require_layers(settings, FAMILIES[info.family].spec, info)
    assert "'atention': means no layer of the base" in str(error.value)
    assert "Did you mean 'attention'" in str(error.value) and "'IN99'" in str(error.value)
    none = load_settings(None, {"base": "x", "exclude_layers": ("unet", "text_encoder*")})
    with pytest.raises(ConfigError, match="leave no layer to train"):
        require_layers(none, FAMILIES[info.family].spec, info)
