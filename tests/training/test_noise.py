"""Noise and timesteps: sd-scripts' formulas and order of draws, the densities, and what follows from the seed alone."""

from __future__ import annotations

import random

import pytest
import torch

import maquette
from maquette import families
from maquette.errors import ConfigError
from maquette.families.common.objective import DiscreteDiffusion
from maquette.families.options import family_options
from maquette.project.config_file import load_settings
from maquette.project.settings import ObjectiveSettings
from maquette.training.densities import quantiles
from maquette.training.noise import draw_noise
from maquette.training.objective import Rows
from maquette.training.randomness import generator_at

SHAPE = (3, 4, 12, 9)


def _clean() -> torch.Tensor:
    return torch.randn(SHAPE, generator=generator_at(7, "clean")) + torch.tensor([0.0, 2.0, -1.0, 0.3]).view(
        1, 4, 1, 1
    )


def _draw(**wanted: object):
    return draw_noise(_clean(), DiscreteDiffusion(), ObjectiveSettings(**wanted), generator_at(1, "noise", 0))


def test_offset_and_perturbation_are_drawn_in_the_reference_s_order() -> None:
    """Noise, the offset's strength, its values, timesteps, the perturbation's strength, its values."""
    drawn = _draw(
        noise_offset=0.2,
        noise_offset_random_strength=True,
        adaptive_noise_scale=0.05,
        ip_noise_gamma=0.1,
        ip_noise_gamma_random_strength=True,
    )
    generator, clean = generator_at(1, "noise", 0), _clean()
    noise = torch.randn(SHAPE, generator=generator)
    offset = torch.rand(1, generator=generator) * 0.2
    offset = (offset + 0.05 * torch.abs(clean.mean(dim=(2, 3), keepdim=True))).clamp(0.0, None)
    noise = noise + offset * torch.randn((SHAPE[0], SHAPE[1], 1, 1), generator=generator)
    timesteps = torch.randint(0, 1000, (SHAPE[0],), generator=generator)
    strength = torch.rand(1, generator=generator) * 0.1
    assert torch.equal(drawn.noise_BCHW, noise)
    assert torch.equal(drawn.timesteps_B, timesteps)
    assert torch.equal(drawn.perturbation_BCHW, strength * torch.randn(SHAPE, generator=generator))


def test_a_negative_adaptive_scale_never_turns_the_offset_round() -> None:
    plain = _draw()
    assert torch.equal(
        _draw(noise_offset=0.01, adaptive_noise_scale=-10.0).noise_BCHW[:, 1], plain.noise_BCHW[:, 1]
    )


def test_the_target_knows_nothing_of_the_perturbation() -> None:
    drawn, plain = _draw(ip_noise_gamma=0.3), _draw()
    assert torch.equal(drawn.noise_BCHW, plain.noise_BCHW)
    objective, clean = DiscreteDiffusion(), _clean()
    rows = Rows(
        clean_RCHW=clean,
        noise_RCHW=drawn.noise_BCHW,
        timesteps_R=drawn.timesteps_B,
        conditioning=None,
        sizes=(),
        regularization_R=torch.zeros(3, dtype=torch.bool),
        perturbation_RCHW=drawn.perturbation_BCHW,
    )
    shown = objective.add_noise(clean, drawn.noise_BCHW + drawn.perturbation_BCHW, drawn.timesteps_B)
    assert torch.equal(rows.noisy(objective), shown)
    assert torch.equal(
        objective.target(clean, rows.noise_RCHW, rows.timesteps_R),
        objective.target(clean, plain.noise_BCHW, plain.timesteps_B),
    )


def _pyramid(noise: torch.Tensor, iterations: int, discount: float, ratios, normals) -> torch.Tensor:
    """Pyramid noise as the reference trainer has it (wandb.ai/johnowhitaker/multires_noise), draws handed in."""
    upsample = torch.nn.Upsample(size=noise.shape[2:], mode="bilinear")
    for i in range(iterations):
        r = ratios() * 2 + 2
        size = [max(1, int(side / (r**i))) for side in noise.shape[2:]]
        noise = noise + upsample(normals((*noise.shape[:2], *size))) * discount**i
        if 1 in size:
            break
    return noise / noise.std()


@pytest.mark.parametrize("iterations", [1, 2, 10])
def test_coarser_noise_is_the_reference_s_formula(iterations: int) -> None:
    generator = generator_at(1, "noise", 0)
    expected = _pyramid(
        torch.randn(SHAPE, generator=generator),
        iterations,
        0.4,
        lambda: float(torch.rand(1, generator=generator, dtype=torch.float64)),
        lambda shape: torch.randn(shape, generator=generator),
    )
    drawn = _draw(multires_noise_iterations=iterations, multires_noise_discount=0.4)
    torch.testing.assert_close(drawn.noise_BCHW, expected)
    assert float(drawn.noise_BCHW.std()) == pytest.approx(1, abs=1e-5)


# --- timesteps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "most"), [(0, 1000), (200, 201), (300, 700)])
def test_timesteps_are_the_reference_s_draw_within_their_range(least: int, most: int) -> None:
    drawn = DiscreteDiffusion().sample_timesteps(500, generator_at(3), min_timestep=least, max_timestep=most)
    assert torch.equal(drawn, torch.randint(least, most, (500,), generator=generator_at(3)))


def test_equal_bounds_are_one_timestep() -> None:
    one = DiscreteDiffusion().sample_timesteps(5, generator_at(3), min_timestep=420, max_timestep=420)
    assert one.tolist() == [420] * 5
    end = DiscreteDiffusion().timesteps_at(torch.tensor([0.0, 1.0]), min_timestep=990, max_timestep=1000)
    assert end.tolist() == [990, 999]


def _integral(density, a: float, b: float, cells: int = 20_000) -> float:
    edges = torch.linspace(a, b, cells + 1, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    return float(density(middles).sum() * (b - a) / cells)


def _logit_normal(scale: float, shift: float):
    def density(s: torch.Tensor) -> torch.Tensor:
        x = s / (shift - (shift - 1) * s)  # before the shift
        inner = torch.exp(-((torch.log(x / (1 - x)) / scale) ** 2) / 2) / (scale * (2 * torch.pi) ** 0.5)
        return inner / (x * (1 - x)) * shift / (shift - (shift - 1) * s) ** 2

    return density


def _beta(a: float, b: float):
    constant = torch.distributions.Beta(
        torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    )
    return lambda s: constant.log_prob(s).exp()


@pytest.mark.parametrize(
    ("wanted", "density"),
    [
        ({"timestep_sampling": "uniform"}, torch.ones_like),
        ({"timestep_sampling": "sigmoid", "sigmoid_scale": 0.7}, _logit_normal(0.7, 1.0)),
        ({"timestep_sampling": "shift", "timestep_shift": 3.0}, _logit_normal(1.0, 3.0)),
        ({"timestep_sampling": "beta", "timestep_beta": (2.5, 1.2)}, _beta(2.5, 1.2)),
        ({"timestep_sampling": "beta", "timestep_beta": (0.6, 0.6)}, _beta(0.6, 0.6)),
    ],
    ids=["uniform", "sigmoid", "shift", "beta", "beta of two ends"],
)
def test_a_density_draws_each_part_of_the_way_as_often_as_its_formula_says(wanted, density) -> None:
    """The share of draws between the 20 % and 90 % quantiles is what the formula's integral over that part is."""
    low, high = quantiles(ObjectiveSettings(**wanted), torch.tensor([0.2, 0.9])).tolist()
    assert _integral(density, low, high) == pytest.approx(0.7, abs=2e-3)
    draws = quantiles(ObjectiveSettings(**wanted), torch.linspace(0, 1, 1001)[:-1])
    assert bool((draws.diff() >= 0).all()) and float(draws.min()) >= 0 and float(draws.max()) <= 1


def test_a_density_spans_the_range_that_is_trained() -> None:
    wanted = ObjectiveSettings(timestep_sampling="shift", min_timestep=100, max_timestep=200)
    options = {"min_timestep": 100, "max_timestep": 200}
    drawn = draw_noise(
        torch.zeros(4000, 1, 1, 1), DiscreteDiffusion(), wanted, generator_at(2), options
    ).timesteps_B
    assert (int(drawn.min()), int(drawn.max())) >= (100, 150) and int(drawn.max()) < 200
    assert float(drawn.float().mean()) > 160, "three quarters of the way: most is drawn where the noise is"


# --- in a run --------------------------------------------------------------------------------------------


def test_noise_follows_from_the_seed_alone_whatever_else_was_drawn() -> None:
    first = _draw(multires_noise_iterations=6, noise_offset=0.1)
    random.random(), torch.rand(3)
    again = _draw(multires_noise_iterations=6, noise_offset=0.1)
    assert torch.equal(first.noise_BCHW, again.noise_BCHW)


def test_a_run_trains_the_timesteps_that_its_settings_name(short_run, tmp_path) -> None:
    """A run within a band gets other weights; its file and record tell of it."""
    from safetensors import safe_open

    wanted = {"min_timestep": 500, "max_timestep": 900, "loss_type": "smooth_l1", "ip_noise_gamma": 0.1}
    result = maquette.train(**short_run(**wanted, steps=2, multires_noise_iterations=6))
    with safe_open(result.lora, framework="pt") as file:
        told = file.metadata()
    assert told["modelspec.timestep_range"] == "500,900"
    assert told["ss_loss_type"] == "smooth_l1" and told["ss_ip_noise_gamma"] == "0.1"
    assert told["ss_multires_noise_iterations"] == "6" and told["ss_debiased_estimation"] == "False"
    assert result.record.settings.objective.max_timestep == 900


def test_timesteps_that_the_family_has_not_are_refused(short_run) -> None:
    spec = next(iter(families.FAMILIES.values())).spec

    for given in ({"min_timestep": 1000}, {"max_timestep": 1001}, {"min_timestep": 0.5}):
        with pytest.raises(ConfigError, match="a whole number"):
            family_options(spec, given)
    with pytest.raises(ConfigError, match="max_timestep 100 is below min_timestep 200"):
        load_settings(None, short_run(min_timestep=200, max_timestep=100))
