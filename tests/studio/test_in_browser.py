"""The studio as a person has it: a real browser, the keyboard, a phone, a screen reader's rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.curating.decisions import read_decisions

from .conftest import Served, make_project, serving

MANY = 600


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Served]:
    """A studio with a project of many pictures."""
    names = [f"{number:04d}.png" for number in range(MANY)]
    yield from serving(make_project(tmp_path / "project", names, side_px=24), tmp_path / "home")


def states(served: Served) -> dict[str, str]:
    found = read_decisions(served.project / "images")
    assert found is not None
    return {name: decision.state for name, decision in found.pictures.items()}


def settled(page: Any, served: Served, name: str, state: str) -> None:
    """Wait until a decision is on the disk."""
    for _ in range(100):
        if states(served)[name] == state:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{name} is {states(served)[name]}, not {state}")


def test_a_folder_is_reviewed_by_keyboard_alone(many: Served, page: Any) -> None:
    page.goto(f"{many.url}/p/{many.key}/pictures")
    page.wait_for_selector("[data-place='0']")
    assert page.locator(".tile").count() < MANY / 3  # only those in sight exist
    for key in ("r", "k", "k"):  # 0000 away, 0001 and 0002 kept; each goes on to the next
        page.keyboard.press(key)
    assert page.locator("#grid").get_attribute("aria-activedescendant") == "tile-3"
    settled(page, many, "0002.png", "kept")
    assert [states(many)[f"000{number}.png"] for number in range(3)] == ["rejected", "kept", "kept"]
    page.keyboard.press("End")
    page.wait_for_selector(f"[data-place='{MANY - 1}']")
    page.keyboard.press("Space")
    page.wait_for_selector("#zoom[open]")
    assert page.inner_text("#name") == f"{MANY - 1:04d}.png"
    page.keyboard.press("k")
    settled(page, many, f"{MANY - 1:04d}.png", "kept")
    page.keyboard.press("Space")
    page.wait_for_selector("#zoom:not([open])", state="attached")
    page.keyboard.press("u")
    settled(page, many, f"{MANY - 1:04d}.png", "rejected")
    page.keyboard.press("Shift+U")
    settled(page, many, f"{MANY - 1:04d}.png", "kept")


def test_a_selection_is_decided_together_and_one_undo_takes_it_back(many: Served, page: Any) -> None:
    page.goto(f"{many.url}/p/{many.key}/pictures")
    page.wait_for_selector("[data-place='0']")
    page.click("button[data-state='review']")
    page.wait_for_function("() => document.getElementById('told').textContent.startsWith('1 of 200')")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    before = states(many)
    page.keyboard.press("k")
    settled(page, many, "0013.png", "kept")
    changed = [name for name, state in states(many).items() if state != before[name]]
    assert changed == ["0001.png", "0004.png", "0007.png", "0010.png", "0013.png"]
    page.wait_for_function("() => document.querySelector('[data-count=review]').textContent === '195'")
    page.keyboard.press("u")
    settled(page, many, "0013.png", "review")
    assert states(many) == before


def test_who_decides_without_a_pause_or_leaves_at_once_loses_nothing(many: Served, page: Any) -> None:
    page.goto(f"{many.url}/p/{many.key}/pictures")
    page.wait_for_selector("[data-place='0']")
    with page.expect_request("**/decide"):  # while the keys go on coming
        page.evaluate(
            """() => {
              const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "k", bubbles: true }));
              globalThis.typing = setInterval(press, 60);
            }"""
        )
    page.evaluate("() => clearInterval(globalThis.typing)")
    page.keyboard.press("End")
    page.keyboard.press("k")
    page.goto("about:blank")
    settled(page, many, f"{MANY - 1:04d}.png", "kept")


def test_a_decision_that_cannot_be_kept_is_said(browser: Any, served: Served) -> None:
    opened = browser.new_page()
    opened.goto(f"{served.url}/p/{served.key}/pictures")
    opened.wait_for_selector("[data-place='0']")
    (served.project / "images" / "curation.json").write_text("{", encoding="utf-8")
    opened.keyboard.press("r")
    opened.wait_for_selector(".toast.bad")
    assert "curation.json" in opened.inner_text(".toast.bad >> nth=0")
    opened.close()


def test_curves_are_drawn_within_the_pages_policy(
    page: Any, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    answer = page.goto(f"{served.url}/p/{served.key}/train")
    assert "unsafe" not in answer.headers["content-security-policy"]
    page.wait_for_function("() => window.Plotly")
    page.evaluate(
        """() => {
          const box = document.createElement("div");
          document.body.append(box);
          return Plotly.newPlot(box, [{ y: [1, 2] }]);
        }"""
    )
    page.wait_for_selector(".scatterlayer .trace")  # whatever the console says fails the test
    page.goto("about:blank")
