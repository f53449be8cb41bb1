"""Options that exclude each other, as sd-scripts and Maquette see it; a stage stops before it loads anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maquette.errors import ConfigError, MaquetteError
from maquette.project.config_file import load_settings
from maquette.rules.catalogue import all_rules
from maquette.rules.verdict import GROUPS, concerning_a_run, judge
from maquette.training.prepare import prepare
from tests.rules.rule_cases import PIXEL_ART_RUN, SD1, codes, command, found, schedule
from tests.rules.test_settings import FILM_RUN, frames

STOPS = {
    "--color_aug": "latents are cached once",
    "--random_crop": "latents are cached once",
    "--cache_text_encoder_outputs": "text encoders are trained",
    "--cache_text_encoder_outputs --network_train_unet_only --shuffle_caption": "shuffle_caption",
    "--full_fp16": "mixed_precision bf16",
    "--scale_v_pred_loss_like_noise_pred": "without v_parameterization",
    "--v_pred_like_loss=0.5 --v_parameterization": "with v_parameterization",
    "--use_8bit_adam --use_lion_optimizer": "Two optimizers",
    "--fused_backward_pass": "Adafactor only",
    "--persistent_data_loader_workers --max_data_loader_n_workers=0": "no workers",
    "--sample_every_n_epochs=1": "without prompts",
    "--enable_bucket --max_bucket_reso=768": "below the resolution",
}


@pytest.mark.parametrize("options", STOPS)
def test_what_stops_sd_scripts_after_loading_is_found_before(options: str, tmp_path: Path) -> None:
    said = found(command(tmp_path, PIXEL_ART_RUN.rstrip() + f" {options}\n"), only="SET012")
    assert len(said) == 1 and STOPS[options] in said[0].message, said
    assert said[0].severity == "error" and said[0].remedy


def test_cached_text_encoder_outputs_are_fine_when_nothing_contradicts_them(tmp_path: Path) -> None:
    options = "--cache_text_encoder_outputs --network_train_unet_only"
    text = PIXEL_ART_RUN.replace("  --text_encoder_lr=0.00005 \\\n", "").rstrip() + f" {options}\n"
    assert not found(command(tmp_path, text), only="SET012 SET014 SET011")


def test_what_is_overruled_is_named(tmp_path: Path) -> None:
    text = PIXEL_ART_RUN.rstrip() + " --sdpa --network_train_unet_only\n"
    messages = " ".join(finding.message for finding in found(command(tmp_path, text), only="SET014"))
    assert "only xformers is used" in messages and "only the U-Net is trained" in messages


def test_nothing_to_train_is_found_by_rates_and_by_switches(tmp_path: Path) -> None:
    assert found(frames(unet_lr=0.0, text_encoder_lrs=(0.0,)), only="SET018")
    switches = " --network_train_unet_only --network_train_text_encoder_only\n"
    assert found(command(tmp_path, PIXEL_ART_RUN.rstrip() + switches), only="SET018")
    assert not found(frames(text_encoder_lrs=(0.0,)), only="SET018")


@pytest.mark.parametrize(
    ("every", "count"),
    [(200, None), (229, None), (230, 4), (460, 2), (None, 1)],
    ids=lambda value: str(value),
)
def test_five_checkpoints_are_enough_to_choose_from(every: int | None, count: int | None) -> None:
    """920 steps of a character: every 200 leaves five with the final file, every 230 four."""
    said = found(frames(save_every_epochs=None, save_every_steps=every), schedule(920, 230), only="SET019")
    assert [finding.message.split()[0] for finding in said] == ([str(count)] if count else [])


def test_checkpoints_are_counted_by_epochs_where_pictures_are_unknown() -> None:
    assert not found(frames(), only="SET019"), "every second of 20 epochs: ten"
    assert found(frames(save_every_epochs=5), only="SET019"), "every fifth of 20: four"
    assert not found(frames(epochs=None, steps=50), only="SET019"), "a trial of the command"


def test_a_missing_prompt_file_is_named_only_where_it_would_lie(tmp_path: Path) -> None:
    assert not found(frames(), FILM_RUN, only="SET020")
    assert found(frames(sample_prompts=str(tmp_path / "none.txt")), FILM_RUN, only="SET020")


def test_what_sd_scripts_never_asks_for_is_asked_for_here(tmp_path: Path) -> None:
    bare = command(tmp_path, "accelerate launch train_network.py --network_dim=32 --network_alpha=16\n")
    places = {finding.place for finding in found(bare, only="SET023")}
    assert places == {
        f"--{name} is missing"
        for name in ("pretrained_model_name_or_path", "network_module", "output_dir", "resolution")
    }


# --- the same rules in front of a run --------------------------------------------------------------------

ShortRun = Callable[..., dict]


def test_every_rule_that_concerns_a_run_is_asked_before_it() -> None:
    """Only rules about single pictures, logs and files are not."""
    asked = {rule.code for rule in concerning_a_run()}
    assert asked == {code for code in all_rules() if code.startswith(GROUPS)}


def test_impossible_settings_are_named_together(short_run: ShortRun) -> None:
    settings = load_settings(
        overrides=short_run(
            lr_scheduler="constant", warmup_steps=2, conv_alpha=2.0, precision="fp16", lr_power=2.0
        )
    )
    with pytest.raises(ConfigError) as caught:
        prepare(settings, judge=judge)
    said = str(caught.value)
    assert all(word in said for word in ("warmup_steps", "conv_alpha", "precision", "lr_power")), said
    assert "maquette.toml" not in said


def test_warnings_are_said_with_their_code_and_the_run_goes_on(short_run: ShortRun) -> None:
    job = prepare(load_settings(overrides=short_run(learning_rate=2e-3)), judge=judge)
    warnings = [message.text for message in job.messages if message.level == "warning"]
    assert any("(SET002)" in text and "0.002" in text for text in warnings), warnings


def test_a_project_can_silence_warnings_but_not_what_is_impossible(short_run: ShortRun) -> None:
    wanted = short_run(learning_rate=2e-3, lr_scheduler="constant", warmup_steps=2, ignore_rules=["SET"])
    verdict = judge(load_settings(overrides=wanted))
    assert not any("(SET" in message.text for message in verdict.messages)
    assert any("warmup_steps" in problem.where for problem in verdict.problems)


def test_a_profile_beside_the_pictures_is_heard(short_run: ShortRun, pictures: Path) -> None:
    """The captions of these pictures lack the trigger that the profile names."""
    (pictures / "profile.toml").write_text('kind = "character"\ntrigger = "qqzfox"\n', encoding="utf-8")
    with pytest.raises(MaquetteError, match="qqzfox"):
        prepare(load_settings(overrides=short_run(trigger="qqzfox")), judge=judge)


def test_the_model_is_judged_too(tmp_path: Path) -> None:
    request = command(tmp_path, PIXEL_ART_RUN)
    assert codes(request, SD1, only="MOD") == {"MOD001": "error", "MOD004": "warning"}
