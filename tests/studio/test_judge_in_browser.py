"""The Judge page as a person has it: the grid by keyboard, linked zoom, the slider, a blind vote, a choice with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.runs.choice import read_choice
from maquette.runs.votes import read_votes

from .conftest import Served, make_project, serving
from .judged import judged_run
from .reading import serious_findings


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    project = make_project(tmp_path / "project", ["00.png"])
    judged_run(project)
    yield from serving(project, tmp_path / "home")


def focused(page: Any) -> str:
    return str(page.evaluate("() => document.activeElement.getAttribute('aria-label')"))


def test_a_run_is_looked_at_voted_on_and_chosen_by_keyboard(page: Any, judged: Served) -> None:
    page.goto(f"{judged.url}/p/{judged.key}/judge")
    page.wait_for_selector(".cell img")
    page.focus(".cell[tabindex='0']")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert focused(page) == "step 200, tovaki, waving, seed 1"

    page.keyboard.press("Enter")
    page.wait_for_selector("#row .pane img")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('drawn by step 200')")
    for key in ("+", "+", "Shift+ArrowRight"):
        page.keyboard.press(key)
    places = page.evaluate(
        "() => [...document.querySelectorAll('#row .pane img')].map((each) => each.style.transform)"
    )
    assert len(places) == 4 and len(set(places)) == 1 and "scale(1.5625)" in places[0]

    page.keyboard.press("c")
    page.wait_for_selector("#slide:not([hidden])")
    assert page.evaluate("() => document.activeElement.id") == "share"
    page.keyboard.press("ArrowLeft")
    assert (
        page.evaluate("() => document.getElementById('over-box').style.clipPath") == "inset(0px 51% 0px 0px)"
    )
    box = page.locator("#slider").bounding_box()
    page.keyboard.press("0")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.up()
    assert abs(int(page.input_value("#share")) - 25) <= 1
    page.keyboard.press("Escape")
    assert focused(page) == "step 200, tovaki, waving, seed 1"

    page.click("#vote")
    page.wait_for_selector("#ballot[open]")
    for key in ("ArrowLeft", "=", "u"):
        before = page.inner_text("#ballot-told")
        page.keyboard.press(key)
        page.wait_for_function(
            "(before) => document.getElementById('ballot-told').textContent !== before", arg=before
        )
    assert not any(name in page.inner_text("#ballot") for name in ("step", "final", "checkpoint"))
    page.click("#ballot-end")
    page.wait_for_selector("#ranking td")
    assert [vote.winner for vote in read_votes(judged.project / "runs" / "zkw")] == ["first"]
    page.keyboard.press("Escape")

    page.click("#otherwise summary")
    page.select_option("#other", "step 100")
    page.fill("#reason", "<i>the</i> eyes")
    page.keyboard.press("Enter")
    page.wait_for_selector("th.is-chosen:has-text('step 100')")
    kept = read_choice(judged.project / "runs" / "zkw")
    assert kept is not None and (kept.label, kept.decided_by) == ("step 100", "person")
    assert "<i>the</i> eyes" in page.inner_text("#headline")


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), pytest.param(390, "dark", marks=pytest.mark.slow)]
)
def test_nothing_serious_stands_in_a_screen_readers_way(
    browser: Any, judged: Served, width: int, scheme: Any
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    opened.goto(f"{judged.url}/p/{judged.key}/judge")
    opened.wait_for_selector(".cell img")
    opened.locator("#charts").scroll_into_view_if_needed()
    opened.wait_for_selector(".js-plotly-plot")

    assert serious_findings(opened) == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.focus(".cell[tabindex='0']")
    opened.keyboard.press("c")
    opened.wait_for_selector("#slide:not([hidden])")
    assert serious_findings(opened) == []
    opened.keyboard.press("Escape")
    opened.click("#vote")
    opened.wait_for_selector("#ballot[open]")
    assert serious_findings(opened) == []
    context.close()
