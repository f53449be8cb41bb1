"""What a run of another trainer says of masks, taken over or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.elsewhere.runs import runs_of
from maquette.families import FAMILIES
from maquette.planning.takeover import Taken, take_over


def taken(folder: Path, options: str) -> Taken:
    script = folder / "train.sh"
    script.write_text(
        f"accelerate launch train_network.py --pretrained_model_name_or_path=b.safetensors {options}\n"
    )
    return take_over(runs_of(script).requests[0], FAMILIES["sd1"].spec)


def test_alpha_masks_are_taken_over(tmp_path: Path) -> None:
    found = taken(tmp_path, "--train_data_dir=pics --alpha_mask --masked_loss")
    assert found.settings()["mask_source"] == "alpha"
    assert not any("mask" in name for name in found.left)


@pytest.mark.parametrize("more", ["", " --conditioning_data_dir=masks"])
def test_a_masked_loss_without_masks_is_named_for_what_it_is(tmp_path: Path, more: str) -> None:
    found = taken(tmp_path, f"--train_data_dir=pics --masked_loss{more}")
    (why,) = (why for name, why in found.left.items() if "masked_loss" in name)
    assert why.startswith("no picture has a mask") and (not more or "--mask-folder masks" in why)
    assert "mask_source" not in found.settings()


def test_a_dataset_toml_says_itself_where_masks_are(tmp_path: Path) -> None:
    found = taken(tmp_path, "--dataset_config=d.toml --masked_loss")
    assert not any("mask" in name for name in (*found.left, *found.settings()))
