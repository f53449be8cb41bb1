"""Settings written for sd-scripts are read back as the same settings, from the --config_file and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from maquette.elsewhere.runs import runs_of
from maquette.kohya.writing import CONFIG_NAME, DATASET_NAME, SCRIPT_NAME, kohya_run
from maquette.planning.takeover import take_over
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings

TRAINER = "train_network.py"
OWN = {
    "images": "pictures",
    "base": "model.safetensors",
    "caption_extension": ".txt",
    "precision": "bf16",
} | {"min_bucket_px": 256, "max_bucket_px": 1024}


def settings_of(**values: Any) -> Settings:
    return load_settings(None, {**OWN, **values})


def read_back(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that a file of sd-scripts comes to, and what of it has no counterpart."""
    request = runs_of(file).requests[0]
    assert not request.problems and not request.unknown_options and not request.repeated_options
    taken = take_over(request)
    return taken.settings(), taken.left


searched = st.fixed_dictionaries(
    {
        "rank": st.integers(1, 256),
        "alpha": st.integers(1, 256).map(float),
        "dropout": st.sampled_from([0.0, 0.05, 0.1]),
        "learning_rate": st.floats(1e-6, 1e-2),
        "text_encoder_lr": st.sampled_from([0.0, 3e-5, 5.5e-5]),
        "lr_scheduler": st.sampled_from(
            ["cosine", "constant", "cosine_with_restarts", "constant_with_warmup"]
        ),
        "epochs": st.integers(1, 60),
        "min_snr_gamma": st.sampled_from([None, 5.0, 10.0]),
        "optimizer": st.sampled_from(["adamw", "adamw8bit", "lion", "prodigy", "torch.optim.RAdam"]),
        "accumulation": st.integers(1, 8),
        "warmup_steps": st.sampled_from([0, 50, 0.1, 200]),
        "batch_size": st.integers(1, 8),
        "noise_offset": st.sampled_from([0.0, 0.05]),
        "seed": st.integers(0, 2**31),
        "conv_rank": st.sampled_from([None, 8]),
        "weight_decay": st.sampled_from([None, 0.1]),
        "shuffle_caption": st.booleans(),
        "resolution": st.sampled_from([(512, 512), (512, 768), (1024, 1024)]),
        "save_precision": st.sampled_from(["fp16", "fp32", "bf16"]),
        "loss_type": st.sampled_from(["l2", "l1", "huber"]),
        "loraplus_lr_ratio": st.sampled_from([None, 16.0]),
    }
)


@examples(deadline=None, max_examples=40)
@given(values=searched)
def test_what_is_written_is_read_back_as_the_same_settings(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = {name: value for name, value in values.items() if value is not None}
    values |= {"conv_alpha": 4.0} if "conv_rank" in values else {}
    values |= {"warmup_steps": 0} if values["lr_scheduler"] == "constant" else {}  # it would change nothing
    values |= {"huber_c": 0.2} if values["loss_type"] == "huber" else {}
    settings = settings_of(**values)
    run = kohya_run(settings, script=TRAINER, is_kohya_folder=True)
    assert not run.left
    folder = tmp_path_factory.mktemp("run")
    run.write(folder)
    wanted = _in_force(settings)
    for name in (CONFIG_NAME, SCRIPT_NAME):
        read, left = read_back(folder / name)
        assert [each for each in left if "output_dir" not in each] == [], name
        assert _in_force(load_settings(None, {**OWN, **read})) == wanted, name


def _in_force(settings: Settings) -> dict[str, Any]:
    """Return what is trained, each default resolved: two settings alike in it train the same."""
    from maquette.project.request_maquette import request_of

    request = request_of(settings, Path())
    ignored = ("spelling", "defaulted", "output_dir", "output_name", "learning_rate", "other")
    found = {name: value for name, value in vars(request).items() if name not in ignored}
    other = {name: value for name, value in request.other.items() if value}
    return {**found, "other": other}


def test_a_flat_folder_is_named_by_a_dataset_toml_with_its_repeats(tmp_path: Path) -> None:
    settings = settings_of(repeats=4, regularization="class", images="pictures")
    run = kohya_run(settings, script=TRAINER)
    paths = run.write(tmp_path)
    assert {path.name for path in paths} == {CONFIG_NAME, DATASET_NAME, SCRIPT_NAME}
    assert run.options["dataset_config"] == DATASET_NAME and "train_data_dir" not in run.options
    text = (tmp_path / DATASET_NAME).read_text()
    assert 'image_dir = "pictures"' in text and "num_repeats = 4" in text and "is_reg = true" in text
    request = runs_of(tmp_path / CONFIG_NAME).requests[0]
    assert request.dataset_config == Path(DATASET_NAME) and not request.problems


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"precision": "auto"}, {"precision"}),
        ({"ema_decay": 0.99}, {"ema_decay"}),
        ({"preservation": 8.0, "trigger": "x", "class_word": "y"}, {"preservation"}),
        ({"exclude_layers": ("attn2",)}, {"exclude_layers"}),
        ({"text_encoder_lr": 1e-5, "text_encoder_2_lr": 2e-5}, {"text_encoder_2_lr"}),
        ({"validation_pictures": 3}, {"validation_pictures"}),
        ({"more_resolutions": ((256, 256),)}, {"more_resolutions"}),
        ({"sample_prompts": ("a fox",)}, {"sample_prompts"}),
    ],
)
def test_what_sd_scripts_has_no_option_for_is_told_with_a_reason(
    values: dict[str, Any], left: set[str]
) -> None:
    run = kohya_run(settings_of(**values), script=TRAINER)
    assert set(run.left) == left
    assert all(f"# Not carried over: {name}: {why}" in run.config_toml() for name, why in run.left.items())


@pytest.mark.parametrize("adapter", ["lora", "loha", "lokr", "dora", "oft"])
def test_every_kind_of_adapter_is_written_as_one_that_is_read_as_it(adapter: str, tmp_path: Path) -> None:
    settings = settings_of(adapter=adapter, rank=8, alpha=4.0)
    run = kohya_run(settings, script=TRAINER, is_kohya_folder=True)
    run.write(tmp_path)
    values, _ = read_back(tmp_path / CONFIG_NAME)
    assert load_settings(None, {**OWN, **values}).lora == settings.lora


def test_what_the_base_says_itself_is_told_and_the_settings_win_over_it() -> None:
    says = {"v_parameterization": True, "zero_terminal_snr": False}
    told = kohya_run(settings_of(), script=TRAINER, base_says=says)
    assert told.options["v_parameterization"] is True and "zero_terminal_snr" not in told.options
    stated = kohya_run(settings_of(prediction="epsilon"), script=TRAINER, base_says=says)
    assert "v_parameterization" not in stated.options
