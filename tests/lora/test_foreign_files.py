"""LoRA files of other programs: read for what they are, whatever the kind, the model and the names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.api import lora_convert as convert_lora
from maquette.checking.targets import identify
from maquette.errors import LoraError, OutputError
from maquette.families import FAMILIES
from maquette.families.common.unet_keys import present_path, unet_table
from maquette.families.lora_names import LoraModule, lora_modules
from maquette.lora.files import require_adapter, require_lora
from maquette.lora.programs import comfyui_finds
from maquette.lora.reading import read_lora_facts

RANK = 4


def attention(family: str) -> list[LoraModule]:
    """Return the U-Net's attention projections: what diffusers' scripts train."""
    return [module for module in lora_modules(family).values() if ".to_" in module.diffusers_key]


def pairs(
    modules: Iterable[LoraModule], name: Callable[[LoraModule], str], down: str, up: str
) -> dict[str, Tensor]:
    """Return small weights for `modules` under the names that `name` gives."""
    generator = torch.Generator().manual_seed(3)
    found = {}
    for module in modules:
        found[f"{name(module)}{down}"] = 0.02 * torch.randn(RANK, module.inputs, generator=generator)
        found[f"{name(module)}{up}"] = 0.02 * torch.randn(module.outputs, RANK, generator=generator)
    return {key: value.half() for key, value in found.items()}


def written(folder: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    path = folder / "fox.safetensors"
    save_file(dict(tensors), path, metadata or {})
    return path


def old_name(module: LoraModule) -> str:
    """Return a name as diffusers wrote it when LoRAs sat in attention processors."""
    path = module.diffusers_key.removeprefix("unet.").replace(".to_out.0", ".to_out")
    return path.replace(".to_", ".processor.to_") + "_lora"


SPELLINGS: dict[str, Callable[[LoraModule], str]] = {
    "kohya": lambda module: module.key,
    "diffusers": lambda module: module.diffusers_key,
    "PEFT": lambda module: "base_model.model." + module.diffusers_key.removeprefix("unet."),
    "SimpleTuner": lambda module: "lycoris_" + module.diffusers_key.removeprefix("unet.").replace(".", "_"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_original_blocks_have_diffusers_names(family: str) -> None:
    table = unet_table(FAMILIES[family].layout(None).unet)
    unet = [module for module in lora_modules(family).values() if module.diffusers_key.startswith("unet.")]
    for module in unet:
        path = module.diffusers_key.removeprefix("unet.")
        original = table.restore(path)
        assert original is not None
        assert present_path(original.replace(".", "_")) == path.replace(".", "_")
    assert present_path("conv_in") == "conv_in" and len(unet) > 250


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_family_is_known_by_every_naming(tmp_path: Path, family: str, spelling: str) -> None:
    modules = attention(family)
    facts = read_lora_facts(
        written(tmp_path, pairs(modules, SPELLINGS[spelling], ".lora_A.weight", ".lora_B.weight")),
        depth="header",
    )
    assert facts.family == family and not facts.strangers and len(facts.modules) == len(modules)
    assert facts.rank == RANK


@pytest.mark.parametrize("family", FAMILIES)
def test_names_over_the_original_blocks_are_known_too(tmp_path: Path, family: str) -> None:
    table = unet_table(FAMILIES[family].layout(None).unet)
    dotted = {
        module.key: table.restore(module.diffusers_key.removeprefix("unet.")) for module in attention(family)
    }
    for start, name in (
        ("diffusion_model.", lambda own: own),
        ("lora_unet_", lambda own: own.replace(".", "_")),
    ):
        tensors = pairs(
            attention(family),
            lambda module, s=start, n=name: s + n(str(dotted[module.key])),
            ".lora_A.weight",
            ".lora_B.weight",
        )
        facts = read_lora_facts(written(tmp_path, tensors), depth="header")
        assert facts.family == family and not facts.strangers and not facts.unfound


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in", True),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", True),
        ("lycoris_down_blocks_0_attentions_0_proj_in", True),
        ("diffusion_model.input_blocks.4.1.proj_in", True),
        ("unet.down_blocks.0.attentions.0.proj_in", True),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q", True),
        ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out", True),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1", True),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", False),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0", False),
        ("base_model.model.down_blocks.0.attentions.0.proj_in", False),
        ("text_encoder.encoder.layers.0.mlp.fc1", False),
    ],
)
def test_what_comfyui_finds(name: str, found: bool) -> None:
    assert comfyui_finds(name) is found


def test_of_a_full_sdxl_file_in_diffusers_names_comfyui_finds_nothing(tmp_path: Path) -> None:
    tensors = pairs(attention("sdxl"), SPELLINGS["diffusers"], ".lora_A.weight", ".lora_B.weight")
    facts = read_lora_facts(written(tmp_path, tensors), depth="header")
    assert len(tensors) == 1120 and len(facts.unfound) == 560 == len(facts.modules)


FOREIGN_KINDS: dict[str, tuple[str, ...]] = {
    "(IA)³": (".weight", ".on_input"),
    "GLoRA": (".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"),
    "BOFT": (".boft_Q",),
    "LoHa with a Tucker core": (
        ".hada_w1_a",
        ".hada_w1_b",
        ".hada_w2_a",
        ".hada_w2_b",
        ".hada_t1",
        ".hada_t2",
    ),
    "whole differences of weights": (".diff", ".diff_b"),
}


@pytest.mark.parametrize("title", FOREIGN_KINDS)
def test_other_kinds_of_adapters_are_called_what_they_are(tmp_path: Path, title: str) -> None:
    keys = [module.key for module in attention("sd1")[:8]]
    path = written(
        tmp_path, {f"{key}{part}": torch.ones(2, 2) for key in keys for part in FOREIGN_KINDS[title]}
    )
    assert identify(path).kind == "lora"
    facts = require_adapter(read_lora_facts(path, depth="header"))
    assert facts.family == "sd1" and len(facts.modules) == 8 and not facts.stray
    with pytest.raises(LoraError) as caught:
        require_lora(facts)
    assert title.split(" ")[0] in str(caught.value)


OWN_KINDS: dict[str, dict[str, tuple[int, ...]]] = {
    "LoHa": dict.fromkeys(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), (2, 2)),
    "LoKr": {"lokr_w1": (2, 2), "lokr_w2": (2, 2)},
    "OFT": {"oft_blocks": (2, 2, 2)},
    "DoRA": {"dora_scale": (1, 2), "lora_down.weight": (2, 2), "lora_up.weight": (2, 2)},
}


@pytest.mark.parametrize("title", OWN_KINDS)
def test_kinds_beside_plain_lora_are_told_by_their_tensors(tmp_path: Path, title: str) -> None:
    keys = [module.key for module in attention("sd1")[:8]]
    shapes = OWN_KINDS[title]
    path = written(
        tmp_path, {f"{key}.{name}": torch.ones(*shape) for key in keys for name, shape in shapes.items()}
    )
    assert identify(path).kind == "lora"
    facts = require_lora(read_lora_facts(path, depth="header"))
    assert facts.titles == title and facts.family == "sd1" and len(facts.modules) == 8
    assert not facts.is_plain and not any(module.missing or module.misfit for module in facts.modules)


FOREIGN_MODELS: dict[str, tuple[str, ...]] = {
    "FLUX.1": ("lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_single_blocks_0_linear1"),
    "FLUX.1 ": (
        "transformer.single_transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.0.attn.to_q",
    ),
    "FLUX.2": (
        "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj",
        "transformer.transformer_blocks.0.attn.to_q",
    ),
    "HunyuanVideo": ("lora_unet_double_blocks_0_img_mlp_fc1", "lora_unet_single_blocks_0_linear1"),
    "Stable Diffusion 3": (
        "transformer.transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.0.attn.add_q_proj",
    ),
    "Stable Diffusion 3 ": ("lora_unet_joint_blocks_0_context_block_attn_qkv",),
    "Wan": (
        "diffusion_model.blocks.0.self_attn.q",
        "diffusion_model.blocks.0.cross_attn.k",
        "diffusion_model.blocks.0.ffn.0",
    ),
    "Wan ": ("lora_unet_blocks_0_self_attn_q", "lora_unet_blocks_0_ffn_2"),
    "Qwen-Image": (
        "transformer.transformer_blocks.0.attn.add_q_proj",
        "transformer.transformer_blocks.0.img_mlp.net.2",
    ),
    "Z-Image or Lumina 2": (
        "diffusion_model.layers.0.attention.to_q",
        "diffusion_model.layers.0.feed_forward.w1",
    ),
    "a language model": ("base_model.model.model.layers.0.self_attn.q_proj",),
}


@pytest.mark.parametrize("title", FOREIGN_MODELS)
def test_loras_of_other_models_are_named_and_not_called_broken(tmp_path: Path, title: str) -> None:
    """Text encoders that such a model shares with SDXL do not make it one."""
    names = [*FOREIGN_MODELS[title], "lora_te1_text_model_encoder_layers_0_mlp_fc1"]
    parts = (".lora_down.weight", ".lora_up.weight")
    facts = read_lora_facts(
        written(tmp_path, {f"{name}{part}": torch.ones(4, 4) for name in names for part in parts}),
        depth="header",
    )
    assert (facts.architecture, facts.family) == (title.strip(), None)
    with pytest.raises(LoraError, match=f"a LoRA for {title.strip()}"):
        convert_lora(facts.path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_lora_of_ours_is_taken_for_another_models(family: str, spelling: str) -> None:
    from maquette.lora.architectures import architecture_of

    names = [SPELLINGS[spelling](module) for module in lora_modules(family).values()]
    assert architecture_of(names) is None


# --- conversion --------------------------------------------------------------------------------------------


def test_converted_files_hold_the_same_weights_under_names_that_all_read(tmp_path: Path) -> None:
    tensors = pairs(attention("sdxl"), SPELLINGS["PEFT"], ".lora_A.weight", ".lora_B.weight")
    path = written(tmp_path, tensors)
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"r": RANK, "lora_alpha": 1.0}), encoding="utf-8"
    )
    done = convert_lora(path)
    assert done.path.name == "fox-kohya.safetensors" and done.modules == 560 and not done.left_out
    facts = read_lora_facts(done.path, depth="header")
    assert (facts.layout, facts.family, facts.alpha, facts.dtype) == ("kohya", "sdxl", 1.0, "F16")
    assert not facts.unfound and facts.named_family == "sdxl" and facts.metadata["ss_network_dim"] == "4"
    new = load_file(done.path)
    for module in attention("sdxl"):
        old = SPELLINGS["PEFT"](module)
        assert torch.equal(new[f"{module.key}.lora_down.weight"], tensors[f"{old}.lora_A.weight"])
        assert torch.equal(new[f"{module.key}.lora_up.weight"], tensors[f"{old}.lora_B.weight"])
    with pytest.raises(OutputError, match="is there already"):
        convert_lora(path)


def test_kohya_to_diffusers_and_back_is_the_same_file(tmp_path: Path) -> None:
    tensors = pairs(attention("sd1"), SPELLINGS["kohya"], ".lora_down.weight", ".lora_up.weight")
    tensors |= {f"{module.key}.alpha": torch.tensor(2.0).half() for module in attention("sd1")}
    there = convert_lora(written(tmp_path, tensors), output=tmp_path / "there.safetensors", to="diffusers")
    assert all(not name.endswith(".alpha") for name in load_file(there.path))
    back = convert_lora(there.path, output=tmp_path / "back.safetensors")
    found = load_file(back.path)
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_a_bundled_embedding_becomes_a_file_and_strangers_are_named(tmp_path: Path) -> None:
    tensors = pairs(attention("sd1"), SPELLINGS["kohya"], ".lora_down.weight", ".lora_up.weight")
    tensors |= {
        "bundle_emb.zkw.string_to_param.*": torch.full((3, 768), 0.5),
        "lora_unet_mystery.lora_down.weight": torch.ones(4, 8),
        "lora_unet_mystery.lora_up.weight": torch.ones(8, 4),
        "notes": torch.ones(2),
    }
    path = written(tmp_path, tensors)
    facts = read_lora_facts(path, depth="header")
    assert list(facts.embeddings) == ["zkw"] and facts.stray == ("notes",)
    done = convert_lora(path)
    assert done.left_out == ("lora_unet_mystery", "notes")
    [embedding] = done.embeddings
    assert embedding.name == "zkw.safetensors"
    assert torch.equal(load_file(embedding)["emb_params"], tensors["bundle_emb.zkw.string_to_param.*"])
    assert len(load_file(done.path)) == 3 * len(attention("sd1"))


def test_files_of_old_attention_processors_are_converted(tmp_path: Path) -> None:
    path = written(tmp_path, pairs(attention("sd1"), old_name, ".down.weight", ".up.weight"))
    facts = read_lora_facts(path, depth="header")
    assert facts.family == "sd1" and not facts.strangers and identify(path).kind == "lora"
    assert convert_lora(path).modules == len(attention("sd1"))
