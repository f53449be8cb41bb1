"""Output folders of other trainers, small and in their exact layout: names of files, keys, tags and tables are theirs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN_METADATA = Path(__file__).parents[1] / "golden" / "metadata.json"
"""Metadata of five files that sd-scripts 48d368fa wrote."""
MODULES = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
)


def lora(path: Path, metadata: Mapping[str, str] | None = None, seed: int = 0) -> Path:
    """Write a small LoRA file with kohya's names for an SD 1.x base."""
    values = np.random.default_rng(seed)
    tensors = {}
    for name, side in zip(MODULES, (320, 1280, 768), strict=True):
        inputs = 768 if "attn2_to_k" in name else side
        tensors[f"{name}.lora_down.weight"] = values.normal(size=(4, inputs)).astype(np.float16)
        tensors[f"{name}.lora_up.weight"] = values.normal(size=(side, 4)).astype(np.float16)
        tensors[f"{name}.alpha"] = np.array(2, np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, dict(metadata) if metadata else None)
    return path


def golden_metadata(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(GOLDEN_METADATA.read_text(encoding="utf-8"))[name]
    return found


def events(folder: Path, scalars: Mapping[str, Sequence[tuple[int, float]]], began: float = 1.0) -> Path:
    """Write TensorBoard's events as torch's SummaryWriter does, begun at that moment."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{began:.0f}.host.1.0").open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        for tag, points in scalars.items():
            for step, value in points:
                entry = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                records.write(Event(wall_time=began, step=step, summary=entry).SerializeToString())
        records.flush()
    return folder


def sd_scripts(folder: Path) -> Path:
    """Two runs side by side, as `--output_dir` of two trainings has them, with one's events."""
    for name in ("mychar.safetensors", "mychar-000001.safetensors", "mychar-step00000010.safetensors",
                 "g10.safetensors", "g10-step00000004.safetensors"):  # fmt: skip
        lora(folder / name, golden_metadata(name), seed=len(name))
    began = float(golden_metadata("g10.safetensors")["ss_training_started_at"])
    points = [(step, 0.5 - step / 100) for step in range(1, 11)]
    events(
        folder / "logs" / "20261120211000" / "network_train",
        {"loss/current": points, "loss/average": points, "lr/unet": [(step, 1e-4) for step, _ in points]},
        began + 3,
    )
    return folder


def onetrainer(folder: Path, pictures: Path, base: Path) -> Path:
    """A workspace: config/, save/, tensorboard/."""
    stamp = "2026-01-02_10-00-00"
    config = {
        "__version": 10, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "workspace_dir": str(folder),
        "base_model_name": str(base), "concept_file_name": "training_concepts/concepts.json",
        "concepts": [{"name": "zkw", "path": str(pictures), "text": {"prompt_source": "sample"}}],
        "output_model_destination": str(folder / "models" / "zkw.safetensors"), "output_dtype": "FLOAT_16",
        "learning_rate": 0.0003, "epochs": 2, "batch_size": 1, "gradient_accumulation_steps": 2,
        "resolution": "512", "lora_rank": 4, "lora_alpha": 2.0, "train_dtype": "FLOAT_16",
        "learning_rate_scheduler": "COSINE", "optimizer": {"optimizer": "ADAMW_8BIT", "weight_decay": 0.01},
        "text_encoder": {"train": False}, "unet": {"train": True},
    }  # fmt: skip
    (folder / "config").mkdir(parents=True)
    (folder / "config" / f"{stamp}.json").write_text(json.dumps(config, indent=4))
    for step, epoch in ((4, 1), (8, 2)):
        lora(
            folder / "save" / f"{stamp}-save-{step}-{epoch}-0.safetensors",
            {"ot_revision": "23df383"},
            seed=step,
        )
    lora(folder / "models" / "zkw.safetensors", {"ot_revision": "23df383"}, seed=9)
    # Every second micro-step is one of the optimizer's.
    points = [(step, 0.4 - step / 100) for step in (1, 3, 5, 7)]
    events(
        folder / "tensorboard" / stamp,
        {"loss/train_step": points, "smooth_loss/train_step": points, "lr/unet": [(1, 3e-4)],
         "loss/validation_step/total_average": [(7, 0.2)]},
    )  # fmt: skip
    return folder


AI_TOOLKIT = """job: extension
config:
  name: {name}
  process:
  - type: sd_trainer
    training_folder: output
    device: cuda:0
    trigger_word: p3r5on
    network:
      type: lora
      linear: 4
      linear_alpha: 2
    save:
      dtype: float16
      save_every: 250
    datasets:
    - folder_path: {pictures}
      caption_ext: txt
      resolution: [512]
    train:
      batch_size: 1
      steps: 500
      lr: 0.0001
      optimizer: adamw8bit
      dtype: bf16
    model:
      name_or_path: runwayml/stable-diffusion-v1-5
"""


def ai_toolkit(folder: Path, pictures: Path) -> Path:
    """A job's folder: config.yaml, NAME_000000250.safetensors, loss_log.db."""
    name = folder.name
    for step, file in ((250, f"{name}_000000250"), (500, name)):
        told = {"training_info": json.dumps({"step": step, "epoch": 3}), "name": name, "ss_base_model_version": "sd_1.5",
                "software": json.dumps({"name": "ai-toolkit"})}  # fmt: skip
        lora(folder / f"{file}.safetensors", told, seed=step)
    (folder / "config.yaml").write_text(AI_TOOLKIT.format(name=name, pictures=pictures))
    database = sqlite3.connect(folder / "loss_log.db")
    database.executescript(
        "CREATE TABLE steps (step INTEGER PRIMARY KEY, wall_time REAL NOT NULL);"
        "CREATE TABLE metric_keys (key TEXT PRIMARY KEY, first_seen_step INTEGER, last_seen_step INTEGER);"
        "CREATE TABLE metrics (step INTEGER NOT NULL, key TEXT NOT NULL, value_real REAL, value_text TEXT,"
        " PRIMARY KEY (step, key));"
    )
    for step in range(3):
        database.execute("INSERT INTO steps VALUES (?, ?)", (step, 1.0))
        database.execute("INSERT INTO metrics VALUES (?, 'loss/loss', ?, NULL)", (step, 0.3 - step / 10))
        database.execute("INSERT INTO metrics VALUES (?, 'learning_rate', 0.0001, NULL)", (step,))
    database.commit()
    database.close()
    return folder
