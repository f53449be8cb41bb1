"""Use and Compare in a real browser: the template copied, the LoRA installed where the page said, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.lora.files import inspect_lora

from .conftest import Served, careful_page, serving
from .making import judged, made_run
from .reading import serious_findings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a person who has a ComfyUI."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def opened(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project = tmp_path_factory.mktemp("project") / "zkw"
    judged(made_run(project), 4.0)
    judged(made_run(project, "zkw-002", captions=("zkw, standing", "zkw, red hair, sitting")), 7.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAQUETTE_HOME", str(home / "state"))
        patch.setenv("HOME", str(home))
        yield from serving(project, home / "studio")


@pytest.fixture
def page(browser: Any, opened: Served) -> Iterator[Any]:
    """A page that may use the clipboard."""
    with careful_page(browser, permissions=["clipboard-read", "clipboard-write"]) as made:
        yield made


def test_a_template_is_copied_and_a_lora_installed(page: Any, opened: Served, home: Path) -> None:
    page.goto(f"{opened.url}/p/{opened.key}/use?run=zkw-001")
    page.fill("[data-slot=pose]", "sitting")
    page.focus("[data-copy=template]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#toasts .toast")  # spoken: a status
    assert page.evaluate("navigator.clipboard.readText()") == "zkw, sitting" == page.inner_text("#template")
    page.click("[data-for=webui]")
    assert page.inner_text("#template") == "zkw, sitting <lora:zkw-001:1>"
    page.wait_for_selector("#places .place >> nth=1")
    page.focus("#places input >> nth=0")
    page.keyboard.press("Space")
    page.wait_for_selector("#go:not(:disabled)")
    page.fill("#name", "zkw-final")
    page.wait_for_function("() => document.querySelector('#plan-told').textContent.includes('zkw-final')")
    assert not list((home / "ComfyUI").rglob("*.safetensors"))
    page.focus("#go")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])")
    lora = home / "ComfyUI" / "models" / "loras" / "zkw-final.safetensors"
    assert inspect_lora(lora).modules and str(lora) in page.inner_text("#done")
    assert serious_findings(page) == []


def test_two_runs_are_compared_word_by_word_and_one_is_decided(page: Any, opened: Served) -> None:
    page.goto(f"{opened.url}/p/{opened.key}/compare?a=zkw-001&b=zkw-002")
    page.wait_for_selector("#found:not([hidden])")
    assert page.inner_text(".caption ins").strip(" ,") == "red hair"
    page.fill("#books form:nth-child(2) textarea", "rejected: <b>the hair</b> is in the captions")
    page.press("#books form:nth-child(2) .keep", "Enter")
    page.wait_for_selector("#books form:nth-child(2) .state.failed")
    assert "<b>the hair</b> is in the captions" in page.inner_text("#books form:nth-child(2) .written")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_screen_reader(browser: Any, opened: Served, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    made = context.new_page()
    for path in PAGES:
        made.goto(f"{opened.url}/p/{opened.key}/{path}")
        made.wait_for_timeout(700)
        assert serious_findings(made) == [], path
        assert made.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    context.close()


PAGES = ("use", "compare?a=zkw-001&b=zkw-002")


def test_who_is_faster_than_the_script_types_a_folder_too(opened: Served, page: Any) -> None:
    held: list[Any] = []
    page.route("**/static/use.js*", lambda route: held.append(route))
    page.goto(f"{opened.url}/p/{opened.key}/use", wait_until="commit")
    page.check("#other input")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_selector("#folder:focus")
