"""Spaces: what a file may say, what a proposal means, and what is told of a wrong one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.project.config_file import with_changes
from maquette.searching.basis import held_out_of, trial_settings
from maquette.searching.constraints import SAFETY, broken
from maquette.searching.default_space import EPOCHS, default_space
from maquette.searching.expressions import Unreadable, parse_expression
from maquette.searching.space import require_settable
from maquette.searching.space_file import parse_space, read_space
from tests.searching.making import toy_basis, toy_space

CALM = {
    "learning_rate": 8e-5,
    "network_dim": 64,
    "network_alpha": 32,
    "network_alpha_ratio": 0.5,
    "max_train_epochs": 16,
    "gradient_accumulation_steps": 2,
    "optimizer_type": "AdamW",
    "lr_warmup_steps": 150,
}
BREAKS = {
    "high_rate_on_8bit": {"learning_rate": 1.3e-4, "optimizer_type": "adamw8bit"},
    "alpha_near_dim": {"network_alpha": 63.5},
    "high_dim_few_epochs": {"network_dim": 256, "max_train_epochs": 15},
    "high_rate_short_warmup": {"learning_rate": 1.01e-4, "lr_warmup_steps": 99},
    "high_rate_without_accumulation": {"learning_rate": 1.11e-4, "gradient_accumulation_steps": 1},
    "high_alpha_needs_calm": {"network_alpha_ratio": 0.75, "lr_warmup_steps": 149},
    "very_high_alpha_high_rate": {"network_alpha_ratio": 0.85, "learning_rate": 1.01e-4},
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_safety_constraint_refuses_its_fault(name: str) -> None:
    assert broken(SAFETY, CALM) == ()
    assert name in broken(SAFETY, {**CALM, **BREAKS[name]})


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1.2e-4, "optimizer_type": "AdamW8bit"},
        {"network_alpha": 63},
        {"network_dim": 256, "max_train_epochs": 16},
        {"learning_rate": 1e-4, "lr_warmup_steps": 50},
        {"learning_rate": 1.1e-4, "gradient_accumulation_steps": 1},
        {"network_alpha_ratio": 0.9},
    ],
)
def test_what_lies_on_a_bound_is_not_refused(change: dict[str, object]) -> None:
    assert broken(SAFETY, {**CALM, **change}) == ()


def test_there_are_the_seven_with_their_reasons() -> None:
    assert {each.name for each in SAFETY} == set(BREAKS)
    assert all(each.why for each in SAFETY)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1 < rate < 3 and not (kind == 'ADAM' or kind in ('sgd', 'lion'))", False),
        ("abs(-rate) * 2 + 1 >= 5", True),
        ("max(rate, 3) - min(rate, 3) == 1", True),
        ("off == 0", True),
        ("kind not in ['x']", True),
        ("rate / 0 > 1", True),
    ],
)
def test_conditions_are_arithmetic(text: str, holds: bool) -> None:
    from maquette.searching.constraints import Constraint

    values = {"rate": 2, "kind": "adam", "off": None}
    assert Constraint("x", parse_expression(text), "").refuses(values) is holds


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "rate.real > 1", "(lambda: 1)()", "rate[0]", "f'{rate}'", "rate := 1", "", "1 +", "abs()",
     "2 ** 99", "rate if rate else 1", "(" * 999, "b'x' == rate", "max(*rate)", "abs(x=1)"],
)  # fmt: skip
def test_whatever_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_expression(text)


def test_alpha_follows_the_rank() -> None:
    space, base = toy_space(), toy_basis().settings
    for rank in (2, 4, 8, 16):
        for ratio in (0.25, 0.3, 0.55, 0.9):
            found = space.settings(base, {"network_dim": rank, "network_alpha_ratio": ratio})
            assert found.lora.rank == rank
            assert found.lora.alpha == max(1, math.floor(rank * ratio + 1e-9))


def test_a_rank_alone_keeps_the_ratio_that_the_project_has() -> None:
    space = toy_space("[space]\nrank = { choose = [4, 32] }")
    assert space.settings(toy_basis().settings, {"rank": 32}).lora.alpha == 32


def test_zero_is_off_where_off_is_none() -> None:
    space = toy_space("[space]\nmin_snr_gamma = { choose = [0, 5] }")
    assert space.settings(toy_basis().settings, {"min_snr_gamma": 0}).objective.min_snr_gamma is None
    assert space.settings(toy_basis().settings, {"min_snr_gamma": 5}).objective.min_snr_gamma == 5


def test_some_layers_have_a_rank_of_their_own_and_alpha_in_the_same_ratio() -> None:
    text = (
        '[space]\nnetwork_alpha_ratio = { choose = [0.5] }\nmiddle = { choose = [4, 16], layers = "MID" }\n'
    )
    found = toy_space(text).settings(toy_basis().settings, {"network_alpha_ratio": 0.5, "middle": 16})
    assert found.lora.blocks == ("MID: rank=16, alpha=8",)


def test_the_project_is_a_point_of_a_space_that_holds_it() -> None:
    base = toy_basis().settings
    inside = with_changes(base, {"rank": 4, "alpha": 2.0, "learning_rate": 1e-3, "warmup_steps": 4})
    found = toy_space().params_of(inside)
    assert found == {
        "network_dim": 4,
        "network_alpha_ratio": 0.5,
        "learning_rate": 1e-3,
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 4,
    }
    assert toy_space().params_of(with_changes(inside, {"rank": 5})) is None


def test_the_default_space_is_the_field_notes_and_every_value_of_it_can_be_set() -> None:
    basis = toy_basis()
    space = parse_space(default_space(basis), "default")
    require_settable(space, basis.settings)
    found = {each.name: each for each in space.parameters}
    assert found["network_dim"].choices == (64, 128, 256)
    ratio = found["network_alpha_ratio"]
    assert (ratio.low, ratio.high, ratio.step) == (0.25, 0.9, 0.05)
    assert (found["learning_rate"].low, found["learning_rate"].high, found["learning_rate"].log) == (
        6e-5,
        1.2e-4,
        True,
    )
    assert {each.name for each in space.constraints} >= {each.name for each in SAFETY}
    by_epochs = with_changes(basis.settings, {"epochs": 18})
    longer = parse_space(default_space(type(basis)(**{**vars(basis), "settings": by_epochs})), "default")
    assert {each.name: each.choices for each in longer.parameters}["max_train_epochs"] == EPOCHS


def test_every_problem_of_a_space_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        """
        sapace = 1
        refuse = ["learning_rat > 1", "optimizer_type == 'AdamW9bit'", "1 +"]
        [space]
        network_dims = { choose = [1, 2] }
        rank = { choose = [1, 1], low = 3, chose = 1 }
        learning_rate = { low = 3, high = 1 }
        dropout = { low = 0.0, high = 0.5, step = 0.3 }
        unet_lr = { low = 0, high = 1, log = true }
        device = { choose = ["cpu"] }
        lr_cycles = { choose = [1, 2], if = "ranks > 2" }
        epochs = { choose = [1, 2] }
        max_train_steps = { choose = [1, 2] }
        lr_power = 3
        """
    )
    with pytest.raises(ConfigError) as caught:
        read_space(file)
    told = str(caught.value)
    for part in ("'space'", "'learning_rate'", "AdamW9bit", "'network_dim'", "each value once", "'choose'", "low 3, high 1",
                 "a part of 0.5", "above 0", "belongs to the base", "'ranks'", "decides what", "lr_power"):  # fmt: skip
        assert part in told, part


def test_values_that_a_setting_does_not_take_are_told() -> None:
    space = toy_space("[space]\nrank = { choose = [0, 4] }\nlr_scheduler = { choose = ['cosin'] }")
    with pytest.raises(ConfigError) as caught:
        require_settable(space, toy_basis().settings)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(("pictures", "held"), [(6, 2), (15, 2), (40, 5), (400, 16)])
def test_some_pictures_are_held_out_where_the_project_says_nothing(pictures: int, held: int) -> None:
    assert held_out_of(pictures) == held


def test_a_search_is_refused_where_nothing_can_be_held_out() -> None:
    with pytest.raises(ConfigError, match="held-out"):
        held_out_of(5)
    training = with_changes(toy_basis().settings, {"validation_pictures": None, "validation_training": True})
    with pytest.raises(ConfigError, match="trained on"):
        trial_settings(training)
