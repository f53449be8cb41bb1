"""The journal's laws: every byte comes back, nothing outside its folder is touched, newer work is never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.checking.fixing import apply_fixes
from maquette.cli.app import maquette as cli
from maquette.errors import OutputError
from maquette.findings.records import Finding, Fix, WriteText
from maquette.project.journal import FOLDER, INLINE_BYTES, Journal
from maquette.project.undoing import changes_at, undo


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".maquette" not in path.parts
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"\xff\xfe not utf-8", "zwölf ".encode() * INLINE_BYTES, bytes(range(256)) * 400],
    ids=["empty", "text", "bytes", "long text", "long bytes"],
)
def test_any_content_comes_back_and_nothing_stays_behind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "10_x").mkdir()
    (tmp_path / "10_x" / "a").write_bytes(content)
    before = files(tmp_path)
    recorder = Journal(tmp_path).begin("captions", "test")
    recorder.write(tmp_path / "10_x" / "a", b"other")
    recorder.remove(tmp_path / "10_x" / "a")
    recorder.write(tmp_path / "new", b"x")
    assert undo(tmp_path).restored == (tmp_path / "10_x" / "a", tmp_path / "new")
    assert files(tmp_path) == before and not (tmp_path / ".maquette").exists()


def test_the_latest_change_of_any_kind_goes_first_and_kinds_can_be_chosen(tmp_path: Path) -> None:
    for kind in ("captions", "repairs", "captions"):
        Journal(tmp_path).begin(kind, kind).write(tmp_path / f"{kind}.txt", os.urandom(8))
    assert [change.kind for change in changes_at(tmp_path)] == ["captions", "repairs", "captions"]
    assert undo(tmp_path, kinds=("repairs",)).kind == "repairs"
    assert undo(tmp_path).left == 1
    undo(tmp_path)
    with pytest.raises(OutputError, match="nothing to undo"):
        undo(tmp_path)


def test_a_clock_that_is_set_back_reorders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, moment in (("captions", 200.0), ("repairs", 100.0), ("curate", 100.0)):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        Journal(tmp_path).begin(kind, kind).write(tmp_path / f"{kind}.txt", os.urandom(8))
    assert [change.kind for change in changes_at(tmp_path)] == ["curate", "repairs", "captions"]
    assert [undo(tmp_path).kind for _ in range(3)] == ["curate", "repairs", "captions"]


@pytest.mark.parametrize("name", ["../victim.txt", "/etc/victim.txt", "link/victim.txt", "a\0b"])
def test_a_journal_that_came_with_a_folder_cannot_lead_out_of_it(tmp_path: Path, name: str) -> None:
    root, victim = tmp_path / "downloaded", tmp_path / "victim.txt"
    (root / FOLDER).mkdir(parents=True)
    (root / "link").symlink_to(tmp_path, target_is_directory=True)
    victim.write_text("mine")
    Journal(root).begin("captions", "test").write(root / "a.txt", b"new")
    file = Journal(root).file_of(1)
    header, line = map(json.loads, file.read_text().splitlines())
    crafted = {**line, "path": name, "before": "0" * 64, "text": "overwritten"}
    file.write_text("\n".join(map(json.dumps, (header, crafted))) + "\n")
    with pytest.raises(OutputError, match=r"leads out of|holds a character that no text file can"):
        undo(root)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"kind": 1}', "\x00" * 50, "[" * 100_000, '{"schema": 1, "kind": "captions"}',
        '{"kind":"captions","what":"x","at":"soon","session":"s","policy":"each","elsewhere":[]}',
        '{"kind":"captions","what":"x","at":1,"session":"s","policy":"never","elsewhere":[]}',
        '{"kind":"captions","what":"x","at":1,"session":"s","policy":"each","elsewhere":[]}\n{"path":"a","before":"../x","after":null}',
        '{"kind":"captions","what":"x","at":1,"session":"s","policy":"each","elsewhere":[]}\n{"path":"a","before":null,"after":null,"text":"\\ud800"}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_named_and_changes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    Journal(tmp_path).file_of(1).write_text(text)
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"000001\.jsonl"):
        undo(tmp_path)
    assert files(tmp_path) == before


def test_old_content_that_is_damaged_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\xff" * 100)
    Journal(tmp_path).begin("repairs", "test").write(tmp_path / "a.png", b"new")
    (kept,) = (tmp_path / FOLDER / "files").iterdir()
    kept.write_bytes(b"\1" * 100)
    with pytest.raises(OutputError, match="missing from the history, or damaged"):
        undo(tmp_path)
    assert (tmp_path / "a.png").read_bytes() == b"new"


def test_only_so_many_changes_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    for number in range(6):
        recorder = Journal(tmp_path).begin("curate", "test", policy="always", keep=3)
        recorder.write(tmp_path / "curation.json", f"{'x' * INLINE_BYTES}{number}".encode())
    assert len(changes_at(tmp_path)) == 3
    assert len(list((tmp_path / FOLDER / "files").iterdir())) == 3


def test_repairs_in_two_folders_are_taken_back_together_or_not_at_all(tmp_path: Path) -> None:
    """The project's journal knows that the pictures' folder has one, and each writes below its own folder alone."""
    project, pictures = tmp_path / "project", tmp_path / "pictures"
    for folder in (project, pictures):
        folder.mkdir()
        (folder / "a.txt").write_text("old")
    findings = [
        Finding(
            code="CAP001", severity="error", path=folder / "a.txt", message="m", remedy="r",
            fix=Fix("repair", (WriteText(folder / "a.txt", "new"),)),
        )
        for folder in (project, pictures)
    ]  # fmt: skip
    apply_fixes(findings, project)
    assert [each.entries[0].path for each in changes_at(pictures)] == ["a.txt"]
    (pictures / "a.txt").write_text("newer")
    with pytest.raises(OutputError, match="changed since"):
        undo(project)
    assert files(tmp_path) == {"project/a.txt": b"new", "pictures/a.txt": b"newer"}
    (pictures / "a.txt").write_text("new")
    undo(project)
    assert files(tmp_path) == {"project/a.txt": b"old", "pictures/a.txt": b"old"}


def test_the_command_lists_and_takes_back_what_was_done_to_a_project_s_pictures(tmp_path: Path) -> None:
    project, pictures = tmp_path / "project", tmp_path / "pictures"
    project.mkdir()
    pictures.mkdir()
    (project / "maquette.toml").write_text('[model]\nbase = "x"\n[dataset]\nimages = "../pictures"\n')
    (pictures / "a.txt").write_text("old")
    Journal(pictures).begin("captions", "replace 'old' by 'new'").write(pictures / "a.txt", b"new")

    def run(*arguments: str) -> dict:
        done = CliRunner().invoke(cli, ["undo", str(project), *arguments, "--json"])
        return {**json.loads(done.stdout.splitlines()[-1]), "code": done.exit_code}

    assert [each["what"] for each in run("--list")["changes"]] == ["replace 'old' by 'new'"]
    done = run()
    assert done["restored"] == [str(pictures / "a.txt")] and done["left"] == 0
    assert (pictures / "a.txt").read_text() == "old"
    assert run()["code"] == 2
    assert run("--list")["changes"] == []
