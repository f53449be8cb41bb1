"""What tests in several rooms share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

import maquette  # (before torch: it says how torch's libraries must start)

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side must not each start a thread a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MAX_PROCESSES = 4
PROCESS_BYTES = 3 * 2**30
"""What a process of tests may need: libraries, tiny models, and a while a checkpoint of two gigabytes."""
NOTABLE_IMPORTS = 100
"""So many modules hold enough for the garbage collector to pass over them."""
_SPARED = {"modules": 0}
LEFT_OUT = pytest.StashKey[int]()

PICTURE_SIZES = [(96, 96), (96, 96), (144, 72)]
REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests note for this user away from the user's own state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAQUETTE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests too, as `make test-all` does")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in as many processes as cores and memory carry, and what is named in this one."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = psutil.virtual_memory().available // PROCESS_BYTES
    processes = min(cores, MAX_PROCESSES, room)
    return processes if processes > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests unless all are asked for, or the command chooses by itself."""
    chosen = config.option.markexpr or config.option.keyword or any("::" in name for name in config.args)
    if config.getoption("--all") or chosen:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    config.stash[LEFT_OUT] = len(slow)


def pytest_collection_finish() -> None:
    _spare_what_stays()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    if len(sys.modules) >= _SPARED["modules"] + NOTABLE_IMPORTS:
        _spare_what_stays()


def _spare_what_stays() -> None:
    """Let the garbage collector pass over what modules hold: half a million objects, walked through in every test."""
    _SPARED["modules"] = len(sys.modules)
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every process leaves out the same tests; take over from one how many."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} slow tests were left out; `make test-all` (pytest --all) runs them."
        )


def shared_data(name: str = "") -> Path:
    """Return the folder of real pictures beside the repository, or `name` in it; skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data" / name
    if not folder.exists():
        pytest.skip(f"needs real pictures in {folder}, which are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden numbers' base: the SD 1.5 layout, narrow."""
    from tests.reference import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three small pictures of two shapes with captions."""
    return make_pictures(tmp_path / "pictures", PICTURE_SIZES)


def make_pictures(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Write one noisy picture with a caption for each size (width, height)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for index, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{index}.png")
        (folder / f"p{index}.txt").write_text(f"zkw, pose {index}, blue wall, standing")
    return folder


def short_settings(base: Path, images: Path, output: Path, /, **changes: object) -> dict[str, Any]:
    """Return settings of a run that takes seconds; keywords override."""
    values: dict[str, Any] = {
        "images": images,
        "base": str(base),
        "trigger": "zkw",
        "steps": 6,
        "rank": 2,
        "resolution": 64,
        "bucket_step_px": 16,
        "device": "cpu",
        "precision": "no",
        "output": output,
        "name": "zkw",
        "state_every_steps": 2,
        "dropout": 0.1,
        "shuffle_caption": True,
        "keep_tokens": 1,
        "save_precision": "fp32",
    }
    return {**values, **changes}


@pytest.fixture
def short_run(tiny_base: Path, pictures: Path, tmp_path: Path) -> Callable[..., dict]:
    """Return settings of a run that takes seconds; keywords override."""
    return partial(short_settings, tiny_base, pictures, tmp_path / "out")


@pytest.fixture(scope="session")
def whole_run(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The finished run of `short_run`'s own settings, by which others are measured: to be read only."""
    folder = tmp_path_factory.mktemp("whole")
    images = make_pictures(folder / "pictures", PICTURE_SIZES)
    return maquette.train(**short_settings(tiny_base, images, folder / "out", name="whole"))
