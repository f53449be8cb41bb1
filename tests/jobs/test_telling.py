"""What people hear of jobs: the view, logs, status, notifications."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from maquette.cli.app import maquette
from maquette.errors import ConfigError
from maquette.events import Artifact, Message, Progress
from maquette.jobs.following import told_by_run
from maquette.jobs.ledger import Ledger
from maquette.jobs.notifying import NotifyOptions, notify, read_notify, write_notify
from maquette.jobs.records import Job, Request, State
from maquette.jobs.view import View, curve, smoothed
from maquette.runs.events import EventLog


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(maquette, [str(argument) for argument in arguments])


def ended(state: State, error: str | None = None) -> Job:
    with Ledger() as ledger:
        job = ledger.add(
            Request(kind="train", arguments=("secret-argument",), cwd=Path("/"), run=Path("/runs/zkw"))
        ).id
        ledger.end(job, ledger.take(job) or 0, state, error=error)
        return ledger.job(job)


def test_the_view_shows_state_progress_loss_time_left_and_what_was_said() -> None:
    view = View("job 1")
    view.see({"event": "state", "state": "running"})
    for step in range(1, 31):
        values = {"loss": 2.0 - step / 30, "speed": "0.5 s/step"}
        view.see(
            {
                "event": "progress",
                "time": step / 2,
                "stage": "train",
                "done": step,
                "total": 40,
                "unit": "step",
                "values": values,
            }
        )
    for number in range(7):
        view.see(Message(f"said {number}").to_json())
    lines = view.lines(120)
    assert lines[0] == "job 1: running"
    assert "train 30 of 40 (75%)" in lines[1] and "0.5 s/step" in lines[1] and "5.0 s left" in lines[1]
    assert [line.strip() for line in lines[-5:]] == [f"said {number}" for number in range(2, 7)]
    view.see({"event": "state", "state": "failed", "error": "no room"})
    assert view.lines(120)[0] == "job 1: failed (no room)" and "left" not in view.lines(120)[1]
    assert all(len(line) <= 40 for line in view.lines(40))


def test_a_long_run_keeps_the_shape_of_its_curve_in_bounded_room() -> None:
    view = View("long")
    for step in range(50_000):
        view.see(
            {
                "event": "progress",
                "time": 0,
                "stage": "train",
                "done": step,
                "total": 50_000,
                "values": {"loss": float(step)},
            }
        )
    assert len(view.losses) <= 4096 and view.losses == sorted(view.losses)
    assert view.losses[0] < 100 and view.losses[-1] > 49_000
    view.see(
        {
            "event": "progress",
            "time": 0,
            "stage": "train",
            "done": 1,
            "total": 9,
            "values": {"loss": float("nan")},
        }
    )
    assert view.losses == sorted(view.losses)


def test_a_curve_reaches_from_its_least_to_its_greatest() -> None:
    rows = curve([3.0, 2.0, 1.0], 3, 2)
    assert [row[:3] for row in rows] == ["█▁ ", "██▁"] and rows[0].endswith("3") and rows[1].endswith("1")
    assert curve([1.0, 1.0], 9, 1)[0].startswith("▁▁")
    assert smoothed([1.0, 3.0, 5.0], 2) == [1.0, 2.0, 4.0]


def test_a_run_that_nobody_trains_any_more_is_told_to_its_last_line_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "run" / "events.jsonl")
    told = [
        log.write(each)
        for each in (Progress("train", 1, 2), Artifact("checkpoint", Path("a")), Message("done"))
    ]
    log.close()
    with (tmp_path / "run" / "events.jsonl").open("ab") as file:
        file.write(b'{"sequence": 3, "event": "mess')
    heard = [each for each in told_by_run(tmp_path / "run") if each is not None]
    assert [each.get("sequence") for each in heard] == [*(each.sequence for each in told), None]
    assert heard[-1]["event"] == "state" and heard[-1]["state"] == "interrupted"
    assert [each.get("sequence") for each in told_by_run(tmp_path / "run", after=1) if each] == [2, None]
    shown = run("logs", tmp_path / "run", "--json")
    assert json.loads(shown.stdout)["log"] == ["checkpoint: a", "done"]


def test_status_counts_and_says_what_is_not_over() -> None:
    ended("done")
    ended("failed", "no room")
    with Ledger() as ledger:
        waiting = ledger.add(Request(kind="evaluate", arguments=(), cwd=Path("/"))).id
        ledger.pause(waiting)
    told = json.loads(run("status", "--json").stdout)
    assert told["runner"] is None
    assert {state: count for state, count in told["counts"].items() if count} == {
        "done": 1,
        "failed": 1,
        "paused": 1,
    }
    assert [(job["id"], job["state"]) for job in told["jobs"]] == [(waiting, "paused")]
    assert told["last"]["state"] in ("done", "failed") and told["machine"]["memory_bytes"] > 0


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that takes messages, and what it was sent."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(403 if "refuses" in self.path else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/secret-word", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_hears_of_the_end_and_no_secret_leaves_its_file(
    home: Path, webhook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, got = webhook
    shown = run("queue", "notify", "--webhook", url, "--json")
    assert json.loads(shown.stdout)["webhook"] is True and "secret-word" not in shown.output
    assert (home / "notify.toml").stat().st_mode & 0o077 == 0
    assert notify(ended("failed", "no room")) == []
    (sent,) = got
    assert sent["text"] == sent["content"] == "maquette train zkw: failed (no room)"
    assert sent["job"]["state"] == "failed" and "secret-argument" not in json.dumps(sent)
    write_notify(NotifyOptions(webhook=url + "-refuses", failures_only=True))
    assert notify(ended("failed")) == ["not told at the webhook: it answered HTTP 403"]
    assert notify(ended("done")) == [] and notify(ended("cancelled")) == [] and len(got) == 2
    with Ledger() as ledger:
        assert all("secret-word" not in json.dumps(job.to_json()) for job in ledger.jobs())
    assert not json.loads(run("queue", "notify", "--off", "--json").stdout)["webhook"]


def test_an_address_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError, match="it is no such address") as caught:
        write_notify(NotifyOptions(webhook="https://me:secret-word@example.org/x"))
    assert "secret-word" not in str(caught.value) and read_notify() == NotifyOptions()


@pytest.mark.skipif(os.name != "posix", reason="a program as a script")
def test_the_desktop_is_told_by_its_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, program = tmp_path / "told", tmp_path / "bin" / "notify-send"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert notify(ended("done"), NotifyOptions(desktop=True)) == []
    assert told.read_text().splitlines()[-2:] == ["Maquette", "maquette train zkw: done"]
