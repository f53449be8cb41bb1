"""Stable Diffusion 2.x: what its files say and do not say, its text encoder's unread end, its LoRA's names beside SD 1.x's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette import families
from maquette.errors import ModelError
from maquette.families import FAMILIES, family_of_script
from maquette.families.common.modules import text_root
from maquette.families.lora_names import lora_modules
from maquette.families.names import specs_named
from maquette.families.sd2.keys import TELLS_PREDICTION
from maquette.lora.reading import read_lora_facts
from tests.families.full import header_only
from tests.rules.test_lora_files import findings_of

SPEC = FAMILIES["sd2"].spec
TEXT = "cond_stage_model.model."


def test_the_published_sizes() -> None:
    """866 million values of the U-Net, 340 of OpenCLIP's ViT-H without its last layer, 192 and 138 layers."""
    parts = families.parts_of(FAMILIES["sd2"].layout(None))
    assert (parts.denoiser, parts.text_encoders) == (865_910_724, 340_387_840)
    usual = [module for module in parts.modules if module.default]
    assert sum(module.part == "denoiser" for module in usual) == 192
    text = [module.key for module in usual if module.part == "text_encoder"]
    assert len(text) == 138
    assert {int(key.split("layers_")[1].split("_")[0]) for key in text} == set(range(23))
    assert all(key.startswith("lora_te_text_model_encoder_layers_") for key in text)


def test_a_full_size_file_has_the_published_layout(tmp_path: Path) -> None:
    path = header_only("sd2", tmp_path / "full.safetensors")
    info = families.inspect(path)
    assert (info.family, info.prediction, info.resolution) == ("sd2", "epsilon", 512)
    assert families.layout_of(info) == FAMILIES["sd2"].layout(None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("spread", "prediction", "size"), [(0.08, "epsilon", 512), (0.1, "v", 768)])
def test_a_file_without_a_marker_is_told_by_the_spread_that_comfyui_looks_at(
    dtype: torch.dtype,
    spread: float,
    prediction: str,
    size: int,
    tiny_files: dict[str, Path],
    tmp_path: Path,
) -> None:
    state = load_file(tiny_files["sd2"])
    sign = torch.ones_like(state[TELLS_PREDICTION])
    sign[::2] = -1
    state[TELLS_PREDICTION] = (sign * spread).to(dtype)
    save_file(state, tmp_path / "base.safetensors")
    info = families.inspect(tmp_path / "base.safetensors")
    assert (info.prediction, info.resolution, info.zero_terminal_snr) == (prediction, size, False)
    assert info.prediction_stated is None


def test_the_last_layer_and_the_projection_change_nothing(
    tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    """A file in which they were left out holds the same model."""
    state = load_file(tiny_files["sd2"])
    cut = {
        key: value for key, value in state.items() if "resblocks.3." not in key and "projection" not in key
    }
    assert len(cut) == len(state) - 13
    save_file(cut, tmp_path / "cut.safetensors")
    whole, short = families.load(tiny_files["sd2"]), families.load(tmp_path / "cut.safetensors")
    assert len(text_root(whole.text_encoders[0]).encoder.layers) == 3  # type: ignore[union-attr, arg-type]
    texts = [model.encode_text(model.tokenize(["a man"]), clip_skip=1).tensors() for model in (whole, short)]
    assert all(torch.equal(texts[0][key], texts[1][key]) for key in texts[0])
    assert not whole.notes and not short.notes


def test_texts_are_padded_with_zero(tiny_files: dict[str, Path]) -> None:
    ids = families.load(tiny_files["sd2"]).tokenize(["a man"]).ids[0]
    assert ids[0, 3] == 49407 and not ids[0, 4:].any()


def test_a_u_net_told_more_than_text_is_refused(tiny_files: dict[str, Path], tmp_path: Path) -> None:
    extra = {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(128, 1536)}
    save_file({**load_file(tiny_files["sd2"]), **extra}, tmp_path / "unclip.safetensors")
    with pytest.raises(ModelError, match="1536 numbers beside the text"):
        families.inspect(tmp_path / "unclip.safetensors")


def lora_file(path: Path, family: str, keys: list[str], metadata: dict[str, str] | None = None) -> Path:
    tensors = {}
    for key in keys:
        layer = lora_modules(family)[key]
        tensors[f"{key}.lora_down.weight"] = torch.full((2, layer.inputs), 0.01).half()
        tensors[f"{key}.lora_up.weight"] = torch.full((layer.outputs, 2), 0.01).half()
        tensors[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path, metadata or {})
    return path


@pytest.mark.parametrize("family", ["sd1", "sd2"])
@pytest.mark.parametrize("part", ["denoiser", "text_encoder"])
def test_a_lora_of_either_is_known_by_the_width_of_its_text(family: str, part: str, tmp_path: Path) -> None:
    """All layers of SD 1.x are called alike in SD 2.x."""
    keys = [
        module.key
        for module in lora_modules("sd1").values()
        if module.default and module.part == part and ("attn2" in module.key or part == "text_encoder")
    ]
    assert set(keys) <= set(lora_modules("sd2"))
    facts = read_lora_facts(lora_file(tmp_path / "lora.safetensors", family, keys), depth="header")
    assert facts.family == family
    assert not facts.misfits and not facts.strangers and list(facts.only_in) == [family]


def test_where_sizes_do_not_tell_the_metadata_do(tmp_path: Path) -> None:
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    for family in ("sd1", "sd2"):
        named = {"ss_base_model_version": FAMILIES[family].spec.ss_base_model_version}
        path = lora_file(tmp_path / f"{family}.safetensors", "sd2", [key], named)
        assert read_lora_facts(path, depth="header").family == family


def test_the_trainer_of_both_is_told_apart_by_v2() -> None:
    for v2, name in ((False, "sd1"), (True, "sd2")):
        spec = family_of_script("train_network.py", v2=v2)
        assert spec is not None and spec.name == name
    xl = family_of_script("sdxl_train_network.py", v2=True)
    assert xl is not None and xl.name == "sdxl"
    assert family_of_script("train_text.py", v2=False) is None


def test_metadata_are_those_of_the_reference_trainer() -> None:
    assert (SPEC.version_of("epsilon"), SPEC.version_of("v")) == ("sd_v2", "sd_v2_v")
    assert SPEC.architecture_of("epsilon") == "stable-diffusion-v2-512/lora"
    assert SPEC.architecture_of("v") == "stable-diffusion-v2-768-v/lora"


@pytest.mark.parametrize(
    ("name", "prediction", "size"),
    [
        ("stabilityai/stable-diffusion-2-1-base", "epsilon", 512),
        ("stabilityai/stable-diffusion-2-1", "v", 768),
    ],
)
def test_published_models_are_known_by_name(name: str, prediction: str, size: int) -> None:
    info = families.known_by_name(name)
    assert info is not None
    assert (info.family, info.prediction, info.resolution, info.zero_terminal_snr) == (
        "sd2",
        prediction,
        size,
        False,
    )


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("v2-1_768-ema-pruned.safetensors", ["sd2"]),
        ("v2-1_512-nonema-pruned.safetensors", ["sd2"]),
        ("stable-diffusion-2-1-base", ["sd2"]),
        ("sd21-fox", ["sd2"]),
        ("stable-diffusion-v1-5", ["sd1"]),
        ("stable-diffusion-xl-base-1.0", ["sdxl"]),
        ("fox_v2", []),
        ("fox-v20", []),
    ],
)
def test_names_of_bases(name: str, family: list[str]) -> None:
    assert [spec.name for spec in specs_named(name)] == family


def test_layers_of_the_other_width_in_a_file_are_named(tmp_path: Path) -> None:
    """A merge whose text encoder is SD 1.x's and whose cross-attention is SD 2.x's."""
    usual = [module for module in lora_modules("sd1").values() if module.default]
    text = [module.key for module in usual if module.part == "text_encoder"]
    cross = [module.key for module in usual if module.key.endswith("attn2_to_k")]
    state = load_file(lora_file(tmp_path / "one.safetensors", "sd1", text))
    state |= load_file(lora_file(tmp_path / "two.safetensors", "sd2", cross))
    save_file(state, tmp_path / "merge.safetensors", {"ss_base_model_version": "sd_v1"})
    (finding,) = [each for each in findings_of(tmp_path / "merge.safetensors") if each.code == "LOR006"]
    assert "These are the sizes of Stable Diffusion 2.x." in finding.message
