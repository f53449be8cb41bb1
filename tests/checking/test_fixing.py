"""Repairs and their undoing: whatever is done can be taken back to the last byte, and nobody's newer work is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.checking.fixing import apply_fixes
from maquette.checking.options import CheckOptions
from maquette.checking.run import check_events
from maquette.errors import OutputError
from maquette.events import run_stage
from maquette.findings.records import Edit, Finding, Fix, SetAside, WriteBytes, WriteText
from maquette.project.journal import Journal
from maquette.project.noted import Noted
from maquette.project.undoing import undo
from tests.studio.conftest import make_project

OWN = ".maquette"


def finding(*edits: Edit, code: str = "CAP001") -> Finding:
    return Finding(
        code=code, severity="error", path=edits[0].path, message="m", remedy="r", fix=Fix("repair", edits)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(b"one \xff")
    (tmp_path / "b.png").write_bytes(b"picture")
    return tmp_path


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and OWN not in path.parts
    }


def test_undo_restores_every_byte(root: Path) -> None:
    before = snapshot(root)
    applied = apply_fixes(
        [
            finding(WriteText(root / "a.txt", "zwölf")),
            finding(SetAside(root / "b.png")),
            finding(WriteBytes(root / "new.bin", b"\x00")),
        ],
        root,
    )
    assert len(applied) == 3
    assert snapshot(root) == {"a.txt": "zwölf".encode(), "new.bin": b"\x00"}
    assert Journal(root).changes()
    undo(root)
    assert snapshot(root) == before
    assert not (root / OWN).exists()


def test_repairs_are_taken_back_one_after_the_other(root: Path) -> None:
    states = [snapshot(root)]
    for text in ("first", "second", "third"):
        apply_fixes([finding(WriteText(root / "a.txt", text))], root)
        states.append(snapshot(root))
    for expected in reversed(states[:-1]):
        undo(root)
        assert snapshot(root) == expected
    with pytest.raises(OutputError, match="nothing to undo"):
        undo(root)


def test_rounds_of_one_session_are_taken_back_together(root: Path) -> None:
    before = snapshot(root)
    apply_fixes([finding(WriteText(root / "a.txt", "earlier"))], root)
    earlier = snapshot(root)
    apply_fixes([finding(WriteText(root / "a.txt", "first"))], root, session="s")
    apply_fixes(
        [finding(WriteText(root / "a.txt", "second")), finding(SetAside(root / "b.png"))], root, session="s"
    )
    assert undo(root).restored == (root / "a.txt", root / "b.png")
    assert snapshot(root) == earlier
    undo(root)
    assert snapshot(root) == before


def test_two_repairs_of_one_file_are_not_done_at_once(root: Path) -> None:
    """The second was made for a text that the first has changed: it waits for the next look."""
    applied = apply_fixes(
        [
            finding(WriteText(root / "a.txt", "first")),
            finding(WriteText(root / "a.txt", "second"), code="CAP002"),
        ],
        root,
    )
    assert [done.code for done in applied] == ["CAP001"]
    assert (root / "a.txt").read_text() == "first"


def test_a_file_that_somebody_changed_since_is_not_overwritten(root: Path) -> None:
    apply_fixes([finding(WriteText(root / "a.txt", "repaired")), finding(SetAside(root / "b.png"))], root)
    (root / "a.txt").write_text("my own newer words")
    with pytest.raises(OutputError, match="changed since"):
        undo(root)
    assert (root / "a.txt").read_text() == "my own newer words"
    assert not (root / "b.png").exists(), "all or nothing: the other file is not touched either"
    assert Journal(root).changes()


def test_a_repair_that_was_cut_off_can_be_undone(root: Path) -> None:
    """The journal stands before the first edit: files that were not reached yet are as they were."""
    before = snapshot(root)
    apply_fixes([finding(WriteText(root / "a.txt", "repaired")), finding(SetAside(root / "b.png"))], root)
    (root / "b.png").write_bytes(b"picture")  # as if the edit had not happened
    undo(root)
    assert snapshot(root) == before


def test_without_repairs_nothing_is_written(root: Path) -> None:
    bare = Finding(code="CAP001", severity="error", path=root, message="m", remedy="r")
    assert apply_fixes([bare], root) == ()
    assert not (root / OWN).exists()


def test_chosen_findings_alone_are_repaired_and_the_check_of_a_project_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    project = make_project(tmp_path / "project", [f"{number}.png" for number in range(3)])
    images = project / "images"
    for number in range(3):
        (images / f"{number}.txt").write_text("tovaki, standing", encoding="utf-8")
    (images / "gone.txt").write_text("tovaki, lost", encoding="utf-8")  # two faults with a repair
    (images / "1.txt").write_bytes(b"\xef\xbb\xbftovaki, standing")
    result = run_stage(check_events([project]))
    keys = {each.code: each.key for each in result.findings if each.fixable}
    kept = Noted(project, "check").recall()
    assert kept is not None and kept.is_fresh
    assert kept.value["findings"] == [each.to_json() for each in result.findings]
    assert len(keys) >= 2
    code = min(keys)
    done = run_stage(check_events([project], CheckOptions(fix=True), only=frozenset({keys[code]})))
    assert [each.code for each in done.fixed] == [code]
    left = {each.code for each in done.findings if each.fixable}
    assert left == set(keys) - {code}
