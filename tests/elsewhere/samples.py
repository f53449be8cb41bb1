"""One small file of each kind, after the real formats."""

from __future__ import annotations

import json
from pathlib import Path

GUI = {
    "LoRA_type": "Standard", "LyCORIS_preset": "full", "adaptive_noise_scale": 0.005, "additional_parameters": "",
    "bucket_no_upscale": True, "bucket_reso_steps": 64.0, "cache_latents": True, "caption_extension": ".txt", "clip_skip": 1,
    "conv_alpha": 4, "conv_dim": 8, "dataset_config": "", "enable_bucket": True, "epoch": 10, "flip_aug": False,
    "full_bf16": False, "gradient_accumulation_steps": "2", "gradient_checkpointing": True, "keep_tokens": "1",
    "learning_rate": 0.0001, "logging_dir": "", "lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": "",
    "lr_warmup": 10, "max_bucket_reso": 2048, "max_data_loader_n_workers": "0", "max_grad_norm": 1,
    "max_resolution": "1024,1024", "max_token_length": "75", "max_train_epochs": "", "max_train_steps": "",
    "min_bucket_reso": 256, "min_snr_gamma": 5, "mixed_precision": "bf16", "multires_noise_discount": 0.3,
    "multires_noise_iterations": 6, "network_alpha": 16, "network_dim": 32, "noise_offset": 0.05,
    "noise_offset_type": "Original", "num_cpu_threads_per_process": 2, "optimizer": "AdamW8bit",
    "optimizer_args": '"weight_decay=0.1" "betas=0.9,0.99"', "output_dir": "out", "output_name": "mk",
    "persistent_data_loader_workers": 0, "pretrained_model_name_or_path": "base.safetensors", "reg_data_dir": "",
    "sample_every_n_epochs": 1, "sample_prompts": "mk, portrait --w 1024", "sample_sampler": "euler_a",
    "save_every_n_epochs": 1, "save_model_as": "safetensors", "save_precision": "fp16", "sdxl": True,
    "sdxl_cache_text_encoder_outputs": False, "sdxl_no_half_vae": True, "seed": "1234", "shuffle_caption": True,
    "stop_text_encoder_training": 0, "text_encoder_lr": "5e-5", "train_batch_size": 2, "train_data_dir": "img",
    "unet_lr": 0.0001, "v2": False, "vae": "", "wandb_api_key": "", "xformers": "sdpa",
}  # fmt: skip
EASY = """
[[subsets]]
caption_extension = ".txt"
image_dir = "pics"
name = "subset 1"
num_repeats = 10
shuffle_caption = true

[train_mode]
train_mode = "lora"

[general_args.args]
mixed_precision = "bf16"
seed = 7
sdxl = true
sdpa = true
max_train_epochs = 30
pretrained_model_name_or_path = "base.safetensors"

[general_args.dataset_args]
resolution = 1024
batch_size = 2

[network_args.args]
network_dim = 32
network_alpha = 16.0

[network_args.args.network_args]
algo = "locon"
conv_dim = 8

[optimizer_args.args]
optimizer_type = "AdamW"
lr_scheduler = "cosine"
learning_rate = 0.0001
warmup_ratio = 0.1

[optimizer_args.args.optimizer_args]
weight_decay = "0.1"

[saving_args.args]
output_dir = "out"
output_name = "mk"

[bucket_args.dataset_args]
enable_bucket = true
bucket_reso_steps = 64
"""
LORA_SCRIPTS = """
model_train_type = "sdxl-lora"
pretrained_model_name_or_path = "base.safetensors"
train_data_dir = "train/mk"
resolution = "1024,1024"
enable_bucket = true
output_name = "mk"
max_train_epochs = 10
train_batch_size = 1
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
unet_lr = 1e-4
text_encoder_lr = 1e-5
lr_scheduler = "cosine_with_restarts"
lr_restart_cycles = 2
optimizer_type = "AdamW8bit"
mixed_precision = "bf16"
enable_preview = false
"""
ONETRAINER = {
    "__version": 10, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE",
    "base_model_name": "base.safetensors", "output_model_destination": "models/mk.safetensors", "output_dtype": "BFLOAT_16",
    "concepts": [{"path": "pics", "balancing": 4.0, "balancing_strategy": "REPEATS", "type": "STANDARD"}],
    "learning_rate": 0.0003, "learning_rate_scheduler": "COSINE", "learning_rate_warmup_steps": 200.0, "epochs": 100,
    "batch_size": 4, "gradient_accumulation_steps": 2, "resolution": "1024", "train_dtype": "BFLOAT_16",
    "lora_rank": 32, "lora_alpha": 16.0, "unet": {"learning_rate": None, "train": True},
    "text_encoder": {"train": False}, "optimizer": {"optimizer": "ADAMW_8BIT", "weight_decay": 0.01},
    "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 5.0, "save_every": 10, "save_every_unit": "EPOCH",
    "ema": "OFF", "masked_training": True, "unmasked_weight": 0.1, "unmasked_probability": 0.2, "debug_mode": True,
}  # fmt: skip
AI_TOOLKIT = """
job: extension
config:
  name: "mk_v1"
  process:
    - type: sd_trainer
      training_folder: output
      device: cuda:0
      trigger_word: "mkvi"
      network: {type: lora, linear: 32, linear_alpha: 16}
      save: {dtype: float16, save_every: 250, max_step_saves_to_keep: 4}
      datasets:
        - folder_path: pics
          caption_ext: txt
          caption_dropout_rate: 0.05
          resolution: [512, 768, 1024]
      train:
        batch_size: 1
        steps: 2000
        gradient_accumulation_steps: 1
        train_unet: true
        train_text_encoder: false
        noise_scheduler: ddpm
        optimizer: adamw8bit
        lr: 1e-4
        ema_config: {use_ema: true}
        dtype: bf16
      model: {name_or_path: base.safetensors, is_xl: true}
      sample:
        sample_every: 250
        prompts: ["[trigger] in a park", "[trigger] portrait"]
meta: {name: "[name]", version: "1.0"}
"""
SIMPLETUNER = {
    "--model_type": "lora", "--model_family": "sdxl", "--pretrained_model_name_or_path": "base.safetensors",
    "--data_backend_config": "config/multidatabackend.json", "--lora_rank": 32, "--lora_alpha": 16, "--resolution": 1024,
    "--resolution_type": "pixel_area", "--max_train_steps": 2000, "--num_train_epochs": 0, "--train_batch_size": 1,
    "--learning_rate": "1e-4", "--lr_scheduler": "cosine", "--lr_warmup_steps": 100, "--mixed_precision": "bf16",
    "--optimizer": "adamw_bf16", "--seed": 42, "--checkpoint_step_interval": 500, "--output_dir": "out", "--use_ema": "false",
}  # fmt: skip
BACKENDS = [
    {"id": "mk", "type": "local", "instance_data_dir": "pics", "repeats": 4, "cache_dir_vae": "cache"},
    {
        "id": "texts",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": "cache/text",
    },
]
DIFFUSION_PIPE = """
output_dir = "out"
dataset = "dataset.toml"
epochs = 100
micro_batch_size_per_gpu = 2
pipeline_stages = 1
gradient_accumulation_steps = 1
gradient_clipping = 1.0
warmup_steps = 100
save_every_n_epochs = 5
save_dtype = "bfloat16"

[model]
type = "sdxl"
checkpoint_path = "base.safetensors"
dtype = "bfloat16"
min_snr_gamma = 5

[adapter]
type = "lora"
rank = 32
dtype = "bfloat16"

[optimizer]
type = "AdamW8bitKahan"
lr = 4e-5
"""
DIRECTORIES = 'resolutions = [512, 1024]\n\n[[directory]]\npath = "pics"\nnum_repeats = 10\n'
DIFFUSERS = """\
export MODEL="base.safetensors"
accelerate launch train_dreambooth_lora_sdxl.py \\
  --pretrained_model_name_or_path=$MODEL --instance_data_dir="pics" --output_dir out \\
  --instance_prompt="a photo of mkvi dog" --resolution=1024 --rank=32 --train_batch_size=1 --gradient_accumulation_steps=4 \\
  --learning_rate=1e-4 --text_encoder_lr=5e-5 --train_text_encoder --snr_gamma=5.0 --lr_scheduler="constant" \\
  --lr_warmup_steps=0 --max_train_steps=500 --mixed_precision="fp16" --use_8bit_adam --seed="0" --push_to_hub
"""
READ = {
    "gui.json": json.dumps(GUI),
    "easy.toml": EASY,
    "lora_scripts.toml": LORA_SCRIPTS,
    "onetrainer.json": json.dumps(ONETRAINER),
    "ai_toolkit.yaml": AI_TOOLKIT,
    "simpletuner.json": json.dumps(SIMPLETUNER),
    "diffusion_pipe.toml": DIFFUSION_PIPE,
    "diffusers.sh": DIFFUSERS,
}
"""Files that describe a run."""
NAMED = {
    "default_config.yaml": ("accelerate", "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: fp16\n"),
    "notebook.ipynb": ("notebook", json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})),
    "editor.json": ("the editor's form", json.dumps({"last_node_id": 1, "nodes": [{"id": 1}], "links": [], "version": 0.4})),
    "api.json": ("the API's form", json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})),
    "dump.json": ("metadata of a LoRA", json.dumps({"ss_network_dim": "16", "ss_network_alpha": "8", "sshs_model_hash": "a"})),
    "dump2.json": ("metadata of a LoRA", json.dumps({"__metadata__": {"modelspec.title": "x", "modelspec.author": "y"}})),
    "meta_lat.json": ("meta_lat", json.dumps({"/d/1.png": {"tags": "a, b", "train_resolution": [512, 768]}})),
    "metadata.jsonl": ("metadata.jsonl", '{"file_name": "1.png", "text": "a dog"}\n{"file_name": "2.png", "text": "b"}\n'),
    "metadata.json": ("metadata.jsonl", json.dumps([{"file_name": "1.png", "text": "a dog"}])),
    "multidatabackend.json": ("data backends", json.dumps(BACKENDS)),
    "concepts.json": ("concepts", json.dumps([{"path": "p", "name": "a", "balancing": 1.0, "image": {}, "text": {}}])),
    "samples.json": ("sample prompts", json.dumps([{"prompt": "a", "negative_prompt": "", "diffusion_steps": 20}])),
    "dataset.toml": ("list of folders", DIRECTORIES),
    "musubi.toml": ("musubi", '[general]\nresolution = [960, 544]\n\n[[datasets]]\nimage_directory = "pics"\n'),
    "finetune.json": ("whole model", json.dumps({"max_resolution": "512,512", "lr_warmup": 0, "epoch": 1, "vae": ""})),
    "adapter_config.json": ("PEFT", json.dumps({"peft_type": "LORA", "r": 16, "lora_alpha": 16})),
    "unet.json": ("part of a diffusers model", json.dumps({"_class_name": "UNet2DConditionModel", "sample_size": 64})),
    "sidecar.json": ("notes on a LoRA", json.dumps({"activation text": "mkvi", "preferred weight": 0.8, "sd version": "SD1"})),
}  # fmt: skip
"""Files with no run in them: a piece of their title, and what stands in them."""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
