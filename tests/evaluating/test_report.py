"""Laws of the report: well-formed, complete in itself, escaped, and its facts readable by programs."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from maquette.errors import OutputError
from maquette.evaluating.charts import Axis, Series, line_chart, short, smoothed, thinned, ticks
from maquette.evaluating.decision_section import nearest_pairs
from maquette.evaluating.report import facts_json, read_block, render_report, write_report
from maquette.evaluating.verdict import verdict_of
from maquette.measuring.looks import FLOOR
from maquette.measuring.scorecards import scorecards_of
from maquette.runs.choice import Choice, Ranked, Suspicion
from maquette.runs.notes import Note
from tests.runs.making import run_record

from .making import facts_of, look_of

VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}
HOSTILE = '</script><script>alert("x")</script>&amp;<img src=x onerror=y> \'"—ü'


class Page(HTMLParser):
    """Reads a page; insists that every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    scores = {FLOOR: [0.1, 0.2, 0.1, 0.2, 0.1], "step 100": [0.6, 0.5, 0.7, 0.6, 0.6]}
    return facts_of(tmp_path / "run", look_of(tmp_path / "look", scores))


def test_the_page_is_well_formed_and_complete_in_itself(facts: Any) -> None:
    page = Page(render_report(facts))
    for tag, name, value in page.attributes:
        if name in ("src", "href", "data", "poster", "srcset", "action", "xlink:href"):
            assert value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]}> would be loaded"
    styles = re.findall(r"<style>(.*?)</style>", render_report(facts), re.DOTALL)
    assert not re.search(r"@import|url\(", "".join(styles))
    assert page.tags["script"] == 2 and page.tags["link"] == 0


def test_every_picture_is_embedded_and_described(facts: Any) -> None:
    page = Page(render_report(facts))
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == page.tags["img"] and len(sources) >= 10 + 2
    assert all(alts[:-2]), "only the enlargements have no text of their own before they are filled"
    assert page.tags["svg"] == 3 and page.tags["desc"] == 3, "identity, loss and learning rate"


def test_the_facts_are_readable_by_programs(facts: Any, tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", facts)
    block = read_block(path)
    verdict = verdict_of(facts)
    assert block == json.loads(json.dumps(facts_json(facts, verdict), default=str))
    assert block["lora"] == str(facts.lora)
    assert block["verdict"]["score"]["mean"] == pytest.approx(0.6)
    assert block["verdict"]["ratio"] == pytest.approx(0.6 / 0.14)
    assert block["first_look"]["looks"][0]["scores"] == {"identity": 0.1}
    with pytest.raises(OutputError, match="no report"):
        read_block(facts.pictures[0][0])


def test_the_page_says_the_verdict_and_its_numbers(facts: Any) -> None:
    text = " ".join("".join(Page(render_report(facts)).text).split())
    for fact in (
        "The LoRA learned “zkw”: identity 0.14 → 0.60.",
        "4.3 times the floor",
        "1 × 1 / batch 1 = 1 step an epoch; 4 steps = 4 epochs",
        "zkw, standing",
        str(facts.lora),
        "ab" * 32,
        "Installed for ComfyUI",
        "1.9 GiB",
    ):
        assert fact in text, fact


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    look = look_of(tmp_path / "look", {FLOOR: [0.1, 0.2], HOSTILE: [0.6, 0.9]}, prompt=HOSTILE)
    facts = facts_of(
        tmp_path / "run", look, title=HOSTILE, trigger=HOSTILE, notes=(HOSTILE,), prompt_template=HOSTILE
    )
    hostile = run_record({"subject": {"trigger": HOSTILE, "class_word": HOSTILE}})
    record = facts.record.with_(
        run=HOSTILE,
        settings=hostile.settings,
        base=replace(hostile.base, title=HOSTILE),
        schedule=replace(hostile.schedule, sum=HOSTILE),
        environment=replace(hostile.environment, packages={HOSTILE: HOSTILE}),
        notes=(HOSTILE,),
    )
    facts = replace(facts, record=record, pictures=[(facts.pictures[0][0], HOSTILE)])
    honest = Page(
        render_report(
            facts_of(tmp_path / "run", look_of(tmp_path / "look", {FLOOR: [0.1, 0.2], "a": [0.6, 0.9]}))
        )
    )
    page = Page(render_report(facts))
    assert page.tags["script"] == 2
    assert "onerror" not in {name for _, name, _ in page.attributes}
    assert page.tags["img"] == honest.tags["img"]
    path = write_report(tmp_path / "report.html", facts)
    assert read_block(path)["title"] == HOSTILE


def test_a_run_without_judge_look_or_pictures_has_a_report_too(tmp_path: Path) -> None:
    bare = run_record(state="failed", error="out of memory", step=2, device=None, checkpoints=(), samples=())
    facts = facts_of(tmp_path, None, record=bare, metrics=(), pictures=(), deliveries=(), timings={})
    text = "".join(Page(render_report(facts)).text)
    assert "not finished (failed, 2 steps done)" in text and "out of memory" in text
    assert "models/loras" in text, "how to install by hand"


def test_numbers_that_are_none_are_shown_as_such(tmp_path: Path) -> None:
    metrics = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 0.4}]
    facts = facts_of(tmp_path, None, metrics=metrics)
    text = render_report(facts)
    assert "1 steps had a loss that is not a number" in text
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', text)).lower()
    path = write_report(tmp_path / "report.html", facts)
    assert read_block(path)["metrics"][1]["loss"] is None


def test_a_lost_picture_leaves_a_note_instead_of_a_hole(facts: Any) -> None:
    facts.pictures[0][0].unlink()
    assert "p0.png cannot be shown" in "".join(Page(render_report(facts)).text)


def test_pictures_come_before_words(facts: Any) -> None:
    text = render_report(facts)
    places = [
        text.index(mark)
        for mark in ("<h1>", 'id="before-after"', 'id="verdict"', 'id="grid"', 'id="measures"')
    ]
    assert places == sorted(places) and text.index("<img") < text.index("Drawn from")


def test_a_run_that_nobody_judged_does_not_speak_of_its_loss_first(tmp_path: Path) -> None:
    look = look_of(tmp_path / "look", {FLOOR: [0.0], "step 100": [0.0]}, measures=())
    text = render_report(facts_of(tmp_path / "run", look))
    tiles = text[text.index('class="tiles"') : text.index("</ul>")]
    assert "loss" not in tiles and "0.125" not in tiles


def test_settings_show_what_differs_and_fold_the_rest(facts: Any) -> None:
    text = render_report(facts)
    section = text[text.index('id="settings"') : text.index('id="run"')]
    changed, same = section.split("<details>")
    usual = type(facts.record.settings.lora).model_fields["rank"].default
    assert f'<th scope="row">rank</th><td>4  (default {usual})</td>' in changed and usual != 4
    for name in ("rank", "alpha", "steps"):
        assert f'<th scope="row">{name}</th>' in changed and f'<th scope="row">{name}</th>' not in same
    assert '<th scope="row">seed</th>' in same


def test_small_pictures_are_shown_at_whole_multiples(facts: Any) -> None:
    text = render_report(facts)
    small = re.findall(
        r'width="(\d+)" height="\d+" class="pic tiny" style="--side: (\d+)px; --times: (\d+)"', text
    )
    assert small and {(width, side) for width, side, _ in small} == {("16", "16")}
    assert {int(times) for *_, times in small} == {8}


def test_pictures_beside_the_page_are_enlarged_from_their_files(facts: Any, tmp_path: Path) -> None:
    for entry in facts.look.looks:
        assert (facts.look.folder / entry.path).is_file()
    beside = write_report(tmp_path / "report.html", facts).read_text(encoding="utf-8")
    elsewhere = write_report(tmp_path / "other" / "report.html", facts).read_text(encoding="utf-8")
    originals = re.findall(r'data-original="([^"]*)"', beside)
    assert originals and all((tmp_path / original).is_file() for original in originals)
    assert "data-original" not in elsewhere


@pytest.mark.parametrize("height", [0.02, 0.3, 0.5, 0.98])
def test_the_name_of_a_line_stands_clear_of_the_others(height: float) -> None:
    """Wherever a curve that stays near the named line can be avoided, it is."""
    near = [(0.0, height), (60.0, height + 0.03), (100.0, height + 0.03)]
    chart = line_chart(
        [Series(name="a", points=near)],
        title="t",
        description="d",
        x=Axis(label="x"),
        y=Axis(label="y", low=0.0, high=1.2),
        rules=[("without LoRA 0.25", height)],
    )
    [(_, at, end, base)] = chart.rules
    curve = float(chart.lines[0][0].rsplit(" ", 1)[1])
    assert chart.left < end - 7 * 17 and end < chart.right
    assert not base - 15 < curve < base + 6, (at, base, curve)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0, 1200), (0.031, 0.477), (-3e-5, 2e-4), (7, 7.01)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in pairwise(found)}
    assert steps == {1.0}


def test_ticks_are_short() -> None:
    assert [short(value) for value in (0, 0.25, 1e-4, 5e-4, 1200, -0.002)] == [
        "0",
        "0.25",
        "1e-4",
        "5e-4",
        "1200",
        "-2e-3",
    ]


def test_curves_keep_their_peaks_and_gaps() -> None:
    points = [(float(x), 0.0) for x in range(5000)]
    points[1234] = (1234.0, 9.0)
    points[4321] = (4321.0, float("nan"))
    kept = thinned(points)
    assert len(kept) < 700 and (1234.0, 9.0) in kept
    assert any(y != y for _, y in kept)
    smooth = smoothed([(x, 1.0) for x, _ in points])
    assert {round(y, 9) for _, y in smooth} == {1.0}, "a constant stays what it is from the first point"


def test_an_empty_or_constant_curve_is_drawn(facts: Any) -> None:
    for points in ([], [(1.0, 0.5)], [(1.0, 0.5), (2.0, 0.5)]):
        chart = line_chart(
            [Series(name="a", points=points)],
            title="t",
            description="d",
            x=Axis(label="x"),
            y=Axis(label="y"),
        )
        assert len(chart.lines) == min(len(points), 1) and chart.x_ticks and chart.y_ticks


def test_the_choice_its_numbers_and_what_speaks_against_it_are_shown(tmp_path: Path) -> None:
    look = look_of(tmp_path / "look", {FLOOR: [0.1, 0.2], "step 100": [0.4, 0.5], "step 200": [0.8, 0.9]})
    suspicion = Suspicion(kind="leak", told="It leaks.", remedy="Regularize.")
    ranking = (
        Ranked(checkpoint="b.safetensors", label="step 200", step=200, strength=1.0, score=0.8),
        Ranked(
            checkpoint="a.safetensors", label="step 100", step=100, strength=1.0, score=0.4,
            behind=0.4, behind_low=0.3, behind_high=0.5,
        ),
    )  # fmt: skip
    choice = Choice(
        checkpoint="b.safetensors", label="step 200", step=200, strength=1.0, score=0.8, headline="Step 200 is the best.",
        reasons=("Because.",), suspicions=(suspicion,), ranking=ranking,
    )  # fmt: skip
    facts = facts_of(tmp_path / "run", look, choice=choice, cards=scorecards_of(look))
    page = Page(render_report(facts))
    text = " ".join("".join(page.text).split())
    for fact in (
        "Step 200 is the best.",
        "Because.",
        "It leaks.",
        "Regularize.",
        "worse",
        "+0.300 to +0.500",
    ):
        assert fact in text, fact
    assert "Score by step" in text and "Identity from the trigger alone" in text
    path = write_report(tmp_path / "report.html", facts)
    block = read_block(path)
    assert block["choice"]["checkpoint"] == "b.safetensors" and block["verdict"]["checkpoint"] == "step 200"
    assert block["scorecards"]["cards"][2]["column"]["label"] == "step 200"


def test_drawings_stand_beside_the_training_picture_that_they_resemble(tmp_path: Path) -> None:
    look = look_of(tmp_path / "look", {FLOOR: [0.1], "step 100": [0.4]})
    facts = facts_of(tmp_path / "run", look)
    training = tmp_path / "twin.png"
    Image.effect_noise((64, 64), 90).convert("RGB").save(training)
    drawn = look.folder / look.find("step 100", "zkw", 1).path
    ImageOps.mirror(Image.open(training)).save(drawn)
    copying = replace(look, looks=tuple(replace(each, scores={"copying": 0.9}) for each in look.looks))
    (pair,) = nearest_pairs(replace(facts, look=copying, pictures=[*facts.pictures, (training, "")]))
    assert pair.training == training and "mirrored" in pair.told and pair.drawn == drawn


def test_what_was_decided_about_a_run_stands_in_its_report(facts: Any) -> None:
    notes = (
        Note(text="too dark", verdict="rejected", time="2026-01-02T10:00:00+00:00"),
        Note(text="it was the screen", verdict="kept", amends=1, time="2026-01-03T10:00:00+00:00"),
    )
    page = render_report(replace(facts, notebook=notes))
    section = page.split('<section id="notebook">')[1].split("</section>")[0]
    assert (
        'class="amended">too dark' in section
        and "it was the screen" in section
        and "2026-01-03 10:00" in section
    )
    assert '<section id="notebook">' not in render_report(facts)
