"""Runs of sd-scripts, read from the very commands and files of field notes, and from what people write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.kohya.config_file import is_config_file, is_dataset_toml, read_config_file
from maquette.kohya.options import OPTIONS, SCRIPTS, option_named
from maquette.kohya.request import has_training_command, read_commands
from maquette.project.request import TrainingRequest

SPYKE = """\
# Step 1: Set environment
export PYTORCH_ENABLE_MPS_FALLBACK=1

# Step 2: Activate kohya_ss venv
source ~/tools/kohya_ss/venv/bin/activate

# Step 3: Launch training
accelerate launch \\
  --num_cpu_threads_per_process=4 \\
  ~/tools/kohya_ss/sd-scripts/train_network.py \\
  --pretrained_model_name_or_path="/models/AnythingXL_inkBase.safetensors" \\
  --dataset_config="/plasma/spyke_lora_dataset.toml" \\
  --output_name="spyke_plasma_v1" \\
  --save_every_n_steps=200 \\
  --max_train_epochs=4 \\
  --learning_rate=1e-4 \\
  --text_encoder_lr=5e-5 \\
  --lr_scheduler="cosine" \\
  --lr_warmup_steps=0 \\
  --network_module="networks.lora" \\
  --network_dim=32 \\
  --network_alpha=16 \\
  --mixed_precision="no" \\
  --save_precision="float" \\
  --optimizer_type="AdamW" \\
  --no_half_vae \\
  --clip_skip=2 \\
  --gradient_checkpointing \\
  --seed=42
"""

PUNKS = """\
python3 sd-scripts/sdxl_train_network.py \\
  --pretrained_model_name_or_path="stabilityai/stable-diffusion-xl-base-1.0" \\
  --train_data_dir="/workspace/training_data" --resolution="1024,1024" \\
  --max_train_epochs=10 --learning_rate=0.0001 --unet_lr=0.0001 --text_encoder_lr=0.00005 \\
  --network_module=networks.lora --network_dim=128 --network_alpha=64 \\
  --mixed_precision="bf16" --cache_latents --cache_latents_to_disk --optimizer_type="AdamW8bit" \\
  --caption_extension=".txt" --lr_scheduler="cosine_with_restarts" --lr_scheduler_num_cycles=3 \\
  --min_snr_gamma=5 --noise_offset=0.1 --train_batch_size=2 --gradient_checkpointing --xformers --seed=42
"""

LUCA = """\
[model]
pretrained_model_name_or_path = "/path/to/v1-5-pruned-emaonly.safetensors"
output_name = "luca_final_v1_pure"
network_module = "networks.lora"
network_dim = 64              # Proven capacity for 413 images
network_alpha = 32
network_dropout = 0.1

[training]
train_data_dir = "/mnt/data/luca_final_data"
resolution = "512,512"
learning_rate = 8e-5
unet_lr = 8e-5
text_encoder_lr = 4e-5
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 2
lr_warmup_steps = 100
optimizer_type = "AdamW8bit"
optimizer_args = ["weight_decay=0.01"]
max_train_epochs = 20
train_batch_size = 4
gradient_accumulation_steps = 2
"""


def script(tmp_path: Path, text: str, name: str = "train.sh") -> list[TrainingRequest]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_commands(path)


def one(
    tmp_path: Path, options: str, *, start: str = "accelerate launch train_network.py"
) -> TrainingRequest:
    (request,) = script(tmp_path, f"{start} {options}\n")
    return request


def config(tmp_path: Path, text: str) -> TrainingRequest:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config_file(path)


# --- field notes -----------------------------------------------------------------------------------------


def test_the_first_character_run(tmp_path: Path) -> None:
    (run,) = script(tmp_path, SPYKE)
    assert (run.script, run.launcher, run.line) == ("train_network.py", "accelerate", 10)
    assert run.launcher_options == {"num_cpu_threads_per_process": "4"}
    assert run.script_path == Path.home() / "tools/kohya_ss/sd-scripts/train_network.py"
    assert run.environment == {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}
    assert (run.rank, run.alpha, run.epochs, run.clip_skip) == (32, 16, 4, 2)
    assert (run.learning_rate, run.text_encoder_lrs, run.value("unet_lr")) == (1e-4, (5e-5,), 1e-4)
    assert (run.precision, run.optimizer, run.no_half_vae) == ("no", "adamw", True)
    assert run.said("rank") == "line 21: --network_dim"
    assert run.value("steps") is None, "epochs are given"
    assert run.value("batch_size") == 1
    assert not (run.problems or run.unknown_options or run.repeated_options)


def test_the_style_run(tmp_path: Path) -> None:
    (run,) = script(tmp_path, PUNKS)
    assert (run.script, run.launcher) == ("sdxl_train_network.py", "python")
    assert (run.resolution_wh, run.resolution_as_written) == ((1024, 1024), "1024,1024")
    assert (run.batch_size, run.epochs, run.cycles) == (2, 10, 3)
    assert (run.attention, run.optimizer, run.precision) == ("xformers", "adamw8bit", "bf16")
    assert (run.min_snr_gamma, run.noise_offset) == (5, 0.1)
    assert run.value("steps") is None
    assert not run.problems


def test_the_config_file_of_the_film_character(tmp_path: Path) -> None:
    run = config(tmp_path, LUCA)
    assert (run.rank, run.alpha, run.dropout) == (64, 32, 0.1)
    assert (run.batch_size, run.accumulation, run.epochs) == (4, 2, 20)
    assert (run.warmup_steps, run.cycles) == (100, 2)
    assert run.optimizer_args == {"weight_decay": "0.01"}
    assert run.said("rank") == "[model] network_dim"
    assert run.resolution_as_written == '"512,512"'
    assert not (run.problems or run.unknown_options)


def test_a_whole_number_as_resolution_stops_a_config_file_but_not_a_command(tmp_path: Path) -> None:
    """Field notes: resolution = 512 → AttributeError: 'int' object has no attribute 'split'."""
    run = config(tmp_path, "network_dim = 8\nresolution = 512\n")
    (problem,) = run.problems
    assert "'int' object has no attribute 'split'" in problem.given
    assert 'resolution = "512,512"' in problem.remedy
    assert (run.resolution_wh, run.resolution_as_written) == (None, "512")
    assert one(tmp_path, "--resolution=512").resolution_wh == (512, 512)
    assert config(tmp_path, 'network_dim = 8\nresolution = "512"\n').resolution_wh == (512, 512)


# --- command lines ---------------------------------------------------------------------------------------


def test_both_ways_to_write_a_value(tmp_path: Path) -> None:
    run = one(tmp_path, '--network_dim 16 --network_alpha=8 --output_name "my lora" --lr_warmup_steps 10%')
    assert (run.rank, run.alpha, run.output_name, run.warmup_steps) == (16, 8, "my lora", 0.1)


def test_options_with_several_values(tmp_path: Path) -> None:
    run = one(
        tmp_path,
        "--text_encoder_lr 1e-5 2e-5 --network_args conv_dim=8 conv_alpha=4 --optimizer_args weight_decay=0.1 --seed 1",
    )
    assert run.text_encoder_lrs == (1e-5, 2e-5)
    assert (run.conv_rank, run.conv_alpha) == (8, 4)
    assert (run.optimizer_args, run.seed) == ({"weight_decay": "0.1"}, 1)


def test_a_unique_beginning_of_a_name_is_that_option(tmp_path: Path) -> None:
    run = one(tmp_path, "--max_train_epoch=4 --network_dropo 0.1")
    assert (run.epochs, run.dropout, run.unknown_options) == (4, 0.1, ())
    assert option_named("network_d", "train_network.py") is None, "network_dim and network_dropout begin so"


def test_unknown_options_come_with_the_nearest(tmp_path: Path) -> None:
    run = one(tmp_path, "--network-dim=16 --learning_rte 1e-4 --seed 3")
    assert run.unknown_options == (
        "--network-dim (did you mean --network_dim?)",
        "--learning_rte (did you mean --learning_rate?)",
    )
    assert run.seed == 3, "the unknown option's value is not taken for another's"


def test_an_option_of_the_other_script_is_unknown(tmp_path: Path) -> None:
    assert one(tmp_path, "--cache_text_encoder_outputs").unknown_options
    sdxl = one(tmp_path, "--cache_text_encoder_outputs", start="accelerate launch sdxl_train_network.py")
    assert sdxl.cache_text_encoder_outputs is True


def test_other_trainers_of_the_family_have_options_that_nobody_calls_unknown(tmp_path: Path) -> None:
    run = one(
        tmp_path, "--clip_l x.safetensors --network_dim 8", start="accelerate launch flux_train_network.py"
    )
    assert (run.rank, run.unknown_options, run.problems) == (8, (), ())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--cache_latents=true", "gives a value to a switch"),
        ("--cache_latents true", "belongs to no option"),
        ("--network_dim=big", "'big'"),
        ("--resolution=512x512", "'512x512'"),
        ("--mixed_precision=fp8", "'fp8'"),
        ("--max_token_length=75", "'75'"),
        ("--seed --xformers", "no value"),
        ('--train_data_dir="~/pictures"', "keeps its ~"),
    ],
)
def test_what_stops_the_trainer_at_once_is_a_problem(tmp_path: Path, options: str, said: str) -> None:
    (problem,) = one(tmp_path, options).problems
    assert said in problem.given
    assert problem.where.startswith("line 1")


def test_a_comment_or_a_space_after_a_backslash_cuts_a_command_off(tmp_path: Path) -> None:
    start = "accelerate launch train_network.py \\\n  --network_dim=8 "
    (commented,) = script(tmp_path, start + "\\\n  # --seed=1 \\\n  --learning_rate=1e-4\n")
    (spaced,) = script(tmp_path, start + "\\ \n  --learning_rate=1e-4\n")
    (missing,) = script(tmp_path, start + "\n  --learning_rate=1e-4\n")
    for run, reason in (
        (commented, "comment"),
        (spaced, "a space stands behind"),
        (missing, "does not end in"),
    ):
        (problem,) = run.problems
        assert reason in problem.given
        assert "--learning_rate=1e-4 stands alone" in problem.given
        assert (run.rank, run.learning_rate) == (8, 1e-4), "what was meant is read on"


def test_variables_arrays_and_defaults_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (run,) = script(
        tmp_path,
        """#!/bin/bash
DIR="$(cd "$(dirname "$0")" && pwd)"
RANK=32
EXTRA="--seed 7 --sdpa"
ARGS=(
  --network_dim=$RANK   # the rank
  --train_data_dir="${DIR}/data"
)
ARGS+=(--output_name "${NAME:-fox}")
CUDA_VISIBLE_DEVICES=0 conda run -n kohya python -u sd-scripts/train_network.py "${ARGS[@]}" $EXTRA 2>&1 | tee train.log
""",
    )
    assert (run.rank, run.images, run.output_name) == (32, tmp_path / "data", "fox")
    assert (run.seed, run.attention, run.launcher) == (7, "sdpa", "python")
    assert run.environment == {"CUDA_VISIBLE_DEVICES": "0"}
    assert not run.problems


def test_paths_count_from_where_the_script_went(tmp_path: Path) -> None:
    (tmp_path / "work" / "train").mkdir(parents=True)
    (run,) = script(tmp_path, "cd work\npython train_network.py --train_data_dir=train --output_dir=out\n")
    assert run.images == tmp_path / "work" / "train"
    assert run.output_dir == Path("out"), "not there yet: as written"


def test_several_runs_in_one_script_and_what_only_mentions_one(tmp_path: Path) -> None:
    runs = script(
        tmp_path,
        """echo "starting train_network.py --seed 9"
ls sd-scripts/train_network.py
for seed in 1 2; do
  torchrun --nproc_per_node=2 train_network.py --seed 1 && python -m accelerate.commands.launch train_network.py --seed 2
done
cat > notes.txt <<END
python train_network.py --seed 3
END
""",
    )
    assert [(run.seed, run.launcher) for run in runs] == [(1, "torchrun"), (2, "accelerate")]


def test_windows_batch_and_powershell(tmp_path: Path) -> None:
    (batch,) = script(
        tmp_path,
        '@echo off\nREM train_network.py --x\nset PYTHONUTF8=1\nset "OUT=D:\\my loras"\n'
        'accelerate launch --num_cpu_threads_per_process 8 ^\n  "C:\\kohya\\sd-scripts\\train_network.py" ^\n'
        '  --output_dir="%OUT%" --network_dim=32\npause\n',
        "train.bat",
    )
    assert (batch.rank, str(batch.output_dir), batch.script) == (32, "D:\\my loras", "train_network.py")
    assert batch.environment["PYTHONUTF8"] == "1"
    (power,) = script(
        tmp_path,
        '$env:HF_HOME = "D:/hf"\n$dim = 16\n& accelerate launch `\n  train_network.py --network_dim=$dim `\n  --seed 1\n',
        "train.ps1",
    )
    assert (power.rank, power.seed, power.environment) == (16, 1, {"HF_HOME": "D:/hf"})


def test_the_command_line_wins_over_its_config_file(tmp_path: Path) -> None:
    (tmp_path / "luca.toml").write_text(LUCA, encoding="utf-8")
    run = one(tmp_path, "--config_file luca --network_dim=8")
    assert (run.rank, run.alpha, run.batch_size) == (8, 32, 4)
    assert run.said("alpha") == "luca.toml [model] network_alpha"
    assert run.said("rank") == "line 1: --network_dim"
    missing = one(tmp_path, "--config_file nowhere.toml")
    assert any("nowhere.toml" in problem.where for problem in missing.problems)


def test_accelerates_own_precision_is_not_the_trainers(tmp_path: Path) -> None:
    run = one(tmp_path, "--seed 1", start="accelerate launch --mixed_precision bf16 train_network.py")
    assert run.launcher_options == {"mixed_precision": "bf16"}
    assert run.precision is None
    assert run.value("precision") == "no"


def test_repeated_options_are_named_and_the_last_counts(tmp_path: Path) -> None:
    run = one(tmp_path, "--seed 1 --network_dim 4 --seed 2")
    assert (run.seed, run.repeated_options) == (2, ("--seed",))


def test_parts_that_are_not_trained(tmp_path: Path) -> None:
    assert one(tmp_path, "--network_train_unet_only").train_text_encoder is False
    assert one(tmp_path, "--text_encoder_lr=0").train_text_encoder is False
    assert one(tmp_path, "--text_encoder_lr=1e-5").train_text_encoder is None
    assert one(tmp_path, "--network_train_text_encoder_only").train_denoiser is False


def test_options_that_decide_one_field_together(tmp_path: Path) -> None:
    run = one(tmp_path, "--use_8bit_adam --full_bf16 --multires_noise_iterations 6 --mem_eff_attn --xformers")
    assert (run.optimizer, run.full_precision, run.multires_noise) == ("adamw8bit", "bf16", True)
    assert run.attention == "mem_eff", "the first that sd-scripts asks for"


def test_defaults_are_those_of_sd_scripts(tmp_path: Path) -> None:
    run = one(tmp_path, "--seed 1")
    assert (run.value("rank"), run.value("alpha"), run.value("steps")) == (4, 1.0, 1600)
    assert (run.value("learning_rate"), run.value("unet_lr"), run.value("text_encoder_lrs")) == (
        2e-6,
        2e-6,
        (2e-6,),
    )
    assert run.value("caption_extension") == ".caption"
    assert run.value("resolution_wh") is None, "it has no default: the trainer stops without one"


# --- config files ----------------------------------------------------------------------------------------


def test_keys_that_a_config_file_would_lose_in_silence(tmp_path: Path) -> None:
    """Field notes advise train_text_encoder = false, which sd-scripts does not know."""
    run = config(tmp_path, "[training]\nnetwork_dim = 8\ntrain_text_encoder = false\nlearning_rte = 1e-4\n")
    assert run.unknown_options == (
        "train_text_encoder (did you mean network_train_unet_only?)",
        "learning_rte (did you mean learning_rate?)",
    )


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('learning_rate = "1e-4"', "Remove the quotes"),
        ('cache_latents = "true"', "Remove the quotes"),
        ('network_args = "conv_dim=4"', "a list"),
        ("resolution = [512, 768]", 'resolution = "512,768"'),
        ("network_dim = 8.5", "Write it so"),
    ],
)
def test_values_that_a_config_file_does_not_convert(tmp_path: Path, line: str, remedy: str) -> None:
    (problem,) = config(tmp_path, f"seed = 1\n{line}\n").problems
    assert remedy in problem.remedy


def test_switches_and_empty_texts_as_programs_write_them(tmp_path: Path) -> None:
    run = config(
        tmp_path, 'network_dim = 8\nxformers = false\ncache_latents = true\nvae = ""\noptimizer_type = ""\n'
    )
    assert (run.attention, run.cache_latents, run.vae) == (None, True, None)
    assert run.value("optimizer") == "adamw"


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        config(tmp_path, "network_dim = \n")


# --- what a file is --------------------------------------------------------------------------------------


def test_files_are_told_apart(tmp_path: Path) -> None:
    cases = {
        "config.toml": (LUCA, (True, False, False)),
        "dataset.toml": (
            "[general]\nkeep_tokens = 1\n[[datasets]]\nresolution = 512\n",
            (False, True, False),
        ),
        "dataset.json": (json.dumps({"datasets": []}), (False, True, False)),
        "maquette.toml": ('[model]\nbase = "x"\n[training]\nlearning_rate = 1e-4\n', (False, False, False)),
        "train.sh": (SPYKE, (False, False, True)),
        "caption.txt": ("zkw_fox, full body, train station", (False, False, False)),
        "trace.log": ('File "/sd-scripts/train_network.py", line 12, in <module>', (False, False, False)),
    }
    for name, (text, expected) in cases.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert (is_config_file(path), is_dataset_toml(path), has_training_command(path)) == expected, name


def test_a_text_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training command"):
        script(tmp_path, "echo train_network.py\n")


@pytest.mark.parametrize(
    "broken", ['"', "'", "$(", "${", "`", "<<EOF\n", "A=(", "\\", "~~/", "\t^", "(", "--"]
)
@pytest.mark.parametrize("name", ["train.sh", "train.bat", "train.ps1"])
def test_broken_scripts_are_read_as_far_as_they_go(tmp_path: Path, broken: str, name: str) -> None:
    for place in range(0, len(SPYKE), 97):
        try:
            script(tmp_path, SPYKE[:place] + broken + SPYKE[place:], name)
        except ConfigError as error:
            assert "no training command" in str(error)


def test_the_table_of_options_is_whole() -> None:
    """196 options of the two trainers at the commit that was read; SDXL's three are its own."""
    assert len(OPTIONS) == 196
    assert SCRIPTS["sdxl_train_network.py"] - SCRIPTS["train_network.py"] == {
        "cache_text_encoder_outputs",
        "cache_text_encoder_outputs_to_disk",
        "disable_mmap_load_safetensors",
    }
