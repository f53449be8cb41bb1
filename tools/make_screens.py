"""Makes the pictures of the studio in docs/images from the real program, so that they are true.

    python tools/make_screens.py     # the whole way on the small world, then every page: some minutes, a second time seconds

A character of the small world is drawn, with copies, a stranger and blurred pictures among them; curated, captioned, trained
and judged; the studio is served, and a real Chromium photographs each page.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

import maquette
from maquette.demo.project import write_demo_project
from maquette.world.attributes import random_character, random_scene
from maquette.world.captions import caption
from maquette.world.cast import TOVAKI, TRIGGER
from maquette.world.renderer import render

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PROGRAM = [sys.executable, "-P", "-c", "from maquette.cli import main; main()"]
CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), "")
LAPTOP, PHONE = (1280, 800), (390, 780)
PICTURES, SIZE_PX = 72, 320
STEPS, REFERENCES = 320, 6
QUALITY = 82
SETTLED_MS = 2000
PATIENCE_MS = 180_000
SCREENS: tuple[tuple[str, str, tuple[int, int], str], ...] = (
    ("home", "", LAPTOP, "light"),
    ("pictures", "pictures", LAPTOP, "light"),
    ("captions", "captions", LAPTOP, "light"),
    ("check", "check", LAPTOP, "light"),
    ("plan", "plan", LAPTOP, "light"),
    ("train", "train", LAPTOP, "light"),
    ("judge", "judge", LAPTOP, "light"),
    ("use", "use", LAPTOP, "light"),
    ("judge-dark", "judge", LAPTOP, "dark"),
    ("pictures-phone", "pictures", PHONE, "dark"),
)
"""Name, page, window, light."""
READY = {
    "captions": "document.getElementById('text').value && document.getElementById('large').complete",
    "check": "!document.getElementById('again').disabled && document.querySelector('#groups img')",
    "plan": "!document.getElementById('planned').hidden",
    "train": "document.querySelector('.film img') && document.querySelector('.scatterlayer .trace')",
    "judge": "document.querySelector('.cell img')",
}
"""What says that a page has come to rest, where pictures that are there do not say it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(tempfile.gettempdir()) / "maquette-screens"
    parser.add_argument("--keep", type=Path, default=folder, help="Where the project is made, or is already.")
    parser.add_argument("--output", type=Path, default=IMAGES)
    given = parser.parse_args()
    os.environ |= {"MAQUETTE_HOME": f"{given.keep}/home", "MAQUETTE_CACHE": f"{given.keep}/cache"}
    project = whole_project(given.keep / TRIGGER)
    with serving(project) as url:
        photograph(url, given.output)


def whole_project(project: Path) -> Path:
    """Return a project that has gone the whole way; what is there already is not made again."""
    if not project.exists():
        write_demo_project(project, seed=7, steps=STEPS)
        shutil.rmtree(project / "images")
        draw_heap(project / "images", project / "references")
        maquette.curate(project / "images")
    if not (project / "runs").is_dir():
        maquette.train(project)
    (run,) = (project / "runs").iterdir()
    if not (run / "evaluation").is_dir():
        maquette.select(run)
    return project


def draw_heap(images: Path, references: Path) -> None:
    """Draw the character in many scenes, and what a heap of frames has beside: copies, blurred ones, strangers."""
    images.mkdir(parents=True)
    references.mkdir()
    chance = random.Random(12)
    for number in range(PICTURES):
        scene = random_scene(chance)
        who = random_character(chance) if number % 24 == 13 else TOVAKI
        picture = render(who, scene, SIZE_PX)
        if number % 18 == 5:
            picture = picture.filter(ImageFilter.GaussianBlur(SIZE_PX / 30))
        path = images / f"{TRIGGER}_{number:03d}.png"
        text = caption(TOVAKI, scene, name=TRIGGER, strategy="pose")
        shown = {path: picture}
        if number % 30 == 7:  # the same once more, smaller
            shown[images / f"{path.stem}_small.png"] = picture.resize((SIZE_PX // 2, SIZE_PX // 2))
        for place, each in shown.items():
            each.save(place)
            place.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    for number in range(REFERENCES):
        render(TOVAKI, random_scene(chance), SIZE_PX).save(references / f"{number}.png")


@contextmanager
def serving(project: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [*PROGRAM, "studio", str(project), "--port", "0", "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def photograph(url: str, output: Path) -> None:
    """Write a picture of every page."""
    from playwright.sync_api import sync_playwright

    output.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, page, size, scheme in SCREENS:
            path = output / f"studio-{name}.webp"
            _photographed(browser, url, page, size, scheme).save(path, quality=QUALITY, method=6)
            print(f"{path}: {path.stat().st_size // 1024} KiB", flush=True)
        browser.close()


def _photographed(browser: Any, url: str, name: str, size: tuple[int, int], scheme: str) -> Image.Image:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        device_scale_factor=2 if size == PHONE else 1,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{url}/{name}" if name else url.split("/p/")[0])
    page.wait_for_function(f"() => {READY.get(name, 'document.images.length > 1')}")
    page.wait_for_function(
        "() => [...document.images].every((each) => each.complete || each.loading === 'lazy')"
    )
    page.wait_for_timeout(SETTLED_MS)
    data = page.screenshot()
    context.close()
    return Image.open(io.BytesIO(data)).convert("RGB")


if __name__ == "__main__":
    main()
