"""Small folders of pictures, and the command's answers, for the tests of this room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from PIL import Image

from maquette.cli.plan import command


def folder(path: Path, count: int, size: tuple[int, int] = (64, 64)) -> Path:
    """Write `count` small pictures with captions."""
    path.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", size, (index, 90, 30)).save(path / f"p{index:03}.png")
        (path / f"p{index:03}.txt").write_text("zkw, standing")
    return path


def answer(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found
