"""Which layers an adapter takes, at what size: patterns over names, sets of a family, later entries over earlier ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.families import FAMILIES, LoraModule, load
from maquette.families.lora_names import lora_modules
from maquette.lora.adapter import LoraAdapter
from maquette.lora.choosing import choice_of
from maquette.lora.config import TrialSpec
from maquette.lora.size import adapter_values
from maquette.project.config_file import load_settings
from maquette.project.layer_blocks import parse_blocks, written
from maquette.training.config import trial_of
from maquette.training.job import adapter_spec


def taken(family: str, **choice: tuple[str, ...]) -> dict[str, LoraModule]:
    """Return the family's layers that a choice takes, by dotted name."""
    spec = spec_of(family, **choice)
    return {layer.diffusers_key: layer for layer in lora_modules(family).values() if spec.size_of(layer)}


def spec_of(family: str, conv_rank: int | None = 2, **choice: tuple[str, ...]) -> TrialSpec:
    found = choice_of(
        choice.get("include", ()),
        choice.get("exclude", ()),
        parse_blocks(choice.get("blocks", ())),
        FAMILIES[family].spec.layer_sets,
    )
    return TrialSpec(rank=16, alpha=8, conv_rank=conv_rank, conv_alpha=conv_rank and 1, choice=found)


def test_a_pattern_is_a_run_of_whole_parts_of_a_name() -> None:
    assert all(".attn2." in name for name in taken("sd1", include=("attn2",)))
    assert not taken("sd1", include=("attn",)), "no part of a name is called so"
    ups = taken("sd1", include=("up_blocks.1",))
    assert ups and all(name.startswith("unet.up_blocks.1.") for name in ups)
    assert taken("sd1", include=("unet.*.attn?.to_q",)) == taken("sd1", include=("attn[12].to_q",))
    key = next(iter(lora_modules("sd1")))
    assert len(taken("sd1", include=(key,))) == 1


def test_what_is_excluded_is_out_whatever_is_included() -> None:
    both = taken("sdxl", include=("attention",), exclude=("text_encoder_2", "mid_block"))
    assert both and not any("text_encoder_2." in name or "mid_block" in name for name in both)
    assert any(name.startswith("text_encoder.") for name in both)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_blocks_are_those_of_the_original_layout_and_share_out_the_unet(family: str) -> None:
    blocks = {
        name: own for name, own in FAMILIES[family].spec.layer_sets.items() if name[:2] in ("IN", "MI", "OU")
    }
    found = [set(taken(family, include=(name,))) for name in blocks]
    denoiser = {layer.diffusers_key for layer in lora_modules(family).values() if layer.part == "denoiser"}
    assert set().union(*found) == denoiser and sum(map(len, found)) == len(denoiser)


def test_sdxl_s_blocks_have_the_numbers_that_its_lora_names_have() -> None:
    for name in FAMILIES["sdxl"].spec.layer_sets:
        for start, block in (("IN", "input_blocks"), ("OUT", "output_blocks")):
            if name.startswith(start):
                own = f"lora_unet_{block}_{int(name[len(start) :])}_"
                layers = taken("sdxl", include=(name,))
                assert layers and all(layer.key.startswith(own) for layer in layers.values())


def test_later_entries_win_in_what_they_say() -> None:
    spec = spec_of(
        "sd1", blocks=("unet: rank=4, lr=0.5", "attn2: rank=32, alpha=8", "OUT*: off", "OUT03: lr=2")
    )
    sizes = {layer.diffusers_key: spec.size_of(layer) for layer in lora_modules("sd1").values()}

    def size(name: str) -> tuple[int, float, float] | None:
        found = sizes[name]
        return (found.rank, found.alpha, found.lr_factor) if found else None

    down = "unet.down_blocks.0.attentions.0.transformer_blocks.0"
    up = "unet.up_blocks.1.attentions.0.transformer_blocks.0"
    assert size(f"{down}.attn1.to_q") == (4, 2.0, 0.5), "a rank that is said alone keeps the strength"
    assert size(f"{down}.attn2.to_q") == (32, 8.0, 0.5)
    assert size("text_encoder.text_model.encoder.layers.0.mlp.fc1") == (16, 8.0, 1.0)
    assert size(f"{up}.attn1.to_q") == (4, 2.0, 2.0), "what is taken in again keeps what was said before"
    assert size("unet.up_blocks.2.attentions.0.proj_in") is None


def test_a_rate_of_zero_leaves_layers_out() -> None:
    assert not any(".mid_block." in name for name in taken("sd1", blocks=("MID: lr=0",)))


def test_convolutions_of_some_blocks_alone() -> None:
    spec = spec_of("sd1", conv_rank=None, blocks=("IN01: conv_rank=8, conv_alpha=2", "IN02: conv_rank=0"))
    convs = {
        layer.diffusers_key: size
        for layer in lora_modules("sd1").values()
        if layer.kind == "conv3x3" and (size := spec.size_of(layer))
    }
    assert set(convs) == {f"unet.down_blocks.0.resnets.0.conv{number}" for number in (1, 2)}
    assert {(size.rank, size.alpha) for size in convs.values()} == {(8, 2.0)}


def test_what_is_attached_is_what_is_counted(tiny_sd1_path: Path) -> None:
    model = load(tiny_sd1_path)
    settings = load_settings(
        None,
        {"base": str(tiny_sd1_path), "conv_rank": 2, "include_layers": ("attention", "IN01", "unet.mid_block"),
         "exclude_layers": ("to_v",), "blocks": ("attn2: rank=3, alpha=1", "MID: lr=0.5")},
    )  # fmt: skip
    spec = adapter_spec(trial_of(settings), model.spec)
    adapter = LoraAdapter.attach(model, [spec])
    from maquette.families import inspect, layout_of, parts_of

    modules = parts_of(layout_of(inspect(tiny_sd1_path))).modules
    assert adapter_values(modules, spec) == sum(leaf.numel() for leaf in adapter.parameters())
    ranks = {key: layer.trials[0].rank for key, layer in adapter.layers.items() if layer.trials[0]}
    assert {rank for key, rank in ranks.items() if "attn2" in key} == {3}
    assert not any(key.endswith("to_v") for key in ranks)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("IN01", "must be PATTERN: RULE"),
        ("IN01: ", "must be PATTERN: RULE"),
        ("IN01: rnak=4", "there is no 'rnak'. Did you mean 'rank'"),
        ("IN01: rank=4.5", "rank must be a whole number from 0 to 1024, not '4.5'"),
        ("IN01: lr=-1", "lr must be a number from 0 to 1000, not '-1'"),
        ("IN01: alpha=nan", "alpha must be a number"),
    ],
)
def test_a_rule_that_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="blocks") as error:
        load_settings(None, {"base": "x", "blocks": (text,)})
    assert said in str(error.value)


def test_rules_are_written_as_they_are_read() -> None:
    for rule in ("off", "rank=4, alpha=2, lr=0.5", "conv_rank=0"):
        assert written(parse_blocks((f"MID: {rule}",))[0][1]) == rule
    assert parse_blocks(("MID: 8",)) == parse_blocks(("MID: rank=8",))
    assert parse_blocks(("MID: 0",)) == parse_blocks(("MID: off",))
