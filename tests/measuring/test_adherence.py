"""Prompts and pictures are compared as CLIP itself compares them; the trigger is read as what it stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from maquette.encoders import clip_text, load_encoder
from maquette.errors import ModelError
from maquette.measuring.adherence import AdherenceMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import Look

LETTERS = "abcdefghijklmnopqrstuvwxyz,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP of random weights, with a vocabulary of single letters."""
    place = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    last = len(vocabulary) - 1
    config = transformers.CLIPConfig(
        vision_config={**small, "image_size": 32, "patch_size": 8},
        text_config={
            **small,
            "vocab_size": last + 1,
            "bos_token_id": last - 1,
            "eos_token_id": last,
            "max_position_embeddings": 24,
        },
        projection_dim=12,
    )
    transformers.CLIPModel(config).save_pretrained(place)
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(place)
    (place / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(vocabulary)}), "utf-8")
    (place / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}), "utf-8")
    return place


def test_agreement_is_clips_own(folder: Path) -> None:
    picture = Image.effect_mandelbrot((40, 40), (-2, -1.2, 1, 1.2), 40).convert("RGB")
    embedder = Embedder(load_encoder(f"clip={folder}", "cpu"))
    measurer = AdherenceMeasurer(
        embedder, clip_text.load(str(folder), "cpu"), trigger="zkw", class_word="dog"
    )
    [found] = measurer.score([picture], [look("zkw on grass")])
    model: Any = transformers.CLIPModel.from_pretrained(folder)
    tokens = transformers.CLIPTokenizer.from_pretrained(folder)(["dog on grass"], return_tensors="pt")
    processor: Any = transformers.CLIPImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        said = model(**tokens, pixel_values=processor(picture, return_tensors="pt").pixel_values)
    cosine = float(said.image_embeds[0] @ said.text_embeds[0])
    assert found["adherence"] == pytest.approx(min(max(2.5 * cosine, 0.0), 1.0), abs=1e-5)


def look(prompt: str) -> Look:
    return Look(checkpoint="a", step=1, prompt=prompt, role="prompt", seed=1, path=f"{prompt}.png")


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("zkw on grass", "dog on grass"),
        ("zkw dog on grass", "dog on grass"),
        ("a ZKW, dog", "a dog, dog"),
        ("zkw dog", ""),
        ("zkw", ""),
        ("zkwing along", "zkwing along"),
    ],
)
def test_the_trigger_is_read_as_the_class_word(folder: Path, prompt: str, asked: str) -> None:
    embedder = Embedder(load_encoder("world"))
    text = clip_text.load(str(folder), "cpu")
    assert AdherenceMeasurer(embedder, text, trigger="zkw", class_word="dog").asked(prompt) == asked


def test_a_prompt_that_is_longer_than_clip_reads_is_cut(folder: Path) -> None:
    text = clip_text.load(str(folder), "cpu")
    long = "a cat , a dog , a cow , a hen , a fox"
    assert text.encode([long, long + " , a pig"]).shape == (2, 12)
    assert (text.encode([long]) == text.encode([long + " , a pig"])).all()


def test_a_folder_without_words_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"vocab\.json"):
        (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
        (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        clip_text.load(str(tmp_path), "cpu")
