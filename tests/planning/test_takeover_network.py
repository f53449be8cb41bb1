"""Arguments of sd-scripts' networks become settings that mean the same, layer by layer."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from maquette.elsewhere.runs import runs_of
from maquette.families import FAMILIES
from maquette.families.lora_names import lora_modules
from maquette.planning.takeover import Taken, take_over
from maquette.project.config_file import load_settings
from maquette.training.config import trial_of
from maquette.training.job import adapter_spec

COUNT = {"sd1": 25, "sdxl": 23}


def taken(folder: Path, family: str | None, *arguments: str, more: str = "") -> Taken:
    script = folder / "train.sh"
    script.write_text(
        "accelerate launch train_network.py --network_module=networks.lora --network_dim=8 --network_alpha=4 "
        f"--learning_rate=1e-4 {more} --network_args {' '.join(arguments)}\n"
    )
    return take_over(runs_of(script).requests[0], FAMILIES[family].spec if family else None)


def block_of(key: str, family: str) -> int:
    """Return the number that sd-scripts gives to the block of a U-Net's layer, from its kohya name."""
    name = key.removeprefix("lora_unet_")
    if family == "sdxl":
        block, number = re.match(r"(input_blocks|middle_block|output_blocks)_(\d+)_", name).groups()  # type: ignore[union-attr]
        return {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}[block] + int(number)
    found = re.match(r"(down|up)_blocks_(\d)_(attentions|resnets|downsamplers|upsamplers)_(\d)_", name)
    if not found:
        return 12
    way, level, kind, number = found.groups()
    place = 3 * int(level) + (2 if kind.endswith("samplers") else int(number))
    return (1 if way == "down" else 13) + place


@pytest.mark.parametrize("family", sorted(COUNT))
def test_ranks_alphas_and_rates_by_block_are_those_of_sd_scripts(family: str, tmp_path: Path) -> None:
    count = COUNT[family]
    dims = [(number * 3) % 9 for number in range(count)]
    alphas = [number + 0.5 for number in range(count)]
    conv_dims = [(number * 5) % 4 for number in range(count)]
    side = (count - 1) // 2 if family == "sd1" else 9
    middle = count - 2 * side - (2 if family == "sdxl" else 0)
    curve = [math.sin(math.pi * (side - 1 - place) / (side - 1) / 2) + 0.25 for place in range(side)]
    rates = [*curve, *([0.5] * middle), *([1.0] * side)]
    rates = [1.0, *rates, 1.0] if family == "sdxl" else rates
    rates = [rate if rate > 0.3 else 0.0 for rate in rates]
    found = taken(
        tmp_path, family, f"block_dims={','.join(map(str, dims))}", f"block_alphas={','.join(map(str, alphas))}",
        f"conv_block_dims={','.join(map(str, conv_dims))}", "down_lr_weight=cosine+0.25",
        f"mid_lr_weight={','.join(['0.5'] * middle)}", "block_lr_zero_threshold=0.3",
    )  # fmt: skip
    settings = load_settings(None, {"base": "", **found.settings()})
    spec = adapter_spec(trial_of(settings), FAMILIES[family].spec)
    for key, layer in lora_modules(family).items():
        size = spec.size_of(layer)
        if layer.part == "text_encoder":
            assert size is not None and (size.rank, size.alpha, size.lr_factor) == (8, 4, 1)
            continue
        block = block_of(key, family)
        is_conv = layer.kind == "conv3x3"
        rank = (conv_dims if is_conv else dims)[block] if rates[block] else 0
        if not rank:
            assert size is None, key
        else:
            assert size is not None, key
            assert (size.rank, size.alpha) == (rank, 1.0 if is_conv else alphas[block]), key
            assert size.lr_factor == pytest.approx(rates[block], rel=1e-8)
    assert not any("block" in name for name in found.left)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("block_dims=1,2,3",), "block_dims must have 25 numbers, and has 3: sd-scripts stops with it"),
        (("down_lr_weight=cosin",), "down_lr_weight must be numbers"),
        (("block_alphas=1,2",), "never looks at it"),
        (("algo=loha",), "never looks at it"),
    ],
)
def test_what_is_no_list_or_has_no_effect_is_left_with_its_reason(
    arguments: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    found = taken(tmp_path, "sd1", *arguments)
    assert "blocks" not in found.values
    assert any(why in text for name, text in found.left.items() if name.startswith("network_args"))


def test_blocks_of_an_unknown_base_are_left_by_name(tmp_path: Path) -> None:
    found = taken(tmp_path, None, "up_lr_weight=zeros")
    assert found.left["network_args up_lr_weight"] == "the base is not at hand, so its blocks are not known"


@pytest.mark.parametrize(
    ("arguments", "taken_over"),
    [
        (("algo=loha",), {"adapter": "loha", "conv_rank": 8, "conv_alpha": 4.0}),
        (
            ("algo=lokr", "factor=8", "preset=attn-mlp"),
            {"adapter": "lokr", "lokr_factor": 8, "conv_rank": None},
        ),
        (("algo=lora", "dora_wd=True", "conv_dim=2"), {"adapter": "dora", "conv_rank": 2}),
        (("algo=diag-oft", "preset=unet-only"), {"adapter": "oft", "text_encoder_lr": 0.0}),
        (("algo=locon", "preset=attn-only"), {"adapter": "lora", "include_layers": ("attention",)}),
    ],
)
def test_algorithms_and_presets_of_lycoris_are_taken(
    arguments: tuple[str, ...], taken_over: dict[str, object], tmp_path: Path
) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        "accelerate launch train_network.py --network_module=lycoris.kohya --network_dim=8 --network_alpha=4 "
        f"--learning_rate=1e-4 --network_args {' '.join(arguments)}\n"
    )
    found = take_over(runs_of(script).requests[0], FAMILIES["sd1"].spec)
    settings = load_settings(None, {"base": "", **found.settings()})
    for name, value in taken_over.items():
        assert getattr(settings.training if name.endswith("_lr") else settings.lora, name) == value, name
    assert not any("algo" in name or "network_module" in name for name in found.left)


def test_what_lycoris_trains_and_maquette_does_not_is_named(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        "accelerate launch train_network.py --network_module=lycoris.kohya --network_dim=8 --network_args "
        "algo=loha use_tucker=True dora_wd=True rank_dropout=0.1\n"
    )
    left = take_over(runs_of(script).requests[0], FAMILIES["sd1"].spec).left
    assert left["network_args use_tucker=True"] == "the adapter has no such setting"
    assert left["network_args dora_wd"] == "LoHa is trained without lengths"
    script.write_text(
        "accelerate launch train_network.py --network_module=lycoris.kohya --network_args algo=boft\n"
    )
    left = take_over(runs_of(script).requests[0], FAMILIES["sd1"].spec).left
    assert any("a LoRA is trained" in why for why in left.values())


def test_a_scale_by_the_root_of_the_rank_is_the_alpha_that_lycoris_writes(tmp_path: Path) -> None:
    """Scale alpha / √rank there, alpha / rank here; LyCORIS saves alpha × rank / √rank."""
    script = tmp_path / "train.sh"
    script.write_text(
        "accelerate launch train_network.py --network_module=lycoris.kohya --network_dim=16 --network_alpha=4 "
        "--network_args algo=locon conv_dim=4 conv_alpha=2 rs_lora=True use_scalar=False train_norm=True\n"
    )
    found = take_over(runs_of(script).requests[0], FAMILIES["sd1"].spec)
    lora = load_settings(None, {"base": "", **found.settings()}).lora
    assert (lora.alpha, lora.conv_alpha) == (16.0, 4.0)
    named = [name for name in found.left if name.startswith("network_args")]
    assert named == ["network_args train_norm=True"], "a switch that is off is no loss"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("--dim_from_weights", "line 1: --dim_from_weights"),
        ("--base_weights_multiplier 0.5", "base_weights_multiplier"),
    ],
)
def test_what_goes_with_a_file_that_is_not_named_is_said(more: str, name: str, tmp_path: Path) -> None:
    assert "there are no" in taken(tmp_path, "sd1", "conv_dim=2", more=more).left[name]


def test_dropouts_lora_plus_and_the_limit_of_norms_are_taken(tmp_path: Path) -> None:
    found = taken(
        tmp_path, "sd1", "rank_dropout=0.1", "module_dropout=0.2", "loraplus_lr_ratio=16", "loraplus_unet_lr_ratio=4",
        more="--scale_weight_norms=1 --network_dropout=0.3 --text_encoder_lr 1e-5 2e-5",
    )  # fmt: skip
    settings = load_settings(None, {"base": "", **found.settings()})
    lora, training = settings.lora, settings.training
    assert (lora.dropout, lora.rank_dropout, lora.module_dropout, lora.scale_weight_norms) == (
        0.3,
        0.1,
        0.2,
        1,
    )
    assert training.loraplus_unet_lr_ratio_in_force == 4
    assert training.loraplus_text_encoder_lr_ratio_in_force == 16
    assert training.text_encoder_lr == 1e-5 and training.text_encoder_2_lr is None
    assert found.values["rank_dropout"].reason == "line 1: --network_args rank_dropout"
    (why,) = found.left.values()
    assert "all text encoders at the first rate" in why
