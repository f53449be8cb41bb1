"""The laws of a run: every picture in exactly one state, nothing lost, equal input equal decisions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from maquette.curating.decisions import read_decisions
from maquette.curating.options import CurateOptions
from maquette.curating.person import undo
from maquette.curating.run import curate_events
from maquette.errors import ConfigError, DatasetError, MaquetteError
from maquette.events import Event, Progress, run_stage
from maquette.stopping import Stop, Stopped, stoppable
from maquette.world.cast import TOVAKI
from tests.curating.making import Heap, contents, curate, draw, heap, names_of, save, scenes, stranger
from tests.dataset.making import dataset_at


@pytest.fixture
def made(tmp_path: Path) -> Heap:
    return heap(tmp_path)


def test_every_planted_fault_is_found_and_every_good_picture_kept(made: Heap) -> None:
    found = curate(made.folder, references=[made.references], encoder="world")
    assert names_of(found.kept) == made.names("own")
    reasons = {path.name: " ".join(texts) for path, texts in found.rejected.items()}
    assert set(reasons) == made.names("other", "copy", "blur", "blank", "broken")
    assert all("near copy of own" in reasons[name] for name in made.names("copy"))
    assert all("sharpness" in reasons[name] and "below 60" in reasons[name] for name in made.names("blur"))
    assert all("black frame" in reasons[name] for name in made.names("blank"))
    assert all(
        "identity 0." in reasons[name] and "below 0.75" in reasons[name] for name in made.names("other")
    )
    assert found.counts == {"pictures": 26, "kept": 12, "rejected": 14, "review": 0}


def test_every_picture_is_in_exactly_one_state(made: Heap) -> None:
    found = curate(made.folder, references=[made.references], encoder="world", target=5)
    groups = [names_of(found.kept), names_of(found.rejected), names_of(found.review)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert set.union(*groups) == {name for kind in made.kinds.values() for name in kind}
    decisions = read_decisions(made.folder)
    assert decisions is not None
    assert set(decisions.pictures) == set.union(*groups)
    assert all(decision.texts for decision in decisions.in_state("rejected"))


def test_pictures_and_captions_stay_as_they_are(made: Heap) -> None:
    before = contents(made.folder)
    curate(made.folder, references=[made.references], encoder="world", sheet_pages=1)
    after = contents(made.folder)
    assert after.pop("curation.json")
    assert after == before


def test_a_stopped_curation_has_decided_nothing_and_goes_on(made: Heap) -> None:
    stop, before = Stop(), contents(made.folder)

    def ask(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "measure":
            stop.ask()

    asked = CurateOptions(references=(made.references,), encoder="world", workers=1)
    with pytest.raises(Stopped, match=r"picture 16 of 26 \(measure\)"):
        run_stage(stoppable(curate_events(made.folder, asked, cache=None), stop), ask)
    assert contents(made.folder) == before
    found = curate(made.folder, references=[made.references], encoder="world")
    assert found.counts == {"pictures": 26, "kept": 12, "rejected": 14, "review": 0}


def test_a_second_run_looks_at_nothing_and_changes_nothing(made: Heap) -> None:
    first = curate(made.folder, references=[made.references], encoder="world", sheet_pages=1)
    before = contents(made.folder, hidden=True)
    second = curate(made.folder, sheet_pages=1)
    assert contents(made.folder, hidden=True) == before
    assert (second.measured_now, second.embedded_now) == (0, 0)
    assert (second.kept, second.threshold, second.encoder) == (first.kept, 0.75, "world")
    assert second.sheets == first.sheets


def test_only_what_is_new_is_looked_at(made: Heap) -> None:
    curate(made.folder, references=[made.references], encoder="world")
    new = scenes(14)[12:]
    draw(made.folder, TOVAKI, new, prefix="late")
    found = curate(made.folder)
    assert (found.measured_now, found.embedded_now) == (2, 2)
    assert {"late000.png", "late001.png"} <= names_of(found.kept)


def test_a_fresh_run_forgets_what_the_last_one_was_told(made: Heap) -> None:
    curate(made.folder, references=[made.references], encoder="world", target=3)
    found = curate(made.folder, fresh=True)
    assert (found.target, found.encoder, found.identity) == (None, "", None)
    assert not made.names("other") & names_of(found.rejected)


def test_references_inside_the_folder_are_no_candidates(made: Heap) -> None:
    inside = made.folder / "references"
    made.references.rename(inside)
    found = curate(made.folder, references=[inside], encoder="world")
    assert found.counts["pictures"] == 26
    assert len(found.references) == 6


def test_a_copy_of_a_reference_is_not_scored_against_itself(tmp_path: Path) -> None:
    references = draw(tmp_path / "references", TOVAKI, scenes(2))
    odd = save(Image.open(draw(tmp_path / "x", stranger(), scenes(1))[0]), references[0].parent / "odd.png")
    folder = tmp_path / "heap"
    for path in (*references, odd):
        save(Image.open(path), folder / path.name)
    (folder / "odd.png").write_bytes(odd.read_bytes())
    found = curate(folder, references=[references[0].parent], encoder="world")
    assert names_of(found.rejected) == {"odd.png"}
    assert any("same picture as the reference" in text for texts in found.rejected.values() for text in texts)


def test_folders_below_are_looked_into_and_hidden_ones_are_not(tmp_path: Path) -> None:
    draw(tmp_path / "film" / "scene", TOVAKI, scenes(2))
    draw(tmp_path / "film" / ".trash", stranger(), scenes(1))
    found = curate(tmp_path / "film")
    assert {path.relative_to(tmp_path / "film").as_posix() for path in found.kept} == {
        "scene/p000.png",
        "scene/p001.png",
    }


def test_a_curated_folder_is_still_a_dataset(made: Heap) -> None:
    for name in made.names("other", "copy", "blur", "blank", "broken"):
        (made.folder / name).unlink()
    curate(made.folder, references=[made.references], encoder="world", sheet_pages=1)
    assert len(dataset_at(made.folder).pictures) == 12


def test_a_run_can_be_taken_back_to_the_byte(made: Heap) -> None:
    curate(made.folder)
    path = made.folder / "curation.json"
    first = path.read_bytes()
    curate(made.folder, target=3)
    assert path.read_bytes() != first
    assert undo(made.folder).kind == "curate"
    assert path.read_bytes() == first
    assert undo(made.folder).kind == "curate"
    assert not path.exists()
    assert undo(made.folder).kind == ""


def test_decisions_are_one_line_a_picture_and_say_their_values(made: Heap) -> None:
    curate(made.folder, references=[made.references], encoder="world")
    text = (made.folder / "curation.json").read_text()
    lines = [line for line in text.splitlines() if line.startswith('    "')]
    assert len(lines) == 26
    entry = json.loads(text)["pictures"]["own002_soft.png"]
    reason = entry["reasons"][0]
    assert (reason["code"], reason["limit"]) == ("blurred", 60.0)
    assert reason["value"] == pytest.approx(entry["measures"]["sharpness"], abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_files_were_made_does_not_matter(tmp_path: Path, seed: int) -> None:
    made = heap(tmp_path / "first")
    again = tmp_path / "again" / "heap"
    files = sorted(made.folder.iterdir(), key=lambda path: hash((path.name, seed)))
    for path in files:
        again.mkdir(parents=True, exist_ok=True)
        (again / path.name).write_bytes(path.read_bytes())
    options = {"references": [made.references], "encoder": "world", "target": 4}
    curate(made.folder, **options)
    curate(again, **options)
    assert (made.folder / "curation.json").read_bytes() == (again / "curation.json").read_bytes()


def test_every_problem_of_the_options_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        curate(tmp_path, threshold=1.5, target=0, encoder="clipp", faces="all", sharpnes=3, noise=-1)
    said = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "Did you mean 'clip'?" in said
    assert "Did you mean 'sharpness'?" in said


def test_every_problem_of_the_folders_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        curate(tmp_path / "nowhere", references=[tmp_path / "none"], profile=tmp_path / "no.toml")
    assert len(caught.value.problems) == 3
    assert "no such folder" in str(caught.value)


def test_a_damaged_decision_file_is_never_overwritten(made: Heap) -> None:
    path = made.folder / "curation.json"
    path.write_text('{"schema": 1, "pict')
    with pytest.raises(DatasetError, match="holds your own decisions"):
        curate(made.folder)
    assert path.read_text() == '{"schema": 1, "pict'


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaquetteError, match="no pictures"):
        curate(tmp_path)


def test_seconds_between_frames_without_a_film_are_refused(tmp_path: Path) -> None:
    """Before anything is looked at: it would have no effect."""
    with pytest.raises(ConfigError, match="--every: 2 without a film"):
        curate(tmp_path, every_s=2)
