"""A folder is changed by one process at a time, and no kill leaves it locked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import maquette
from maquette.captioning.options import ReplaceOptions
from maquette.captioning.replace import replace_events
from maquette.curating.apply import apply
from maquette.curating.person import decide
from maquette.errors import OutputError
from maquette.events import run_stage
from maquette.files import remove_stale_partials, replacing, write_atomic
from maquette.locking import HeldByAnother, held, hold
from maquette.project.undoing import undo

HOLDER = """
import sys, time
from pathlib import Path
from maquette.files import replacing
from maquette.locking import hold
taken = hold(Path(sys.argv[1]), "caption")
with replacing(Path(sys.argv[1]) / "half.txt") as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def _holder(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_the_second_is_told_who_holds_the_folder_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    child, partial = _holder(tmp_path)
    try:
        with pytest.raises(HeldByAnother) as caught:
            hold(tmp_path, "curate")
        said = str(caught.value)
        assert f"maquette caption (process {child.pid} on {socket.gethostname()}" in said
        assert remove_stale_partials(tmp_path) == 0 and partial.is_file()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with held(tmp_path, what="curate") as (taken,):
        assert taken.before is not None and taken.before.pid == child.pid
        assert not partial.exists()
        note = json.loads((tmp_path / ".maquette" / "owner.json").read_text())
        assert (note["pid"], note["what"]) == (os.getpid(), "curate")
    assert not list(tmp_path.iterdir())


def test_within_one_process_too_a_folder_is_held_once(tmp_path: Path) -> None:
    with held(tmp_path, what="caption"), pytest.raises(HeldByAnother, match=f"process {os.getpid()}"):
        hold(tmp_path, "caption")
    hold(tmp_path, "caption").release()


def test_what_else_lies_in_the_folder_stays_and_a_folder_made_for_nothing_goes(tmp_path: Path) -> None:
    history = write_atomic(tmp_path / ".maquette" / "history" / "000001.jsonl", "{}\n")
    new = tmp_path / "new"
    with held(tmp_path, new, tmp_path / ".", what="train"):
        assert (new / ".maquette" / "lock").is_file()
    assert not new.exists() and history.read_text() == "{}\n"
    assert [path.name for path in (tmp_path / ".maquette").iterdir()] == ["history"]


def test_a_folder_that_is_removed_or_replaced_while_it_is_held_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    taken = hold(folder, "train")
    taken.require_there()
    folder.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="removed or replaced"):
        taken.require_there()
    with held(folder, what="train"):
        with pytest.raises(OutputError, match="removed or replaced"):
            taken.require_there()
        taken.release()
        assert (folder / ".maquette" / "owner.json").is_file()


@pytest.mark.parametrize(
    "note", ["", "[", "3", '{"pid": "x"}', '{"pid": 1}', "[" * 4000, '{"pid": ' + "9" * 3000]
)
def test_a_damaged_note_of_an_owner_is_none(tmp_path: Path, note: str) -> None:
    write_atomic(tmp_path / ".maquette" / "owner.json", note)
    with held(tmp_path, what="caption") as (taken,):
        assert taken.before is None


def test_a_strangers_note_says_nothing_to_the_terminal(tmp_path: Path) -> None:
    note = {"pid": 1, "host": "\x1b]0;title\x07host", "started": "\x1b[2J", "what": "x" * 10_000}
    write_atomic(tmp_path / ".maquette" / "owner.json", json.dumps(note)[:4096])
    write_atomic(tmp_path / ".maquette" / "owner.json", json.dumps({**note, "what": "train\r\n"}))
    with held(tmp_path, what="caption") as (taken,):
        assert str(taken.before) == "maquette train (process 1 on ]0;titlehost, since [2J)"


def test_a_strangers_folder_has_its_lock_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".maquette").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="leads elsewhere"):
        hold(tmp_path / "folder", "caption")
    assert not list((tmp_path / "victim").iterdir())


def test_what_is_being_written_now_is_never_taken_for_left_over(tmp_path: Path) -> None:
    with replacing(tmp_path / "picture.png") as temporary:
        temporary.write_bytes(b"half")
        os.utime(temporary)
        assert remove_stale_partials(tmp_path) == 0
    assert (tmp_path / "picture.png").read_bytes() == b"half"


def test_partial_files_of_older_releases_go_when_they_are_old_and_other_programs_never(
    tmp_path: Path,
) -> None:
    old, fresh = tmp_path / ".state.safetensors.ab12_xyz.part", tmp_path / "sub" / ".run.json.abcd1234.part"
    others = [tmp_path / "film.mp4.part", tmp_path / ".part", tmp_path / ".hidden.part"]
    for path in (old, fresh, *others):
        write_atomic(path, "x")
        if path != fresh:
            os.utime(path, (1, 1))
    assert remove_stale_partials(tmp_path) == 1
    assert not old.exists() and fresh.is_file() and all(path.is_file() for path in others)


def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    assert write_atomic(tmp_path / ("n" * longest), "x").is_file()
    with pytest.raises(OutputError, match="too long for this disk"):
        write_atomic(tmp_path / ("n" * (longest + 1)), "x")


# --- every command that changes a folder -----------------------------------------------------------------


def _curate(folder: Path) -> None:
    maquette.curate(folder)


def _apply(folder: Path) -> None:
    apply(folder, ["p0.png"], folder.with_name("set"))


def _decide(folder: Path) -> None:
    decide(folder, {"kept": ["p0.png"]})


def _caption(folder: Path) -> None:
    maquette.caption(folder, strategy="object", source=("template",), trigger="zkw")


def _replace(folder: Path) -> None:
    run_stage(replace_events(folder, ReplaceOptions(find="pose", replace="stance")))


def _fix(folder: Path) -> None:
    maquette.check(folder, fix=True)


def _regularize(folder: Path) -> None:
    maquette.regularize(source=folder, out=folder.with_name("set"), class_word="fox")


@pytest.mark.parametrize("change", [_curate, _apply, _decide, _caption, _replace, _fix, _regularize, undo])
def test_every_command_that_changes_a_folder_is_refused_while_another_does(
    pictures: Path, change: Callable[[Path], object]
) -> None:
    if change is _decide:
        maquette.curate(pictures)
    place = pictures.with_name("set") if change in (_apply, _regularize) else pictures
    with held(place, what="caption"):
        before = _contents(pictures.parent)
        with pytest.raises(HeldByAnother, match=f"in use by maquette caption .process {os.getpid()} on"):
            change(pictures)
        assert _contents(pictures.parent) == before
    assert not (place / ".maquette" / "lock").exists()


def test_looking_without_changing_waits_for_nobody(pictures: Path) -> None:
    with held(pictures, what="train"):
        maquette.check(pictures)
        maquette.caption(pictures, strategy="object", source=("template",), trigger="zkw", dry_run=True)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
