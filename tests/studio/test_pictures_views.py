"""The Pictures page's other views in a real browser: pairs side by side, a crop, references, and their undo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.curating.decisions import as_text, decisions_path, read_decisions
from maquette.curating.records import Reason

from .conftest import Served, make_project, serving
from .reading import serious_findings


@pytest.fixture
def paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A studio with a project in which 01.png is told to be a mirror image of 00.png; 02.png is wider than its bucket."""
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    project = make_project(tmp_path / "project", [f"{number:02d}.png" for number in range(6)])
    Image.new("RGB", (120, 50), "teal").save(project / "images" / "02.png")
    with (project / "maquette.toml").open("a", encoding="utf-8") as file:
        file.write("resolution = 64\n")
    found = read_decisions(project / "images")
    assert found is not None
    told = replace(
        found.pictures["01.png"],
        reasons=(Reason("mirrored", "review", "mirror image of 00.png", other="00.png"),),
    )
    measured = {
        name: replace(each, measures={"sharpness": 10.0 * number})
        for number, (name, each) in enumerate(sorted({**found.pictures, "01.png": told}.items()))
    }
    decisions_path(project / "images").write_text(
        as_text(replace(found, pictures=measured)), encoding="utf-8"
    )
    yield from serving(project, tmp_path / "home")


def settled(page: Any, served: Served, wanted: dict[str, str]) -> None:
    """Wait until these states are on the disk."""
    states: dict[str, str] = {}
    for _ in range(200):
        found = read_decisions(served.project / "images")
        assert found is not None
        states = {name: found.pictures[name].state for name in wanted}
        if states == wanted:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{states}, not {wanted}")


def test_pairs_crops_ranges_and_references(paired: Served, page: Any) -> None:
    page.goto(f"{paired.url}/p/{paired.key}/pictures")
    page.wait_for_selector("[data-place='0']")
    page.click("[data-view=pairs]")
    page.click("[aria-label='Keep 01.png, reject 00.png']")
    settled(page, paired, {"01.png": "kept", "00.png": "rejected"})
    assert serious_findings(page) == []
    page.keyboard.press("u")
    settled(page, paired, {"01.png": "review", "00.png": "kept"})  # one undo for both

    page.click(".chips [data-state='']")
    page.select_option("#measure", "sharpness")
    page.fill("#low", "15")
    page.fill("#high", "35")
    page.wait_for_function("() => document.getElementById('told').textContent.startsWith('1 of 2')")
    page.focus("#grid")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.keyboard.press("c")
    page.wait_for_selector("#crop", state="visible")
    shown, crop = page.locator("#large").bounding_box(), page.locator("#crop").bounding_box()
    told = paired.api("crop/02.png").table
    scale = min(shown["width"] / 120, shown["height"] / 50)
    assert crop["width"] == pytest.approx(120 * scale * told["share"][0], abs=2)
    assert crop["height"] == pytest.approx(50 * scale * told["share"][1], abs=2)
    assert page.inner_text("#cropped") == told["said"]
    page.keyboard.press("f")
    page.wait_for_function("() => document.getElementById('num-references').textContent === '1'")
    assert (paired.project / "references" / "02.png").is_file()
    page.keyboard.press("u")
    page.wait_for_function("() => document.getElementById('num-references').textContent === '0'")
    assert (paired.project / "images" / "02.png").is_file()
