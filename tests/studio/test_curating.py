"""References chosen on the page, a picture as its bucket will have it, looking at pictures as a job."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from maquette.curating.references import choose_references, give_back, references_in
from maquette.dataset.buckets import bucket_resolutions
from maquette.errors import ConfigError, MaquetteError
from maquette.project.undoing import undo

from .conftest import Served


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".maquette" not in path.parts and path.name != "curation.json"
    }


def test_references_leave_training_with_their_captions_and_one_undo_brings_them_back(served: Served) -> None:
    images, below = served.project / "images", "below/<b>ä %23 'x'.png"
    (images / "01.txt").write_text("tovaki, standing\n", encoding="utf-8")
    before = content(served.project)
    answer = served.api("references/move", {"names": ["01.png", below], "back": False})
    assert answer.table["references"] == ["01.png", below]
    moved = content(served.project)
    assert moved == {
        name.replace("images/", "references/")
        if name in ("images/01.png", "images/01.txt", f"images/{below}")
        else name: data
        for name, data in before.items()
    }
    assert {each["name"] for each in served.api("pictures").table["pictures"]}.isdisjoint({"01.png", below})
    assert served.api("reference/01.png").status == 200
    assert served.api("undo-decision", {}).table["kind"] == "references"
    assert content(served.project) == before
    assert served.api("references").table["references"] == []


def test_the_latest_is_taken_back_first_whatever_it_was(served: Served) -> None:
    served.api("references/move", {"names": ["02.png"], "back": False})
    served.api("decide", {"words": {"kept": ["01.png"]}})
    assert served.api("undo-decision", {}).table["kind"] == "yours"
    assert served.api("undo-decision", {}).table["kind"] == "references"
    assert (served.project / "images" / "02.png").is_file()


def test_a_reference_goes_back_and_undo_of_the_terminal_knows_it(served: Served) -> None:
    before = content(served.project)
    choose_references(served.project, ["00.png"])
    assert served.api("references/move", {"names": ["00.png"], "back": True}).table["references"] == []
    assert content(served.project) == before
    undo(served.project)
    assert [path.name for path in references_in(served.project)] == ["00.png"]


def test_nothing_moves_where_a_name_is_unknown_or_taken_or_nothing_would_be_left(served: Served) -> None:
    names = [each["name"] for each in served.api("pictures").table["pictures"]]
    before = content(served.project)
    for wrong in ([], ["no.png"], ["../maquette.toml"], [7], names):
        assert served.api("references/move", {"names": wrong, "back": False}).status == 400
    choose_references(served.project, ["00.png"])
    Image.new("RGB", (8, 8)).save(served.project / "images" / "00.png")
    try:
        give_back(served.project, ["00.png"])
    except ConfigError as error:
        assert "is there already" in str(error)
    else:
        raise AssertionError("it was written over")
    (served.project / "images" / "00.png").unlink()
    undo(served.project)
    assert content(served.project) == before
    assert served.api("reference/../images/00.png").status == 404


def test_a_crop_is_the_buckets_of_training(served: Served) -> None:
    path = served.project / "images" / "wide.png"
    Image.new("RGB", (96, 50), "teal").save(path)
    with (served.project / "maquette.toml").open("a", encoding="utf-8") as file:
        file.write("resolution = 64\nbucket_step_px = 8\nmin_bucket_px = 32\nmax_bucket_px = 128\n")
    told = served.api("crop/wide.png").table
    sizes = bucket_resolutions((64, 64), 32, 128, 8)
    width, height = min(sizes, key=lambda size: abs(size[0] / size[1] - 96 / 50))
    assert told["bucket"] == [width, height]
    scale = max(width / 96, height / 50)
    assert abs(told["scale"] - scale) < 0.02
    assert min(told["share"]) < 1 == max(told["share"])
    assert f"{width} × {height}" in told["said"]
    (served.project / "images" / "below" / "y.png").write_bytes(path.read_bytes())
    assert served.api("crop/below/y.png").table["trained"] is False  # a plain folder below is not looked into
    assert served.api("crop/none.png").status == 404


def test_the_price_counts_what_nobody_has_looked_at(served: Served) -> None:
    assert served.api("curate-price").table["unseen"] == 0
    Image.new("RGB", (40, 40), "red").save(served.project / "images" / "new.png")
    told = served.api("curate-price").table
    assert (told["unseen"], told["pictures"]) == (1, 10)
    assert "1 new picture of 10" in told["said"]


def test_references_need_a_project(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for move in (choose_references, give_back):
        try:
            move(tmp_path, ["a.png"])
        except MaquetteError as error:
            assert "maquette.toml" in str(error)
        else:
            raise AssertionError("it was moved")
