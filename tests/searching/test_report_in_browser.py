"""A search's report in a real browser: the table sorts, a trial lights up everywhere, and a phone scrolls nothing sideways."""

from __future__ import annotations

from pathlib import Path

from maquette.searching.report import search_report
from tests.browser import asked_of_page, needs_chromium
from tests.searching.planted import planted_study
from tests.searching.test_report import project_with

pytestmark = needs_chromium

USED = """
  const rows = () => [...doc.querySelectorAll("tr[data-trial]")];
  const sortBy = (column) => doc.querySelector(`th button[data-column="${column}"]`).click();
  const column = (index) => rows().map((row) => row.children[index].dataset.key);
  const found = { width: doc.documentElement.scrollWidth, window: view.innerWidth };
  sortBy(0); found.up = column(0);
  sortBy(0); found.down = column(0);
  sortBy(2); found.values = column(2);
  const trial = rows()[0].dataset.trial;
  const lit = () => [...doc.querySelectorAll(".lit")].length;
  rows()[0].click(); found.lit = lit(); found.marked = doc.querySelectorAll(`.t${trial}.lit`).length;
  rows()[0].click(); found.dark = lit();
  doc.querySelector(`circle.t${trial}`).dispatchEvent(new view.MouseEvent("click", { bubbles: true }));
  found.again = lit();
  found.save = doc.querySelector("[data-save]").href.slice(0, 5);
  return found;
"""


def test_the_table_sorts_and_a_trial_lights_up_in_all_charts(tmp_path: Path) -> None:
    study = planted_study(trials=14)
    page = search_report(project_with(tmp_path, study)).report.read_text(encoding="utf-8")
    found = asked_of_page(page, tmp_path, USED, width=390)
    numbers = [each.number for each in study.trials if each.of is None]
    assert [int(each) for each in found["up"]] == numbers
    assert [int(each) for each in found["down"]] == numbers[::-1]
    values = [float(each) for each in found["values"] if each]
    assert values == sorted(values) and found["values"][len(values) :] == [""] * (len(numbers) - len(values))
    assert found["lit"] == found["again"] == found["marked"] + 1, "its marks in the charts, and its row"
    assert found["marked"] > 3 and found["dark"] == 0
    assert found["save"] == "blob:"
    assert found["width"] <= found["window"]
