"""Thresholds of the field notes, at the line and beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maquette.kohya.config_file import read_config_file
from maquette.project.profile import Detail, Profile
from maquette.project.request import TrainingRequest
from maquette.rules.wording import number
from tests.rules.rule_cases import CHARACTER_RUN, PIXEL_ART_RUN, codes, command, found, schedule

FILM_FRAMES = {
    "rank": 64, "alpha": 32.0, "dropout": 0.1, "learning_rate": 8e-5, "unet_lr": 8e-5, "text_encoder_lrs": (4e-5,),
    "scheduler": "cosine_with_restarts", "cycles": 2, "warmup_steps": 100, "optimizer": "adamw8bit", "epochs": 20,
    "batch_size": 4, "accumulation": 2, "min_snr_gamma": 5.0, "noise_offset": 0.05, "resolution_wh": (512, 512), "seed": 1,
    "save_every_epochs": 2, "sample_prompts": "/elsewhere/prompts.txt", "sample_every_epochs": 2, "base": "v1-5.safetensors",
    "network_module": "networks.lora", "output_dir": Path("out"),
}  # fmt: skip
"""413 film frames on SD 1.5: batch 4 × accumulation 2, 52 steps an epoch."""
FILM_RUN = schedule(1040, 52)
KNIGHT = Profile(
    kind="character",
    trigger="spyke_plasma_v1",
    appearance=("ginger hair", "white sleeveless cloak"),
    details=(Detail(name="red fingerless glove", side="right", part="arm"),),
)


def frames(**changes: Any) -> TrainingRequest:
    return TrainingRequest(file=Path("luca.toml"), trainer="sd-scripts", **{**FILM_FRAMES, **changes})


def test_the_runs_of_the_field_notes_that_worked_raise_nothing(tmp_path: Path) -> None:
    assert codes(frames(), FILM_RUN, only="SET") == {}
    pixel_art = codes(command(tmp_path, PIXEL_ART_RUN), only="SET")
    assert pixel_art == {"SET020": "hint"}, "only that it drew no samples while it trained"
    character = codes(command(tmp_path, CHARACTER_RUN), schedule(920, 230), only="SET")
    assert character == {"SET020": "hint"}


@pytest.mark.parametrize(
    ("alpha", "severity"),
    [
        (64.0, "hint"),
        (63.5, "hint"),
        (0.0, "hint"),
        (128.0, "warning"),
        (1.0, "warning"),
        (32.0, None),
        (16.0, None),
    ],
)
def test_alpha_is_measured_against_the_rank(alpha: float, severity: str | None) -> None:
    """Constraint 2: |alpha − rank| below 1; sd-scripts' default alpha of 1 is a scale of 1/64."""
    assert codes(frames(alpha=alpha), FILM_RUN, only="SET001").get("SET001") == severity


def test_an_unsaid_alpha_is_sd_scripts_default() -> None:
    (finding,) = found(frames(alpha=None, rank=32), only="SET001")
    assert "1 (the default)" in finding.message and "1/32" in finding.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unet_lr": 1.3e-4}, "8-bit"),
        ({"unet_lr": 1.2e-4}, None),
        ({"unet_lr": 1.01e-4, "warmup_steps": 99}, "99 warm-up steps"),
        ({"unet_lr": 1.01e-4, "warmup_steps": 100}, None),
        ({"unet_lr": 1e-4, "warmup_steps": 0}, None),
        ({"unet_lr": 1.2e-4, "accumulation": 1}, "batch 4 without accumulation"),
        ({"unet_lr": 1.1e-4, "accumulation": 1}, None),
        ({"unet_lr": 1.2e-4, "accumulation": 1, "batch_size": 8}, None),
        ({"unet_lr": 1.1e-4, "alpha": 56.0, "optimizer": "adamw"}, "alpha / rank of 0.875"),
        ({"unet_lr": 1e-4, "alpha": 56.0, "optimizer": "adamw"}, None),
    ],
)
def test_safety_constraints_of_the_rate(changes: dict[str, Any], reason: str | None) -> None:
    """Constraints 1, 4, 5 and 7 of the film frames' search."""
    said = found(frames(**changes), FILM_RUN, only="SET003")
    assert len(said) == (reason is not None)
    assert all(str(reason) in finding.message for finding in said)


def test_a_share_of_warm_up_is_worked_out_before_it_is_judged() -> None:
    """0.1 of 1,040 steps are 104."""
    assert not found(frames(unet_lr=1.2e-4, warmup_steps=0.1), FILM_RUN, only="SET003")
    assert found(frames(unet_lr=1.2e-4, warmup_steps=0.09), FILM_RUN, only="SET003")


def test_high_alpha_wants_all_four() -> None:
    """Constraint 6; the same project's SDXL settings (128/96, 8-bit, 100 warm-up steps) break two of it."""
    gentle = frames(alpha=48.0, optimizer="adamw", warmup_steps=150)
    assert not found(gentle, FILM_RUN, only="SET004")
    sdxl = frames(rank=128, alpha=96.0, accumulation=8, unet_lr=1e-4)
    (finding,) = found(sdxl, FILM_RUN, only="SET004")
    assert finding.severity == "hint" and "full precision" in finding.message and "150" in finding.message
    assert "16 epochs" not in finding.message
    (finding,) = found(replace(gentle, accumulation=1), schedule(780, 52), only="SET004")
    assert "16 epochs (it has 15)" in finding.message and "accumulation" in finding.message


@pytest.mark.parametrize(("rank", "epochs", "speaks"), [(256, 15, True), (256, 16, False), (255, 4, False)])
def test_large_ranks_need_sixteen_epochs(rank: int, epochs: int, speaks: bool) -> None:
    """Constraint 3."""
    request = frames(rank=rank, alpha=rank / 2)
    assert bool(found(request, schedule(52 * epochs, 52), only="SET008")) is speaks


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"unet_lr": 1e-3}, "warning"),
        ({"unet_lr": 5e-6}, "hint"),
        ({"unet_lr": 1e-5}, None),
        ({"optimizer": "lion", "unet_lr": 1e-4}, "warning"),
        ({"optimizer": "lion", "unet_lr": 3e-5}, None),
        ({"optimizer": "prodigy", "unet_lr": 1.0, "text_encoder_lrs": (1.0,)}, None),
        ({"optimizer": "prodigy", "unet_lr": 1e-4, "text_encoder_lrs": (1e-4,)}, "warning"),
        ({"optimizer": "dadaptadam", "unet_lr": 1.0, "text_encoder_lrs": (0.5,)}, "warning"),
        ({"learning_rate": None, "unet_lr": None, "text_encoder_lrs": None}, "warning"),
    ],
)
def test_each_optimizer_has_its_own_size_of_rate(changes: dict[str, Any], severity: str | None) -> None:
    assert codes(frames(**changes), only="SET002").get("SET002") == severity


@pytest.mark.parametrize(
    ("warm", "severity"),
    [(1040, "error"), (1039, "warning"), (209, "warning"), (208, None), (0.2, None), (0.5, "warning")],
)
def test_warm_up_leaves_room_for_the_run(warm: float, severity: str | None) -> None:
    assert codes(frames(warmup_steps=warm), FILM_RUN, only="SET005").get("SET005") == severity


def test_restarts_are_counted_against_epochs() -> None:
    assert not found(frames(cycles=20), FILM_RUN, only="SET006")
    assert found(frames(cycles=21), FILM_RUN, only="SET006")
    assert not found(frames(cycles=21, scheduler="cosine"), FILM_RUN, only="SET006")


@pytest.mark.parametrize(
    ("unet", "text", "severity"),
    [(1e-4, (5e-5,), None), (1.3e-4, (8e-5,), None), (1e-4, (1e-4,), "hint"), (1e-4, (2e-4,), "warning"), (1e-4, None, "hint"),
     (1e-4, (0.0,), None), (1e-4, (5e-5, 1.1e-4), "warning")],
)  # fmt: skip
def test_the_text_encoder_learns_at_half_the_rate(
    unet: float, text: tuple[float, ...] | None, severity: str | None
) -> None:
    request = frames(unet_lr=unet, learning_rate=unet, text_encoder_lrs=text)
    assert codes(request, only="SET011").get("SET011") == severity


def test_flipping_a_one_sided_subject_is_an_error_that_names_the_detail() -> None:
    (finding,) = found(frames(flip_aug=True), KNIGHT, only="SET009")
    assert finding.severity == "error" and "right arm red fingerless glove" in finding.message
    assert codes(frames(flip_aug=True), replace(KNIGHT, kind="person", details=())) == {"SET009": "warning"}
    assert codes(frames(flip_aug=True)) == {"SET009": "hint"}
    assert codes(frames(flip_aug=True), replace(KNIGHT, details=())) == {}


def test_changed_colours_are_wrong_where_colours_belong_to_the_subject() -> None:
    assert "'ginger hair'" in found(frames(color_aug=True), KNIGHT, only="SET010")[0].message
    plain = replace(KNIGHT, appearance=("freckles",))
    assert not found(frames(color_aug=True), plain, only="SET010")
    assert found(frames(color_aug=True), replace(plain, palette=("#a0b1a6",)), only="SET010")


def test_an_integer_resolution_in_a_config_file_is_named_with_the_right_spelling(tmp_path: Path) -> None:
    """`AttributeError: 'int' object has no attribute 'split'`, after which a project gave up TOML files."""
    (tmp_path / "run.toml").write_text("[training]\nresolution = 512\nlr_schedular = 'cosine'\n")
    request = read_config_file(tmp_path / "run.toml")
    said = {finding.code: finding for finding in found(request, only="SET015 SET016 SET023")}
    assert '"512,512"' in said["SET015"].remedy and "split" in said["SET015"].message
    assert said["SET016"].severity == "warning" and "lr_scheduler" in said["SET016"].remedy
    assert "resolution" not in said["SET023"].place


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (5e-5, "5e-5"),
        (2e-6, "2e-6"),
        (1.2e-4, "1.2e-4"),
        (0.05, "0.05"),
        (1.0, "1"),
        (16, "16"),
    ],
)
def test_rates_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text
