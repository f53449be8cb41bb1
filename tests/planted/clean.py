"""The clean cases that faults are planted into: nothing in them deserves a finding."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from maquette.lora.files import save_lora
from maquette.project.machine import Disk, Gpu, Machine
from maquette.world.attributes import Character, Scene
from maquette.world.renderer import render
from tests.families.full import full_targets, header_only
from tests.planted.case import Case, Start

TRIGGER = "zkw_fox"
NUM_PICTURES = 20
SIZE_PX = 512

FOX = Character(
    hair_style="spiky",
    hair_color="red",
    skin="pale",
    top_color="white",
    bottom_kind="pants",
    bottom_color="black",
    right_glove="green",
)
VIEWS = {"front": "front view", "left": "side view", "right": "side view", "back": "back view"}

PROFILE = f"""kind = "character"
trigger = "{TRIGGER}"
class_word = "anime character"
appearance = ["spiky red hair", "white shirt", "black pants", "pale skin"]
varies = ["pose", "view", "background"]

[[details]]
name = "green glove"
part = "hand"
side = "right"
views = ["front", "three quarter", "side"]
"""

SCRIPT = """#!/usr/bin/env bash
set -e
accelerate launch --num_cpu_threads_per_process=4 sd-scripts/train_network.py \\
  --pretrained_model_name_or_path="base.safetensors" \\
  --train_data_dir="dataset/train" \\
  --resolution=512,512 \\
  --enable_bucket \\
  --caption_extension=".txt" \\
  --shuffle_caption \\
  --keep_tokens=1 \\
  --cache_latents \\
  --network_module=networks.lora \\
  --network_dim=32 \\
  --network_alpha=16 \\
  --learning_rate=1e-4 \\
  --unet_lr=1e-4 \\
  --text_encoder_lr=5e-5 \\
  --optimizer_type=AdamW \\
  --lr_scheduler=cosine \\
  --min_snr_gamma=5 \\
  --train_batch_size=1 \\
  --max_train_epochs=5 \\
  --mixed_precision=bf16 \\
  --sdpa \\
  --seed=42 \\
  --output_dir=output \\
  --output_name=zkw_fox \\
  --save_model_as=safetensors \\
  --save_precision=fp16 \\
  --save_every_n_steps=200 \\
  --sample_prompts=prompts.txt \\
  --sample_every_n_steps=200
"""

DATASET_TOML = """[general]
enable_bucket = true
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = 512
batch_size = 1

  [[datasets.subsets]]
  image_dir = "FOLDER"
  num_repeats = 10
"""

PROJECT_TOML = f"""[subject]
trigger = "{TRIGGER}"
class_word = "anime character"

[model]
base = "base.safetensors"

[dataset]
images = "images"
resolution = 512
shuffle_caption = true
keep_tokens = 1

[lora]
rank = 32
alpha = 16

[training]
steps = 1000
learning_rate = 1e-4
text_encoder_lr = 5e-5
lr_scheduler = "cosine"
seed = 42

[objective]
min_snr_gamma = 5

[saving]
name = "zkw_fox"
save_every_steps = 200

[samples]
sample_prompts = ["{{trigger}}"]
"""

MACHINE = Machine(
    system="Linux",
    gpus=(
        Gpu(
            kind="cuda",
            name="NVIDIA GeForce RTX 4090",
            total_bytes=24 * 2**30,
            free_bytes=23 * 2**30,
            compute_capability=(8, 9),
        ),
    ),
    ram_bytes=64 * 2**30,
    free_ram_bytes=48 * 2**30,
    packages={"torch": "2.9.0", "accelerate": "1.10.0", "bitsandbytes": "0.48.0", "xformers": "0.0.33"},
    disks={Path("/"): Disk(total_bytes=1000 * 2**30, free_bytes=500 * 2**30, mount="/")},
)
"""A machine on which nothing of the clean cases is a problem."""


def clean_case(folder: Path, start: Start, material: Path) -> Case:
    """Make a clean case of the given kind in `folder`, which must not exist; `material` is from `write_material`."""
    folder.mkdir(parents=True)
    return {
        "kohya": _kohya,
        "toml": _toml,
        "project": _project,
        "folder": _folder,
        "log": _log,
        "lora": _lora,
    }[start](folder, material)


def write_material(folder: Path) -> Path:
    """Write what all cases are copied from: pictures with captions, a base, a LoRA. Return the folder."""
    _write_pictures(folder / "pictures")
    header_only("sd1", folder / "base.safetensors")
    _write_lora(folder / "lora.safetensors")
    return folder


def scenes() -> Iterator[Scene]:
    """Yield twenty scenes, no two alike."""
    generator = random.Random(7)
    combinations = [
        (view, pose) for view in VIEWS for pose in ("standing", "arms wide", "arms up", "jumping")
    ] + [("front", "standing"), ("left", "jumping"), ("right", "arms up"), ("front", "arms wide")]
    backgrounds = ("gray", "blue", "green", "yellow", "pink", "purple")
    for index, (view, pose) in enumerate(combinations):
        background = backgrounds[index % len(backgrounds)]
        yield Scene(view=view, pose=pose, background=background, shift=generator.uniform(-2, 2))


def caption_of(scene: Scene) -> str:
    """Return a pose-only caption with the detail that shows in this view."""
    glove = [] if scene.view == "back" else ["right hand green glove"]
    tags = [TRIGGER, "full body", VIEWS[scene.view], scene.pose, *glove, f"{scene.background} background"]
    return ", ".join(tags)


def _write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for index, scene in enumerate(scenes(), start=1):
        path = folder / f"fox_{index:02d}.png"
        render(FOX, scene, SIZE_PX).save(path)
        path.with_suffix(".txt").write_text(caption_of(scene), encoding="utf-8")


def _write_lora(path: Path, rank: int = 4) -> None:
    """Write a LoRA of the full SD 1.5 layout with small random weights and the metadata a trainer writes."""
    generator = torch.Generator().manual_seed(5)
    state: dict[str, torch.Tensor] = {}
    for target in full_targets("sd1"):
        if not target.default:
            continue
        weight = target.module.weight
        tail = (1, 1) if weight.ndim == 4 else ()
        state[f"{target.key}.lora_down.weight"] = 0.02 * torch.randn(
            rank, weight.shape[1], *tail, generator=generator
        )
        state[f"{target.key}.lora_up.weight"] = 0.02 * torch.randn(
            weight.shape[0], rank, *tail, generator=generator
        )
        state[f"{target.key}.alpha"] = torch.tensor(rank / 2)
    metadata = {
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank / 2),
        "ss_output_name": TRIGGER,
        "ss_sd_model_name": "base.safetensors",
        "ss_resolution": "(512, 512)",
        "ss_clip_skip": "None",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": TRIGGER,
        "modelspec.resolution": "512x512",
        "modelspec.prediction_type": "epsilon",
    }
    save_lora(path, state, metadata, dtype="fp16")


def _pictures(material: Path, folder: Path) -> list[Path]:
    shutil.copytree(material / "pictures", folder)
    return sorted(folder.glob("*.png"))


def _sparse_copy(source: Path, target: Path) -> None:
    """Copy a file that is mostly a hole without filling the hole."""
    with source.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = length.to_bytes(8, "little") + file.read(length)
    with target.open("wb") as file:
        file.write(header)
        file.truncate(source.stat().st_size)


def _training_folder(folder: Path, material: Path) -> Path:
    """Lay out what a run of sd-scripts needs beside its pictures; return the profile."""
    _sparse_copy(material / "base.safetensors", folder / "base.safetensors")
    (folder / "sd-scripts" / "networks").mkdir(parents=True)
    for name in ("train_network.py", "sdxl_train_network.py", "networks/lora.py"):
        (folder / "sd-scripts" / name).write_text("# stands for the trainer's own file\n", encoding="utf-8")
    (folder / "prompts.txt").write_text(f"{TRIGGER}, full body, front view\n", encoding="utf-8")
    (folder / "train.sh").write_text(SCRIPT, encoding="utf-8")
    return _profile(folder)


def _profile(folder: Path) -> Path:
    path = folder / "profile.toml"
    path.write_text(PROFILE, encoding="utf-8")
    return path


def _kohya(folder: Path, material: Path) -> Case:
    pictures = _pictures(material, folder / "dataset" / "train" / f"10_{TRIGGER}")
    profile = _training_folder(folder, material)
    return Case(folder, "kohya", [folder / "train.sh"], MACHINE, profile=profile, pictures=pictures)


def _toml(folder: Path, material: Path) -> Case:
    pictures = _pictures(material, folder / "dataset" / "fox")
    profile = _training_folder(folder, material)
    text = DATASET_TOML.replace("FOLDER", str(folder / "dataset" / "fox"))
    (folder / "dataset.toml").write_text(text, encoding="utf-8")
    script = SCRIPT.replace('--train_data_dir="dataset/train"', "--dataset_config=dataset.toml")
    for option in (
        "--resolution=512,512",
        "--enable_bucket",
        '--caption_extension=".txt"',
        "--shuffle_caption",
        "--keep_tokens=1",
        "--train_batch_size=1",
    ):
        script = script.replace(f"  {option} \\\n", "")
    (folder / "train.sh").write_text(script, encoding="utf-8")
    return Case(folder, "toml", [folder / "train.sh"], MACHINE, profile=profile, pictures=pictures)


def _project(folder: Path, material: Path) -> Case:
    pictures = _pictures(material, folder / "images")
    _sparse_copy(material / "base.safetensors", folder / "base.safetensors")
    (folder / "maquette.toml").write_text(PROJECT_TOML, encoding="utf-8")
    return Case(folder, "project", [folder], MACHINE, profile=_profile(folder), pictures=pictures)


def _folder(folder: Path, material: Path) -> Case:
    pictures = _pictures(material, folder / "train" / f"10_{TRIGGER}")
    return Case(
        folder,
        "folder",
        [folder / "train"],
        MACHINE,
        trainer="sd-scripts",
        profile=_profile(folder),
        pictures=pictures,
    )


def _log(folder: Path, material: Path) -> Case:
    path = folder / "train.log"
    path.write_text(clean_log(), encoding="utf-8")
    return Case(folder, "log", [path], MACHINE)


def clean_log(steps: int = 1000) -> str:
    """Return the log of a run of sd-scripts that went well: losses that fall and stay, one pace, a last save."""
    generator = random.Random(11)
    lines = [
        "prepare tokenizer",
        "Using DreamBooth method.",
        "INFO     found directory dataset/train/10_zkw_fox contains 20 image files",
        "INFO     create LoRA network. base dim (rank): 32, alpha: 16.0",
        "INFO     create LoRA for Text Encoder: 72 modules.",
        "INFO     create LoRA for U-Net: 192 modules.",
        "running training / 学習開始",
        f"  total optimization steps / 学習ステップ数: {steps}",
    ]
    progress = []
    for step in range(1, steps + 1):
        average = 0.075 + 0.04 / (1 + step / 60) + generator.gauss(0, 0.001)
        left = (steps - step) * 2
        progress.append(
            f"steps: {100 * step // steps:3d}%|####| {step}/{steps} "
            f"[{step * 2 // 60:02d}:{step * 2 % 60:02d}<{left // 60:02d}:{left % 60:02d},  2.00s/it, avr_loss={average:.4f}]"
        )
    return (
        "\n".join(lines)
        + "\n"
        + "\r".join(progress)
        + "\nsaving checkpoint: output/zkw_fox.safetensors\nmodel saved.\n"
    )


def _lora(folder: Path, material: Path) -> Case:
    path = folder / f"{TRIGGER}.safetensors"
    shutil.copyfile(material / "lora.safetensors", path)
    return Case(folder, "lora", [path], MACHINE)
