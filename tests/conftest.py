"""What tests in several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maquette  # noqa: F401 (before torch: it says how torch's libraries must start)

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


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
    return make_pictures(tmp_path / "pictures", [(96, 96), (96, 96), (144, 72)])


def make_pictures(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Write one noisy picture with a caption for each size (width, height)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for index, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{index}.png")
        (folder / f"p{index}.txt").write_text(f"zkw, pose {index}, blue wall, standing")
    return folder


@pytest.fixture
def short_run(tiny_base: Path, pictures: Path, tmp_path: Path) -> Callable[..., dict]:
    """Return settings of a run that takes seconds; keywords override."""

    def settings(**changes: object) -> dict:
        values = {
            "images": pictures,
            "base": str(tiny_base),
            "trigger": "zkw",
            "steps": 6,
            "rank": 2,
            "resolution": 64,
            "bucket_step_px": 16,
            "device": "cpu",
            "precision": "no",
            "output": tmp_path / "out",
            "name": "zkw",
            "state_every_steps": 2,
            "dropout": 0.1,
            "shuffle_caption": True,
            "keep_tokens": 1,
            "save_precision": "fp32",
        }
        return {**values, **changes}

    return settings
