"""Commands as people keep them: PowerShell's lists, another shell's marks, pasted, wrapped, printed, in a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.kohya.names import LORA_ARGUMENTS, idle_network_arguments
from maquette.kohya.options import OPTIONS
from maquette.kohya.request import commands_in_log, has_training_command, is_run_elsewhere, read_commands
from maquette.project.request import TrainingRequest

COMMAND = (
    "accelerate launch --num_cpu_threads_per_process 4 train_network.py --pretrained_model_name_or_path=base.safetensors"
    " --train_data_dir=data --resolution=512,512 --network_module=networks.lora --network_dim=16 --learning_rate=1e-4 --seed=3"
)
LISTS = """\
$dim = 32      # rank
$use_v2 = 0
$kind = "sdxl"
$optimizer = "Lion"
$reg = ""
$more = [System.Collections.ArrayList]::new()
$launch = @()
if ($use_v2) {
  [void]$more.Add("--v2")
}
else {
  [void]$more.Add("--clip_skip=2")
}
if ($reg) { [void]$more.Add("--reg_data_dir=" + $reg) }
if ($kind -eq "sd15") { $file = "train_network.py" }
elseif ($kind -eq "sdxl") { $file = "sdxl_train_network.py" }
if ($optimizer) { $more.Add("--optimizer_type=" + $optimizer) | Out-Null }
$more += "--optimizer_args", "weight_decay=0.1"
$launch += "--num_processes=2"
accelerate launch @launch "./sd-scripts/$file" `
  --network_dim=$dim `
  --seed 5 @more
"""
BASH_LISTS = """\
#!/bin/bash
v2=0
unet_only=1
optimizer="Lion"
reg=""
more=()
if [[ $v2 == 1 ]]; then more+=("--v2"); else more+=("--clip_skip 2"); fi
if [ $unet_only -eq 1 ]; then
  more+=("--network_train_unet_only")
fi
if [[ $reg ]]; then more+=("--reg_data_dir $reg"); fi
if [[ -n "$optimizer" ]]; then more+=("--optimizer_type $optimizer"); fi
if [[ $1 == fast ]]; then more+=("--seed=1"); fi
python -m accelerate.commands.launch train_network.py --network_dim=8 ${more[@]}
"""


def run(tmp_path: Path, text: str, name: str = "train.sh") -> TrainingRequest:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert has_training_command(path)
    (request,) = read_commands(path)
    return request


def test_lists_of_powershell_take_their_branches(tmp_path: Path) -> None:
    request = run(tmp_path, LISTS, "train.ps1")
    assert (request.script, request.launcher_options) == ("sdxl_train_network.py", {"num_processes": "2"})
    assert request.processes == 2
    assert (request.rank, request.optimizer, request.clip_skip, request.seed) == (32, "lion", 2, 5)
    assert request.optimizer_args == {"weight_decay": "0.1"}
    assert request.regularization is None
    assert "v2" not in request.other
    assert not (request.problems or request.unknown_options)


def test_lists_of_bash_take_their_branches_and_fall_apart_at_spaces(tmp_path: Path) -> None:
    request = run(tmp_path, BASH_LISTS)
    assert (request.rank, request.optimizer, request.clip_skip) == (8, "lion", 2)
    assert request.train_text_encoder is False
    assert request.seed == 1, "a branch that nobody knows of counts as taken"
    assert request.regularization is None
    assert "v2" not in request.other
    assert not (request.problems or request.unknown_options)


@pytest.mark.parametrize(
    ("name", "mark", "own"), [("train.sh", "^", "\\"), ("train.bat", "\\", "^"), ("train.ps1", "\\", "`")]
)
def test_another_shells_mark_is_named_and_read_over(tmp_path: Path, name: str, mark: str, own: str) -> None:
    request = run(tmp_path, COMMAND.replace(" --", f" {mark}\n--"), name)
    assert (request.rank, request.learning_rate, request.seed) == (16, 1e-4, 3)
    (problem,) = request.problems
    assert problem.where == "lines 1 to 8"
    assert problem.required.startswith(f"{own} at the end")
    assert f"Write {own} for {mark}" in problem.remedy


def test_a_command_without_marks_is_read_whole_and_said_once(tmp_path: Path) -> None:
    request = run(tmp_path, COMMAND.replace(" --", "\n--") + "\n\ndeactivate\n", "command.txt")
    assert (request.rank, request.learning_rate, request.seed) == (16, 1e-4, 3)
    (problem,) = request.problems
    assert problem.where == "lines 1 to 9"
    assert "a shell runs the first alone" in problem.given


def test_one_gap_costs_one_finding_and_no_option(tmp_path: Path) -> None:
    lines = COMMAND.split(" --")
    text = " \\\n--".join(lines[:4]) + "\n--" + " \\\n--".join(lines[4:])
    request = run(tmp_path, text)
    assert (request.rank, request.learning_rate, request.seed) == (16, 1e-4, 3)
    assert [problem.where for problem in request.problems] == ["line 5"]


@pytest.mark.parametrize("width", [60, 80, 97, 120])
def test_a_window_breaks_words_and_they_are_mended(tmp_path: Path, width: int) -> None:
    wrapped = "\n".join(COMMAND[start : start + width] for start in range(0, len(COMMAND), width))
    request = run(tmp_path, wrapped, "command.txt")
    assert (request.base, request.rank, request.learning_rate, request.seed) == (
        "base.safetensors",
        16,
        1e-4,
        3,
    )
    assert not request.unknown_options


def test_what_follows_a_whole_command_is_not_drawn_into_it(tmp_path: Path) -> None:
    request = run(tmp_path, f"source venv/bin/activate\n{COMMAND}\ndeactivate\n")
    assert request.seed == 3
    assert not request.problems


def test_a_command_printed_as_a_list_is_read(tmp_path: Path) -> None:
    words = [
        "E:\\k\\python.exe",
        "E:\\k\\sd-scripts\\train_network.py",
        "--network_dim=32",
        "--sample_sampler=euler_ancestral",
    ]
    printed = f"subprocess.CalledProcessError: Command '{words}' returned non-zero exit status 1."
    request = run(tmp_path, printed, "error.txt")
    assert (request.script, request.launcher, request.rank) == ("train_network.py", "python", 32)
    (problem,) = request.problems
    assert problem.remedy == "Did you mean euler_a?"
    assert is_run_elsewhere(request)


def test_a_log_shows_its_command_once(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    words = COMMAND.split()
    lines = [
        f"12:00:01 INFO     Executing command: {COMMAND}",
        "steps:   0%|  | 0/10 [00:00<?, ?it/s]",
        f"Command '{words}' died",
    ]
    log.write_text("\n".join(lines), encoding="utf-8")
    (request,) = commands_in_log(log)
    assert (request.rank, request.seed) == (16, 3)
    assert request.line in (1, 3)
    log.write_text("nothing of the kind\n" * 5, encoding="utf-8")
    assert commands_in_log(log) == []


@pytest.mark.parametrize(
    ("options", "given", "remedy"),
    [
        ("--sample_sampler=euler_ancestral", "euler_ancestral", "Did you mean euler_a?"),
        ("--save_model_as=safetensor", "safetensor", "Did you mean safetensors?"),
        ("--loss_type=l3", "l3", "Correct --loss_type."),
        ("--log_with=tensorbord", "tensorbord", "Did you mean tensorboard?"),
        ("--huber_schedule=foo", "foo", "Correct --huber_schedule."),
        ("--save_precision=fp32", "fp32", "Did you mean float?"),
        ("--mixed_precision=fp32", "fp32", "Did you mean no?"),
        ("--optimizer_type=AdamW9bit", "AdamW9bit", "Did you mean AdamW8bit?"),
        ("--optimizer_type=adam", "adam", "Did you mean Adam?"),
        ("--lr_scheduler=cosine_annealing", "cosine_annealing", "Did you mean cosine?"),
        ("--lr_scheduler_type=CosineAnealingLR", "CosineAnealingLR", "Did you mean CosineAnnealingLR?"),
        ("--network_module=networks.lorra", "networks.lorra", "Did you mean networks.lora?"),
        ("--network_module=networks.lora_flux", "networks.lora_flux", "Use networks.lora."),
        ("--network_module=lycoris.kohya --network_args algo=lohaa", "algo=lohaa", "Did you mean loha?"),
        ("--network_module=lycoris.kohya --network_args preset=fulll", "preset=fulll", "Did you mean full?"),
        ("--optimizer_args decouple=true", "decouple=true", "Correct --optimizer_args."),
        ("--optimizer_args weight_decay=0.1,betas=0.9", "weight_decay", "Correct --optimizer_args."),
        ("--network_args conv_dim", "conv_dim", "Correct --network_args."),
    ],
)
def test_names_outside_the_trainers_lists(tmp_path: Path, options: str, given: str, remedy: str) -> None:
    (problem,) = run(tmp_path, f"accelerate launch train_network.py {options}\n").problems
    assert given in problem.given
    assert problem.remedy == remedy


@pytest.mark.parametrize(
    "options",
    [
        "--optimizer_type=prodigy --optimizer_args decouple=True betas=0.9,0.99",
        "--optimizer_type=bitsandbytes.optim.AdEMAMix8bit --optimizer_type=RAdam",
        "--lr_scheduler_type=CosineAnnealingLR --lr_scheduler_args T_max=100",
        "--lr_scheduler=adafactor:1e-3",
        "--network_module=lycoris.kohya --network_args algo=LoKr preset=attn-mlp factor=8",
        "--network_module=my_own.network --network_args anything=1",
        "--network_module=lycoris.kohya --network_args preset=my_preset.toml",
        "--sample_sampler=dpmsolver++ --log_with=all --save_model_as=ckpt",
    ],
)
def test_names_that_the_trainer_takes(tmp_path: Path, options: str) -> None:
    assert not run(tmp_path, f"accelerate launch train_network.py {options}\n").problems


def test_arguments_that_a_module_never_looks_at() -> None:
    assert idle_network_arguments("networks.lora", ["algo", "conv_dim"]) == ["algo"]
    assert idle_network_arguments("lycoris.kohya", ["algo", "conv_dim", "unit"]) == ["unit"]
    assert idle_network_arguments("somebody.else", ["algo"]) == []
    assert "algo" not in LORA_ARGUMENTS


def test_every_choice_belongs_to_an_option_of_words() -> None:
    assert all(option.kind in ("text", "int") for option in OPTIONS.values() if option.choices)


@pytest.mark.parametrize(
    "path",
    ["E:/models/x.safetensors", "E:\\models\\x", "\\\\nas\\lora\\x", "/mnt/q/models/x", "/content/nowhere/x"],
)
def test_paths_of_another_computer(tmp_path: Path, path: str) -> None:
    text = COMMAND.replace("base.safetensors", f"'{path}'")
    assert is_run_elsewhere(run(tmp_path, text))
    assert not is_run_elsewhere(run(tmp_path, COMMAND))


def test_options_in_a_file_that_is_elsewhere_are_not_called_missing(tmp_path: Path) -> None:
    request = run(tmp_path, "accelerate launch train_network.py --config_file='E:/out/config_lora.toml'\n")
    assert request.unread == ("E:/out/config_lora.toml",)
    assert not request.problems
    (lost,) = run(tmp_path, "accelerate launch train_network.py --config_file=mine.toml\n").problems
    assert "mine.toml" in lost.where
