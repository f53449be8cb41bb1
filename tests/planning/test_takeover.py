"""A run of another trainer becomes settings: what is taken, what is left by name, and nothing without effect."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from maquette.cli.app import maquette
from maquette.elsewhere.runs import runs_of
from maquette.kohya.given import Reading, request_of
from maquette.kohya.names import OPTIMIZERS as KOHYA_OPTIMIZERS
from maquette.kohya.names import SCHEDULERS as KOHYA_SCHEDULERS
from maquette.kohya.options import OPTIONS
from maquette.kohya.prompts import read_prompts
from maquette.planning.takeover import Taken, take_over
from maquette.planning.takeover_optimizing import our_optimizer
from maquette.project.config_file import load_settings
from maquette.project.optimizers import known_optimizer
from maquette.project.profile_file import read_profile
from maquette.project.schedules import SCHEDULES
from tests.conftest import make_pictures
from tests.elsewhere.samples import GUI, READ, written

SCRIPT = """\
accelerate launch train_network.py --pretrained_model_name_or_path=base --train_data_dir=img --resolution=64,64 \\
  --network_module=networks.lora --network_dim=8 --network_alpha=4 --learning_rate=1e-4 --text_encoder_lr=5e-5 \\
  --max_train_epochs=4 --lr_scheduler=cosine --lr_warmup_steps=0.1 --caption_extension=.txt --seed=7 --output_dir=out \\
  --output_name=zkw --save_every_n_epochs=1 --flip_aug --xformers --lr_scheduler_num_cycles=3 --wandb_api_key=hush \\
  --mixed_precision=no --sample_prompts=prompts.txt --sample_every_n_epochs=1 --sample_sampler=euler_a
"""


def taken_from(folder: Path, name: str, text: str) -> Taken:
    return take_over(runs_of(written(folder, name, text)).requests[0])


def init(project: Path, source: Path, *more: Any) -> Result:
    arguments = ["init", project, "--from", source, *more]
    return CliRunner().invoke(maquette, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", READ)
def test_what_is_taken_is_valid_and_the_rest_has_a_name(name: str, tmp_path: Path) -> None:
    taken = taken_from(tmp_path, name, READ[name])
    settings = load_settings(None, {"base": "", **taken.settings()})
    assert settings.lora.rank == 32
    assert all(entry.reason for entry in taken.values.values()), "each value says where it comes from"
    assert bool(taken.left) == (name != "lora_scripts.toml"), "of the others each says something of its own"
    assert all(name.strip() for name in taken.left)


def test_a_command_keeps_its_defaults(tmp_path: Path) -> None:
    short = "accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4\n"
    settings = taken_from(tmp_path, "train.sh", short).settings()
    assert (settings["alpha"], settings["lr_scheduler"], settings["text_encoder_lr"]) == (
        1.0,
        "constant",
        1e-4,
    )
    assert (settings["steps"], settings["bucketing"], settings["caption_extension"]) == (
        1600,
        False,
        ".caption",
    )


@pytest.mark.parametrize(
    "launcher",
    ["accelerate launch --num_processes=2", "torchrun --nproc_per_node 2", "torchrun --nproc-per-node=2"],
)
def test_the_processes_of_a_launcher_are_taken(launcher: str, tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", SCRIPT.replace("accelerate launch", launcher))
    assert taken.settings()["processes"] == 2


def test_steps_of_the_schedule_are_those_of_all_processes(tmp_path: Path) -> None:
    """sd-scripts makes the schedule N times as long and goes N steps in it at a time, but takes numbers of steps as told."""
    told = SCRIPT.replace("accelerate launch", "accelerate launch --num_processes=2")
    counted = told.replace("warmup_steps=0.1", "warmup_steps=100 --lr_decay_steps=31").replace(
        "cosine", "warmup_stable_decay"
    )
    taken = taken_from(tmp_path, "train.sh", counted).settings()
    assert (taken["warmup_steps"], taken["lr_decay_steps"]) == (50, 16)
    assert taken_from(tmp_path, "train.sh", told).settings()["warmup_steps"] == 0.1


@pytest.mark.parametrize("option", ["fp8_base", "fp8_base_unet"])
def test_a_base_in_fp8_becomes_one_in_int8_and_the_difference_is_named(option: str, tmp_path: Path) -> None:
    taken = taken_from(
        tmp_path, "train.sh", SCRIPT.replace("--mixed_precision=no", f"--mixed_precision=bf16 --{option}")
    )
    entry = taken.values["base_precision"]
    assert (entry.value, entry.reason) == (
        "int8",
        f"{option}: fp8 there, int8 with a scale for each output here",
    )
    assert option not in taken.left


def test_cuda_graphs_are_taken_from_accelerate_and_from_the_backend(tmp_path: Path) -> None:
    compiled = SCRIPT.replace("--flip_aug", "--flip_aug --torch_compile")
    by_mode = compiled.replace("accelerate launch", "accelerate launch --dynamo_mode reduce-overhead")
    by_backend = compiled.replace("--torch_compile", "--torch_compile --dynamo_backend cudagraphs")
    for text in (by_mode, by_backend):
        taken = taken_from(tmp_path, "train.sh", text)
        assert taken.settings()["compile_mode"] == "reduce-overhead"
        assert taken.settings()["compile_blocks"] is True
        assert not any("dynamo" in name for name in taken.left)
    assert "compile_mode" not in taken_from(tmp_path, "train.sh", compiled).settings()


def test_all_gpus_are_no_number(tmp_path: Path) -> None:
    told = SCRIPT.replace("accelerate launch", "accelerate launch --multi_gpu")
    taken = taken_from(tmp_path, "train.sh", told)
    assert "processes" not in taken.values and "--multi_gpu" in taken.left
    counted = taken_from(tmp_path, "train.sh", told.replace("--multi_gpu", "--multi_gpu --num_processes=2"))
    assert counted.settings()["processes"] == 2 and "--multi_gpu" not in counted.left


def test_one_process_is_no_setting(tmp_path: Path) -> None:
    told = SCRIPT.replace("accelerate launch", "accelerate launch --num_processes=1")
    assert "processes" not in taken_from(tmp_path, "train.sh", told).settings()


def test_settings_without_effect_are_listed_and_not_written(tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", SCRIPT)
    assert "lr_cycles" not in taken.values
    assert any("num_cycles" in name for name in taken.left)
    assert "line 4: --xformers" in taken.left and taken.values["flip_aug"].value is True


def test_secrets_are_named_and_not_shown(tmp_path: Path) -> None:
    taken = taken_from(tmp_path, "train.sh", SCRIPT)
    assert "wandb_api_key = …" in taken.left
    assert "hush" not in repr(taken.left)


def test_an_optimizer_is_taken_with_its_rates_and_arguments(tmp_path: Path) -> None:
    changed = {**GUI, "optimizer": "Prodigy", "learning_rate": 1, "unet_lr": 1, "text_encoder_lr": 1}
    changed["optimizer_args"] = "decouple=True weight_decay=0.02 d_coef=2 betas=0.9,0.95 nonsense=1"
    taken = taken_from(tmp_path, "gui.json", json.dumps(changed))
    training = load_settings(None, {"base": "", **taken.settings()}).training
    assert (training.optimizer, training.learning_rate, training.text_encoder_lr) == ("prodigy", 1, 1)
    assert training.optimizer_args == ("decouple=True", "d_coef=2", "betas=0.9,0.95")
    assert training.weight_decay == 0.02
    assert "no argument 'nonsense'" in taken.left["optimizer_args nonsense=1"]
    assert not any("optimizer" in name for name in taken.left if "nonsense" not in name)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("AdamW", {"optimizer": "adamw"}),
        ("AdamW8bit", {"optimizer": "adamw8bit"}),
        ("PagedLion8bit", {"optimizer": "pagedlion8bit"}),
        ("SGDNesterov", {"optimizer": "sgd", "optimizer_args": ("nesterov=True",), "weight_decay": 0.0}),
        ("SGDNesterov8bit", {"optimizer": "sgd8bit", "optimizer_args": ("nesterov=True",)}),
        ("DAdaptation", {"optimizer": "dadaptation"}),
        ("AdamWScheduleFree", {"optimizer": "adamwschedulefree"}),
        ("RAdam", {"optimizer": "torch.optim.RAdam"}),
        (
            "prodigyplus.ProdigyPlusScheduleFree",
            {"optimizer": "prodigyplus.ProdigyPlusScheduleFree"},
        ),
    ],
)
def test_every_name_of_an_optimizer_has_its_meaning_here(given: str, ours: dict, tmp_path: Path) -> None:
    text = (
        f"accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4 --optimizer_type={given}\n"
    )
    settings = taken_from(tmp_path, "train.sh", text).settings()
    names = ("optimizer", "optimizer_args", "weight_decay")
    assert {name: settings[name] for name in names if name in settings} == ours


def test_all_of_sd_scripts_optimizers_and_schedules_are_known() -> None:
    """Each name that its own list has, but the schedule that needs a measured value and the words for Adafactor's own steps."""
    for name in KOHYA_OPTIMIZERS:
        ours, _ = our_optimizer(name)
        assert ours is not None and known_optimizer(ours) == ours
    assert set(KOHYA_SCHEDULERS) - set(SCHEDULES) == {"reduce_lr_on_plateau", "adafactor"}


def test_schedules_are_taken_with_their_accounting(tmp_path: Path) -> None:
    text = (
        "accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4 --lr_scheduler=warmup_stable_decay "
        "--lr_warmup_steps=10% --lr_decay_steps=0.2 --lr_scheduler_min_lr_ratio=0.1 --lr_scheduler_num_cycles=3 "
        "--lr_scheduler_args \"decay_type='linear'\"\n"
    )
    taken = taken_from(tmp_path, "train.sh", text)
    training = load_settings(None, {"base": "", **taken.settings()}).training
    assert (training.lr_scheduler, training.warmup_steps, training.lr_decay_steps) == (
        "warmup_stable_decay",
        0.1,
        0.2,
    )
    assert (training.lr_min_ratio, training.lr_cycles) == (0.1, 3)
    assert training.lr_scheduler_args == ("decay_type='linear'",)
    assert not taken.left
    text = (
        "accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4 --lr_scheduler_type=OneCycleLR "
        "--lr_scheduler_args max_lr=0.01 total_steps=1600\n"
    )
    taken = taken_from(tmp_path, "train.sh", text)
    assert taken.settings()["lr_scheduler"] == "torch.optim.lr_scheduler.OneCycleLR"
    assert taken.settings()["lr_scheduler_args"] == ("max_lr=0.01", "total_steps=1600")
    assert not taken.left


def test_values_that_maquette_refuses_are_listed(tmp_path: Path) -> None:
    taken = taken_from(
        tmp_path, "gui.json", json.dumps({**GUI, "bucket_reso_steps": 1, "output_name": "a/b"})
    )
    assert not {"bucket_step_px", "name"} & taken.values.keys()
    assert {"bucket_reso_steps = 1", "output_name = a/b"} <= taken.left.keys()


# --- init --from -----------------------------------------------------------------------------------------


def test_init_from_a_script(tiny_base: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "img" / "2_zkw9 dog", [(64, 64)] * 4)
    (tmp_path / "prompts.txt").write_text(
        "zkw9, portrait --n blurry --w 64 --d 3 --l 5\n# a comment\n\nzkw9 --s 9\n"
    )
    source = written(tmp_path, "train.sh", SCRIPT.replace("=base ", f"={tiny_base} "))
    made = init(tmp_path / "project", source, "--trigger", "zkw9", "--json")
    assert made.exit_code == 0, made.output
    answer = json.loads(made.stdout.strip().splitlines()[-1])
    settings = load_settings(tmp_path / "project")
    assert (settings.lora.rank, settings.lora.alpha, settings.training.epochs) == (8, 4, 4)
    assert (settings.training.lr_scheduler, settings.training.seed) == ("cosine", 7)
    assert answer["steps"] == 4 * 2 * 4
    assert settings.training.warmup_steps == 0.1, "a share of all steps, as it was"
    assert settings.dataset.images.resolve() == (tmp_path / "img").resolve()
    assert settings.samples.sample_prompts == (
        "zkw9, portrait --n blurry --w 64 --h 512 --d 3 --l 5",
        "zkw9 --s 9",
    )
    assert settings.samples.sampler == "euler_ancestral"
    profile = read_profile(tmp_path / "project")
    assert (profile.trigger, profile.class_word) == ("zkw9", "dog")
    assert any("xformers" in text for text in answer["left"]) and settings.dataset.flip_aug
    assert "# Not taken over:" in (tmp_path / "project" / "maquette.toml").read_text(encoding="utf-8")


def test_init_from_several_folders_writes_a_dataset(tiny_base: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_pictures(tmp_path / name, [(64, 64)] * 3)
    process = {
        "trigger_word": "zkw9",
        "network": {"linear": 8, "linear_alpha": 4},
        "datasets": [{"folder_path": "one", "num_repeats": 2}, {"folder_path": "two"}],
        "train": {"steps": 12, "lr": 1e-4},
        "model": {"name_or_path": str(tiny_base)},
    }
    source = written(
        tmp_path, "job.json", json.dumps({"job": "extension", "config": {"name": "x", "process": [process]}})
    )
    made = init(tmp_path / "project", source, "--json")
    assert made.exit_code == 0, made.output
    tables = tomllib.loads((tmp_path / "project" / "dataset.toml").read_text(encoding="utf-8"))
    subsets = tables["datasets"][0]["subsets"]
    assert [(Path(each["image_dir"]).name, each["num_repeats"]) for each in subsets] == [
        ("one", 2),
        ("two", 1),
    ]
    assert load_settings(tmp_path / "project").dataset.images.name == "dataset.toml"


def test_what_lies_elsewhere_is_asked_for_at_once(tmp_path: Path) -> None:
    gui = {**GUI, "pretrained_model_name_or_path": "E:/models/x.safetensors", "train_data_dir": "E:/img"}
    made = init(tmp_path / "project", written(tmp_path, "gui.json", json.dumps(gui)))
    assert made.exit_code == 2
    assert "--base: E:/models/x.safetensors is not on this computer" in made.output
    assert "--images: E:/img is not on this computer" in made.output
    assert not (tmp_path / "project").exists()


def test_flags_win_over_the_file(tiny_base: Path, pictures: Path, tmp_path: Path) -> None:
    source = written(tmp_path, "gui.json", json.dumps({**GUI, "train_data_dir": "E:/img"}))
    made = init(tmp_path / "p", source, "--images", pictures, "--base", tiny_base, "--trigger", "zkw9")
    assert made.exit_code == 0, made.output
    assert load_settings(tmp_path / "p").dataset.images.resolve() == pictures.resolve()


def test_a_strangers_key_cannot_leave_its_comment(tiny_base: Path, pictures: Path, tmp_path: Path) -> None:
    text = 'pretrained_model_name_or_path = "x"\nnetwork_dim = 8\n"a\\nseed = 9\\n#" = 1\n["b\\n[training]"]\nnetwork_alpha = 4\n'
    source = written(tmp_path, "config.toml", text)
    made = init(tmp_path / "p", source, "--images", pictures, "--base", tiny_base, "--trigger", "zkw9")
    assert made.exit_code == 0, made.output
    tables = tomllib.loads((tmp_path / "p" / "maquette.toml").read_text(encoding="utf-8"))
    assert "seed" not in tables["training"]
    assert tables["lora"] == {"rank": 8, "alpha": 4.0}


def test_without_a_run_pictures_and_base_are_needed(tmp_path: Path) -> None:
    made = CliRunner().invoke(maquette, ["init", str(tmp_path / "p"), "--trigger", "zkw"])
    assert made.exit_code == 2
    assert "--images: not given" in made.output
    assert "--base: not given" in made.output


@pytest.mark.parametrize("text", ['{"3": {"class_type": "KSampler", "inputs": {}}}', '{"name": "luca"}'])
def test_what_is_no_run_is_refused_with_what_it_is(tmp_path: Path, text: str) -> None:
    made = init(tmp_path / "p", written(tmp_path, "file.json", text))
    assert made.exit_code == 2
    assert "workflow" in made.output or "no training command" in made.output


# --- plan ------------------------------------------------------------------------------------------------


def test_plan_takes_a_run(tiny_base: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "img" / "2_zkw9", [(64, 64)] * 4)
    source = written(tmp_path, "train.sh", SCRIPT.replace("=base ", f"={tiny_base} "))
    planned = CliRunner().invoke(maquette, ["plan", str(source), "--no-measure", "--json"])
    assert planned.exit_code == 0, planned.output
    answer = json.loads(planned.stdout.strip().splitlines()[-1])
    assert (answer["steps"], answer["epochs"], len(answer["checkpoints"])) == (32, 4, 4)


def test_plan_reckons_with_the_resolution_of_a_toml(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pics", [(64, 64)] * 2)
    toml = (
        f'[general]\nresolution = 1024\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{tmp_path}/pics"\n'
    )
    source = written(tmp_path, "set.toml", toml)
    planned = CliRunner().invoke(maquette, ["plan", str(source), "--no-measure", "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout.strip().splitlines()[-1])["base"]["native_px"] == 1024


# --- prompts ---------------------------------------------------------------------------------------------


def test_prompts_are_read_as_sd_scripts_does() -> None:
    first, second = read_prompts(
        ["# no", "mk, a -- b --n bad hands --w 1024 --h 768 --d 1 --l 7.5 --s 28\n", "mk --wide 3 --d x\n"]
    )
    assert (first.text, first.line) == ("mk, a", 2)
    assert first.values == {"n": "bad hands", "w": "1024", "h": "768", "d": "1", "l": "7.5", "s": "28"}
    assert second.values == {}
    assert second.unknown == ("wide 3", "d x")


OBJECTIVE = """\
accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4 --loss_type=smooth_l1 --huber_schedule=exponential \\
  --huber_c=0.2 --huber_scale=1.5 --debiased_estimation_loss --noise_offset=0.05 --noise_offset_random_strength \\
  --adaptive_noise_scale=0.01 --multires_noise_iterations=6 --multires_noise_discount=0.4 --ip_noise_gamma=0.1 \\
  --ip_noise_gamma_random_strength --min_timestep=100 --max_timestep=900
"""


def test_noise_and_loss_are_taken_to_the_letter(tmp_path: Path) -> None:
    """Nothing of the objective is left: each option becomes the setting of its meaning."""
    taken = taken_from(tmp_path, "train.sh", OBJECTIVE)
    objective = load_settings(None, {"base": "", **taken.settings()}).objective
    assert (objective.loss_type, objective.huber_schedule) == ("smooth_l1", "exponential")
    assert (objective.huber_c, objective.huber_scale, objective.debiased_estimation_loss) == (0.2, 1.5, True)
    assert (objective.noise_offset, objective.noise_offset_random_strength) == (0.05, True)
    assert (objective.adaptive_noise_scale, objective.multires_noise_iterations) == (0.01, 6)
    assert (objective.multires_noise_discount, objective.ip_noise_gamma) == (0.4, 0.1)
    assert (objective.ip_noise_gamma_random_strength, objective.min_timestep, objective.max_timestep) == (
        True,
        100,
        900,
    )
    assert taken.values["huber_c"].reason == "huber_c" and not taken.left


def test_what_the_objective_makes_idle_is_left_with_the_reason(tmp_path: Path) -> None:
    text = "accelerate launch train_network.py --network_dim=8 --learning_rate=1e-4 --huber_c=0.5\n"
    taken = taken_from(tmp_path, "train.sh", text)
    assert taken.left == {"huber_c = 0.5": "no effect: loss_type l2 has no threshold"}


def test_what_the_base_predicts_is_taken_where_it_is_said(tmp_path: Path) -> None:
    start = "accelerate launch sdxl_train_network.py --network_dim=8 --learning_rate=1e-4"
    said = "--v_parameterization --zero_terminal_snr --scale_v_pred_loss_like_noise_pred"
    taken = taken_from(tmp_path, "v.sh", f"{start} {said}\n")
    objective = load_settings(None, {"base": "", **taken.settings()}).objective
    assert (objective.prediction, objective.zero_terminal_snr) == ("v", True)
    assert objective.scale_v_pred_loss_like_noise_pred and not taken.left
    silent = taken_from(tmp_path, "noise.sh", f"{start} --v_pred_like_loss=0.5\n")
    objective = load_settings(None, {"base": "", **silent.settings()}).objective
    assert (objective.prediction, objective.zero_terminal_snr) == ("auto", None), "the file may know better"
    assert objective.v_pred_like_loss == 0.5 and not silent.left


def test_a_vae_of_its_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "fix.safetensors").write_bytes(b"")
    start = "accelerate launch sdxl_train_network.py --network_dim=8 --learning_rate=1e-4"
    taken = taken_from(tmp_path, "v.sh", f"{start} --vae=fix.safetensors --no_half_vae\n")
    model = load_settings(None, {"base": "", **taken.settings()}).model
    assert (model.vae, model.no_half_vae) == (str(tmp_path / "fix.safetensors"), True) and not taken.left


def test_no_option_of_another_trainer_is_dropped_in_silence() -> None:
    """Each of sd-scripts' options becomes a setting, is one that only the machine needs, or stands with what holds instead."""
    values: dict[str, object] = {
        "switch": True, "int": 3, "number": 0.25, "text": "x", "path": Path("x"), "share": 10, "size": (512, 512),
        "texts": ["a=1"], "numbers": [1e-4], "range": (1.0, 2.0),
    }  # fmt: skip
    # Whoever makes the project takes base, pictures and their lists; attention is as by default, a family as its base says.
    elsewhere = {
        "pretrained_model_name_or_path",
        "train_data_dir",
        "reg_data_dir",
        "in_json",
        "dataset_config",
    }
    silent = {*elsewhere, "config_file", "sdpa", "v2"}

    def taken_of(values: dict[str, object]) -> Taken:
        places = {name: f"--{name}" for name in values}
        reading = Reading(
            values=values, places=places, written={name: str(value) for name, value in values.items()}
        )
        return take_over(request_of(reading, Path("x.toml"), script="sdxl_train_network.py"))

    nothing = taken_of({})
    unsaid = []
    for name, option in OPTIONS.items():
        value = option.choices[-1] if option.choices else values[option.kind]
        value = int(str(value)) if option.kind == "int" else value
        taken = taken_of({name: value})
        unsaid += [f"{name}: {what}" for what, why in taken.left.items() if not why]
        if name not in silent and (taken.settings(), taken.left) == (nothing.settings(), nothing.left):
            unsaid.append(name)
    assert not unsaid
