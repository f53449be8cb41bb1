"""What other trainers' settings become: the same fields with the same meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maquette.elsewhere.runs import runs_of
from maquette.project.request import Folder, TrainingRequest
from tests.elsewhere.samples import BACKENDS, DIRECTORIES, GUI, ONETRAINER, READ, written


def read(folder: Path, name: str) -> TrainingRequest:
    (request,) = runs_of(written(folder, name, READ[name])).requests
    return request


def gui(folder: Path, **changed: Any) -> TrainingRequest:
    (request,) = runs_of(written(folder, "gui.json", json.dumps({**GUI, **changed}))).requests
    return request


# --- kohya_ss' GUI ---------------------------------------------------------------------------------------


def test_the_gui_starts_what_its_boxes_say(tmp_path: Path) -> None:
    run = gui(tmp_path)
    assert (run.trainer, run.script, run.launcher) == ("sd-scripts", "sdxl_train_network.py", "accelerate")
    assert (run.rank, run.alpha, run.conv_rank, run.network_module) == (32, 16, None, "networks.lora")
    assert (run.resolution_wh, run.bucket_step_px, run.enable_bucket) == ((1024, 1024), 64, True)
    assert (run.epochs, run.steps, run.warmup_steps, run.cycles) == (10, None, 0.1, 10)
    assert (run.accumulation, run.keep_tokens, run.seed, run.batch_size) == (2, 1, 1234, 2)
    assert (run.learning_rate, run.unet_lr, run.text_encoder_lrs) == (1e-4, 1e-4, (5e-5,))
    assert (run.optimizer, run.optimizer_args) == ("adamw8bit", {"weight_decay": "0.1", "betas": "0.9,0.99"})
    assert (run.noise_offset, run.multires_noise, run.min_snr_gamma) == (0.05, None, 5)
    assert (run.attention, run.no_half_vae, run.precision, run.clip_skip) == ("sdpa", True, "bf16", None)
    assert run.sample_prompts == "out/sample/prompt.txt"
    assert run.said("rank") == "network_dim"
    assert run.said("resolution_wh") == "max_resolution"
    assert not (run.problems or run.unknown_options or run.repeated_options)


def test_what_the_gui_leaves_out_is_not_said(tmp_path: Path) -> None:
    run = gui(
        tmp_path, seed=0, min_snr_gamma=0, noise_offset=0, max_grad_norm=0, xformers="none", text_encoder_lr=0
    )
    assert (run.seed, run.min_snr_gamma, run.noise_offset, run.max_grad_norm, run.attention) == (None,) * 5
    assert run.text_encoder_lrs is None
    assert run.train_text_encoder is False
    assert run.other["network_train_unet_only"]


def test_lengths_of_the_gui(tmp_path: Path) -> None:
    assert gui(tmp_path, max_train_epochs=7).epochs == 7
    steps = gui(tmp_path, max_train_steps="500")
    assert (steps.steps, steps.epochs) == (500, None)
    by_toml = gui(tmp_path, dataset_config="set.toml")
    assert (by_toml.epochs, by_toml.value("steps")) == (None, 1600), (
        "beside a dataset TOML the GUI counts nothing"
    )
    assert gui(tmp_path, lr_warmup=10, lr_warmup_steps=50).warmup_steps == 50


@pytest.mark.parametrize(
    ("kind", "module", "arguments"),
    [
        ("Standard", "networks.lora", {}),
        ("Kohya LoCon", "networks.lora", {"conv_dim": "8", "conv_alpha": "4"}),
        (
            "LyCORIS/LoHa",
            "lycoris.kohya",
            {"preset": "full", "algo": "loha", "conv_dim": "8", "conv_alpha": "4"},
        ),
        ("LoCon", "lycoris.kohya", {"preset": "full", "algo": "locon", "conv_dim": "8", "conv_alpha": "4"}),
        ("LoRA-FA", "networks.lora_fa", {}),
    ],
)
def test_kinds_of_lora(tmp_path: Path, kind: str, module: str, arguments: dict[str, str]) -> None:
    run = gui(tmp_path, LoRA_type=kind)
    assert run.network_module == module
    assert dict(text.split("=") for text in run.other.get("network_args", [])) == arguments
    assert run.conv_rank == (8 if "conv_dim" in arguments else None)


def test_older_files_of_the_gui(tmp_path: Path) -> None:
    old = {
        name: value for name, value in GUI.items() if name not in ("optimizer", "noise_offset_type", "sdxl")
    }
    path = written(tmp_path, "old.json", json.dumps({**old, "use_8bit_adam": True, "xformers": True}))
    (run,) = runs_of(path).requests
    assert (run.optimizer, run.attention, run.script, run.no_half_vae) == (
        "adamw8bit",
        "xformers",
        "train_network.py",
        None,
    )
    assert run.noise_offset == 0.05


def test_additional_parameters_win(tmp_path: Path) -> None:
    run = gui(
        tmp_path,
        additional_parameters='--network_dim 8 --lr_scheduler_type "CosineAnnealingLR" --zero_terminal_snr',
    )
    assert (run.rank, run.scheduler, run.zero_terminal_snr) == (8, "cosineannealinglr", True)
    assert run.said("rank") == "additional_parameters"
    (wrong,) = gui(tmp_path, additional_parameters="--loss_type=l3").problems
    assert "l3" in wrong.given


def test_a_value_that_is_no_number_is_named_by_its_key(tmp_path: Path) -> None:
    (problem,) = gui(tmp_path, network_dim="many").problems
    assert (problem.where, problem.required) == ("network_dim", "a number")


# --- others on sd-scripts --------------------------------------------------------------------------------


def test_lora_easy(tmp_path: Path) -> None:
    run = read(tmp_path, "easy.toml")
    assert (run.trainer, run.script, run.network_module) == (
        "sd-scripts",
        "sdxl_train_network.py",
        "lycoris.kohya",
    )
    assert (run.rank, run.alpha, run.conv_rank, run.epochs, run.batch_size, run.seed) == (32, 16, 8, 30, 2, 7)
    assert (run.resolution_wh, run.warmup_steps, run.optimizer_args) == (
        (1024, 1024),
        0.1,
        {"weight_decay": "0.1"},
    )
    assert run.folders == (Folder(path=Path("pics"), repeats=10, options={"shuffle_caption": True}),)
    assert run.said("rank") == "[network_args.args] network_dim"
    assert not run.unknown_options


def test_lora_scripts(tmp_path: Path) -> None:
    run = read(tmp_path, "lora_scripts.toml")
    assert (run.trainer, run.script, run.rank, run.epochs) == ("sd-scripts", "sdxl_train_network.py", 32, 10)
    assert (run.cycles, run.text_encoder_lrs, run.images) == (2, (1e-5,), Path("train/mk"))
    assert not run.unknown_options


# --- others ----------------------------------------------------------------------------------------------


def test_onetrainer(tmp_path: Path) -> None:
    run = read(tmp_path, "onetrainer.json")
    assert (run.trainer, run.script) == ("other", None)
    assert (run.rank, run.alpha, run.learning_rate, run.epochs, run.batch_size, run.accumulation) == (
        32,
        16,
        3e-4,
        100,
        4,
        2,
    )
    assert (run.resolution_wh, run.precision, run.optimizer, run.scheduler) == (
        (1024, 1024),
        "bf16",
        "adamw8bit",
        "cosine",
    )
    assert (run.min_snr_gamma, run.train_text_encoder, run.save_every_epochs, run.warmup_steps) == (
        5,
        False,
        10,
        200,
    )
    assert (run.output_dir, run.output_name, run.save_precision) == (Path("models"), "mk", "bf16")
    assert run.folders == (Folder(path=Path("pics"), repeats=4),)
    assert (run.mask_source, run.unmasked_weight, run.unmasked_probability) == ("beside", 0.1, 0.2)
    assert run.other["debug_mode"] is True, "what has no counterpart is kept by its name"
    assert run.value("batch_size") == 4
    assert run.value("max_grad_norm") is None, "nobody's default but its own"


def test_onetrainers_concepts_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "training_concepts").mkdir()
    concepts = [{"path": "pics", "balancing": 2.0, "image": {}}, {"path": "more", "image": {}}]
    written(tmp_path / "training_concepts", "concepts.json", json.dumps(concepts))
    named = {key: value for key, value in ONETRAINER.items() if key != "concepts"}
    named["concept_file_name"] = "training_concepts/concepts.json"
    (run,) = runs_of(written(tmp_path, "onetrainer.json", json.dumps(named))).requests
    assert run.folders == (Folder(path=Path("pics"), repeats=2), Folder(path=Path("more")))


def test_ai_toolkit(tmp_path: Path) -> None:
    run = read(tmp_path, "ai_toolkit.yaml")
    assert (run.trigger, run.rank, run.alpha, run.steps, run.learning_rate) == ("mkvi", 32, 16, 2000, 1e-4)
    assert (run.resolution_wh, run.train_text_encoder, run.precision) == ((1024, 1024), False, "bf16")
    assert (run.optimizer, run.save_every_steps, run.output_name) == ("adamw8bit", 250, "mk_v1")
    assert run.sample_prompts == "[trigger] in a park\n[trigger] portrait"
    assert run.folders == (Folder(path=Path("pics")),)
    assert "train.ema_config.use_ema" in run.other


def test_simpletuner_and_its_backends(tmp_path: Path) -> None:
    written(tmp_path, "multidatabackend.json", json.dumps(BACKENDS))
    run = read(tmp_path, "simpletuner.json")
    assert (run.rank, run.alpha, run.steps, run.epochs, run.learning_rate) == (32, 16, 2000, None, 1e-4)
    assert (run.resolution_wh, run.warmup_steps, run.seed, run.save_every_steps) == (
        (1024, 1024),
        100,
        42,
        500,
    )
    assert run.folders == (Folder(path=Path("pics"), repeats=5),), (
        "its repeats are added to the first showing"
    )


def test_diffusion_pipe_and_its_folders(tmp_path: Path) -> None:
    written(tmp_path, "dataset.toml", DIRECTORIES)
    run = read(tmp_path, "diffusion_pipe.toml")
    assert (run.rank, run.epochs, run.batch_size, run.learning_rate, run.warmup_steps) == (
        32,
        100,
        2,
        4e-5,
        100,
    )
    assert (run.optimizer, run.precision, run.save_precision, run.resolution_wh) == (
        "adamw8bitkahan",
        "bf16",
        "bf16",
        (1024, 1024),
    )
    assert run.folders == (Folder(path=Path("pics"), repeats=10),)


def test_diffusers(tmp_path: Path) -> None:
    run = read(tmp_path, "diffusers.sh")
    assert (run.trainer, run.script) == ("other", "train_dreambooth_lora_sdxl.py")
    assert (run.rank, run.alpha, run.steps, run.accumulation, run.seed) == (32, None, 500, 4, 0)
    assert (run.images, run.caption_fallback) == (Path("pics"), "a photo of mkvi dog")
    assert (run.min_snr_gamma, run.text_encoder_lrs, run.optimizer, run.precision) == (
        5,
        (5e-5,),
        "adamw8bit",
        "fp16",
    )
    assert not (run.problems or run.unknown_options), "it is not judged as sd-scripts"
