"""The report in a real browser: what a person clicks, and what a phone shows. Needs Chromium on the PATH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maquette.evaluating.report import render_report
from maquette.measuring.looks import FLOOR
from tests.browser import asked_of_page, needs_chromium

from .making import facts_of, look_of

pytestmark = needs_chromium


def answer(folder: Path, script: str, *, width: int) -> Any:
    """Return what `script` returns as JSON; it sees the report in a window of `width` as `view` and `doc`."""
    scores = {
        FLOOR: [0.1, 0.2, 0.1],
        "step 100": [0.6, 0.5, 0.7],
        "step 200": [0.7, 0.8, 0.7],
        "final (300)": [0.7, 0.7, 0.7],
    }
    text = render_report(facts_of(folder / "run", look_of(folder / "look", scores)))
    return asked_of_page(text, folder, script, width=width)


COMPARED = """
  doc.querySelectorAll("#grid td img")[1].click();
  const dialog = doc.getElementById("enlarged");
  const told = () => [...dialog.querySelectorAll("figure")].map((figure) => ({
    name: figure.querySelector("select").value, note: figure.querySelector("figcaption").textContent,
    alt: figure.querySelector("img").alt, width: figure.querySelector("img").getBoundingClientRect().width,
    shown: !figure.hidden,
  }));
  const first = { open: dialog.open, panes: told() };
  dialog.querySelector("[data-step='1']").click();
  const second = told();
  const right = dialog.querySelectorAll("select")[1];
  right.value = "no LoRA";
  right.dispatchEvent(new Event("change"));
  const third = told();
  dialog.querySelector("[data-close]").click();
  doc.querySelector("#before-after img").click();
  return { first, second, third, single: { open: dialog.open, panes: told() } };
"""


def test_two_checkpoints_are_compared_side_by_side(tmp_path: Path) -> None:
    found = answer(tmp_path, COMPARED, width=1200)
    assert found["first"]["open"] and [pane["name"] for pane in found["first"]["panes"]] == [
        "step 100",
        "step 200",
    ]
    left, right = found["first"]["panes"]
    assert (left["note"], right["note"]) == ("identity 0.60", "identity 0.70")
    assert left["alt"].startswith("step 100, ") and "seed 1" in left["alt"]
    assert left["width"] == right["width"] >= 256 and left["width"] % 16 == 0, "16 pixels at a whole multiple"
    assert "seed 2" in found["second"][0]["alt"] and [pane["name"] for pane in found["second"]] == [
        "step 100",
        "step 200",
    ]
    assert found["third"][1]["alt"].startswith(FLOOR)
    assert found["single"]["open"] and [pane["shown"] for pane in found["single"]["panes"]] == [True, False]


LAYOUT = """
  const box = (element) => element.getBoundingClientRect();
  const wide = [...doc.querySelectorAll("main *")].filter((element) => !element.closest(".scroll svg") &&
    !element.closest("svg") && box(element).right > view.innerWidth + 1 && !element.closest(".scroll"));
  const scrolled = [...doc.querySelectorAll(".scroll")].filter((element) => element.scrollWidth > element.clientWidth + 1);
  return { first: box(doc.querySelector("#before-after img")).top, page: doc.documentElement.scrollWidth, window: view.innerWidth,
    wide: wide.map((element) => element.outerHTML.slice(0, 80)),
    scrolled: scrolled.map((element) => element.textContent.slice(0, 40)) };
"""


@pytest.mark.parametrize("width", [360, 390, 1200])
def test_nothing_is_cut_and_pictures_are_in_the_first_view(tmp_path: Path, width: int) -> None:
    found = answer(tmp_path, LAYOUT, width=width)
    assert found["window"] == width and found["page"] <= width and not found["wide"]
    assert not found["scrolled"], "tables fit without being pushed aside"
    assert found["first"] < 260
