"""What a person does in the studio for an hour: thousands of pictures by keyboard, the whole way from a folder to a LoRA."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import maquette
from maquette.curating.decisions import read_decisions
from maquette.runs.record import read_record
from maquette.toolbox.baking import Baked
from maquette.world.cast import TRIGGER, write_training_pictures
from maquette.world.pack import base_path

from .conftest import Served, careful_page, make_project, serving

MANY = 3000
CHECKED = """() => !document.getElementById("again").disabled
  && !/^(Looking|Not checked)/.test(document.getElementById("verdict").textContent)"""
ERRORS = """() => fetch(`/api/p/${document.querySelector(".check").dataset.project}/check`)
  .then((answer) => answer.json()).then((state) => state.result.errors)"""
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


def change(page: Any, served: Served, before: dict[str, tuple[str, str]]) -> None:
    """Wait until the disk says something else than before."""
    for _ in range(300):
        if decisions(served) != before:
            return
        page.wait_for_timeout(100)
    raise AssertionError("nothing has changed")


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
    page.keyboard.press("u")  # takes back what was pressed without a pause before
    change(page, thousands, wanted)
    after = decisions(thousands)
    taken = [name for name in names if after[name] != wanted[name]]
    assert set(taken) <= set(names[MANY - 1000 :])
    assert all(after[name] == before[name] for name in taken)
    page.keyboard.press("Shift+U")
    come_to(page, thousands, wanted)
    page.reload()
    page.wait_for_selector("[data-place='0']")
    kept = sum(state == "kept" for state, _ in wanted.values())
    assert page.inner_text("[data-count=kept]") == f"{kept:,}"
    page.close()


@pytest.mark.slow
def test_the_whole_way_from_a_folder_of_pictures_to_an_installed_lora(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    pictures = write_training_pictures(tmp_path / "pictures")
    (comfy := tmp_path / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    project = tmp_path / "project"
    with real_studio() as url, careful_page(browser, patience_s=300) as page:
        page.goto(url)
        begin_project(page, pictures[0].parent, project)
        page.wait_for_selector(".tile >> nth=14")
        go(page, "Captions")
        page.wait_for_function("() => document.getElementById('text').value.startsWith('tovaki')")
        go(page, "Check")
        page.wait_for_function(CHECKED)
        assert page.evaluate(ERRORS) == 0
        go(page, "Plan")
        page.wait_for_selector("#planned:not([hidden])")
        assert "30" in page.inner_text("#sum")
        go(page, "Train")
        page.wait_for_selector("#start:not(:disabled)")
        page.click("#start")
        page.wait_for_selector("#run-state.finished")
        go(page, "Judge")
        page.click("#more summary")
        page.select_option("#suite", "quick")
        page.fill("#seeds", "1")
        page.wait_for_selector("#start:not(:disabled)")
        page.click("#start")
        page.wait_for_selector("#choice:not([hidden])")
        go(page, "Use")
        page.check("#other input")
        page.fill("#folder", str(comfy.parents[1]))
        page.click("#look")
        page.wait_for_selector("#go:not(:disabled)")
        page.click("#go")
        page.wait_for_selector("#done:not([hidden])")
    (installed,) = comfy.glob("*.safetensors")
    (run,) = (project / "runs").iterdir()
    weights = [load_file(run / each.path) for each in read_record(run).checkpoints]
    assert load_file(installed).keys() == weights[-1].keys()
    # Its keys fit: with them the base becomes another one, layer by layer.
    baked = maquette.lora_merge(installed, base=str(base_path()), output=tmp_path / "baked.safetensors")
    assert isinstance(baked, Baked)
    assert baked.layers == sum(name.endswith(".alpha") for name in load_file(installed))


@contextmanager
def real_studio() -> Iterator[str]:
    """A studio in a process of its own; its address."""
    program = [sys.executable, "-P", "-c", "from maquette.cli import main; main()"]
    process = subprocess.Popen(
        [*program, "studio", "--port", "0", "--no-browser", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.wait(30)


def begin_project(page: Any, pictures: Path, project: Path) -> None:
    """Make three decisions on the home page, and one number smaller than is proposed."""
    page.fill("#images", str(pictures))
    page.press("#images", "Enter")
    page.wait_for_selector("#got:not([hidden])")
    page.fill("#base", str(base_path()))
    page.press("#base", "Enter")
    page.wait_for_selector("#bases input:checked")
    page.fill("#trigger", TRIGGER)
    page.fill("#place", str(project))
    page.click("#next")
    page.fill("#reasons input[aria-label=Steps]", "30")
    page.keyboard.press("Tab")
    page.wait_for_function("() => document.getElementById('reasons').innerText.includes('You chose it')")
    page.click("#create")
    page.wait_for_url("**/pictures")


def go(page: Any, stop: str) -> None:
    page.click(f".rail a:has-text('{stop}')")
