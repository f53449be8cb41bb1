"""Faces by OpenCV's real detector and recogniser, on networks of their layout that see coloured squares as faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from maquette.encoders import load_encoder
from maquette.encoders.faces import FaceFinder, FaceStore, find_faces
from maquette.errors import ConfigError, ModelError
from tests.curating.making import curate, names_of, save

onnx = pytest.importorskip("onnx")
STRIDES = (8, 16, 32)


def _graph(name: str, nodes: list[Any], given: Any, made: list[Any], values: list[Any], path: Path) -> None:
    graph = onnx.helper.make_graph(nodes, name, [given], made, values)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, path)


def write_detector(path: Path) -> None:
    """Write YuNet's inputs and outputs: at stride 32 a cell that is red (much R, no G) is a face of 64 px around it."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    nodes, values, made = [], [], []

    def constant(name: str, array: Any, kind: int = floats) -> str:
        array = np.asarray(array)
        values.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        return name

    for stride in STRIDES:
        pooled = f"pooled{stride}"
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [pooled], kernel_shape=[stride, stride], strides=[stride, stride]
            )
        )
        steep = 0.2 if stride == 32 else 0.0
        heads = {
            "cls": (np.array([[0, -steep, steep]]), np.array([-24.0 if stride == 32 else -20.0]), True),
            "obj": (np.zeros((1, 3)), np.array([9.0]), True),
            "bbox": (np.zeros((4, 3)), np.array([0.5, 0.5, np.log(2), np.log(2)]), False),
            "kps": (np.zeros((10, 3)), np.array([0.1, 0.2, 0.9, 0.2, 0.5, 0.5, 0.2, 0.8, 0.8, 0.8]), False),
        }
        for head, (weight, bias, squashed) in heads.items():
            out = f"{head}_{stride}"
            width = len(bias)
            weights = [
                constant(f"w_{out}", weight.reshape(width, 3, 1, 1).astype(np.float32)),
                constant(f"b_{out}", bias.astype(np.float32)),
            ]
            nodes.append(helper.make_node("Conv", [pooled, *weights], [f"conv_{out}"], kernel_shape=[1, 1]))
            last = f"conv_{out}"
            if squashed:
                nodes.append(helper.make_node("Sigmoid", [last], [f"sigmoid_{out}"]))
                last = f"sigmoid_{out}"
            nodes.append(helper.make_node("Transpose", [last], [f"turned_{out}"], perm=[0, 2, 3, 1]))
            shape = constant(f"shape_{out}", [1, -1, width], onnx.TensorProto.INT64)
            nodes.append(helper.make_node("Reshape", [f"turned_{out}", shape], [out]))
            made.append(helper.make_tensor_value_info(out, floats, [1, None, width]))
    given = helper.make_tensor_value_info("input", floats, [1, 3, "h", "w"])
    _graph("yunet", nodes, given, made, values, path)


def write_recogniser(path: Path) -> None:
    """Write SFace's input and output: the 128 numbers are projections of the aligned face's mean colour."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).normal(size=(128, 3, 1, 1)).astype(np.float32)
    values = [helper.make_tensor("w", floats, weight.shape, weight.reshape(-1).tolist())]
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "w"], ["wide"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["wide"], ["fc1"]),
    ]
    given = helper.make_tensor_value_info("data", floats, [1, 3, 112, 112])
    made = [helper.make_tensor_value_info("fc1", floats, [1, 128])]
    _graph("sface", nodes, given, made, values, path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_detector(folder / "face_detection_yunet_2023mar.onnx")
    write_recogniser(folder / "face_recognition_sface_2021dec.onnx")
    return folder


def portrait(path: Path, *squares: tuple[int, int], blue: int = 0, seed: int = 0) -> Path:
    """Write a grey picture of lines with a red square (a face, to the test's networks) at each place."""
    chance = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 320), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        draw.line(tuple(chance.integers(0, 320, 4).tolist()), (90, 90, 90), 2)
    for left, top in squares:
        draw.rectangle((left, top, left + 31, top + 31), (255, 0, blue))
    return save(image, path)


def test_faces_are_counted(models: Path) -> None:
    finder = FaceFinder("detect", models)
    for squares in ((), ((64, 64),), ((32, 32), (192, 192))):
        image = np.asarray(Image.open(portrait(models / "x.png", *squares)))
        assert finder.find(image).count == len(squares)


def test_several_faces_and_none_are_to_be_looked_at(models: Path, tmp_path: Path) -> None:
    portrait(tmp_path / "one.png", (64, 64), seed=1)
    portrait(tmp_path / "two.png", (32, 32), (192, 192), seed=2)
    portrait(tmp_path / "none.png", seed=3)
    found = curate(tmp_path, faces="detect", face_models=models, subject_share=0)
    assert names_of(found.kept) == {"one.png"}
    assert found.review[tmp_path / "two.png"] == ("2 faces: somebody else in it?",)
    assert found.review[tmp_path / "none.png"][0].startswith("no face found")


def test_another_face_than_the_references_is_rejected(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "heap"
    references = [portrait(tmp_path / f"r{number}.png", (64, 64), seed=10 + number) for number in range(3)]
    portrait(folder / "same.png", (128, 96), seed=1)
    portrait(folder / "other.png", (128, 96), blue=255, seed=2)
    finder = FaceFinder("match", models)
    pixels = [np.asarray(Image.open(path)) for path in (references[0], folder / "other.png")]
    one, other = (finder.find(some).features_FD[0].astype(float) for some in pixels)
    alike = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    store = FaceStore(tmp_path / "store", finder)
    assert sum(find_faces(store, finder, [("a" * 64, references[0])], workers=1)) == 1
    assert FaceStore(tmp_path / "store", finder)["a" * 64].count == 1
    model = {"references": references, "encoder": "world", "threshold": 0.0}
    found = curate(folder, faces="match", face_models=models, **model)
    assert "same.png" in names_of(found.kept)
    text = found.rejected.get(folder / "other.png") or found.review.get(folder / "other.png")
    assert (text is not None) == (alike < 0.363)


def test_as_an_encoder_the_largest_face_says_who_it_is(models: Path, tmp_path: Path) -> None:
    encoder = load_encoder(f"face={models}")
    assert (encoder.dims, encoder.threshold) == (128, 0.363)
    paths = [
        portrait(tmp_path / "one.png", (64, 64), seed=1),
        portrait(tmp_path / "moved.png", (128, 96), seed=2),
        portrait(tmp_path / "other.png", (128, 96), blue=255, seed=3),
        portrait(tmp_path / "back.png", seed=4),
    ]
    rows = encoder.encode([encoder.prepare(Image.open(path)) for path in paths])
    for path, row in zip(paths, rows, strict=True):
        found = FaceFinder("match", models).find(np.asarray(Image.open(path))).features_FD
        assert np.array_equal(row, found[0] if len(found) else np.zeros(128))
    alike = encoder.similarity(rows, rows[:1])[:, 0]
    assert alike[0] == pytest.approx(1, abs=1e-3) and alike[1] > 0.99 and alike[3] == 0
    assert alike[2] < alike[1], "another's face is less alike"


def test_people_are_kept_by_their_faces(models: Path, tmp_path: Path) -> None:
    references = [portrait(tmp_path / f"r{number}.png", (64, 64), seed=10 + number) for number in range(3)]
    portrait(tmp_path / "heap" / "same.png", (128, 96), seed=1)
    portrait(tmp_path / "heap" / "back.png", seed=2)
    found = curate(
        tmp_path / "heap", references=references, encoder=f"face={models}", faces="off", subject_share=0
    )
    assert names_of(found.kept) == {"same.png"} and set(found.rejected) == {tmp_path / "heap" / "back.png"}


def test_missing_files_say_which_and_where(tmp_path: Path) -> None:
    portrait(tmp_path / "heap" / "one.png", (64, 64))
    with pytest.raises(ModelError, match="face_detection_yunet_2023mar"):
        curate(tmp_path / "heap", faces="detect", face_models=tmp_path)


def test_an_unknown_way_is_refused(tmp_path: Path) -> None:
    portrait(tmp_path / "one.png", (64, 64))
    with pytest.raises(ConfigError, match="detect"):
        curate(tmp_path, faces="detct")
