"""The pages' own answers: projects opened and closed, pictures, decisions in curate's journal, thumbnails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from maquette.curating.decisions import read_decisions
from maquette.curating.person import decide, undo
from maquette.errors import ConfigError
from maquette.studio.thumbnails import Thumbnails
from maquette.studio.workspace import Workspace

from .conftest import Served, make_project

ODD = "below/<b>ä %23 'x'.png"


def state_of(served: Served, name: str) -> str:
    """Return what curation.json says of a picture."""
    found = read_decisions(served.project / "images")
    assert found is not None
    return found.pictures[name].state


def test_every_picture_is_listed_with_its_decision(served: Served) -> None:
    told = served.api("pictures").table
    assert [each["name"] for each in told["pictures"]] == sorted(each["name"] for each in told["pictures"])
    assert len(told["pictures"]) == 9
    second = next(each for each in told["pictures"] if each["name"] == "01.png")
    assert second["state"] == "review"
    assert second["reasons"][0]["text"] == "sharpness 1 below 60"
    assert told["curated"] and not told["undo"]


def test_a_decision_here_is_a_decision_of_curate_and_is_undone_from_either_side(served: Served) -> None:
    answer = served.api("decide", {"words": {"rejected": ["00.png", ODD], "kept": ["01.png"]}}).table
    assert answer["changed"] == {"00.png": "rejected", "01.png": "kept", ODD: "rejected"}
    assert answer["undo"] == "your own decisions"
    assert state_of(served, "00.png") == "rejected"
    assert undo(served.project / "images").kind == "yours"
    assert state_of(served, "00.png") == "kept"
    decide(served.project / "images", {"rejected": ["00.png"]})
    assert served.api("undo-decision", {}).table["kind"] == "yours"
    assert state_of(served, "00.png") == "kept"
    assert served.api("undo-decision", {}).table["kind"] == ""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"words": []},
        {"words": {"loved": ["00.png"]}},
        {"words": {"kept": "00.png"}},
        {"words": {"kept": [1]}},
        {"words": {"kept": [""]}},
        {"words": {"kept": ["nowhere.png"]}},
        {"words": {"kept": ["00.png"], "rejected": ["00.png"]}},
        {"words": {"kept": ["00.png"]}, "more": 1},
        b"[",
        b"\xff",
        b"[1]",
    ],
)
def test_an_unusable_request_is_told_in_words_and_changes_nothing(served: Served, body: object) -> None:
    before = (served.project / "images" / "curation.json").read_bytes()
    answer = served.api("decide", body)
    assert answer.status == 400
    assert answer.table["error"][0]["given"]
    assert (served.project / "images" / "curation.json").read_bytes() == before


def test_a_thumbnail_is_small_is_kept_and_follows_its_picture(served: Served) -> None:
    path = served.project / "images" / ODD
    Image.new("RGB", (900, 300), "red").save(path)
    address = f"thumbnail/192/{quote(ODD)}"
    first = served.api(address)
    with Image.open(io.BytesIO(first.body)) as small:
        assert (small.format, small.size) == ("WEBP", (192, 64))
    assert served.api(address, If_None_Match=first.headers["etag"]).status == 304
    Image.new("RGB", (300, 900), "blue").save(path)
    second = served.api(address, If_None_Match=first.headers["etag"])
    assert second.status == 200
    with Image.open(io.BytesIO(second.body)) as small:
        assert small.size == (64, 192)
    assert served.api(f"thumbnail/193/{quote(ODD)}").status == 400
    (served.project / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    broken = served.api("thumbnail/192/broken.png")
    assert broken.status == 400
    assert "broken.png" in broken.table["error"][0]["where"]


def test_thumbnails_are_dropped_from_the_one_that_was_not_looked_at_for_longest(tmp_path: Path) -> None:
    import os

    kept = Thumbnails(tmp_path / "thumbnails", limit_bytes=1)
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.effect_noise((64, 64), 80).convert("RGB").save(path)
        kept.of(path, 192)
    files = sorted((tmp_path / "thumbnails").rglob("*.webp"))
    for age, file in enumerate(files):
        os.utime(file, (1_000_000 + age, 1_000_000 + age))
    room = Thumbnails(tmp_path / "thumbnails", limit_bytes=files[2].stat().st_size)
    assert room.sweep() == 2
    assert [file for file in files if file.exists()] == files[2:]


def test_projects_are_opened_listed_latest_first_and_closed_without_a_trace(
    served: Served, tmp_path: Path
) -> None:
    other = make_project(tmp_path / "other", ["a.png"])
    opened = served.ask("/api/projects", {"path": str(other)})
    key = opened.table["project"]
    assert opened.table["url"] == f"/p/{key}"
    assert served.ask(f"/p/{key}").headers["location"] == f"/p/{key}/pictures"
    home = served.ask("/").body.decode()
    assert home.index(f"/p/{key}") < home.index(f"/p/{served.key}")
    before = sorted(other.rglob("*"))
    assert served.ask(f"/api/projects/{key}/close", {}).status == 200
    assert served.ask(f"/p/{key}/pictures").status == 404
    assert sorted(other.rglob("*")) == before


@pytest.mark.parametrize("path", ["/nowhere", "", "/", "\0"])
def test_what_is_no_project_is_not_opened(served: Served, path: str) -> None:
    answer = served.ask("/api/projects", {"path": path})
    assert answer.status == 400
    assert "maquette init" in answer.table["error"][0]["remedy"]


def test_a_project_whose_settings_are_broken_is_listed_with_what_is_wrong(served: Served) -> None:
    (served.project / "maquette.toml").write_text("[dataset]\nimagez = 1\n", encoding="utf-8")
    home = served.ask("/")
    assert home.status == 200
    assert b"imagez" in home.body
    assert served.api("pictures").status == 400
    (served.project / "maquette.toml").unlink()
    assert served.ask("/").status == 200


def test_a_damaged_list_of_projects_is_told_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "studio.json").write_text(json.dumps({"projects": 3}), encoding="utf-8")
    with pytest.raises(Exception, match="projects"):
        Workspace(tmp_path).open(make_project(tmp_path / "p", ["a.png"]))
    assert json.loads((tmp_path / "studio.json").read_text(encoding="utf-8")) == {"projects": 3}


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        Workspace(tmp_path).open(tmp_path / "nowhere")
