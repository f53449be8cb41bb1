"""What holds for every page, the ones to come included: for a screen reader, by keyboard alone, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Served
from .reading import serious_findings

LAPTOP, TABLET, PHONE = (1440, 900), (900, 1100), (390, 844)
PATIENCE_MS = 120_000
SETTLED_MS = 600  # an open stream is never idle
CONTROLS = """
() => [...document.querySelectorAll("button, a[href], input, select, textarea, summary, [tabindex='0']")]
  .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.closest("[inert]") && !each.matches(":disabled"))
"""
NAMED = """
  const said = (each) => each.getAttribute("aria-label") || each.textContent.trim();
  const named = (each) => `${each.tagName} ${each.id} ${said(each).slice(0, 40)}`;
"""
UNREACHED = """() => {
  NAMED
  const found = [], tell = (each, what) => found.push(`${named(each)} ${what}`);
  for (const each of (CONTROLS)()) {
    if (each.matches(".skip, input[type=file]")) continue;  // in sight only while it has the focus; pressed through its label
    each.scrollIntoView({ block: "center", inline: "center" });
    const box = each.getBoundingClientRect();
    const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    if (!box.width || !box.height) tell(each, "has no size");
    else if (box.left < -1 || box.right > innerWidth + 1) tell(each, "hangs over the edge");
    else if (!hit || !(each.contains(hit) || hit.contains(each) || hit.closest("label")?.control === each)) {
      tell(each, `is covered by ${hit && named(hit)}`);
    }
  }
  return found;
}""".replace("NAMED", NAMED).replace("CONTROLS", CONTROLS)
STOPS = """() => {
  NAMED
  document.activeElement.blur();
  scrollTo(0, 0);
  const isStop = (each) => each.tabIndex >= 0 && !(each.type === "radio" && !each.checked);
  return (CONTROLS)().filter(isStop).map((each, place) => { each.dataset.stop = place; return named(each); });
}""".replace("NAMED", NAMED).replace("CONTROLS", CONTROLS)
NEXT = """() => {
  const stop = document.activeElement.dataset.stop;
  return stop === undefined ? null : Number(stop);
}"""


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


@contextmanager
def opened(browser: Any, size: tuple[int, int], scheme: str = "light") -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        bypass_csp=True,
        has_touch=size == PHONE,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    yield page
    context.close()


def in_the_way(browser: Any, served: Served, size: tuple[int, int], scheme: str) -> list[object]:
    """Return what on any page keeps somebody out: what axe finds serious, what is wider than the window, and every control
    that a finger on a phone, or else the Tab key, does not reach."""
    found: list[object] = []
    with opened(browser, size, scheme) as page:
        for path in served.pages:
            page.goto(served.url + path)
            page.wait_for_timeout(SETTLED_MS)
            found += [(path, *each) for each in serious_findings(page)]
            if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
                found.append((path, "is wider than the window"))
            if size == PHONE:
                found += [(path, each) for each in page.evaluate(UNREACHED)]
            else:
                found += [(path, each, "is not reached by Tab") for each in not_reached_by_keyboard(page)]
    return found


def not_reached_by_keyboard(page: Any) -> list[str]:
    stops = page.evaluate(STOPS)
    assert stops
    reached = set()
    for _ in range(len(stops) + 8):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(NEXT))
    return [name for place, name in enumerate(stops) if place not in reached]


@pytest.mark.parametrize(("size", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")])
def test_nothing_serious_stands_in_anybodys_way(
    browser: Any, served: Served, size: tuple[int, int], scheme: str
) -> None:
    assert in_the_way(browser, served, size, scheme) == []


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), [(LAPTOP, "dark"), (PHONE, "light"), (TABLET, "light")])
def test_nor_in_the_other_light_and_on_a_tablet(
    browser: Any, served: Served, size: tuple[int, int], scheme: str
) -> None:
    assert in_the_way(browser, served, size, scheme) == []
