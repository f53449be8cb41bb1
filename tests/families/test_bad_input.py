"""Files and folders that are no usable base model: one ModelError that says what was found."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from maquette import families
from maquette.errors import ConfigError, ModelError
from maquette.families.common.header import read_header
from maquette.families.tiny import write_tiny
from tests.families.models import NAMES, rewrite_header

every_family = pytest.mark.parametrize("name", NAMES)


def refused(path: Path | str, *words: str) -> None:
    """Both faces of the room refuse `path`, in one line that names it and holds `words`."""
    for attempt in (families.inspect, families.load):
        with pytest.raises(ModelError) as caught:
            attempt(path)
        (problem,) = caught.value.problems
        assert problem.where == str(path)
        assert "\n" not in str(problem)
        for word in words:
            assert word in str(problem), f"{word!r} not in: {problem}"
        assert problem.remedy


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.safetensors", "no such file")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    refused(path, "0 bytes")


@every_family
@pytest.mark.parametrize("kept", [4, 12, 5000, 0.5, 0.9999])
def test_truncated_file(name: str, kept: float, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    whole = tiny_files[name].read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    refused(path, "cut" if kept in (4, 12, 5000) else "truncated")


def test_a_header_that_was_changed_is_understood_anew(tmp_path: Path) -> None:
    """What was understood is kept; a file of the same name, size and length of header is no reason to believe it."""
    path = tmp_path / "a.safetensors"
    save_file({"one": torch.zeros(2)}, path, {"word": "first"})
    first = read_header(path)
    assert read_header(path) == first and dict(first.metadata) == {"word": "first"}
    path.write_bytes(path.read_bytes().replace(b"first", b"other").replace(b"one", b"two"))
    again = read_header(path)
    assert dict(again.metadata) == {"word": "other"} and list(again.tensors) == ["two"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="truncated"):
        read_header(path)


def test_pickles_are_named_and_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    for modern in (True, False):
        path = tmp_path / f"model{modern}.ckpt"
        torch.save({"state_dict": Bomb()}, path, _use_new_zipfile_serialization=modern)
        refused(path, "pickle", ".safetensors")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Not found</html>" * 20, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265146304\n", "Git LFS"),
        (b"GGUF" + bytes(100), "GGUF"),
        (bytes(1000), "safetensors"),
        (b"\x10" + bytes(7) + b"{broken json 12345678901234567", "damaged"),
        (b"\x02" + bytes(7) + b"{}", "no tensors"),
    ],
)
def test_other_formats_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path, words)


def test_a_damaged_header_is_said_to_be_damaged(tiny_files: dict[str, Path], tmp_path: Path) -> None:
    source, path = tiny_files[NAMES[0]], tmp_path / "bad.safetensors"

    def spoil(value: Any) -> Any:
        def change(table: dict[str, Any]) -> None:
            table["model.diffusion_model.out.2.bias"] = value

        return change

    for value in (
        None,
        {"dtype": "F32"},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 3]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [8, 4]},
    ):
        refused(rewrite_header(source, path, spoil(value)), "damaged")


ELSEWHERE = [
    (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "it is a LoRA"),
    (["unet.down_blocks.0.attentions.0.proj_in.lora_A.weight"], "it is a LoRA"),
    (
        ["control_model.input_blocks.0.0.weight", "model.diffusion_model.input_blocks.0.0.weight"],
        "ControlNet",
    ),
    (["emb_params"], "textual inversion"),
    (["clip_g", "clip_l"], "textual inversion"),
    (
        ["conditioner.embedders.0.model.ln_final.weight", "model.diffusion_model.input_blocks.0.0.weight"],
        "refiner",
    ),
    (
        ["cond_stage_model.model.visual.proj", "model.diffusion_model.input_blocks.0.0.weight"],
        "told by pictures",
    ),
    (
        ["embedder.model.visual.proj", "cond_stage_model.model.token_embedding.weight"],
        "unCLIP",
    ),
    (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3"),
    (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "FLUX.1"),
    (["double_blocks.0.img_attn.qkv.weight", "double_stream_modulation_img.lin.weight"], "FLUX.2"),
    (["model.diffusion_model.noise_refiner.0.attention.qkv.weight"], "Z-Image"),
    (["model.diffusion_model.input_blocks.0.0.weight"], "without a text encoder"),
    (["down_blocks.0.resnets.0.conv1.weight"], "U-Net alone"),
    (["first_stage_model.encoder.conv_in.weight"], "VAE alone"),
    (["encoder.down.0.block.0.conv1.weight"], "VAE alone"),
    (["text_model.encoder.layers.0.mlp.fc1.weight"], "text encoder alone"),
    (["backbone.stage1.weight"], "no known model"),
]


@pytest.mark.parametrize(("keys", "words"), ELSEWHERE, ids=[words for _, words in ELSEWHERE])
def test_models_of_other_kinds_are_named(keys: list[str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "sd15_base.safetensors"
    save_file({key: torch.zeros(4, 4) for key in keys}, path)
    refused(path, words)


@every_family
def test_missing_tensors_are_all_named(name: str, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    state = load_file(tiny_files[name])
    gone = ["model.diffusion_model.out.0.bias", "first_stage_model.decoder.conv_out.weight"]
    save_file({key: value for key, value in state.items() if key not in gone}, tmp_path / "part.safetensors")
    with pytest.raises(ModelError) as caught:
        families.load(tmp_path / "part.safetensors")
    assert any(gone[0] in str(problem) for problem in caught.value.problems)
    save_file(
        {key: value for key, value in state.items() if not key.startswith("first_stage")},
        tmp_path / "novae.safetensors",
    )
    refused(tmp_path / "novae.safetensors", "first_stage_model", "missing")


@every_family
def test_a_tensor_of_another_shape_is_named(name: str, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    state = {**load_file(tiny_files[name]), "model.diffusion_model.out.0.bias": torch.zeros(5)}
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match=r"out\.0\.bias' has shape \[5\]"):
        families.load(tmp_path / "odd.safetensors")


@every_family
def test_quantized_weights_are_refused(name: str, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    state = {key: value.to(torch.float8_e4m3fn) for key, value in load_file(tiny_files[name]).items()}
    save_file(state, tmp_path / "fp8.safetensors")
    refused(tmp_path / "fp8.safetensors", "F8_E4M3")


@every_family
def test_inpainting_models_are_refused(name: str, tiny_files: dict[str, Path], tmp_path: Path) -> None:
    state = load_file(tiny_files[name])
    first = "model.diffusion_model.input_blocks.0.0.weight"
    save_file({**state, first: torch.zeros(32, 9, 3, 3)}, tmp_path / "inpaint.safetensors")
    refused(tmp_path / "inpaint.safetensors", "inpainting")


def test_an_unknown_prediction_type_is_refused(tmp_path: Path) -> None:
    path = write_tiny(NAMES[0], tmp_path / "m.safetensors", metadata={"modelspec.prediction_type": "sample"})
    refused(path, "'sample'")


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "{}",
        '{"vocab": {"a": 0}, "merges": []}',
        '{"vocab": {"<|startoftext|>": 0, "<|endoftext|>": 99999}, "merges": []}',
    ],
)
def test_a_broken_tokenizer_in_the_file_is_refused(value: str, tmp_path: Path) -> None:
    path = write_tiny(NAMES[0], tmp_path / "m.safetensors", metadata={"maquette.tokenizer": value})
    with pytest.raises(ModelError, match="tokenizer"):
        families.load(path)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "model_index.json", "empty")
    (tmp_path / "model.safetensors").touch()
    refused(tmp_path, "model.safetensors")


@pytest.mark.parametrize(
    ("pipeline", "unet", "words"),
    [
        ("StableUnCLIPPipeline", {"cross_attention_dim": 1024}, "StableUnCLIPPipeline"),
        ("FluxPipeline", {}, "FluxPipeline"),
        ("StableDiffusion3Pipeline", {}, "StableDiffusion3Pipeline"),
    ],
)
def test_other_pipelines_are_named(pipeline: str, unet: dict[str, Any], words: str, tmp_path: Path) -> None:
    parts = {"unet": unet, "vae": {}, "text_encoder": {"hidden_act": "gelu"}}
    for part, config in parts.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    index = {"_class_name": pipeline, **{part: ["diffusers", "X"] for part in parts}}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    refused(tmp_path, words)


def test_a_broken_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match="JSON"):
        families.inspect(tmp_path)


def test_a_hub_name_that_cannot_be_had_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    refused("someone/some-model", "not in the local hub cache")


@every_family
def test_a_clip_skip_that_the_model_does_not_have_is_a_config_error(
    name: str, tiny_files: dict[str, Path]
) -> None:
    model = families.load(tiny_files[name])
    tokens = model.tokenize(["a dog"])
    for clip_skip in (0, 40):
        with pytest.raises(ConfigError, match="clip_skip"):
            model.encode_text(tokens, clip_skip=clip_skip)


def test_an_unknown_sampler_names_the_nearest(tiny_models: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'euler_ancestral'"):
        tiny_models[NAMES[0]].sampler("euler_ancestrall")


def test_looking_at_a_model_does_not_import_torch(tiny_files: dict[str, Path]) -> None:
    program = (
        "import sys; from maquette import families\n"
        "for path in sys.argv[1:]: families.inspect(path)\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program, *map(str, tiny_files.values())], check=True)


def test_a_zip_that_calls_itself_safetensors_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 100)
    refused(path, "zip")
