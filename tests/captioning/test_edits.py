"""Parts of many captions changed together, one caption written anew, and what stands out in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maquette.captioning.edits import LAST, ChangedSince, PartEdit, edit_parts, write_one
from maquette.captioning.marks import marks_of
from maquette.errors import ConfigError
from maquette.project.profile import Detail, Profile
from maquette.project.undoing import undo

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures with captions: one of several lines, one without any."""
    for name in NAMES:
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "a.txt").write_text("zkw, red coat, standing\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("zkw,  Standing , night\r\nsecond line\r\n", encoding="utf-8", newline="")
    return tmp_path


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (PartEdit(kind="insert", part="night"), "a, b", "a, b, night"),
        (PartEdit(kind="insert", part="night", place=0), "a, b", "night, a, b"),
        (PartEdit(kind="insert", part="night", place=1), "a, b", "a, night, b"),
        (PartEdit(kind="insert", part="night", place=99), "a, b", "a, b, night"),
        (
            PartEdit(kind="insert", part="Night"),
            "a,  night , b",
            "a,  night , b",
        ),  # is there: not a letter changes
        (PartEdit(kind="insert", part="night"), "", "night"),
        (PartEdit(kind="remove", part="b"), "a, b, c, B", "a, c"),
        (PartEdit(kind="remove", part="x"), "a ,b", "a ,b"),
        (PartEdit(kind="remove", part="a"), "a", ""),
        (PartEdit(kind="remove", part="red"), "red coat, red", "red coat"),  # whole parts alone
        (PartEdit(kind="replace", part="b", other="c"), "a, b, d", "a, c, d"),
        (PartEdit(kind="replace", part="b", other="c"), "a, c, b", "a, c"),
        (PartEdit(kind="move", part="c", place=0), "a, b, c", "c, a, b"),
        (PartEdit(kind="move", part="a"), "a, b, c", "b, c, a"),
        (PartEdit(kind="move", part="x"), "a, b", "a, b"),
    ],
)
def test_a_part_is_changed(edit: PartEdit, before: str, after: str) -> None:
    assert edit.applied(before) == after


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "insert", "part": ""},
        {"kind": "insert", "part": "a, b"},
        {"kind": "insert", "part": "a\nb"},
        {"kind": "replace", "part": "a", "other": " "},
        {"kind": "insert", "part": "a", "place": -2},
        {"kind": "inserd", "part": "a"},
    ],
)
def test_what_is_no_change_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        PartEdit(**given)  # type: ignore[arg-type]


def test_a_change_of_many_is_shown_then_made_then_taken_back_to_the_byte(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.txt")}
    edit = PartEdit(kind="replace", part="standing", other="at rest")
    shown = edit_parts(folder, edit, NAMES, dry_run=True)
    assert [(each.path, each.after) for each in shown.diff] == [
        ("a.txt", "zkw, red coat, at rest"),
        ("b.txt", "zkw, at rest, night"),
    ]
    assert {path.name: path.read_bytes() for path in folder.glob("*.txt")} == before
    edit_parts(folder, edit, NAMES)
    assert (folder / "a.txt").read_text(encoding="utf-8") == "zkw, red coat, at rest\n"
    assert (
        folder / "b.txt"
    ).read_bytes() == b"zkw, at rest, night\nsecond line\r\n"  # what nobody reads stays
    undo(folder, kinds=("captions",))
    assert {path.name: path.read_bytes() for path in folder.glob("*.txt")} == before


def test_a_picture_without_a_caption_gets_one_and_none_is_emptied(folder: Path) -> None:
    edit_parts(folder, PartEdit(kind="insert", part="zkw", place=0), NAMES)
    assert (folder / "c.txt").read_text(encoding="utf-8") == "zkw\n"
    done = edit_parts(folder, PartEdit(kind="remove", part="zkw"), NAMES)
    assert done.refused == {"c.png": "nothing would be left of the caption"}
    assert (folder / "c.txt").read_text(encoding="utf-8") == "zkw\n"


def test_a_caption_that_cannot_be_read_is_left_alone(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"zkw, \xff\xfe caf\xe9")
    done = edit_parts(folder, PartEdit(kind="insert", part="night"), NAMES)
    assert list(done.refused) == ["a.png"]
    assert (folder / "a.txt").read_bytes() == b"zkw, \xff\xfe caf\xe9"
    with pytest.raises(ConfigError):
        write_one(folder, "a.png", "new", expected="")


def test_an_unknown_picture_is_an_error_and_nothing_is_written(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.pngg"):
        edit_parts(folder, PartEdit(kind="insert", part="night", place=LAST), ["a.png", "a.pngg"])
    assert "night" not in (folder / "a.txt").read_text(encoding="utf-8")


def test_one_caption_is_written_only_over_the_one_that_was_seen(folder: Path) -> None:
    write_one(folder, "a.png", "zkw, blue coat", expected="zkw, red coat, standing")
    with pytest.raises(ChangedSince, match="blue coat"):
        write_one(folder, "a.png", "zkw, green coat", expected="zkw, red coat, standing")
    assert (folder / "a.txt").read_text(encoding="utf-8") == "zkw, blue coat\n"
    with pytest.raises(ConfigError, match="2 lines"):
        write_one(folder, "a.png", "one\ntwo", expected="zkw, blue coat")


def test_marks_stand_where_the_words_are() -> None:
    profile = Profile(
        kind="character",
        trigger="zkw",
        class_word="girl",
        appearance=("ginger hair",),
        details=(Detail(name="red glove", side="left", part="hand"),),
    )
    text = "a girl, ginger hair, red glove on her right hand, ginger hair"
    found = marks_of(text, profile)
    assert found[0].kind == "trigger" and found[0].start == found[0].end == 0
    said = {(mark.kind, text[mark.start : mark.end]) for mark in found if mark.end > mark.start}
    assert ("appearance", "ginger hair") in said
    assert any(kind == "side" for kind, _ in said)
    assert ("duplicate", "ginger hair") in said
    assert marks_of("zkw, smiling", profile) == []
    assert marks_of("anything at all", None) == []
