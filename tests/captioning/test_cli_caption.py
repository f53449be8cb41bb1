"""`maquette caption` as people and scripts call it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from maquette.cli.caption import command
from tests.captioning.common import files_below, make_folder

V2 = "ginger hair, full body, back view, white sleeveless cloak, white background"
V3 = "spyke_plasma_v1, full body, back view, white background"
REWRITE = ("--strategy", "character", "--source", "rewrite")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "p", {"10_x/a.png": V2, "10_x/b.png": None})


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def table(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_the_answer_in_json_has_what_the_contract_names(root: Path) -> None:
    said = table(root, *REWRITE)
    keys = {"written", "unchanged", "refused", "captions", "preview", "diff", "source", "strategy", "seconds"}
    assert keys <= set(said)
    assert said["written"] == ["10_x/a.png"] and said["captions"] == {"10_x/a.png": V3}
    assert said["strategy"] == "character" and said["source"] == "rewrite"


def test_a_dry_run_shows_and_writes_nothing(root: Path) -> None:
    before = files_below(root)
    said = table(root, *REWRITE, "--dry-run")
    assert said["dry_run"] and said["preview"][0]["caption"] == V3 and said["diff"]
    assert files_below(root) == before
    assert V3 in run(root, *REWRITE, "--dry-run").stdout


def test_the_last_change_is_shown_and_taken_back(root: Path) -> None:
    before = files_below(root)
    run(root, *REWRITE)
    shown = run(root, "--diff").stdout
    assert "[-ginger hair, -]" in shown or "[-ginger hair" in shown
    assert "{+spyke_plasma_v1" in shown
    assert table(root, "--diff")["diff"][0]["after"] == V3 + "\n"
    assert table(root, "--undo")["restored"] == [str(root / "10_x" / "a.txt")]
    assert files_below(root) == before


def test_find_and_replace_can_be_tried_shown_and_taken_back(root: Path) -> None:
    before = files_below(root)
    replace = ("--find", "white background", "--replace", "street", "--whole-word")
    assert table(root, *replace, "--dry-run")["occurrences"] == 1
    assert files_below(root) == before
    assert table(root, *replace)["written"] == ["10_x/a.txt"]
    assert (root / "10_x" / "a.txt").read_text().endswith("cloak, street")
    run(root, "--undo")
    assert files_below(root) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to do"),
        (("--find", "x"), "--replace"),
        (("--undo", "--find", "x", "--replace", ""), "one task at a time"),
        ((*REWRITE, "--regex"), "--regex: given together with --source"),
        (("--diff", "--overwrite"), "--overwrite: given together with --diff"),
        (("--undo", "--dry-run"), "--dry-run: given together with --undo"),
        ((*REWRITE, "--url", "http://x"), "does not use it"),
        (("--strategy", "character", "--source", "rewriet"), "Did you mean 'rewrite'?"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(root: Path, arguments: tuple[str, ...], words: str) -> None:
    before = files_below(root)
    done = run(root, *arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert files_below(root) == before


def test_the_profile_s_kind_chooses_the_strategy_and_another_one_is_warned_of(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"10_x/front_view.png": None}, None)
    template = ("--source", "template", "--dry-run")
    refused = run(root, *template, "--trigger", "zkw_pot")
    assert refused.exit_code == 2 and "--strategy: not given" in refused.output

    (root / "profile.toml").write_text('kind = "object"\ntrigger = "zkw_pot"\nclass_word = "teapot"\n')
    assert "zkw_pot, teapot, front view" in run(root, *template).output
    warned = run(root, *template, "--strategy", "character")
    assert warned.exit_code == 0 and "kind = 'object'" in warned.output
    assert "kind = 'object'" not in run(root, *template, "--strategy", "detailed").output


def test_strategies_are_explained_with_their_price() -> None:
    said = run("--explain", "character").stdout
    assert "0.86" in said and "0.89" in said
    assert len(json.loads(run("--explain", "all", "--json").stdout)["strategies"]) == 4
    assert run("--explain", "charakter").exit_code == 2


def test_refusing_every_picture_fails(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "p", {"a.png": "full body, front view, left arm red fingerless glove"})
    done = run(root, *REWRITE)
    assert done.exit_code == 1 and "the profile has it on the right" in done.stdout


@pytest.mark.parametrize(("answer", "written"), [("n", False), ("y", True)])
def test_a_terminal_is_asked_after_the_preview(root: Path, answer: str, written: bool) -> None:
    ours, theirs = pty.openpty()
    program = "from maquette.cli.caption import command; command()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root), *REWRITE],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, f"{answer}\n".encode())
    _, said = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert V3 in said and "go on with the rest" in said
    assert ((root / "10_x" / "a.txt").read_text().strip() == V3) is written
