"""A new project from the home page: three decisions, the proposals of `init` with their reasons, pictures that are brought."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maquette.dataset.kinds import NOT_A_PICTURE
from maquette.planning.init_options import InitOptions
from maquette.planning.new_project import make_project
from maquette.studio import uploads
from maquette.studio.incoming import MOST_BYTES, MOST_FILES, select
from maquette.studio.uploads import PIECE_BYTES, STAGING
from maquette.world.pack import base_path

from .conftest import Answer, Served

CAPTION = b"zkw_fox, standing\n"


def png(side_px: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def begin(served: Served, folder: Path, files: Sequence[tuple[str, bytes]]) -> Answer:
    return served.ask(
        "/api/new/upload", {"folder": str(folder), "files": [[name, len(data)] for name, data in files]}
    )


def send(served: Served, key: str, index: int, data: bytes, offset: int = 0, **more: Any) -> Answer:
    return served.ask(
        f"/api/new/upload/{key}/{index}/{offset}", data, X_Maquette_Page=served.keys.page, **more
    )


def brought(served: Served, folder: Path, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """Bring files as the page does; return what the server said of them."""
    answer = begin(served, folder, files)
    assert answer.status == 200, answer.body
    for index in answer.table["taken"]:
        assert send(served, answer.table["upload"], index, files[index][1]).table["here"] == len(
            files[index][1]
        )
    return dict(answer.table)


def asked(folder: Path, *, upload: str = "", images: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "upload": upload,
        "images": images,
        "base": str(base_path()),
        "trigger": "zkw_fox",
        "changes": changes,
    }


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


FILES = [
    ("fox/a.png", png()),
    ("fox/a.txt", CAPTION),
    ("fox/side/a.png", png(32)),
    ("fox/notes.pdf", b"%PDF"),
]


def test_dropped_pictures_become_the_project_that_init_makes(served: Served, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "fox"
    said = brought(served, folder, FILES)
    assert said["left_out"] == [["fox/notes.pdf", "neither a picture nor a caption"]]
    assert not (folder / "images").exists()  # beside their place until the project is made
    answer = served.ask("/api/new/create", asked(folder, upload=said["upload"]))
    assert answer.status == 200, answer.body
    assert below(folder) == [
        "images/a.png",
        "images/a.txt",
        "images/side-a.png",
        "maquette.toml",
        "profile.toml",
    ]
    other = tmp_path / "typed"
    shutil.copytree(folder / "images", other / "images")
    make_project(other, InitOptions(images=other / "images", base=str(base_path()), trigger="zkw_fox"))
    for name in ("maquette.toml", "profile.toml"):
        mine = (folder / name).read_text(encoding="utf-8").replace(str(folder), "X")
        assert mine == (other / name).read_text(encoding="utf-8").replace(str(other), "X")
    assert served.ask(answer.table["url"]).status == 303


def test_a_typed_folder_stays_where_it_is_and_proposals_can_be_changed(
    served: Served, tmp_path: Path
) -> None:
    images = served.project / "images"
    told = served.ask("/api/new/pictures", {"path": str(images)}).table
    assert (told["pictures"], told["captions"]) == (8, 0)  # the one in a folder below is not trained on
    before = below(images)
    wanted = asked(tmp_path / "mine", images=str(images), kind="style", steps=77, rank=4)
    shown = {each["name"]: each for each in served.ask("/api/new/proposals", wanted).table["proposals"]}
    assert not (tmp_path / "mine").exists()
    assert all(each["why"] for each in shown.values())
    assert [shown[name]["value"] for name in ("kind", "steps", "rank")] == ["style", "77", "4"]
    assert served.ask("/api/new/create", wanted).status == 200
    text = (tmp_path / "mine" / "maquette.toml").read_text(encoding="utf-8")
    assert "steps = 77" in text and "rank = 4" in text and "alpha = 2" in text
    assert below(images) == before


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"rank": "many"}, {"kind": "ghost"}, {"name": "x"}, {"resolution": True}]
)
def test_what_cannot_be_is_refused_in_words_before_anything_is_made(
    served: Served, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    body = asked(tmp_path / "new", images=str(served.project / "images")) | {"changes": wrong}
    answer = served.ask("/api/new/create", body)
    assert answer.status == 400
    assert next(iter(wrong)) in str(answer.table["error"])
    assert not (tmp_path / "new").exists()


def test_a_trigger_is_judged_by_the_rules_while_it_is_typed(served: Served) -> None:
    def codes(word: str) -> list[str]:
        return [each["code"] for each in served.ask("/api/new/trigger", {"trigger": word}).table["notes"]]

    assert codes("fox") == ["CAP010"]
    assert codes("zkw_fox") == codes("") == []


def test_a_base_is_inspected_before_it_is_taken(served: Served, tmp_path: Path) -> None:
    bases = served.ask("/api/new/bases").table["bases"]
    assert len(bases) == len({each["base"] for each in bases})
    mine = next(each for each in bases if each["base"] == base_path().as_posix())
    assert mine["where"] == "used by project"
    assert mine["num_bytes"] == base_path().stat().st_size
    none = tmp_path / "none.safetensors"
    none.write_bytes(b"nothing")
    answer = served.ask("/api/new/base", {"base": str(none)})
    assert answer.status == 400
    assert str(none) in answer.table["error"][0]["where"]


# --- what is brought, and what is not --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../out.png", "a/../../out.png", "/etc/out.png", "C:\\out.png", "a\\..\\out.png", "x/./out.png", "a//out.png",
     "out\0.png", ".hidden.png", "a/.git/out.png", "run.exe", "page.html", "out.svg", "n" * 2000 + ".png"],
)  # fmt: skip
def test_names_that_lead_elsewhere_and_other_kinds_are_left_out_and_said(
    served: Served, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "new"
    answer = begin(served, folder, [("fox/a.png", png()), (name, png())])
    assert answer.table["taken"] == [0]
    assert answer.table["left_out"][0][0] == name[:1000]
    refused = send(served, answer.table["upload"], 1, png())
    assert refused.status == 400
    assert below(tmp_path / "new") == [f"{STAGING}/list.json"]


def test_safe_names_are_each_others_alone_and_pairs_stay_pairs() -> None:
    found = select(
        [("f/A.png", 1), ("f/a.PNG", 1), ("f/A.txt", 1), ("f/sub/a.png", 1), ("f/3_fox/a.png", 1), ("f/con.png", 1),
         ("f/what?*.jpg", 1), ("f/lone.txt", 1), ("f/b.png", 0), ("f/c.png", 1 << 40)]
    )  # fmt: skip
    names = {each.index: each.name for each in found.taken}
    assert len({name.lower() for name in names.values()}) == len(names)
    assert names[2].removesuffix(".txt") == names[0].removesuffix(".png")
    assert names[4] == "3_fox/a.png"
    assert names[3] == "sub-a.png"
    assert names[5] == "_con.png"
    assert names[6] == "what__.jpg"
    assert {name for name, _ in found.left_out} == {"f/lone.txt", "f/b.png", "f/c.png"}


def test_too_many_and_too_much_are_refused(served: Served, tmp_path: Path) -> None:
    many = [(f"{number}.png", b"") for number in range(MOST_FILES + 1)]
    assert begin(served, tmp_path / "new", many).status == 400
    much = {"folder": str(tmp_path / "new"), "files": [[f"{n}.png", 100 << 20] for n in range(400)]}
    assert MOST_BYTES < 400 * (100 << 20)
    assert served.ask("/api/new/upload", much).status == 400
    assert not (tmp_path / "new").exists()


def test_no_more_of_a_file_is_taken_than_was_announced(served: Served, tmp_path: Path) -> None:
    data = png()
    key = begin(served, tmp_path / "new", [("a.png", data)]).table["upload"]
    assert send(served, key, 0, data + b"x").status == 400
    assert send(served, key, 0, b"x", offset=len(data)).status == 400
    assert send(served, key, 0, b"\0" * (PIECE_BYTES + 1)).status == 400
    assert send(served, key, 7, data).status == 400
    assert send(served, "unknown", 0, data).status == 404
    assert below(tmp_path / "new") == [f"{STAGING}/list.json"]


def test_what_only_calls_itself_a_picture_is_left_out(served: Served, tmp_path: Path) -> None:
    files = [("a.png", b"<html>" + b"x" * 60), ("b.png", png())]
    key = begin(served, tmp_path / "new", files).table["upload"]
    assert send(served, key, 0, files[0][1]).table["wrong"]
    send(served, key, 1, files[1][1])
    answer = served.ask("/api/new/create", asked(tmp_path / "new", upload=key))
    assert answer.status == 200, answer.body
    assert below(tmp_path / "new" / "images") == ["b.png"]
    none = begin(served, tmp_path / "none", [("a.png", b"\1" * 70)]).table["upload"]
    assert send(served, none, 0, b"\1" * 70).table["wrong"] == NOT_A_PICTURE
    assert served.ask("/api/new/create", asked(tmp_path / "none", upload=none)).status == 400


def test_a_folder_in_use_and_links_are_never_written_to(served: Served, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("x", encoding="utf-8")
    assert begin(served, mine, [("a.png", png())]).status == 400
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.mkdir()
    link.symlink_to(empty)
    assert begin(served, link, [("a.png", png())]).status == 400
    (empty / STAGING).symlink_to(mine)
    assert begin(served, empty, [("a.png", png())]).status == 400
    assert begin(served, Path("somewhere"), [("a.png", png())]).status == 400
    assert below(mine) == ["diary.txt"]


def test_a_link_that_is_put_in_the_way_later_is_not_followed(served: Served, tmp_path: Path) -> None:
    target, data = tmp_path / "diary.txt", png()
    target.write_text("mine", encoding="utf-8")
    key = begin(served, tmp_path / "new", [("a.png", data)]).table["upload"]
    (tmp_path / "new" / STAGING / "images" / "a.png.part").symlink_to(target)
    send(served, key, 0, data)
    assert target.read_text(encoding="utf-8") == "mine"


def test_bringing_needs_the_pages_token_and_its_own_site(served: Served, tmp_path: Path) -> None:
    data = png()
    key = begin(served, tmp_path / "new", [("a.png", data)]).table["upload"]
    assert (
        served.ask(f"/api/new/upload/{key}/0/0", data, page=False).status == 403
    )  # bytes alone, as any form could send
    assert send(served, key, 0, data, Origin="http://evil.example").status == 403
    assert served.ask("/api/new/create", asked(tmp_path / "new", upload=key), page=False).status == 403
    assert below(tmp_path / "new") == [f"{STAGING}/list.json"]


def test_an_interrupted_upload_goes_on_where_it_stopped(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "new", png(64)
    files = [("a.png", data), ("b.png", data), ("b.txt", CAPTION)]
    first = begin(served, folder, files).table["upload"]
    send(served, first, 0, data)
    send(served, first, 1, data[:40])
    monkeypatch.setattr(served.studio.uploads, "_known", {})  # as after a new start of the server
    again = begin(served, folder, files).table
    assert again["arrived"] == {"0": len(data), "1": 40}
    assert (
        send(served, again["upload"], 1, data[:40]).table["here"] == 40
    )  # told where to go on, written once
    send(served, again["upload"], 1, data[40:], offset=40)
    assert (
        served.ask("/api/new/proposals", asked(folder, upload=again["upload"])).status == 400
    )  # a caption is missing
    send(served, again["upload"], 2, CAPTION)
    assert served.ask("/api/new/create", asked(folder, upload=again["upload"])).status == 200
    assert (folder / "images" / "b.png").read_bytes() == data
    assert not (folder / STAGING).exists()


def test_other_pictures_begin_anew_and_what_is_dropped_leaves_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "new", png()
    brought(served, folder, [("a.png", data)])
    assert begin(served, folder, [("b.png", data)]).status == 400  # another page may be at it
    monkeypatch.setattr(uploads, "LEFT_ALONE_S", 0.0)
    other = begin(served, folder, [("b.png", data)]).table
    assert other["arrived"] == {}
    assert below(folder) == [f"{STAGING}/list.json"]
    assert served.ask(f"/api/new/upload/{other['upload']}/drop", {}).status == 200
    assert not folder.exists()  # it was made for them
    mine = tmp_path / "mine"
    mine.mkdir()
    kept = begin(served, mine, [("b.png", data)]).table["upload"]
    assert served.ask(f"/api/new/upload/{kept}/drop", {}).status == 200
    assert list(mine.iterdir()) == []
    assert begin(served, tmp_path / "more", [("c.png", data)]).status == 200
    assert not (folder / STAGING).exists()


def test_a_full_disk_is_said_before_anything_comes(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(uploads, "SPARE_BYTES", free * 2)
    answer = begin(served, tmp_path / "new", [("a.png", png())])
    assert answer.status == 400
    assert "free on its disk" in str(answer.table["error"])


def test_a_failed_project_leaves_the_pictures_as_they_came(served: Served, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    said = brought(served, folder, [("a.png", png())])
    wrong = asked(folder, upload=said["upload"]) | {"base": str(tmp_path / "none.safetensors")}
    assert served.ask("/api/new/create", wrong).status == 400
    assert not (folder / "images").exists()
    assert served.ask("/api/new/create", asked(folder, upload=said["upload"])).status == 200


def test_a_new_project_is_proposed_where_nothing_is(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path))
    (tmp_path / "projects" / "fox").mkdir(parents=True)

    def place(name: str) -> str:
        return str(served.ask("/api/new/place", {"name": name}).table["folder"])

    (tmp_path / "projects" / "fox" / "diary.txt").write_text("x", encoding="utf-8")
    assert place("fox") == str(tmp_path / "projects" / "fox-2")
    begin(served, tmp_path / "projects" / "fox-2", [("a.png", png())])
    assert place("fox") == str(tmp_path / "projects" / "fox-2")  # what was interrupted is gone on with
    assert Path(place("../../x/y")).parent == tmp_path / "projects"


def test_init_takes_what_is_proposed_from_flags_and_refuses_them_beside_a_run(
    served: Served, tmp_path: Path
) -> None:
    from maquette.errors import ConfigError

    images = served.project / "images"
    made = make_project(
        tmp_path / "a",
        InitOptions(images=images, base=str(base_path()), trigger="zkw", kind="object", steps=50),
    )
    assert made.steps == 50
    assert 'kind = "object"' in made.profile.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="--steps"):
        make_project(tmp_path / "b", InitOptions(source=tmp_path / "run.sh", steps=5))
    (tmp_path / "c").mkdir()
    shutil.copy(made.profile, tmp_path / "c")
    with pytest.raises(ConfigError, match="--kind"):
        make_project(
            tmp_path / "c", InitOptions(images=images, base=str(base_path()), trigger="zkw", kind="style")
        )
