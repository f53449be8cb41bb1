"""A person's word stands above every reason, survives every run, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maquette.curating.decisions import read_decisions
from maquette.curating.person import decide, undo
from maquette.errors import DatasetError
from maquette.world.cast import TOVAKI
from tests.curating.making import Heap, curate, draw, heap, names_of, save, scenes, stranger


@pytest.fixture
def made(tmp_path: Path) -> Heap:
    made = heap(tmp_path)
    curate(made.folder, references=[made.references], encoder="world")
    return made


def test_decisions_survive_every_later_run(made: Heap) -> None:
    other = min(made.names("other"))
    decide(made.folder, {"kept": [other], "rejected": ["own000.png"]})
    for options in ({}, {"threshold": 0.9}, {"target": 4}, {"fresh": True}):
        found = curate(made.folder, **options)
        assert other in names_of(found.kept)
        assert found.rejected[made.folder / "own000.png"][0] == "rejected by you"


def test_taking_a_decision_back_restores_the_file_to_the_byte(made: Heap) -> None:
    path = made.folder / "curation.json"
    before = path.read_bytes()
    decide(made.folder, {"rejected": ["own*"]})
    decided = path.read_bytes()
    decide(made.folder, {"kept": ["own000.png"]})
    assert undo(made.folder).kind == "yours"
    assert path.read_bytes() == decided
    assert undo(made.folder).remaining == 1
    assert path.read_bytes() == before


def test_automatic_gives_a_picture_back_to_its_reasons(made: Heap) -> None:
    name = min(made.names("blur"))
    before = (made.folder / "curation.json").read_bytes()
    assert decide(made.folder, {"kept": [name]}).changed == {name: "kept"}
    assert decide(made.folder, {"automatic": [name]}).changed == {name: "rejected"}
    assert (made.folder / "curation.json").read_bytes() == before


def test_the_copy_that_the_person_keeps_stays_instead_of_the_better_one(made: Heap) -> None:
    decide(made.folder, {"kept": ["own000_copy.jpg"]})
    found = curate(made.folder)
    assert "own000_copy.jpg" in names_of(found.kept)
    assert "which is your choice" in found.rejected[made.folder / "own000.png"][0]


def test_a_target_counts_the_persons_pictures_first(made: Heap) -> None:
    mine = sorted(made.names("own"))[-2:]
    decide(made.folder, {"kept": mine})
    found = curate(made.folder, target=3)
    assert len(found.kept) == 3
    assert set(mine) < names_of(found.kept)


def test_a_decision_follows_its_picture_to_a_new_name(made: Heap) -> None:
    other = min(made.names("other"))
    decide(made.folder, {"kept": [other]})
    (made.folder / other).rename(made.folder / "renamed.png")
    assert "renamed.png" in names_of(curate(made.folder).kept)


def test_a_decision_waits_for_a_picture_that_is_gone(made: Heap) -> None:
    other = min(made.names("other"))
    decide(made.folder, {"kept": [other]})
    elsewhere = made.folder.parent / other
    (made.folder / other).rename(elsewhere)
    curate(made.folder)
    decisions = read_decisions(made.folder)
    assert decisions is not None and set(decisions.absent) == {other}
    elsewhere.rename(made.folder / other)
    assert other in names_of(curate(made.folder).kept)


def test_a_changed_picture_keeps_its_decision_and_is_mentioned(made: Heap) -> None:
    decide(made.folder, {"kept": ["own000.png"]})
    draw(made.folder, stranger(), scenes(1), prefix="own")
    found = curate(made.folder)
    assert "own000.png" in names_of(found.kept)
    assert any("own000.png has changed since you decided" in text for text in found.warnings)


def test_names_paths_and_patterns_mean_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "heap"
    draw(folder / "a", TOVAKI, scenes(3))
    curate(folder)
    assert set(decide(folder, {"rejected": ["p000.png"]}).changed) == {"a/p000.png"}
    assert set(decide(folder, {"rejected": [str(folder / "a" / "p001.png")]}).changed) == {"a/p001.png"}
    assert set(decide(folder, {"kept": ["p00[01].png"]}).changed) == {"a/p000.png", "a/p001.png"}


def test_unknown_names_change_nothing(made: Heap) -> None:
    before = (made.folder / "curation.json").read_bytes()
    with pytest.raises(DatasetError, match="Did you mean 'own0"):
        decide(made.folder, {"kept": ["own00.png", "own001.png"]})
    assert (made.folder / "curation.json").read_bytes() == before


def test_keeping_and_rejecting_the_same_picture_is_refused(made: Heap) -> None:
    with pytest.raises(DatasetError, match="told to be kept and rejected"):
        decide(made.folder, {"kept": ["own000.png"], "rejected": ["own*.png"]})


def test_deciding_comes_after_looking(tmp_path: Path) -> None:
    save(Image.new("RGB", (64, 64)), tmp_path / "a.png")
    with pytest.raises(DatasetError, match="maquette curate"):
        decide(tmp_path, {"kept": ["a.png"]})
