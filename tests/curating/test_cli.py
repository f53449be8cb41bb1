"""`maquette curate`: one JSON object with what the contract names, and a person's decisions from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from maquette.cli.curate import command
from maquette.curating.sheets import COLUMNS, ROWS
from maquette.world.cast import TOVAKI
from tests.curating.making import Heap, draw, heap, names_of, scenes


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Heap:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    return heap(tmp_path)


def run(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.output
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_object_holds_what_the_contract_names(made: Heap, tmp_path: Path) -> None:
    found = run(made.folder, "--references", made.references, "--encoder", "world", "--sheet-pages", 0)
    assert names_of(found["kept"]) == made.names("own")
    assert all(Path(path).is_file() for path in (*found["kept"], *found["rejected"], *found["review"]))
    assert all(isinstance(reasons, list) and reasons for reasons in found["rejected"].values())
    assert found["threshold"] == 0.75
    assert found["identity"]["histogram"]["pass_rates"]
    assert not (tmp_path / "out").exists()


def test_deciding_applying_and_undoing_by_hand(made: Heap, tmp_path: Path) -> None:
    run(made.folder, "--references", made.references, "--encoder", "world", "--target", 5)
    changed = run(made.folder, "--keep", "other0_000.png", "--reject", "own00[01].png")["changed"]
    assert changed["other0_000.png"] == "kept"
    found = run(made.folder, "--apply", tmp_path / "out")
    assert len(found["kept"]) == 5 and found["copied"] == 5
    assert "other0_000.png" in names_of((tmp_path / "out").glob("*.png"))
    assert [run(made.folder, "--undo")["undone"] for _ in range(5)] == [
        "apply",
        "curate",
        "yours",
        "curate",
        None,
    ]
    assert not (tmp_path / "out").exists() and not (made.folder / "curation.json").exists()


def test_unusable_input_ends_with_2_and_says_why(tmp_path: Path) -> None:
    found = run(tmp_path / "none", code=2)
    assert "no such folder" in found["error"][0]["given"]


def test_sheets_show_every_group_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    made = heap(tmp_path, own=30)
    draw(made.folder, TOVAKI, scenes(1), prefix="zz_last")
    found = run(made.folder, "--references", made.references, "--encoder", "world", "--sheet-pages", 2)
    names = {Path(path).name for path in found["sheets"]}
    assert {"1-kept-01.png", "1-kept-02.png", "4-groups.png"} <= names
    codes = {"unreadable", "blank", "blurred", "duplicate", "identity"}
    assert codes == {name.split("-")[3].removesuffix(".png") for name in names if name.startswith("3")}
    sizes = {Image.open(path).size for path in found["sheets"]}
    assert len({width for width, _ in sizes}) == 1
    assert max(height for _, height in sizes) < ROWS * 1.6 * max(width for width, _ in sizes) / COLUMNS


def test_sheets_of_groups_that_are_gone_are_taken_away(made: Heap) -> None:
    first = run(made.folder, "--references", made.references, "--encoder", "world")
    second = run(made.folder, "--fresh")
    assert any("identity" in path for path in first["sheets"])
    assert not any("identity" in path for path in second["sheets"])
    assert {str(path) for path in (made.folder / ".curation" / "sheets").iterdir()} == set(second["sheets"])


def test_what_would_have_no_effect_is_refused(made: Heap) -> None:
    run(made.folder)
    for flags in (
        ("--undo", "--target", 5),
        ("--keep", "own000.png", "--fresh"),
        ("--undo", "--keep", "own000.png"),
    ):
        assert "together with" in run(made.folder, *flags, code=2)["error"][0]["given"]
