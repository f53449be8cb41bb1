"""What the studio's page costs a person who waits: first paint, scrolling, an event's way to the page, ten open tabs.

    python benchmarks/studio.py --photos FOLDER --rounds 5     # crops of these photographs; without, generated pictures

A real server process (`maquette studio`), a real Chromium, a project of 5,000 different pictures:

1. `paint`: from the navigation to the first contentful paint, and until every picture of the first screen is there; `cold`:
   no small version of a picture exists yet, `warm`: all that the screen needs do.
2. `scroll`: the whole list is scrolled past at a steady speed; time from frame to frame, and how many full-size pictures were
   asked for meanwhile (must be 0). `cold` makes every small version on the way.
3. `event`: a training runs in the queue; from the moment at which the training tells a step to the moment at which the page's
   text says it, both by this machine's clock.
4. `tabs`: the same training watched by one tab, by ten tabs of one browser and by ten browsers: threads and processor
   time of the server, and how many runners there are. Every tab must show the training.

Each is taken several times; best and median are told, since other programs may run beside.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from circumstances import circumstances
from PIL import Image

from maquette.curating.decisions import Decision, Decisions, as_text, decisions_path
from maquette.curating.records import Reason
from maquette.files import replacing, write_json
from maquette.jobs.ledger import Ledger
from maquette.world.cast import write_training_pictures
from maquette.world.pack import base_path

HERE = Path(__file__).resolve().parent
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
WIDE, HIGH = 1440, 900
SCROLL_PX_S = 6000
LATE_MS = 25.0
"""A frame that took longer than this was seen to be late: at 60 Hz one lasts 16.7 ms."""
TABS = 10
PATIENCE_MS = 180_000
SETTINGS = """[model]
base = "{base}"
[subject]
trigger = "tovaki"
[dataset]
images = "images"
resolution = 64
[training]
steps = {steps}
device = "cpu"
[saving]
name = "watched"
"""
FIRST_SCREEN = """
addEventListener("DOMContentLoaded", () => {
  const look = () => {
    const isSeen = (image) => image.getBoundingClientRect().top < innerHeight;
    const isThere = (image) => image.complete && image.naturalWidth;
    const seen = [...document.querySelectorAll("#sheet img")].filter(isSeen);
    if (!seen.length || !seen.every(isThere)) return requestAnimationFrame(look);
    window.firstScreen = { ms: performance.now(), pictures: seen.length };
  };
  look();
});
"""
SCROLL = """
async (pixelsPerSecond) => {
  const grid = document.getElementById("grid"), end = grid.scrollHeight - grid.clientHeight, frames = [];
  await new Promise((resolve) => {
    const began = performance.now();
    let last = began;
    const step = (now) => {
      if (now > last) frames.push(now - last);
      last = now;
      grid.scrollTop = (now - began) / 1000 * pixelsPerSecond;
      grid.scrollTop < end - 1 ? requestAnimationFrame(step) : resolve();
    };
    requestAnimationFrame(step);
  });
  return frames;
}
"""
SEEN = """
window.seen = {};
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const step = /step (\\d+) of/.exec(document.body.textContent);
  if (step && !(step[1] in seen)) seen[step[1]] = Date.now() / 1000;
}).observe(document.body, { subtree: true, childList: true, characterData: true }));
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--photos", type=Path, help="Folder of photographs to cut the pictures from.")
    parser.add_argument(
        "--keep", type=Path, help="Folder for the project of pictures, used again where it is there."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("paint", "scroll", "event", "tabs"), action="append")
    parser.add_argument("--load", default="unknown", help="quiet, or what else ran")
    parser.add_argument("--output", type=Path, help="Folder for the result file.")
    given = parser.parse_args()
    parts = given.only or ["paint", "scroll", "event", "tabs"]
    with tempfile.TemporaryDirectory(prefix="studio-") as place, chromium() as browser:
        os.environ |= {"MAQUETTE_HOME": f"{place}/home", "MAQUETTE_CACHE": f"{place}/cache"}
        told: dict[str, Any] = {}
        if {"paint", "scroll"} & set(parts):
            project = many_pictures(given.keep or Path(place) / "many", given.pictures, given.photos)
            with serving(project) as (url, _):
                if "paint" in parts:
                    told["paint"] = said(paint(browser, url, given.rounds))
                if "scroll" in parts:
                    told["scroll"] = said(scroll(browser, url, given.rounds))
        for part, measure in (("event", events), ("tabs", tabs)):
            if part in parts:
                told[part] = said(measure(browser, Path(place) / part))
    if given.output is not None:
        write(told, given)


def said(found: Any) -> Any:
    """Return what was found, told as soon as it is."""
    print(json.dumps(found, indent=2), flush=True)
    return found


# --- what is measured ------------------------------------------------------------------------------------------


def paint(browser: Any, url: str, rounds: int) -> list[dict[str, Any]]:
    """Return how long the Pictures page takes to be seen, with and without small versions of its pictures."""
    rows = []
    for state in ("cold", "warm"):
        found = []
        for _ in range(rounds):
            if state == "cold":
                shutil.rmtree(Path(os.environ["MAQUETTE_CACHE"]) / "thumbnails", ignore_errors=True)
            found.append(_painted(browser, url))
        rows.append({"thumbnails": state, "rounds": rounds, "pictures_on_first_screen": found[0]["pictures"]})
        for name in ("first_contentful_paint_ms", "list_ms", "first_screen_ms"):
            rows[-1][name] = spread([each[name] for each in found])
    return rows


def _painted(browser: Any, url: str) -> dict[str, float]:
    with tab(browser, FIRST_SCREEN) as page:
        page.goto(f"{url}/pictures")
        page.wait_for_function("() => window.firstScreen")
        found = page.evaluate("""() => ({
            first_contentful_paint_ms: performance.getEntriesByName("first-contentful-paint")[0].startTime,
            list_ms: performance.getEntriesByType("resource").find((each) => each.name.endsWith("/pictures")).responseEnd,
            first_screen_ms: firstScreen.ms, pictures: firstScreen.pictures,
        })""")
        return dict(found)


def scroll(browser: Any, url: str, rounds: int) -> list[dict[str, Any]]:
    """Return how evenly frames follow one another while the whole list passes by."""
    rows = []
    for state, times in (("cold", 1), ("warm", rounds)):
        if state == "cold":
            shutil.rmtree(Path(os.environ["MAQUETTE_CACHE"]) / "thumbnails", ignore_errors=True)
        found, asked = [], []
        for _ in range(times):
            with tab(browser) as page:
                asked.append(requests_of(page))
                page.goto(f"{url}/pictures")
                page.wait_for_selector("#sheet img")
                found.append(page.evaluate(SCROLL, SCROLL_PX_S))
        every = [ms for frames in found for ms in frames]
        rows.append(
            {
                "thumbnails": state,
                "frames": len(every),
                "median_frame_ms": round(statistics.median(every), 2),
                "frame_ms_95": round(quantile(every, 0.95), 2),
                "longest_frame_ms": round(max(every), 1),
                "late_frames_share": spread(
                    [sum(ms > LATE_MS for ms in each) / len(each) for each in found], 4
                ),
                "frames_per_s": spread([1000 * len(each) / sum(each) for each in found], best=max),
                "thumbnails_asked": sum("/thumbnail/" in url for urls in asked for url in urls),
                "full_size_asked": sum("/picture/" in url for urls in asked for url in urls),
            }
        )
    return rows


def requests_of(page: Any) -> list[str]:
    """Return a list that fills with the addresses that a page asks for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def events(browser: Any, place: Path) -> dict[str, Any]:
    """Return how long a training's word takes to be read on the page."""
    project = trainable(place, 400)
    with serving(project) as (url, _), tab(browser, SEEN) as page:
        page.goto(f"{url}/train")
        job = train(project)
        page.wait_for_selector("#run:not([hidden])")
        ended(job, page)
        seen = {int(step): at for step, at in page.evaluate("() => window.seen").items()}
    with Ledger() as ledger:
        told = {
            each["done"]: each["time"]
            for each in ledger.events(job, most=10**6)
            if each["event"] == "progress" and each.get("stage") == "train"
        }
    late = [1000 * (at - told[step]) for step, at in seen.items() if step in told]
    return {
        "events": len(late),
        "best_ms": round(min(late), 1),
        "median_ms": round(statistics.median(late), 1),
        "ms_95": round(quantile(late, 0.95), 1),
        "longest_ms": round(max(late), 1),
    }


def tabs(browser: Any, place: Path) -> list[dict[str, Any]]:
    """Return what watching costs the server: nobody, one tab, ten of one browser, ten browsers."""
    project = trainable(place, 4000)
    rows = []
    with serving(project) as (url, server):
        job = train(project)
        with tab(browser) as page:
            page.goto(f"{url}/train")
            page.wait_for_function("() => /step \\d/.test(document.body.textContent)")
        for what, browsers, each in (
            ("nobody", 0, 0), ("1 tab", 1, 1), ("10 tabs", 1, TABS), ("10 browsers", TABS, 1),
        ):  # fmt: skip
            rows.append({"watched by": what, **_watched(browser, url, server, browsers, each)})
        with Ledger() as ledger:
            ledger.cancel(job)
        ended(job)
    return rows


def _watched(browser: Any, url: str, server: psutil.Process, browsers: int, each: int) -> dict[str, Any]:
    contexts = [browser.new_context() for _ in range(browsers)]
    for context in contexts:
        context.set_default_timeout(PATIENCE_MS)
    pages = [context.new_page() for context in contexts for _ in range(each)]
    for page in pages:
        page.goto(f"{url}/train", wait_until="domcontentloaded")
    shown = 0
    for page in pages:
        try:
            page.wait_for_function("() => /step \\d/.test(document.body.textContent)", timeout=15_000)
            shown += 1
        except Exception:
            continue
    time.sleep(3)
    shares = []
    for _ in range(5):
        began, used = time.monotonic(), sum(server.cpu_times()[:2])
        time.sleep(3)
        shares.append((sum(server.cpu_times()[:2]) - used) / (time.monotonic() - began))
    threads, runners = server.num_threads(), len(runners_here())
    for context in contexts:
        context.close()
    time.sleep(2)
    return {
        "tabs_that_show_it": shown,
        "server_threads": threads,
        "runners": runners,
        "server_processor_share": spread(shares, 4),
    }


# --- what it needs ---------------------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Any]:
    """A real browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def tab(browser: Any, script: str = "") -> Iterator[Any]:
    """A tab of a browser that knows nothing yet."""
    context = browser.new_context(viewport={"width": WIDE, "height": HIGH})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    yield page
    context.close()


@contextmanager
def serving(project: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A real studio; its project's address and its process."""
    process = subprocess.Popen(
        [*MAQUETTE, "studio", str(project), "--port", "0", "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    urllib.request.urlopen(url).read()
    try:
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


MAQUETTE = [sys.executable, "-P", "-c", "from maquette.cli import main; main()"]


def train(project: Path) -> int:
    """Put a training into the queue; return its job."""
    done = subprocess.run(
        [*MAQUETTE, "train", str(project), "--detach", "--json"], capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout.splitlines()[-1])["job"])


def ended(job: int, page: Any = None) -> None:
    """Wait until a job is over."""
    with Ledger() as ledger:
        while not ledger.job(job).is_over:
            page.wait_for_timeout(500) if page is not None else time.sleep(0.5)
    if page is not None:
        page.wait_for_timeout(1000)


def runners_here() -> list[int]:
    """Return the runners of this benchmark's own queue."""
    home = os.environ["MAQUETTE_HOME"]
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if "maquette.jobs.runner" in (line := each.info["cmdline"] or [])
        and any(home in part for part in line)
    ]


def trainable(place: Path, steps: int) -> Path:
    """Return a project of the small world."""
    write_training_pictures(place / "images")
    (place / "maquette.toml").write_text(
        SETTINGS.format(base=base_path().as_posix(), steps=steps), encoding="utf-8"
    )
    return place


def many_pictures(place: Path, count: int, photos: Path | None) -> Path:
    """Return a project of so many different JPEGs, which curation has sorted."""
    images = place / "images"
    images.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png")) if photos else []

    def write_one(number: int) -> None:
        path = images / f"{number:05d}.jpg"
        if not path.is_file():
            with replacing(path) as temporary:
                _picture(sources, random.Random(number), number).save(temporary, format="JPEG", quality=88)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write_one, range(count)))
    names = sorted(path.name for path in images.glob("*.jpg"))
    decisions = {name: _decision(name, number) for number, name in enumerate(names)}
    found = Decisions(folder=images, pictures=decisions)
    decisions_path(images).write_text(as_text(found), encoding="utf-8")
    (place / "maquette.toml").write_text(
        SETTINGS.format(base=base_path().as_posix(), steps=100), encoding="utf-8"
    )
    return place


def _picture(sources: Sequence[Path], chance: random.Random, number: int) -> Image.Image:
    size = chance.choice([(1024, 768), (768, 1024), (960, 960)])
    if not sources:
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    with Image.open(sources[number % len(sources)]) as opened:
        whole = opened.convert("RGB")
    width, height = (int(side * chance.uniform(0.5, 0.95)) for side in whole.size)
    left, top = chance.randrange(whole.width - width + 1), chance.randrange(whole.height - height + 1)
    return whole.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def _decision(name: str, number: int) -> Decision:
    state = ("kept", "kept", "review", "rejected")[number % 4]
    weight = "reject" if state == "rejected" else "review"
    reasons = () if state == "kept" else (Reason("blurred", weight, f"sharpness {number % 60} below 60"),)
    return Decision(
        name=name, state=state, decided_by="maquette", reasons=reasons, cluster=number % 5, quality=0.5
    )


def spread(values: Sequence[float], digits: int = 1, best: Any = min) -> dict[str, float]:
    """Return the best and the middle of several takes."""
    return {"best": round(best(values), digits), "median": round(statistics.median(values), digits)}


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(told: dict[str, Any], given: argparse.Namespace) -> None:
    """Write the result file."""
    head = circumstances("studio", load=given.load, pillow=Image.__version__)
    path = given.output / f"studio-{head['date']}-{given.pictures}pictures-{os.cpu_count()}core-cpu.json"
    write_json(
        path,
        {
            **head,
            "settings": {
                "pictures": given.pictures,
                "from_photographs": given.photos is not None,
                "rounds": given.rounds,
                "window_px": [WIDE, HIGH],
                "scroll_px_per_s": SCROLL_PX_S,
                "late_frame_ms": LATE_MS,
            },
            "results": told,
            "conclusion": concluded(told),
        },
    )
    print(f"written: {path}")


def concluded(told: dict[str, Any]) -> str:
    """Return in words what was found."""
    said = []
    for row in told.get("paint", []):
        screen = row["first_screen_ms"]
        said.append(
            f"{row['thumbnails']}: first paint {row['first_contentful_paint_ms']['median']:.0f} ms, all "
            f"{row['pictures_on_first_screen']} pictures of the first screen after {screen['median']:.0f} ms "
            f"(best {screen['best']:.0f})"
        )
    for row in told.get("scroll", []):
        said.append(
            f"scrolling {row['thumbnails']}: {row['frames_per_s']['median']:.0f} frames a second, "
            f"{row['full_size_asked']} full-size pictures asked for"
        )
    if found := told.get("event"):
        said.append(
            f"an event is read after {found['median_ms']:.0f} ms, 95 % within {found['ms_95']:.0f} ms"
        )
    for row in told.get("tabs", []):
        said.append(
            f"watched by {row['watched by']}: {row['runners']} runner, {row['server_threads']} threads, "
            f"{row['server_processor_share']['median']:.1%} of a core"
        )
    return "; ".join(said) + "."


if __name__ == "__main__":
    main()
