"""What a person does in the studio for an hour: thousands of pictures by keyboard, the whole way from a folder to a LoRA."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.curating.decisions import read_decisions

from .conftest import Served, make_project, serving

MANY = 3000
WORDS = {"k": "kept", "r": "rejected"}


@pytest.fixture
def thousands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A studio with 3,000 pictures, no two alike."""
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    names = [f"{number:04d}.png" for number in range(MANY)]
    yield from serving(make_project(tmp_path / "project", names, side_px=24), tmp_path / "home")


def decisions(served: Served) -> dict[str, tuple[str, str]]:
    """Return each picture's state and who decided it."""
    found = read_decisions(served.project / "images")
    assert found is not None
    return {name: (each.state, each.decided_by) for name, each in found.pictures.items()}


def come_to(page: Any, served: Served, wanted: dict[str, tuple[str, str]]) -> None:
    """Wait until the disk says what is wanted."""
    for _ in range(300):
        if decisions(served) == wanted:
            return
        page.wait_for_timeout(100)
    now = decisions(served)
    assert [name for name in wanted if now[name] != wanted[name]] == []


@pytest.mark.slow
def test_three_thousand_pictures_are_reviewed_by_keyboard(browser: Any, thousands: Served) -> None:
    chance = random.Random(5)
    names = sorted(decisions(thousands))
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{thousands.url}/p/{thousands.key}/pictures")
    page.wait_for_selector("[data-place='0']")
    before, wanted = decisions(thousands), decisions(thousands)
    for first in range(0, MANY, 1000):  # one key a picture, a thousand in a row
        before = dict(wanted)
        pressed = [chance.choice("kr") for _ in range(1000)]
        page.keyboard.type("".join(pressed))
        wanted |= {names[first + place]: (WORDS[key], "you") for place, key in enumerate(pressed)}
        come_to(page, thousands, wanted)
    assert page.locator("#grid").get_attribute("aria-activedescendant") == f"tile-{MANY - 1}"
    assert page.locator(".tile").count() < MANY / 10
    assert [url for url in asked if "/picture/" in url] == []  # only small versions were loaded
    page.keyboard.press("u")
    come_to(page, thousands, before)
    page.keyboard.press("Shift+U")
    come_to(page, thousands, wanted)
    page.reload()
    page.wait_for_selector("[data-place='0']")
    kept = sum(state == "kept" for state, _ in wanted.values())
    assert page.inner_text("[data-count=kept]") == f"{kept:,}"
    page.close()
