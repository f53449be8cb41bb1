"""Sound settings and descriptions, which the fuzzer damages."""

from __future__ import annotations

MAQUETTE_TOML = """[model]
base = "base.safetensors"
[dataset]
images = "pictures"
resolution = [512, 512]
[subject]
trigger = "zzfox"
class_word = "fox"
[lora]
rank = 16
alpha = 8.0
[training]
steps = 1200
learning_rate = 1e-4
batch_size = 2
seed = 7
[samples]
sample_prompts = ["zzfox, front view", "zzfox, sitting"]
sample_every_steps = 100
"""
PROFILE_TOML = """trigger = "zzfox"
class_word = "fox"
kind = "character"
appearance = ["orange fur", "white-tipped tail"]
varies = ["background"]
palette = ["#e08030"]
[[details]]
name = "notch in her ear"
views = ["front", "side"]
side = "left"
[[forms]]
name = "winter"
trigger = "zzfox_winter"
"""
SHEET = {
    "name": "Zzfox",
    "species": "fox",
    "born": "2001-02-28",
    "age": 12,
    "appearance": {
        "fur": "orange",
        "eyes": ["green", "left one darker"],
        "tail": {"tip": "white", "length": 1.5},
    },
    "outfit": [{"scarf": "blue"}, "boots"],
    "references": ["front.png", "side.png"],
    "forms": {"winter": {"fur": "white"}},
    "colors": {"fur": "#e08030"},
}
SHEET_YAML = """name: Zzfox
species: fox
born: 2001-02-28
appearance: &look
  fur: orange
  eyes: [green, left one darker]
  tail: {tip: white, length: 1.5}
winter:
  <<: *look
  fur: white
outfit:
  - scarf: blue
  - boots
colors: {fur: "#e08030"}
notes: |
  a line
  another
"""
MACHINE = {
    "system": "Linux", "ram_bytes": 64 * 2**30, "free_ram_bytes": 32 * 2**30, "packages": {"torch": "2.4.0+cu121"},
    "gpus": [{"kind": "cuda", "name": "NVIDIA GeForce RTX 3060", "total_bytes": 12 * 2**30, "compute_capability": [8, 6]}],
    "environment": {"CUDA_VISIBLE_DEVICES": "0"}, "disks": {"/": {"total_bytes": 2**40, "free_bytes": 2**39}}, "home": "/root",
}  # fmt: skip
DATASET_TOML = """[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1
[[datasets]]
resolution = [512, 768]
batch_size = 2
enable_bucket = true
min_bucket_reso = 256
max_bucket_reso = 1024
[[datasets.subsets]]
image_dir = 'pictures'
num_repeats = 10
class_tokens = "zzfox fox"
[[datasets.subsets]]
image_dir = "regularization"
is_reg = true
"""
CONFIG_FILE = """pretrained_model_name_or_path = "base.safetensors"
train_data_dir = "pictures"
output_dir = "out"
resolution = "512,512"
network_module = "networks.lora"
network_dim = 16
network_alpha = 8.0
network_args = ["conv_dim=4", "conv_alpha=1"]
[training]
max_train_steps = 1200
learning_rate = 1e-4
optimizer_type = "AdamW8bit"
optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
noise_offset = 0.03
clip_skip = 2
save_every_n_epochs = 1
lr_scheduler = "cosine"
"""
GUI = {
    "LoRA_type": "Standard", "pretrained_model_name_or_path": "base.safetensors", "train_data_dir": "pictures", "network_dim": 16,
    "network_alpha": 8, "max_resolution": "512,512", "train_batch_size": 2, "epoch": 10, "learning_rate": 0.0001,
    "text_encoder_lr": 5e-5, "optimizer": "AdamW8bit", "optimizer_args": "weight_decay=0.1", "sdxl": False, "cache_latents": True,
    "sample_prompts": "zzfox --w 512 --h 512", "additional_parameters": "--highvram --seed=3", "lr_warmup": 10, "caption_extension": ".txt",
    "stop_text_encoder_training_pct": 0, "min_snr_gamma": 5, "conv_dim": 1, "mixed_precision": "fp16", "num_cpu_threads_per_process": 2,
}  # fmt: skip
ONETRAINER = {
    "__version": 6, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "base.safetensors",
    "concepts": [{"path": "pictures", "text": {"prompt_source": "sample"}, "balancing": 10.0}], "resolution": "512", "epochs": 10,
    "batch_size": 2, "learning_rate": 1e-4, "lora_rank": 16, "lora_alpha": 1.0, "optimizer": {"optimizer": "ADAMW", "weight_decay": 0.01},
    "learning_rate_scheduler": "COSINE", "train_dtype": "BFLOAT_16", "output_model_destination": "out/x.safetensors",
}  # fmt: skip
AI_TOOLKIT = """job: extension
config:
  name: zzfox
  process:
    - type: sd_trainer
      trigger_word: zzfox
      network: {type: lora, linear: 16, linear_alpha: 16}
      save: {dtype: float16, save_every: 250}
      datasets:
        - folder_path: pictures
          caption_ext: txt
          resolution: [512, 768]
      train: {batch_size: 1, steps: 2000, lr: 1e-4, optimizer: adamw8bit, dtype: bf16, noise_scheduler: ddpm}
      model: {name_or_path: base.safetensors, quantize: true}
      sample: {sampler: ddpm, width: 512, height: 512, prompts: ["zzfox", "zzfox, side"]}
"""
SCRIPT = """#!/bin/bash
export BASE="base.safetensors"
DIM=16; EXTRA="--xformers --seed 3"
if [ -n "$BASE" ]; then
  accelerate launch --num_cpu_threads_per_process 2 train_network.py \\
    --pretrained_model_name_or_path="$BASE" --train_data_dir pictures --output_dir=out \\
    --resolution=512,512 --network_module=networks.lora --network_dim=$DIM --network_alpha=8 \\
    --learning_rate=1e-4 --max_train_steps 1200 --optimizer_type AdamW8bit --optimizer_args weight_decay=0.1 "betas=0.9,0.99" $EXTRA
fi
"""
POWERSHELL = """$base = "base.safetensors"
$ext = [System.Collections.ArrayList]::new()
[void]$ext.Add("--network_dim=16")
if ($base) { $ext += "--xformers" }
$more = @{ output_dir = "out"; seed = 3 }
accelerate launch --num_cpu_threads_per_process=2 "./sd-scripts/train_network.py" `
  --pretrained_model_name_or_path=$base --train_data_dir="pictures" `
  --resolution="512,512" --network_module="networks.lora" --learning_rate=1e-4 --max_train_epochs=10 $ext
"""
BATCH = """@echo off
set BASE=base.safetensors
rem the run
if exist venv call venv\\Scripts\\activate.bat
accelerate launch train_network.py --pretrained_model_name_or_path="%BASE%" --train_data_dir pictures ^
  --output_dir=out --resolution=512,512 --network_module=networks.lora --network_dim=16 ^
  --learning_rate=1e-4 --max_train_steps 1200 --seed 3
pause
"""
PROMPTS = "zzfox, front view --n blurry --w 512 --h 768 --d 3 --l 7.5 --s 28\n# a note\nzzfox, sitting --d 9223372036\n"
EXTRA_PATHS = (
    "a111:\n  base_path: webui\n  loras: |\n    models/Lora\n    models/LyCORIS\n  is_default: true\n"
)
PREPROCESSOR = {
    "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
    "do_rescale": True, "rescale_factor": 0.00392, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
