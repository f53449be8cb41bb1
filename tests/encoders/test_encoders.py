"""Every encoder gives what its library gives, from a folder, without a network, and only once for each content."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from maquette.encoders import TABLE, Encoder, cosine, load_encoder
from maquette.encoders.embeddings import EmbeddingStore, embed
from maquette.encoders.preprocess import read_preprocessing
from maquette.errors import ConfigError, ModelError
from maquette.world.cast import TOVAKI
from tests.curating.making import curate, draw, scenes

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
}


def write_model(folder: Path, kind: str) -> Path:
    """Save a tiny model with random weights and its image processor, as a hub folder holds them."""
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(vision_config=SMALL, text_config=TEXT, projection_dim=12)
        model: Any = transformers.CLIPModel(config)
        processor: Any = transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    elif kind == "siglip":
        config = transformers.SiglipConfig(vision_config=SMALL, text_config=TEXT)
        model = transformers.SiglipModel(config)
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, mlp_ratio=2))
        processor = transformers.BitImageProcessor(
            size={"shortest_edge": 36},
            crop_size={"height": 32, "width": 32},
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["clip", "siglip", "dinov2"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / kind, kind)


def pictures() -> list[Image.Image]:
    chance = np.random.default_rng(0)
    sizes = [(64, 48), (33, 90), (32, 32), (201, 77)]
    return [Image.fromarray(chance.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sizes]


def test_pixels_are_prepared_as_the_library_prepares_them(kind: str, folder: Path) -> None:
    """One grey level in 255, over the deviation, is the tolerance: the libraries round once more or less."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    ours = read_preprocessing(folder)
    for image in pictures():
        expected = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
        found = ours(image)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 0.02


def test_rows_are_the_models_own(kind: str, folder: Path) -> None:
    """Against the whole model's own function for picture features."""
    encoder = load_encoder(f"{kind}={folder}")
    prepared = [encoder.prepare(image) for image in pictures()]
    rows = encoder.encode(prepared)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = torch.from_numpy(np.stack(prepared))
    with torch.no_grad():
        if kind == "dinov2":
            expected = model(pixel_values=pixels).pooler_output
        else:
            given = model.get_image_features(pixel_values=pixels)
            expected = getattr(given, "pooler_output", given)
    expected = torch.nn.functional.normalize(expected, dim=1).numpy()
    assert rows.shape == (4, encoder.dims)
    assert np.abs(rows - expected).max() < 1e-5


def test_a_folder_of_another_kind_is_refused_with_the_right_name(kind: str, folder: Path) -> None:
    other = "dinov2" if kind == "clip" else "clip"
    with pytest.raises(ModelError, match=f"--encoder {kind}="):
        load_encoder(f"{other}={folder}")


def test_a_fingerprint_is_the_weights(kind: str, folder: Path, tmp_path: Path) -> None:
    first = load_encoder(f"{kind}={folder}")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert load_encoder(f"{kind}={copy}").fingerprint == first.fingerprint
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert load_encoder(f"{kind}={copy}").fingerprint != first.fingerprint


def test_curating_with_it_embeds_each_content_once(kind: str, folder: Path, tmp_path: Path) -> None:
    draw(tmp_path / "heap", TOVAKI, scenes(6))
    references = draw(tmp_path / "references", TOVAKI, scenes(8)[6:])
    name = f"{kind}={folder}"
    first = curate(tmp_path / "heap", references=references, encoder=name, threshold=0.1, fresh=True)
    assert first.embedded_now == 6 and first.encoder == name
    assert curate(tmp_path / "heap").embedded_now == 0
    draw(tmp_path / "heap", TOVAKI, scenes(10)[8:], prefix="new")
    assert curate(tmp_path / "heap").embedded_now == 2


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'siglip'"):
        load_encoder("siglp")


def test_a_missing_folder_names_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_encoder(f"clip={tmp_path / 'none'}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"preprocessor_config.json, \*.safetensors"):
        load_encoder(f"clip={tmp_path}")


def test_without_network_and_cache_the_remedy_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="name a local folder"):
        load_encoder("dinov2")


def test_the_store_survives_a_torn_end(tmp_path: Path) -> None:
    """A run that died in the middle of a row, or between row and hash, loses that row and no other."""
    encoder = load_encoder("world")
    store = EmbeddingStore(tmp_path, encoder)
    rows = np.random.default_rng(0).random((3, encoder.dims), np.float32)
    hashes = [f"{number:064x}" for number in range(3)]
    store.append(hashes, rows)
    rows_path = next(tmp_path.glob("*.rows"))
    os.truncate(rows_path, rows_path.stat().st_size - 5)
    again = EmbeddingStore(tmp_path, encoder)
    assert [sha in again for sha in hashes] == [True, True, False]
    again.append(hashes[2:], rows[2:])
    assert np.array_equal(EmbeddingStore(tmp_path, encoder).rows(hashes), rows.astype(np.float16))


def test_half_precision_costs_less_than_a_thousandth(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 768)).astype(np.float32)
    assert np.abs(cosine(rows, rows) - cosine(rows.astype(np.float16), rows.astype(np.float16))).max() < 1e-3


def test_a_picture_that_vanished_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    encoder = load_encoder("world")
    paths = draw(tmp_path / "heap", TOVAKI, scenes(3))
    paths[1].unlink()
    store = EmbeddingStore(tmp_path / "store", encoder)
    pairs = [(f"{number:064x}", path) for number, path in enumerate(paths)]
    lost = [path for _, some in embed(store, encoder, pairs, workers=2) for path in some]
    assert (len(store), lost) == (2, [paths[1]])


def test_every_encoder_in_the_table_has_a_module() -> None:
    from importlib.util import find_spec

    assert all(find_spec(f"maquette.encoders.{module}") for module in TABLE.values())


def write_ccip(folder: Path) -> Path:
    """Two small networks in CCIP's layout: the features are mean colours, the difference their distance."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder.mkdir()
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def write(name: str, nodes: list[Any], given: list[Any], made: list[Any], values: list[Any] = ()) -> None:
        graph = helper.make_graph(
            nodes,
            "ccip",
            [helper.make_tensor_value_info("input", floats, given)],
            [helper.make_tensor_value_info("output", floats, made)],
            list(values),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / name)

    pool = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["output"]),
    ]
    write("model_feat.onnx", pool, ["b", 3, 384, 384], ["b", 3])
    axes = [helper.make_tensor(f"axis{axis}", onnx.TensorProto.INT64, [1], [axis]) for axis in (0, 1, 2)]
    apart = [
        helper.make_node("Unsqueeze", ["input", "axis0"], ["rows"]),
        helper.make_node("Unsqueeze", ["input", "axis1"], ["columns"]),
        helper.make_node("Sub", ["rows", "columns"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["size"]),
        helper.make_node("ReduceSum", ["size", "axis2"], ["output"], keepdims=0),
    ]
    write("model_metrics.onnx", apart, ["n", 3], ["n", "n"], axes)
    (folder / "metrics.json").write_text(json.dumps({"threshold": 0.178}))
    return folder


def test_ccip_compares_by_its_own_network_and_brings_its_threshold(tmp_path: Path) -> None:
    encoder: Encoder = load_encoder(f"ccip={write_ccip(tmp_path / 'ccip')}")
    assert (encoder.threshold, encoder.dims) == (0.822, 3)
    rows = encoder.encode([encoder.prepare(image) for image in pictures() * 20])
    table = encoder.similarity(rows, rows[:3])
    expected = 1.0 - np.abs(rows[:, None] - rows[None, :3]).sum(axis=2)
    assert table.shape == (80, 3)
    assert np.abs(table - expected).max() < 1e-5
