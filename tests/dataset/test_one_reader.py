"""A dataset is read once: each folder listed once, each caption and each picture opened once, each fault told once."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.checking.run import check_events
from maquette.cli.app import maquette
from maquette.dataset.facts import DatasetInput, Depth
from maquette.dataset.reading import read_dataset
from maquette.dataset.strict import dataset_of
from maquette.events import Message, run_stage
from maquette.planning.options import PlanOptions
from maquette.planning.requests import settings_for
from maquette.planning.run import plan, plan_events
from maquette.project.config_file import load_settings
from maquette.regularizing.subject import train_items
from maquette.rules.verdict import judge
from maquette.training.prepare import prepare
from tests.conftest import make_pictures

QUIET = PlanOptions(measure=False)
WATCHED: list[tuple[Path, Counter[str]]] = []
"""Folders whose reading is counted, with their counts. An audit hook stays for good, so it looks here."""
EVENTS = ("open", "os.listdir", "os.scandir")


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if event in EVENTS and WATCHED and isinstance(arguments[0], str | os.PathLike):
        path = Path(os.fspath(arguments[0]))
        for root, counts in WATCHED:
            if path.is_relative_to(root):
                counts[str(path.relative_to(root))] += 1


sys.addaudithook(_count)


@contextmanager
def counted(root: Path) -> Iterator[Counter[str]]:
    """Count how often each file below `root` is opened, and each folder listed."""
    WATCHED.append((root, counts := Counter()))
    try:
        yield counts
    finally:
        WATCHED.pop()


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    """The parent of a folder 10_zkw with twenty captioned pictures."""
    make_pictures(tmp_path / "train" / "10_zkw", [(96, 96)] * 16 + [(144, 72)] * 4)
    return tmp_path / "train"


def kinds(counts: Counter[str]) -> dict[str, Counter[int]]:
    """Return how many things of each kind were opened how often; kinds are endings, or `folder`."""
    found: dict[str, Counter[int]] = {}
    for name, times in counts.items():
        found.setdefault(Path(name).suffix or "folder", Counter())[times] += 1
    return found


def test_preparing_a_run_opens_each_file_once(twenty: Path, short_run: Callable[..., dict]) -> None:
    settings = load_settings(overrides=short_run(images=twenty))
    with counted(twenty) as counts:
        prepare(settings, judge=judge)
    assert kinds(counts) == {"folder": {1: 2}, ".png": {1: 20}, ".txt": {1: 20}}


def test_planning_opens_no_caption_and_each_picture_once(twenty: Path) -> None:
    with counted(twenty) as counts:
        plan(settings_for(twenty, {"steps": 10, "resolution": 64}), QUIET)
    assert kinds(counts) == {"folder": {1: 2}, ".png": {1: 20}}


def test_counting_items_opens_nothing(twenty: Path) -> None:
    with counted(twenty) as counts:
        assert train_items(twenty) == 200
    assert kinds(counts) == {"folder": {1: 2}}


@pytest.mark.parametrize(
    ("depth", "opened"), [("listing", 0), ("headers", 20), ("hashes", 20), ("measures", 20)]
)
def test_no_depth_opens_a_file_twice(twenty: Path, depth: Depth, opened: int) -> None:
    with counted(twenty) as counts:
        facts = read_dataset(twenty, depth, cache=None)
    assert counts.total() == 2 + 20 + opened
    assert set(counts.values()) == {1}
    assert len(facts.looks) == opened


def test_a_deeper_look_makes_the_same_dataset(twenty: Path) -> None:
    given = DatasetInput(images=twenty)
    assert dataset_of(read_dataset(given, "hashes")) == dataset_of(
        read_dataset(given, "measures", cache=None)
    )


# --- one fault, one finding ------------------------------------------------------------------------------


def _second_line(folder: Path) -> None:
    (folder / "p0.txt").write_text("zkw, pose 0, blue wall\nand more", encoding="utf-8")


def _beside(folder: Path) -> None:
    make_pictures(folder.parent / "spare", [(96, 96)])


def _twins(folder: Path) -> None:
    (folder / "p1.png").rename(folder / "p0.bmp")
    (folder / "p1.txt").unlink()


def _telephone(folder: Path) -> None:
    (folder / "a.heic").write_bytes(b"x")


def _transparent(folder: Path) -> None:
    with Image.open(folder / "p2.png") as image:
        image.putalpha(128)
        image.save(folder / "p2.png")


def _turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "p3.png") as image:
        image.save(folder / "p3.png", exif=exif)


def _wordless(folder: Path) -> None:
    for path in folder.glob("*.txt"):
        path.unlink()


FAULTS: dict[str, Callable[[Path], None]] = {
    "CAP006": _second_line,
    "CAP029": _wordless,
    "PIC006": _transparent,
    "PIC007": _turned,
    "STP007": _beside,
    "CAP030": _twins,
    "STP014": _telephone,
}


@pytest.mark.parametrize("code", FAULTS)
def test_one_fault_is_told_once_and_alike_wherever_it_is_met(
    code: str, twenty: Path, tmp_path: Path, short_run: Callable[..., dict]
) -> None:
    """In front of a run, by check of the project, by init, and by plan for folders: the same words, once."""
    FAULTS[code](twenty / "10_zkw")
    values = short_run(images=twenty, caption_fallback="zkw")
    trained = [
        m.text for m in prepare(load_settings(overrides=values), judge=judge).messages if m.level == "warning"
    ]
    arguments = ["--images", str(twenty), "--base", values["base"], "--trigger", "zkw", "--json"]
    made = CliRunner().invoke(maquette, ["init", str(tmp_path / "project"), *arguments])
    assert made.exit_code == 0, made.output
    begun = json.loads(made.stdout.strip().splitlines()[-1])["warnings"]
    result = run_stage(check_events([tmp_path / "project"]))
    (finding,) = [each for each in result.findings if each.code == code]
    planned = [e.text for e in plan_events(load_settings(overrides=values), QUIET) if isinstance(e, Message)]
    for told in (trained, begun, *([planned] if code.startswith("STP") else [])):
        (text,) = [each for each in told if f"({code})" in each]
        assert finding.message in text and finding.remedy in text
        assert sum(finding.message[:40] in each for each in told) == 1


def test_repeats_in_vain_are_told_once(twenty: Path, short_run: Callable[..., dict]) -> None:
    job = prepare(load_settings(overrides=short_run(images=twenty, repeats=4)), judge=judge)
    assert sum("repeats" in message.text and message.level == "warning" for message in job.messages) == 1
