"""A LoRA that was just written is looked at as a drawing program will: names that are found, and some effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import maquette
from maquette.errors import TrainingError
from maquette.families.lora_names import lora_modules
from maquette.lora.files import save_lora
from maquette.lora.kinds import ALPHA, KINDS, rows
from maquette.lora.size import sizes_of_layer
from maquette.runs.record import read_record
from maquette.training.load_test import LoadTest, load_test

ShortRun = Callable[..., dict]
METADATA = {"ss_base_model_version": "sd_v1"}
PARTS = ("denoiser", "text_encoder")
LAYERS = [
    key
    for part in PARTS
    for key in [key for key, each in lora_modules("sd1").items() if each.part == part and "attn" in key][:2]
]


def fresh(kind_name: str) -> dict[str, Tensor]:
    """Return the state of an adapter before its first step, on two layers of each part."""
    state: dict[str, Tensor] = {}
    for key in LAYERS:
        sizes = sizes_of_layer(lora_modules("sd1")[key])
        kind = KINDS[kind_name].on(sizes, 4, 8)
        weight = torch.randn(sizes.weight, generator=torch.Generator().manual_seed(1))
        tensors = kind.work().first(sizes, 4, torch.Generator().manual_seed(2), weight)
        state[f"{key}.{ALPHA}"] = torch.tensor(kind.alpha_on(4.0, 4))
        state |= {f"{key}.{name}": tensor for name, tensor in zip(kind.tensors, tensors, strict=True)}
    return state


def looked_at(path: Path, state: dict[str, Tensor], **given: object) -> LoadTest:
    save_lora(path, state, METADATA, dtype="fp16")
    return load_test(path, state, "fp16", trained=PARTS, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", rows())
def test_every_kind_is_told_from_one_that_learned_nothing(kind: str, tmp_path: Path) -> None:
    """As it begins it changes nothing; moved by one step it does, and drawing programs find all of it."""
    start = fresh(kind)
    idle = looked_at(tmp_path / "a.safetensors", start)
    assert idle.changes_nothing and idle.skipped == () and idle.modules == len(LAYERS)
    with pytest.raises(TrainingError, match="changes nothing: all of its 4 modules are zero after 9 steps"):
        idle.require_effect(9)
    generator = torch.Generator().manual_seed(3)
    moved = {
        name: value if name.endswith(ALPHA) else value + 0.01 * torch.randn(value.shape, generator=generator)
        for name, value in start.items()
    }
    learned = looked_at(tmp_path / "b.safetensors", moved)
    assert not learned.changes_nothing and list(learned.warnings()) == []
    learned.require_effect(9)


def test_one_part_that_learned_nothing_is_named(tmp_path: Path) -> None:
    state = fresh("lora")
    for name in state:
        if name.startswith("lora_unet") and name.endswith("lora_up.weight"):
            state[name] = torch.full_like(state[name], 0.5)
    [warning] = looked_at(tmp_path / "a.safetensors", state).warnings()
    assert "changes nothing in the text encoders" in warning
    save_lora(tmp_path / "b.safetensors", state, METADATA)
    untrained = load_test(tmp_path / "b.safetensors", state, "fp16", trained=("denoiser",))
    assert list(untrained.warnings()) == []


def test_zero_up_to_the_product_counts_as_nothing(tmp_path: Path) -> None:
    """`up` alone does not tell: a file whose downs or alphas are zero draws what the base draws."""
    state = {name: torch.ones_like(value) for name, value in fresh("lora").items()}
    no_down = {n: torch.zeros_like(v) if "lora_down" in n else v for n, v in state.items()}
    no_alpha = {n: torch.zeros_like(v) if n.endswith(ALPHA) else v for n, v in state.items()}
    assert not looked_at(tmp_path / "a.safetensors", state).changes_nothing
    assert looked_at(tmp_path / "b.safetensors", no_down).changes_nothing
    assert looked_at(tmp_path / "c.safetensors", no_alpha).changes_nothing


def test_what_half_precision_loses_is_kept_whole(tmp_path: Path) -> None:
    state = {name: torch.full_like(value, 1e-9) for name, value in fresh("lora").items() if ALPHA not in name}
    state |= {name: value for name, value in fresh("lora").items() if name.endswith(ALPHA)}
    assert looked_at(tmp_path / "a.safetensors", state).changes_nothing
    save_lora(tmp_path / "b.safetensors", state, METADATA, dtype="fp32")
    assert not load_test(tmp_path / "b.safetensors", state, "fp32", trained=PARTS).changes_nothing


def test_names_that_nobody_looks_for_are_named(tmp_path: Path) -> None:
    state = {name.replace("attn1", "atn1"): value + 1 for name, value in fresh("lora").items()}
    [warning] = looked_at(tmp_path / "a.safetensors", state).warnings()
    assert "2 of the 4 modules of a.safetensors are not found by drawing programs" in warning


def test_a_run_that_learned_nothing_ends_with_an_error(short_run: ShortRun) -> None:
    """Weights that half precision rounds to zero: the run fails, its files stay."""
    tiny = {"learning_rate": 1e-12, "text_encoder_lr": 1e-12, "steps": 2, "state_every_steps": None}
    told: list[str] = []
    with pytest.raises(TrainingError, match="changes nothing"):
        maquette.train(
            **short_run(name="idle", save_precision="fp16", save_every_steps=1, **tiny),
            on_event=lambda event: told.append(str(event)),
        )
    assert sum("changes nothing" in text for text in told) == 2, "at the checkpoint before, too"
    folder = Path(short_run()["output"]) / "idle"
    record = read_record(folder)
    assert record.state == "failed" and len(record.checkpoints) == 2
