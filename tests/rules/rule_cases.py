"""Runs of the field notes as records, and what rules say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maquette.dataset.repeats import Schedule
from maquette.families.protocol import ModelInfo
from maquette.findings.records import Finding
from maquette.findings.registry import run_rules
from maquette.kohya.request import read_commands
from maquette.project.machine import Disk, Gpu, Machine
from maquette.project.request import TrainingRequest
from maquette.rules.catalogue import all_rules

GIB = 2**30

CHARACTER_RUN = """export PYTORCH_ENABLE_MPS_FALLBACK=1
accelerate launch \\
  --num_cpu_threads_per_process=4 \\
  sd-scripts/train_network.py \\
  --pretrained_model_name_or_path="AnythingXL_inkBase.safetensors" \\
  --dataset_config="spyke_lora_dataset.toml" \\
  --output_dir="output/loras/spyke/" \\
  --output_name="spyke_plasma_v1" \\
  --save_model_as="safetensors" \\
  --save_every_n_steps=200 \\
  --max_train_epochs=4 \\
  --learning_rate=1e-4 \\
  --unet_lr=1e-4 \\
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
  --prior_loss_weight=1.0 \\
  --max_data_loader_n_workers=1 \\
  --persistent_data_loader_workers \\
  --gradient_checkpointing \\
  --seed=42
"""
"""A character on Apple silicon: SD 1.5, 23 pictures and 100 regularization pictures."""

PIXEL_ART_RUN = """export HF_HOME=/workspace/.cache/huggingface
python3 sd-scripts/sdxl_train_network.py \\
  --pretrained_model_name_or_path="stabilityai/stable-diffusion-xl-base-1.0" \\
  --train_data_dir="/workspace/training_data" \\
  --resolution="1024,1024" \\
  --output_dir="/workspace/output" \\
  --output_name="bespoke_baby_sdxl" \\
  --save_model_as=safetensors \\
  --max_train_epochs=10 \\
  --learning_rate=0.0001 \\
  --unet_lr=0.0001 \\
  --text_encoder_lr=0.00005 \\
  --network_module=networks.lora \\
  --network_dim=128 \\
  --network_alpha=64 \\
  --save_every_n_epochs=1 \\
  --mixed_precision="bf16" \\
  --cache_latents \\
  --cache_latents_to_disk \\
  --optimizer_type="AdamW8bit" \\
  --caption_extension=".txt" \\
  --lr_scheduler="cosine_with_restarts" \\
  --lr_scheduler_num_cycles=3 \\
  --min_snr_gamma=5 \\
  --noise_offset=0.1 \\
  --train_batch_size=2 \\
  --gradient_checkpointing \\
  --xformers \\
  --seed=42
"""
"""203 pixel-art portraits on a rented card: SDXL."""

M1_PRO = Gpu(kind="mps", name="Apple M1 Pro", total_bytes=10 * GIB)
MAC = Machine(
    system="Darwin",
    gpus=(M1_PRO,),
    ram_bytes=16 * GIB,
    disks={Path("/"): Disk(total_bytes=500 * GIB, free_bytes=99 * GIB)},
)
RENTED = Machine(
    system="Linux",
    gpus=(
        Gpu(kind="cuda", name="A40", total_bytes=48 * GIB, free_bytes=47 * GIB, compute_capability=(8, 6)),
    ),
    ram_bytes=64 * GIB,
    disks={
        Path("/"): Disk(total_bytes=10 * GIB, free_bytes=6 * GIB),
        Path("/workspace"): Disk(total_bytes=50 * GIB, free_bytes=45 * GIB),
    },
    home=Path("/root"),
)
SD1 = ModelInfo(
    family="sd1", title="Stable Diffusion 1.x", prediction="epsilon", dtype="float16", resolution=512, source="single-file",
    layout="single-file", path="not/here.safetensors", text_encoders=1, latent_channels=4, vae_factor=8,
)  # fmt: skip
SD2 = ModelInfo(
    family="sd2", title="Stable Diffusion 2.x", prediction="v", dtype="float16", resolution=768, source="single-file",
    layout="single-file", path="not/here.safetensors", text_encoders=1, latent_channels=4, vae_factor=8,
)  # fmt: skip
SDXL = ModelInfo(
    family="sdxl", title="Stable Diffusion XL", prediction="epsilon", dtype="float16", resolution=1024, source="single-file",
    layout="single-file", path="not/here.safetensors", text_encoders=2, latent_channels=4, vae_factor=8,
)  # fmt: skip


def command(folder: Path, text: str) -> TrainingRequest:
    """Return the run that a saved command starts."""
    path = folder / "train.sh"
    path.write_text(text, encoding="utf-8")
    return read_commands(path)[0]


def schedule(steps: int, an_epoch: int) -> Schedule:
    """Return a schedule of `steps` in epochs of `an_epoch`."""
    return Schedule(
        terms=((an_epoch, 1),), train_items=an_epoch, regularization_items=0, batch_sizes=(1,), num_buckets=1,
        batches_per_epoch=an_epoch, accumulation=1, steps_per_epoch=an_epoch, epochs=-(-steps // an_epoch), steps=steps,
        by_steps=False,
    )  # fmt: skip


def found(*facts: Any, only: str = "") -> list[Finding]:
    """Return what the rules whose codes begin with `only` say of `facts`."""
    rules = [rule for code, rule in all_rules().items() if code.startswith(tuple(only.split()) or "")]
    return run_rules(rules, {type(fact): fact for fact in facts if fact is not None})[0]


def codes(*facts: Any, only: str = "ENV SET MOD") -> dict[str, str]:
    """Return {code: severity} of what is found."""
    return {finding.code: finding.severity for finding in found(*facts, only=only)}
