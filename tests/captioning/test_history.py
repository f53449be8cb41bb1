"""Every change can be taken back byte for byte, whatever was done and wherever it stopped."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.captioning.history import begin, differences, write_caption
from maquette.captioning.words_diff import Difference, unified, word_pieces
from maquette.errors import ConfigError, OutputError
from maquette.project.journal import Journal
from maquette.project.undoing import undo
from tests.captioning.common import files_below, make_folder, replaced

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), texts.filter(bool), texts, st.booleans(), st.booleans())
def test_replacing_and_undoing_is_no_change(
    captions: list[str], find: str, replace: str, whole_word: bool, ignore_case: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_folder(Path(folder) / "p", {f"p{n}.png": None for n in range(len(captions))})
        for number, text in enumerate(captions):
            (root / f"p{number}.txt").write_bytes(text.encode("utf-8"))
        before = files_below(root)
        result = replaced(root, find=find, replace=replace, whole_word=whole_word, ignore_case=ignore_case)
        after = files_below(root)
        assert {name for name in after if after[name] != before[name]} == set(result.written)
        if result.written:
            undo(root)
        assert files_below(root) == before


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), texts), max_size=8), st.data())
def test_undoing_walks_back_through_every_state(writes: list[tuple[int, str]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "p0.txt").write_bytes(b"\xff not utf-8 \r\n")
        states = [files_below(root)]
        index = 0
        while index < len(writes):
            size = data.draw(st.integers(1, 3))
            recorder = begin(root, "test")
            done: set[int] = set()
            for number, text in writes[index : index + size]:
                if number not in done:
                    write_caption(recorder, root / f"p{number}.txt", text)
                    done.add(number)
            states.append(files_below(root))
            index += size
        for state in reversed(states[:-1]):
            undo(root)
            assert files_below(root) == state
        with pytest.raises(OutputError, match="nothing to undo"):
            undo(root)


def test_a_change_that_was_killed_between_record_and_file_is_undone_cleanly(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old a")
    (tmp_path / "b.txt").write_text("old b")
    recorder = begin(tmp_path, "test")
    write_caption(recorder, tmp_path / "a.txt", "new a")
    recorder.note_all([(tmp_path / "b.txt", b"new b\n", "")])
    file = Journal(tmp_path).file_of(1)
    file.write_bytes(file.read_bytes() + b'{"path": "c.t')
    undone = undo(tmp_path)
    assert undone.restored == (tmp_path / "a.txt",) and undone.kept == ()
    assert files_below(tmp_path) == {"a.txt": b"old a", "b.txt": b"old b"}


def test_what_a_person_wrote_since_is_left_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"old {name}")
    recorder = begin(tmp_path, "test")
    for name in ("a", "b"):
        write_caption(recorder, tmp_path / f"{name}.txt", f"new {name}")
    (tmp_path / "a.txt").write_text("by hand")
    undone = undo(tmp_path)
    assert undone.kept == (tmp_path / "a.txt",) and undone.restored == (tmp_path / "b.txt",)
    assert files_below(tmp_path) == {"a.txt": b"by hand", "b.txt": b"old b"}
    assert undone.old_texts is not None and "old a" in undone.old_texts.read_text(encoding="utf-8")


def test_the_difference_is_between_the_last_change_and_now(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one, two")
    write_caption(begin(tmp_path, "test"), tmp_path / "a.txt", "one, three")
    assert differences(tmp_path) == (Difference(path="a.txt", before="one, two", after="one, three\n"),)
    (tmp_path / "a.txt").write_text("one, two")
    assert differences(tmp_path) == ()


@given(texts, texts)
def test_pieces_of_a_difference_make_both_texts(before: str, after: str) -> None:
    pieces = list(word_pieces(before, after))
    assert "".join(text for kind, text in pieces if kind != "new") == before
    assert "".join(text for kind, text in pieces if kind != "gone") == after


def test_a_new_caption_is_shown_as_new() -> None:
    shown = unified(Difference(path="10_x/a.txt", before=None, after="one\n"))
    assert shown.splitlines()[:2] == ["--- /dev/null", "+++ b/10_x/a.txt"]
    assert "+one" in shown


@pytest.mark.parametrize(
    ("find", "replace", "settings_", "after"),
    [
        ("cape", "cloak", {}, "white cloak, caped cloak, landscloak"),
        ("cape", "cloak", {"whole_word": True}, "white cloak, caped cape, landscape".replace("caped cape", "caped cloak")),
        ("WHITE", "red", {"ignore_case": True}, "red cape, caped cape, landscape"),
        (r"(\w+) cape\b", r"\1 cloak", {"regex": True}, "white cloak, caped cloak, landscape"),
        (", landscape", "", {}, "white cape, caped cape"),
        ("a.e", "x", {}, "white cape, caped cape, landscape"),
        ("white", r"\1", {}, r"\1 cape, caped cape, landscape"),
    ],
)  # fmt: skip
def test_find_and_replace_finds_what_it_says(
    tmp_path: Path, find: str, replace: str, settings_: dict, after: str
) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "white cape, caped cape, landscape"})
    if find == "cape" and not settings_:
        after = "white cloak, cloakd cloak, landscloak"
    replaced(root, find=find, replace=replace, **settings_)
    assert (root / "a.txt").read_text() == after


def test_a_dry_replacement_writes_nothing(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "white cape"})
    before = files_below(root)
    result = replaced(root, find="cape", replace="cloak", dry_run=True)
    assert result.occurrences == 1 and result.diff[0].after == "white cloak"
    assert files_below(root) == before and not (root / ".maquette").exists()


@pytest.mark.parametrize(("find", "replace"), [("", "x"), ("(", "x"), ("a", r"\2")])
def test_expressions_that_cannot_be_used_are_said_at_once(tmp_path: Path, find: str, replace: str) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "white cape"})
    with pytest.raises(ConfigError):
        replaced(root, find=find, replace=replace, regex=True)


def test_a_caption_is_never_emptied_by_replacing(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "cape", "b.png": "white cape"})
    result = replaced(root, find="cape", replace="")
    assert result.written == ("b.txt",) and list(result.refused) == ["a.txt"]
    assert (root / "a.txt").read_text() == "cape"
