"""A folder that is dropped on the home page becomes a project: a real drop, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Served
from .reading import serious_findings


def drop(page: Any, folder: Path, selector: str) -> None:
    """Drop a folder of the disk as a file manager does."""
    box = page.locator(selector).bounding_box()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "data": data}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **at})


def test_a_folder_dropped_becomes_a_project(
    served: Served, page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    fox = tmp_path / "fox"
    (fox / "side").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (80, 64), (40 * number, 90, 90)).save(fox / f"{number}.png")
        (fox / f"{number}.txt").write_text(f"zkw_fox, pose {number}\n", encoding="utf-8")
    Image.new("RGB", (64, 80), "teal").save(fox / "side" / "0.png")
    (fox / "notes.pdf").write_bytes(b"%PDF")
    page.goto(served.url)
    page.click("#begin")
    page.wait_for_selector("#bases input")
    drop(page, fox, "#drop")
    page.wait_for_function("() => document.getElementById('place').value.endsWith('fox')")
    assert page.locator("#few img").count() == 4
    page.check("#bases input")
    page.fill("#trigger", "zkw_fox")
    page.click("#next")
    page.wait_for_selector("#proposals:not([hidden])")
    assert page.inner_text("#left summary") == "1 left out"
    assert page.locator("#reasons .why").count() == page.locator("#reasons dt").count()
    page.fill("#reasons input[aria-label=Steps]", "60")
    page.keyboard.press("Tab")
    page.wait_for_function("() => document.querySelector('#reasons').innerText.includes('You chose it')")
    assert serious_findings(page) == []
    page.click("#create")
    page.wait_for_url("**/pictures")
    page.wait_for_selector(".tile")
    made = tmp_path / "state" / "projects" / "fox"
    assert sorted(path.name for path in (made / "images").iterdir()) == [
        "0.png", "0.txt", "1.png", "1.txt", "2.png", "2.txt", "side-0.png",
    ]  # fmt: skip
    assert "steps = 60" in (made / "maquette.toml").read_text(encoding="utf-8")
    assert not (made / ".upload").exists()
