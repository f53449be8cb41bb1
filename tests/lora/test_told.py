"""Laws of what files tell: names as their trainers write them, metadata before names, and a stranger's text is only text."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.lora.told import captions_told, size_told, trained_of


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hero-step00000200", ("hero", 200, None)),
        ("hero-000004", ("hero", None, 4)),
        ("hero", ("hero", None, None)),
        ("hero_000000500", ("hero", 500, None)),
        ("hero2026-01-31_10-00-00-save-1200-6-0", ("hero", 1200, 6)),
        ("2026-01-31_10-00-00-save-1200-6-0", ("", 1200, 6)),
        ("checkpoint-500/pytorch_lora_weights", ("pytorch_lora_weights", 500, None)),
        ("epoch12/adapter_model", ("adapter_model", None, 12)),
        ("hero_epoch-10", ("hero", None, 10)),
        ("hero-v1-5", ("hero-v1-5", None, None)),
        ("sd15_2024", ("sd15_2024", None, None)),
    ],
)
def test_names_tell_how_far_a_training_was(name: str, told: tuple[str, int | None, int | None]) -> None:
    found = trained_of(Path(f"{name}.safetensors"), {})
    assert (found.name, found.step, found.epoch) == told
    assert found.is_numbered == (told[1:] != (None, None))


def test_metadata_go_before_the_name() -> None:
    said = {"ss_steps": "240", "ss_epoch": "None", "training_info": '{"step": 5, "epoch": 3}'}
    found = trained_of(Path("hero-step00000200.safetensors"), said)
    assert (found.step, found.epoch) == (240, 3)
    for nonsense in ("-5", "1e9", "9" * 12, "", "²"):
        assert trained_of(Path("hero-000004.safetensors"), {"ss_steps": nonsense}).step is None
    assert trained_of(Path("hero.safetensors"), {"training_info": "[" * 5000}).step is None


def test_sizes_and_captions_are_told() -> None:
    assert size_told({"ss_resolution": "(512, 768)"}) == (512, 768)
    assert size_told({"modelspec.resolution": "1024x1024"}) == (1024, 1024)
    assert size_told({"ss_resolution": "512"}) == (512, 512)
    assert size_told({"ss_resolution": "(8, 8)"}) is None and size_told({}) is None
    tags = '{"10_hero": {"hero": 3, " red hat ": 1}, "reg": {"hero": 2}, "odd": 4}'
    assert captions_told({"ss_tag_frequency": tags}) == ("hero", "red hat")
    assert captions_told({"ss_tag_frequency": "not JSON"}) == ()
