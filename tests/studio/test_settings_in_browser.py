"""Changing settings in a real browser: what is wrong is said beside the field, and what is typed is saved and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.project.config_file import load_settings

from .conftest import Served, make_project, serving


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    project = make_project(tmp_path / "project", [f"{number}.png" for number in range(4)], side_px=64)
    file = project / "maquette.toml"
    file.write_text(file.read_text(encoding="utf-8") + "resolution = 64\n", encoding="utf-8")
    yield from serving(project, tmp_path / "home")


@pytest.mark.slow
def test_settings_are_tried_saved_and_taken_back_by_keyboard(small: Served, page: Any) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"{small.url}/p/{small.key}/plan#setting-noise_offset")
    page.wait_for_selector("#input-noise_offset:focus")  # from a finding's link, behind "More"
    before = (small.project / "maquette.toml").read_bytes()
    page.fill("#input-rank", "many")
    page.wait_for_selector("#setting-rank.wrong")
    assert "a whole number from 1 to 1,024" in page.inner_text("#said-rank")
    page.fill("#input-rank", "8")
    page.fill("#input-learning_rate", "0.5")
    page.wait_for_selector("#said-learning_rate:has-text('SET002')")
    assert not page.locator("#setting-rank.wrong").count()
    assert (small.project / "maquette.toml").read_bytes() == before
    page.keyboard.press("Control+s")
    page.wait_for_selector("#unsaved", state="hidden")
    settings = load_settings(small.project)
    assert (settings.lora.rank, settings.training.learning_rate) == (8, 0.5)
    page.wait_for_selector("#planned:not([hidden])")
    page.click("#undo")
    page.wait_for_selector("#undo", state="hidden")
    assert (small.project / "maquette.toml").read_bytes() == before
    assert page.input_value("#input-rank") == ""
