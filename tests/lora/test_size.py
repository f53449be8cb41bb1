"""A LoRA's size is known without a model: the same layers as a loaded one has, the same bytes as a saved file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from maquette.families import BaseModel, inspect, layout_of, load, parts_of
from maquette.families.protocol import LoraTarget, ModelInfo
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import PARTS, TrialSpec
from maquette.lora.files import save_lora
from maquette.lora.size import lora_file_bytes, lora_parameters
from tests.families.models import NAMES, diffusers_pipeline

MIB = 2**20


def published(family: str) -> ModelInfo:
    return ModelInfo(
        family=family, title="", prediction="epsilon", dtype="float16", resolution=512, source="hub", layout="diffusers",
        path="owner/not-here", text_encoders=1, latent_channels=4, vae_factor=8,
    )  # fmt: skip


def sizes_of(targets: tuple[LoraTarget, ...]) -> Counter[Any]:
    """Return how often each layer size occurs among real modules."""
    counted: Counter[Any] = Counter()
    for target in targets:
        module: Any = target.module
        inputs = getattr(module, "in_features", None) or module.in_channels
        outputs = getattr(module, "out_features", None) or module.out_channels
        counted[target.part, target.kind, inputs, outputs, target.default] += 1
    return counted


def counted(info: ModelInfo) -> Counter[Any]:
    return Counter(
        (layer.part, layer.kind, layer.inputs, layer.outputs, layer.default)
        for layer in parts_of(layout_of(info)).modules
    )


def test_layers_are_those_of_the_published_model(full_sd1: BaseModel, full_sdxl: BaseModel) -> None:
    assert counted(published("sd1")) == sizes_of(full_sd1.lora_targets())
    assert counted(published("sdxl")) == sizes_of(full_sdxl.lora_targets())


def test_layers_are_those_of_the_file_at_hand(tiny_path: Path) -> None:
    assert counted(inspect(tiny_path)) == sizes_of(load(tiny_path).lora_targets())


@pytest.mark.parametrize("family", NAMES)
def test_layers_of_a_diffusers_folder_are_read_from_its_configuration(
    family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from maquette.families.tiny import write_tiny

    model = load(write_tiny(family, tmp_path / "base.safetensors"))
    diffusers_pipeline(tmp_path / "base.safetensors", model).save_pretrained(tmp_path / "folder")
    assert counted(inspect(tmp_path / "folder")) == sizes_of(model.lora_targets())


@pytest.mark.parametrize(
    ("family", "rank", "precision", "mib"),
    [("sd1", 32, "fp32", 72), ("sd1", 128, "fp16", 144), ("sdxl", 128, "fp16", 870)],
    ids=["every Spyke checkpoint: 72 MB", "the film frames on SD 1.5: 140 MB", "on SDXL: 800 MB and more"],
)
def test_sizes_are_those_of_the_field_notes(family: str, rank: int, precision: Any, mib: int) -> None:
    estimate = lora_file_bytes(published(family), TrialSpec(rank=rank), precision=precision)
    assert estimate / MIB == pytest.approx(mib, rel=0.005)


@pytest.mark.parametrize("conv_rank", [None, 3])
def test_the_estimate_is_the_saved_file(tiny_path: Path, tmp_path: Path, conv_rank: int | None) -> None:
    model = load(tiny_path)
    spec = TrialSpec(rank=64, conv_rank=conv_rank)
    adapter = LoraAdapter.attach(model, [spec])
    state = adapter.state_dict(0)
    saved = save_lora(tmp_path / "x.safetensors", state, {}, dtype="fp32")
    trained = sum(value.numel() for name, value in state.items() if not name.endswith(".alpha"))
    info = inspect(tiny_path)
    assert lora_parameters(info, spec) == trained
    estimate = lora_file_bytes(info, spec, precision="fp32")
    assert estimate == pytest.approx(saved.num_bytes, rel=0.01)


def test_a_part_left_out_takes_no_space() -> None:
    info = published("sd1")
    whole = lora_parameters(info, TrialSpec(rank=8))
    denoiser, text = (lora_parameters(info, TrialSpec(rank=8, parts=(part,))) for part in PARTS)
    assert denoiser + text == whole and text > 0
