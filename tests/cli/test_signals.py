"""Ctrl-C at the terminal: first it asks, then it ends; the last line says how to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from maquette.cli.output import INTERRUPTED, follow, result_command
from maquette.cli.signals import ctrl_c_at_once, signals_ask
from maquette.events import Progress, Stage
from maquette.stopping import Stop, Stopped


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")], ids=["int", "term"]
)
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals, reason: str) -> None:
    before, stop = signal.getsignal(number), Stop()
    with pytest.raises(KeyboardInterrupt), signals_ask(stop):
        signal.raise_signal(number)
        assert stop.reason == reason
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_who_is_being_asked_is_not_kept_waiting() -> None:
    stop = Stop()
    with pytest.raises(KeyboardInterrupt), signals_ask(stop), ctrl_c_at_once():
        signal.raise_signal(signal.SIGINT)
    assert not stop.asked


def _pictures() -> Stage[int]:
    for number in range(1, 10):
        if number == 4:
            signal.raise_signal(signal.SIGINT)
        yield Progress("draw", number, 9, "picture")
    return 9


def _cut_off() -> Stage[int]:
    yield Progress("draw", 1, 9, "picture")
    raise KeyboardInterrupt


def _cut_off_with_a_note() -> Stage[int]:
    yield Progress("train", 1, 9)
    interrupt = KeyboardInterrupt()
    interrupt.add_note("interrupted at step 1 of 9; go on with: maquette train --resume RUN")
    raise interrupt


def _knows_better() -> Stage[int]:
    yield Progress("train", 1, 9)
    raise Stopped("step 1 of 9", "maquette train --resume RUN")


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        (
            _pictures,
            "interrupted at picture 4 of 9 (draw); nothing finished was lost; go on with: maquette draw 'my folder'",
        ),
        (_cut_off, "interrupted; nothing finished was lost; go on with: maquette draw 'my folder'"),
        (_cut_off_with_a_note, "interrupted at step 1 of 9; go on with: maquette train --resume RUN"),
        (_knows_better, "interrupted at step 1 of 9; go on with: maquette train --resume RUN"),
    ],
)
def test_the_last_line_says_how_to_go_on(stage: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["maquette", "draw", "my folder"])

    @result_command(name="draw")
    def command() -> dict[str, Any]:
        return {"drawn": follow(stage())}

    done = CliRunner().invoke(command, ["--json"])
    assert done.exit_code == INTERRUPTED
    assert done.stderr.splitlines()[-1] == line
    assert json.loads(done.stdout.splitlines()[-1])["error"][0]["given"] == line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["words", "json"])
def test_a_signal_while_libraries_load_ends_in_one_line(
    number: signal.Signals, flags: tuple[str, ...]
) -> None:
    code = (
        "import time; from maquette.cli.signals import signals_end_the_start; signals_end_the_start(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "check", "my pictures", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, told = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    again = " ".join(["maquette check 'my pictures'", *flags])
    assert told == f"interrupted before anything began; go on with: {again}\n"
    assert [json.loads(line)["error"][0]["where"] for line in out.splitlines()] == ["interrupted"] * len(
        flags
    )


def test_sigterm_outside_a_stage_cleans_up_too() -> None:
    """What a command does before its stage begins, or after, is interrupted as by Ctrl-C, and not killed."""

    def ended() -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return {}

    result = CliRunner().invoke(result_command(name="ended")(ended), [])
    assert result.exit_code == INTERRUPTED and "nothing finished was lost" in result.output
