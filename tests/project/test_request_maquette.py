"""Maquette's settings as a request: complete, and resolved as training resolves them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import SETTING_OF, SETTING_OF_OTHER, request_of
from maquette.project.settings import SECTION_OF, Settings
from maquette.training.config import trial_of

NOT_A_REQUEST = {
    "cache_limit_gb",
    "base_weights",
    "base_weights_multiplier",
    "text_encoder_2_lr",
    "weight_decay",
    "state_every_steps",
    "tensorboard",
    "trackers",
    "tracker_project",
    "tracker_run",
    "logging_dir",
    "negative_prompt",
    "sample_seed",
    "sample_steps",
    "guidance",
    "sampler",
    "validation_timesteps",
    "max_validation_pictures",
    "early_stop",
    "ignore_rules",
    "check_prediction",
}
"""Settings that no rule about another trainer could share: the profile's, drawing's, check's own."""


def request(**sections: dict[str, object]) -> TrainingRequest:
    return request_of(
        Settings.model_validate({"model": {"base": "base.safetensors"}, **sections}), Path("m.toml")
    )


def test_every_setting_has_its_field_or_a_reason() -> None:
    mapped = {*SETTING_OF.values(), *SETTING_OF_OTHER.values()}
    assert mapped | NOT_A_REQUEST >= set(SECTION_OF), set(SECTION_OF) - mapped - NOT_A_REQUEST
    assert set(SETTING_OF) <= {field.name for field in fields(TrainingRequest)}


def test_defaults_are_those_that_training_uses() -> None:
    settings = Settings.model_validate({"model": {"base": "x"}, "lora": {"rank": 24, "conv_rank": 8}})
    made, trial = request_of(settings, Path("m.toml")), trial_of(settings)
    assert (
        (made.rank, made.alpha, made.conv_alpha) == (trial.rank, trial.alpha, trial.conv_alpha) == (24, 12, 4)
    )
    assert made.unet_lr == trial.denoiser_lr
    assert made.text_encoder_lrs == (trial.text_encoder_lr,)
    assert made.steps == 1000


def test_epochs_leave_steps_open() -> None:
    assert request(training={"epochs": 4}).steps is None


def test_said_and_wrote_tell_the_file_from_its_defaults() -> None:
    made = request(lora={"rank": 32}, training={"text_encoder_lr": 0})
    assert made.said("rank") == "[lora] rank"
    assert made.wrote("rank")
    assert not made.wrote("alpha")
    assert made.said("alpha") == "[lora] alpha"
    assert made.train_text_encoder is False


def test_a_kohya_toml_is_a_dataset_config_and_decides_captions_and_buckets() -> None:
    made = request(dataset={"images": "pictures/dataset.toml"})
    assert made.dataset_config == Path("pictures/dataset.toml")
    assert made.images is None
    assert made.enable_bucket is False
    assert made.caption_extension is None
    assert request(dataset={"images": "pictures"}).enable_bucket is True
