"""Logs are read as they lie on disk: progress bars, odd encodings, other trainers, Maquette's own runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.logs.facts import LogFacts
from maquette.logs.lines import LogLines
from maquette.logs.reading import looks_like_log, read_log
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint
from tests.planted.clean import clean_log
from tests.planted.logs import sd_log, trace
from tests.runs.making import run_record

SPYKE_BAR = "steps:  12%|█▏        | 110/920 [03:10<23:21,  1.73s/it, avr_loss=0.0786]"


def read(tmp_path: Path, text: str | bytes, name: str = "train.log") -> LogFacts:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path)


def test_a_bar_tells_step_plan_loss_and_time(tmp_path: Path) -> None:
    facts = read(tmp_path, SPYKE_BAR)
    assert facts.losses == ((110, 0.0786),)
    assert facts.planned_steps == 920
    assert facts.elapsed == ((110, 190.0),)
    assert facts.averaged
    assert facts.trainer == "sd-scripts"


def test_steps_between_returns_are_all_read(tmp_path: Path) -> None:
    facts = read(tmp_path, clean_log())
    assert [step for step, _ in facts.losses] == list(range(1, 1001))
    assert facts.finished
    assert [saved.name for saved in facts.checkpoints] == ["zkw_fox.safetensors"]
    assert facts.folders[0].pictures == 20


def test_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    facts = read(tmp_path, f"first\r\nsecond\r{SPYKE_BAR}\r{SPYKE_BAR}\nNo data found\n")
    assert [match.line for match in facts.matches] == [3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_every_shell_are_read(tmp_path: Path, encoding: str) -> None:
    facts = read(tmp_path, f"running training / 学習開始\r\n{SPYKE_BAR}\r\n".encode(encoding))
    assert facts.losses == ((110, 0.0786),)


def test_bytes_that_are_no_text_lose_nothing_else(tmp_path: Path) -> None:
    facts = read(tmp_path, b"\xff\xc0\x80 shift-jis \x8aw\x8fK\n" + SPYKE_BAR.encode() + b"\n\x00\x01\n")
    assert facts.losses == ((110, 0.0786),)


def test_colours_and_cursor_moves_are_left_out(tmp_path: Path) -> None:
    facts = read(tmp_path, f"\x1b[K\x1b[1A{SPYKE_BAR}\n\x1b[31mNo data\x1b[0m found\n")
    assert facts.counts == {"LOG001": 1}
    assert facts.losses


def test_a_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    """Pieces of the file may end anywhere, within \\r\\n too."""
    path = tmp_path / "long.log"
    path.write_bytes(b"x" * ((1 << 20) - 1) + b"\r\nsecond\r" + b"y" * (1 << 20) + b"\nlast")
    assert [(number, text[:6]) for number, text in LogLines(path)] == [
        (1, "xxxxxx"), (2, "second"), (2, "yyyyyy"), (3, "last"),
    ]  # fmt: skip


def test_other_trainers_bars_are_read(tmp_path: Path) -> None:
    toolkit = read(tmp_path, "zkw:  5%|5  | 50/1000 [01:00<19:00,  1.20s/it, lr: 1.0e-04 loss: 3.251e-01]\n")
    assert toolkit.losses == ((50, 0.3251),)
    bars = [
        f"step:  {50 * step}%|#| {step}/2 [00:0{step}<00:01, 1.00s/it, loss=0.{epoch}{step}, smooth loss=0.9]"
        for epoch in (1, 2)
        for step in (1, 2)
    ]
    one = read(tmp_path, "epoch: 50%|#| 1/2 [00:03<00:03, 3.0s/it]\r" + "\r".join(bars))
    assert one.losses == ((1, 0.11), (2, 0.12), (3, 0.21), (4, 0.22)), "a bar of its own for each epoch"
    assert one.trainer == "onetrainer"
    assert not one.averaged


def test_caching_bars_are_no_training(tmp_path: Path) -> None:
    facts = read(tmp_path, "100%|██████████| 406/406 [00:12<00:00, 33.1it/s]\ncaching latents...\n")
    assert facts.last_step == 0
    assert facts.planned_steps is None


def test_values_that_are_no_numbers_are_kept(tmp_path: Path) -> None:
    facts = read(tmp_path, SPYKE_BAR.replace("0.0786", "nan"))
    assert math.isnan(facts.losses[0][1])


def test_checkpoints_know_their_step(tmp_path: Path) -> None:
    text = (
        "saving checkpoint: out/zkw-step00000200.safetensors\n"
        f"{SPYKE_BAR}\nsaving checkpoint: out\\zkw-000002.safetensors\n"
    )
    saved = read(tmp_path, text).checkpoints
    assert [(each.name, each.step) for each in saved] == [
        ("zkw-step00000200.safetensors", 200),
        ("zkw-000002.safetensors", 110),
    ]


def test_tracebacks_are_found_with_their_place(tmp_path: Path) -> None:
    text = f"one\n{trace('IndexError: list index out of range')}\nafter\n"
    (found,) = read(tmp_path, text).tracebacks
    assert (found.line, found.end_line, found.message) == (2, 5, "IndexError: list index out of range")


def test_a_run_folder_is_read_by_any_of_its_files(tmp_path: Path) -> None:
    run = tmp_path / "zkw-001"
    run.mkdir()
    record = run_record(
        run="zkw-001",
        state="failed",
        error="OutOfMemoryError: CUDA out of memory.",
        checkpoints=(Checkpoint(path="checkpoints/zkw-step00000005.safetensors", step=5, epoch=2),),
    )
    record.with_(schedule=replace(record.schedule, steps=20, steps_per_epoch=4)).write(RunFolder(run))
    rows = [{"step": step, "loss": 0.1, "seconds": 0.5} for step in range(1, 8)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 8, "lo')
    for path in (run, run / "metrics.jsonl", run / "run.json"):
        facts = read_log(path)
        assert facts.trainer == "maquette"
        assert facts.last_step == 7
        assert facts.planned_steps == 20
        assert facts.elapsed[-1] == (7, 3.5)
        assert facts.counts == {"LOG006": 1}
        assert facts.checkpoints[0].step == 5
        assert looks_like_log(path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("train.log", "anything", True),
        ("nohup.out", "anything", True),
        ("output.txt", sd_log([0.1, 0.09]), True),
        ("error.txt", "ValueError: fp16 mixed precision requires a GPU (not 'mps')", True),
        ("fox_01.txt", "zkw_fox, full body, front view, standing, white background", False),
        ("train.sh", "accelerate launch train_network.py --max_train_epochs=5", False),
        ("notes", "remember to repeat 10 times", False),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR 100%|", False),
    ],
)
def test_logs_are_told_from_other_texts(tmp_path: Path, name: str, text: str | bytes, expected: bool) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert looks_like_log(path) is expected


def test_a_log_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_log(tmp_path / "absent.log")
