"""--apply copies and never moves; it refuses what it did not make; it can be taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maquette.curating.listing import MANIFEST_NAME
from maquette.curating.person import decide, undo
from maquette.errors import OutputError
from maquette.world.cast import TOVAKI
from tests.curating.making import Heap, contents, curate, draw, heap, scenes


@pytest.fixture
def made(tmp_path: Path) -> Heap:
    return heap(tmp_path)


def test_kept_pictures_are_copied_with_their_captions(made: Heap, tmp_path: Path) -> None:
    before = contents(made.folder)
    out = tmp_path / "10_tovaki"
    found = curate(made.folder, references=[made.references], encoder="world", apply=out)
    copies = contents(out)
    assert copies.pop("curation-set.json")
    assert copies == {name: before[name] for name in copies}
    assert len(copies) == 24 and found.copied == 12
    after = contents(made.folder)
    del after["curation.json"]
    assert after == before


def test_taking_apply_back_takes_the_copies_away(made: Heap, tmp_path: Path) -> None:
    out = tmp_path / "set"
    curate(made.folder, apply=out)
    decisions = (made.folder / "curation.json").read_bytes()
    assert undo(made.folder).kind == "apply"
    assert not out.exists()
    assert (made.folder / "curation.json").read_bytes() == decisions


def test_a_second_apply_follows_the_decisions_and_can_be_taken_back(made: Heap, tmp_path: Path) -> None:
    out = tmp_path / "set"
    curate(made.folder, references=[made.references], encoder="world", apply=out)
    before = contents(out)
    decide(made.folder, {"rejected": ["own000.png"]})
    curate(made.folder, apply=out)
    assert set(before) - set(contents(out)) == {"own000.png", "own000.txt"}
    undo(made.folder)
    assert contents(out) == before


def test_applying_twice_changes_nothing(made: Heap, tmp_path: Path) -> None:
    curate(made.folder, apply=tmp_path / "set")
    before = contents(tmp_path, hidden=True)
    curate(made.folder, apply=tmp_path / "set")
    assert contents(tmp_path, hidden=True) == before


def test_a_copy_that_was_edited_is_left_alone(made: Heap, tmp_path: Path) -> None:
    out = tmp_path / "set"
    curate(made.folder, references=[made.references], encoder="world", apply=out)
    (out / "own000.txt").write_text("tovaki, my own words\n")
    decide(made.folder, {"rejected": ["own000.png"]})
    found = curate(made.folder, apply=out)
    assert (out / "own000.txt").read_text() == "tovaki, my own words\n"
    assert any("own000.txt was changed" in text for text in found.warnings)
    undo(made.folder)
    assert (out / "own000.txt").read_text() == "tovaki, my own words\n"


@pytest.mark.parametrize("taken", ["other files", "another set", "itself", "a file"])
def test_a_folder_of_somebody_else_is_refused_before_anything_happens(
    made: Heap, tmp_path: Path, taken: str
) -> None:
    out = tmp_path / "set"
    if taken == "other files":
        out.mkdir()
        (out / "notes.md").write_text("mine")
    elif taken == "another set":
        draw(tmp_path / "elsewhere", TOVAKI, scenes(2))
        curate(tmp_path / "elsewhere", apply=out)
    elif taken == "a file":
        out.write_text("mine")
    else:
        out = made.folder
    before = contents(tmp_path, hidden=True)
    with pytest.raises(OutputError):
        curate(made.folder, apply=out)
    assert contents(tmp_path, hidden=True) == before


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../heap.txt": {"source": "a", "sha256": "0"}}},
        {"files": {"/etc/x": {"source": "a", "sha256": "0"}}},
        {"files": {"a.png": {"source": "a"}}},
        {"files": []},
        {"schema": 2},
        {"source": 3},
    ],
)
def test_a_list_of_copies_that_was_tampered_with_is_nobody_s(
    made: Heap, tmp_path: Path, change: dict[str, object]
) -> None:
    """A path in it that leads out of the folder would be overwritten or taken away."""
    curate(made.folder, apply=tmp_path / "set")
    (tmp_path / "heap.txt").write_text("mine")
    manifest = tmp_path / "set" / MANIFEST_NAME
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    before = contents(tmp_path / "set")
    with pytest.raises(OutputError, match="holds something else"):
        curate(made.folder, apply=tmp_path / "set")
    assert contents(tmp_path / "set") == before and (tmp_path / "heap.txt").read_text() == "mine"


def test_a_set_inside_the_heap_is_not_chosen_from(made: Heap) -> None:
    first = curate(made.folder, apply=made.folder / "chosen")
    second = curate(made.folder)
    assert second.counts == first.counts


def test_pictures_of_one_name_in_several_folders_all_arrive(tmp_path: Path) -> None:
    draw(tmp_path / "heap" / "a", TOVAKI, scenes(2))
    draw(tmp_path / "heap" / "b", TOVAKI, scenes(4)[2:])
    draw(tmp_path / "heap" / "10_tovaki", TOVAKI, scenes(6)[4:])
    curate(tmp_path / "heap", apply=tmp_path / "set")
    assert set(contents(tmp_path / "set")) == {
        "10_tovaki/p000.png",
        "10_tovaki/p001.png",
        "a_p000.png",
        "a_p001.png",
        "b_p000.png",
        "b_p001.png",
        "curation-set.json",
    }
