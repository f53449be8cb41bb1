"""What strangers wrote is shown, never obeyed: no escape of a name, a caption or metadata reaches the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from maquette.spoken import printable

WINDOW_TITLE, CLEAR, BACKWARDS = "\x1b]0;pwned\x07", "\x1b[2J", "\u202egnp.exe"
NAMES = (b"plain", b"caf\xe9", b"esc\x1b]0;pwned\x07\x1b[2J", BACKWARDS.encode(), b"line\nerror: forged")


def maquette(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    program = "from maquette.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange") / "pictures"
    folder.mkdir()
    picture = Image.effect_noise((520, 520), 60).convert("RGB")
    for name in NAMES:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name + b".png"))
        picture.save(path)
        path.with_suffix(".txt").write_text(f"zkw_fox, a {CLEAR}\x1b[31mred fox", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_no_escape_of_a_picture_s_name_or_caption_reaches_the_terminal(
    strange: Path, environment: dict[str, str]
) -> None:
    done = maquette("check", strange, cwd=strange.parent, **environment)
    told = done.stdout + done.stderr
    assert done.returncode in (0, 1) and b"Traceback" not in told
    assert b"\x1b" not in told and b"\x07" not in told and BACKWARDS[0].encode() not in told
    assert b"\\x1b]0;pwned\\x07" in told and b"caf\\xe9.png" in told
    assert not [line for line in told.splitlines() if line.startswith(b"error: forged")]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_stays_json(strange: Path, encoding: str) -> None:
    done = maquette("check", strange, "--json", cwd=strange.parent, PYTHONIOENCODING=encoding)
    last = done.stdout.splitlines()[-1]
    assert b"\x1b" not in done.stdout and BACKWARDS[0].encode() not in last
    assert any(WINDOW_TITLE in finding["message"] for finding in json.loads(last)["findings"])


def test_a_wrong_word_on_the_command_line_is_shown_the_same_way(tmp_path: Path) -> None:
    done = maquette("check", f"--{CLEAR}", cwd=tmp_path)
    assert done.returncode == 2 and b"\x1b" not in done.stderr and b"\\x1b[2J" in done.stderr


def test_metadata_of_a_lora_are_shown_the_same_way(tmp_path: Path) -> None:
    import numpy as np

    weights = {
        f"lora_unet_down_blocks_0_attentions_0_proj_in.lora_{part}.weight": np.ones(shape, np.float32)
        for part, shape in (("down", (4, 320, 1, 1)), ("up", (320, 4, 1, 1)))
    }
    told = {"ss_output_name": f"x{WINDOW_TITLE}{CLEAR}", "modelspec.trigger_phrase": BACKWARDS}
    save_file(weights, tmp_path / "a.safetensors", told)
    done = maquette("lora", "inspect", "a.safetensors", cwd=tmp_path)
    assert b"\x1b" not in done.stdout + done.stderr
    assert BACKWARDS[0].encode() not in done.stdout + done.stderr


@given(text=st.text())
def test_a_printable_text_can_be_printed_and_moves_nothing(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not [each for each in shown if unicodedata.category(each) == "Cc" and each not in "\n\t"]
    assert not [
        each for each in shown if unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF")
    ]
    assert printable(shown) == shown


def test_ordinary_letters_of_any_script_stay() -> None:
    text = "Zoë — 猫, קטן, كلب, 👩‍🎨, नमस्ते\tx"
    assert printable(text) == text


def test_a_crash_log_is_new_private_and_follows_no_link(tmp_path: Path) -> None:
    program = (
        "from maquette.cli import output\n"
        "try:\n    raise RuntimeError('x')\nexcept RuntimeError:\n    print(output._write_crash_log())\n"
    )
    paths = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=True,
        )
        paths.append(Path(done.stdout.strip()))
    assert paths[0] != paths[1]
    assert all(path.parent == tmp_path and path.stat().st_mode & 0o077 == 0 for path in paths)
    assert "RuntimeError: x" in paths[0].read_text(encoding="utf-8")
