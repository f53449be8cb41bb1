"""Vision-language models of real architectures, random and tiny, loaded and asked as large ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.captioning.options import SourceOptions
from maquette.captioning.sources.source import Ask
from maquette.errors import ConfigError, ModelError
from tests.captioning import tiny_models as tiny
from tests.captioning.common import caption, make_folder
from tests.captioning.test_sources import ask, opened

MODELS: dict[str, Callable[[Path], Path]] = {
    "Qwen2-VL": lambda folder: tiny.write_qwen(folder, "qwen2"),
    "Qwen2.5-VL": lambda folder: tiny.write_qwen(folder, "qwen2_5"),
    "Qwen3-VL": lambda folder: tiny.write_qwen(folder, "qwen3"),
    "Florence-2": tiny.write_florence,
    "LLaVA": tiny.write_llava,
}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Ask]:
    """Three pictures of different shapes."""
    asks = []
    rng = np.random.default_rng(2)
    for name, (width, height) in {"wide": (120, 60), "tall": (60, 120), "square": (80, 80)}.items():
        Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(tmp_path / f"{name}.png")
        asks.append(ask(tmp_path / f"{name}.png"))
    return asks


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_for_pictures_of_any_shape(name: str, tmp_path: Path, pictures: list[Ask]) -> None:
    """Together as alone: padding a batch changes no answer."""
    folder = MODELS[name](tmp_path / "model")
    source = opened("vlm", model=str(folder), max_new_tokens=8, device="cpu", longest_side=112)
    together = source.ask(pictures)
    alone = [source.ask([each])[0] for each in pictures]
    assert together == alone
    assert any(answer.text for answer in together)
    source.close()


def test_an_answer_without_an_end_is_cut_off_and_refused(tmp_path: Path, pictures: list[Ask]) -> None:
    folder = tiny.write_qwen(tmp_path / "model", "qwen2")
    source = opened("vlm", model=str(folder), max_new_tokens=5, device="cpu")
    assert [answer.refused for answer in source.ask(pictures)] == ["too long: cut off after 5 tokens"] * 3


def test_an_unreadable_picture_spoils_no_batch(tmp_path: Path, pictures: list[Ask]) -> None:
    folder = tiny.write_qwen(tmp_path / "model", "qwen2")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    source = opened("vlm", model=str(folder), max_new_tokens=5, device="cpu")
    answers = source.ask([pictures[0], ask(tmp_path / "bad.png"), pictures[1]])
    assert "not a picture" in answers[1].refused
    assert answers[0].text == source.ask([pictures[0]])[0].text


def test_the_stage_runs_with_a_model_and_lists_its_nonsense(tmp_path: Path) -> None:
    folder = tiny.write_qwen(tmp_path / "model", "qwen2")
    root = make_folder(tmp_path / "p", {"a.png": "by hand", "b.png": None})
    options = SourceOptions(max_new_tokens=5, device="cpu", batch_size=2)
    result = caption(root, source=f"vlm:{folder}", options=options)
    assert list(result.refused) == ["b.png"] and "cut off" in result.refused["b.png"][0]
    assert (root / "a.txt").read_text() == "by hand" and not (root / "b.txt").exists()


def test_a_model_of_fixed_tasks_takes_no_instructions(tmp_path: Path) -> None:
    folder = tiny.write_florence(tmp_path / "model")
    with pytest.raises(ConfigError, match="fixed tasks"):
        opened("vlm", model=str(folder), device="cpu", instructions="Say the colour.")


def test_what_is_no_such_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="--source server"):
        opened("vlm", model=str(tmp_path), device="cpu")
