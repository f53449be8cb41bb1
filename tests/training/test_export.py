"""A run's LoRA file carries the reference's keys and values, for a run with the reference's settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import maquette
from maquette.lora.metadata import IMPLEMENTATION_VERSION
from tests.reference import golden_json

METADATA = golden_json("metadata.json")
VOLATILE = {
    "modelspec.date",
    "modelspec.title",
    "ss_session_id",
    "ss_training_started_at",
    "ss_training_finished_at",
    "sshs_model_hash",
    "sshs_legacy_hash",
    "ss_sd_model_name",
}
OURS = {
    "ss_sd_scripts_commit_hash": IMPLEMENTATION_VERSION,
    "modelspec.implementation_version": IMPLEMENTATION_VERSION,
}
COMMON = {
    "trigger": "",
    "rank": 4,
    "alpha": 2,
    "resolution": 128,
    "seed": 42,
    "clip_skip": 2,
    "learning_rate": 1e-4,
    "lr_scheduler": "cosine",
    "device": "cpu",
    "precision": "no",
    "save_precision": "fp32",
}


def _dogs(folder: Path) -> Path:
    """Write eight pictures with the captions of the reference's runs."""
    tags = json.loads(METADATA["g10.safetensors"]["ss_tag_frequency"])["10_sks_dog"]
    rare = [tag for tag, count in tags.items() if count == 1]
    folder.mkdir(parents=True)
    for index in range(8):
        Image.fromarray(np.full((128, 128, 3), index * 30, np.uint8)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(", ".join(["sks dog", *rare[index::8]]))
    return folder


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def _check(found: dict[str, str], expected: dict[str, str], differing: dict[str, str]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key not in VOLATILE:
            wanted = {**OURS, **differing}.get(key, value)
            assert _loaded(found[key]) == _loaded(wanted), key


def _loaded(value: str) -> object:
    return json.loads(value) if value.startswith(("{", "[")) else value


@pytest.mark.slow
def test_a_folder_run_and_its_step_checkpoint(tmp_path: Path, tiny_base: Path) -> None:
    dogs = _dogs(tmp_path / "10_sks_dog")
    result = maquette.train(
        dogs.parent, **COMMON, base=str(tiny_base), steps=10, unet_lr=1e-4, text_encoder_lr=5e-5, keep_tokens=1,
        bucketing=False, save_every_steps=4, output=tmp_path / "out", name="g10",
    )  # fmt: skip
    _check(_metadata(result.lora), METADATA["g10.safetensors"], {})
    step = result.lora.with_name("g10-step00000004.safetensors")
    # The reference writes the running epoch from 0 into step checkpoints.
    _check(_metadata(step), METADATA["g10-step00000004.safetensors"], {})


@pytest.mark.slow
def test_a_toml_run_and_its_epoch_checkpoint(tmp_path: Path, tiny_base: Path) -> None:
    dogs = _dogs(tmp_path / "10_sks_dog")
    toml = tmp_path / "dataset.toml"
    toml.write_text(
        f"[general]\nresolution = 128\nbatch_size = 3\n[[datasets]]\n[[datasets.subsets]]\n"
        f'image_dir = "{dogs}"\nnum_repeats = 3\ncaption_extension = ".txt"\n'
    )
    result = maquette.train(
        toml, **COMMON, base=str(tiny_base), epochs=3, accumulation=2, text_encoder_lr=0.0, save_every_epochs=1,
        output=tmp_path / "out", name="mychar",
    )  # fmt: skip
    assert result.steps == 12
    # The reference trained the denoiser at --learning_rate and wrote the unset parts as given; ours are resolved rates.
    # It wrote the default resolution, since --resolution was not given beside the TOML.
    differing = {"ss_unet_lr": "0.0001", "ss_text_encoder_lr": "0.0", "modelspec.resolution": "128x128"}
    _check(_metadata(result.lora), METADATA["mychar.safetensors"], differing)
    first = result.lora.with_name("mychar-000001.safetensors")
    _check(_metadata(first), METADATA["mychar-000001.safetensors"], differing)
