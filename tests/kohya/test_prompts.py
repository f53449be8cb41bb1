"""Files of sample prompts, and what sd-scripts makes of their lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.checking.targets import identify
from maquette.cli.app import maquette
from maquette.kohya.prompts import looks_like_prompts, read_prompt_file, read_prompts


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("mk, a \u2013n blurry", ("\u2013n",)),
        ("mk, a \u2014w 1024 \u2014h 1024", ("\u2014w", "\u2014h")),
        ("mk, a -w 1024 -h 1024", ("-w", "-h")),
        ("mk, a--n blurry --w 64", ("--n without a space before it",)),
        ("mk, well-lit, three-quarter view --n low-quality --w 64", ()),
        ("mk \u2013 a portrait \u2013somebody\u2013 --w 64", ()),
    ],
)
def test_what_was_meant_for_an_option_and_stays_in_the_prompt(line: str, meant: tuple[str, ...]) -> None:
    (prompt,) = read_prompts([line])
    assert prompt.not_split == meant


def test_a_lone_pair_of_hyphens_cuts_words_off() -> None:
    (prompt,) = read_prompts(["mk, a -- b --w 64"])
    assert (prompt.text, prompt.values, prompt.unknown) == ("mk, a", {"w": "64"}, (" b",))


def test_files_that_sd_scripts_cannot_open(tmp_path: Path) -> None:
    (tmp_path / "prompts.prompt").write_text("mk\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 --w 64\n")
    assert "UnboundLocalError" in read_prompt_file(tmp_path / "prompts.prompt").unreadable
    assert "UTF-8" in read_prompt_file(tmp_path / "latin.txt").unreadable


def test_a_file_of_prompts_is_told_from_other_texts(tmp_path: Path) -> None:
    prompts, notes = tmp_path / "prompts.txt", tmp_path / "notes.txt"
    prompts.write_text("mk, portrait --n bad --w 512\nmk \u2013w 512\n", encoding="utf-8")
    notes.write_text("A list of things to do.\nBuy milk -- and bread.\n", encoding="utf-8")
    assert identify(prompts).kind == "prompts"
    assert not looks_like_prompts(notes)
    checked = CliRunner().invoke(maquette, ["check", str(prompts), "--json"])
    (finding,) = json.loads(checked.stdout.strip().splitlines()[-1])["findings"]
    assert (finding["code"], finding["severity"]) == ("SET025", "warning")
    assert "\u2013w" in finding["message"]
