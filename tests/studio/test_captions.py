"""The Captions page: what it is told, what it writes, and two people who write one caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Served, make_project, serving

FIRST = {"text": "tovaki, standing, red wall", "name": "000.png"}
EDIT = {
    "kind": "replace",
    "part": "red wall",
    "other": "brick wall",
    "place": -1,
    "names": ["000.png"],
    "preview": True,
}


def caption_of(served: Served, name: str) -> str:
    return (served.project / "images" / name).with_suffix(".txt").read_text(encoding="utf-8")


@pytest.fixture
def captioned(tmp_path: Path) -> Iterator[Served]:
    """A studio with 200 captioned pictures."""
    names = [f"{number:03d}.png" for number in range(200)]
    project = make_project(tmp_path / "project", names, side_px=16)
    for name in names:
        path = (project / "images" / name).with_suffix(".txt")
        path.write_text("tovaki, standing, red wall\n", encoding="utf-8")
    yield from serving(project, tmp_path / "home")


def test_captions_come_with_tokens_parts_and_what_stands_out(captioned: Served) -> None:
    (captioned.project / "profile.toml").write_text(
        'kind = "character"\ntrigger = "tovaki"\n', encoding="utf-8"
    )
    (captioned.project / "images" / "001.txt").write_text("standing, standing\n", encoding="utf-8")
    found = captioned.api("captions").table
    assert len(found["pictures"]) == 200
    assert found["pictures"][0]["text"] == FIRST["text"]
    assert found["pictures"][0]["tokens"] > 4
    assert found["parts"][0] == {"part": "standing", "count": 200}
    assert {"part": "red wall", "count": 199} in found["parts"]
    assert [mark["kind"] for mark in found["pictures"][1]["marks"]] == ["trigger", "duplicate"]
    looked = captioned.api("look-at-caption", {"text": "tovaki"}).table
    assert looked["marks"] == []


def test_a_caption_is_written_and_who_comes_second_is_told(captioned: Served) -> None:
    wanted = {"name": "000.png", "text": "tovaki, jumping", "expected": FIRST["text"]}
    assert captioned.api("caption", wanted).table["picture"]["text"] == "tovaki, jumping"
    second = captioned.api("caption", wanted | {"text": "tovaki, lying"}).table
    assert "changed meanwhile" in second["changed_since"]
    assert second["picture"]["text"] == "tovaki, jumping"
    assert caption_of(captioned, "000.png") == "tovaki, jumping\n"
    assert captioned.api("undo-captions", {}).table["what"] == "the caption of 000.png"
    assert caption_of(captioned, "000.png") == FIRST["text"] + "\n"
    assert captioned.api("undo-captions", {}).table["what"] == ""


@pytest.mark.parametrize(
    "change",
    [{"kind": "x"}, {"part": ""}, {"place": "1"}, {"names": [3]}, {"names": ["../x.png"]}, {"preview": 1}],
)
def test_a_change_that_is_none_writes_nothing(captioned: Served, change: dict[str, object]) -> None:
    assert captioned.api("edit-captions", EDIT | {"preview": False} | change).status == 400
    assert caption_of(captioned, "000.png") == FIRST["text"] + "\n"


def test_a_rename_in_two_hundred_captions_is_previewed_made_and_undone_by_a_person(
    browser: Any, captioned: Served
) -> None:
    images = captioned.project / "images"
    for name, text in (
        ("017.txt", "tovaki, standing, red wall"),
        ("018.txt", "tovaki ,red wall,  standing\r\n"),
    ):
        (images / name).write_bytes(text.encode())  # as other programs write them
    before = {path.name: path.read_bytes() for path in images.glob("*.txt")}
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{captioned.url}/p/{captioned.key}/captions")
    page.wait_for_function("() => document.getElementById('text').value.length > 0")
    page.select_option("#kind", "replace")
    page.fill("#part", "red wall")
    page.fill("#other", "brick wall")
    page.click("#edit button:has-text('Preview')")
    page.wait_for_selector("#preview:not([hidden])")
    assert "200 captions would change" in page.inner_text("#counted")
    assert caption_of(captioned, "150.png") == FIRST["text"] + "\n"
    page.click("#do")
    page.wait_for_selector(".toast:has-text('200 captions changed')")
    assert caption_of(captioned, "150.png") == "tovaki, standing, brick wall\n"
    page.click("#undo")
    page.wait_for_selector(".toast:has-text('Taken back')")
    assert {path.name: path.read_bytes() for path in images.glob("*.txt")} == before
    page.close()


def test_of_two_tabs_that_write_one_caption_the_second_is_told(browser: Any, captioned: Served) -> None:
    tabs = [browser.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(f"{captioned.url}/p/{captioned.key}/captions")
        tab.wait_for_function("() => document.getElementById('text').value.length > 0")
    for tab, text in zip(tabs, ("tovaki, jumping", "tovaki, lying"), strict=True):
        tab.fill("#text", text)
    tabs[0].click("#save")
    tabs[0].wait_for_function("() => document.getElementById('saved').textContent === 'saved'")
    tabs[1].click("#save")
    tabs[1].wait_for_selector(".toast.bad")
    assert "tovaki, lying" in tabs[1].inner_text(".toast.bad")  # what was written is not lost
    assert tabs[1].input_value("#text") == "tovaki, jumping"
    assert caption_of(captioned, "000.png") == "tovaki, jumping\n"
    for tab in tabs:
        tab.close()


def test_late_answers_neither_take_what_is_typed_nor_write_it_under_another_picture(
    captioned: Served, page: Any
) -> None:
    late: list[Any] = []

    def wait_for(condition: Callable[[], bool]) -> None:
        for _ in range(200):
            if condition():
                return
            page.wait_for_timeout(25)
        raise AssertionError("it did not come")

    page.route("**/caption", lambda route: late.append(route))
    page.goto(f"{captioned.url}/p/{captioned.key}/captions")
    page.wait_for_function("() => document.getElementById('text').value.length > 0")
    page.fill("#text", "tovaki")
    page.keyboard.press("Control+s")
    page.keyboard.press("End")
    page.keyboard.type(", jumping")
    wait_for(lambda: len(late) == 1)
    late.pop().continue_()
    wait_for(lambda: caption_of(captioned, "000.png") == "tovaki\n")
    page.wait_for_selector("#undo:enabled")
    assert page.input_value("#text") == "tovaki, jumping"
    page.focus("#grid")
    page.keyboard.press("ArrowRight")
    wait_for(lambda: len(late) == 1)
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('name').textContent === '002.png'")
    late.pop().continue_()
    wait_for(lambda: caption_of(captioned, "000.png") == "tovaki, jumping\n")
    page.wait_for_function("() => document.querySelector('#parts').textContent.includes('jumping 1')")
    assert page.inner_text("#name") == "002.png"
    page.unroute("**/caption")
    page.fill("#part", "red wall")
    page.click("#edit button:has-text('Preview')")
    page.wait_for_selector("#preview:not([hidden])")
    page.fill("#part", "standing")  # not what was shown
    page.wait_for_selector("#preview", state="hidden")
