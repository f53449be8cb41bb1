"""What processes write to each other comes out as it went in, and whatever else comes is no letter."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from maquette.families.protocol import PictureSize
from maquette.project.config_file import load_settings
from maquette.training.batches import MicroBatch, OwnRows
from maquette.training.engine import Shown
from maquette.training.letters import Answer, Assignment, Letter, Meet, Task, receive, send
from maquette.training.processes import HELPER


def through(*letters: Letter) -> list[Letter]:
    pipe = io.BytesIO()
    for letter in letters:
        send(pipe, letter)
    pipe.seek(0)
    return [receive(pipe) for _ in letters]


def same(first: Any, second: Any) -> bool:
    """Compare records field by field: tensors have no truth of their own."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if type(first) in (MicroBatch, Shown, Task, Answer, Assignment):
        return type(first) is type(second) and same(vars(first), vars(second))
    return bool(first == second)


def test_letters_come_out_as_they_went_in(tmp_path: Path) -> None:
    settings = load_settings(
        None,
        {"base": str(tmp_path / "base"), "images": tmp_path, "learning_rate": 1e-4 / 3, "blocks": (),
         "optimizer_args": ("betas=0.9,0.95",), "trigger": "zkw ü", "resolution": "96,64"},
    )  # fmt: skip
    rows = torch.arange(48, dtype=torch.float32).view(3, 4, 2, 2)
    batch = MicroBatch(
        clean_BCHW=rows.transpose(2, 3),
        captions=("a", "ü, \n b", "a"),
        sizes=(PictureSize((64, 96), (0, 1), (64, 64)),) * 3,
        regularization_B=torch.tensor([False, True, False]),
        names=("x.png", "y.png", "z.png"),
        masks_B1HW=rows[:, :1],
        own=OwnRows(2, 3, 3),
    )
    shown = Shown(
        ("x.png",),
        torch.tensor([[981]]),
        torch.tensor([[0.1 + 0.2]]),
        batch.regularization_B[:1],
        rows[0, 0, 0],
    )
    texts = {"a": {"hidden": rows, "pooled": rows[0]}, "": {"hidden": rows.half()}}
    letters: tuple[Letter, ...] = (
        Assignment(1, 2, "store", 4, "cuda:1", "bf16", 9, settings, (settings, settings), texts),
        Assignment(1, 2, "store", 4, "cpu", "no", 9, settings, (settings,), None),
        Meet(),
        Task(((7, batch), (8, MicroBatch(**{**vars(batch), "masks_B1HW": None, "own": None}))), 2, 65536.0),
        Answer((shown, None)),
        Answer(error="its device has no memory left", is_full=True, trace="line\nline"),
    )
    assert all(map(same, letters, through(*letters)))


@pytest.mark.parametrize("length", [0, 5, 8, 20, -1])
def test_a_letter_that_breaks_off_is_the_end_of_the_other_process(length: int) -> None:
    pipe = io.BytesIO()
    send(pipe, Answer(error="broken"))
    with pytest.raises(EOFError):
        receive(io.BytesIO(pipe.getvalue()[:length]))


def test_what_is_no_letter_is_not_read() -> None:
    def bytes_of(head: bytes, body: bytes = b"") -> io.BytesIO:
        return io.BytesIO(b"".join(len(part).to_bytes(8, "big") + part for part in (head, body)))

    for head in (b"{}", b"[1]", b"no json", b'{"kind": "Os"}', b'{"kind": "Answer"}'):
        with pytest.raises(EOFError, match="no letter"):
            receive(bytes_of(head))
    with pytest.raises(EOFError, match="no letter"):
        receive(bytes_of(b'{"kind": "Meet"}', b"no safetensors"))


def test_a_helper_ends_when_nobody_is_there_any_more() -> None:
    """As when the process that it helps is killed: its pipes are closed then."""
    done = subprocess.run(
        [sys.executable, "-c", HELPER], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
