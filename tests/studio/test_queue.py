"""The queue in the studio: what its streams tell, from where one comes in to the end, and what a person may ask."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job, Request
from maquette.processes import identity_of

from .conftest import Served


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


def added(tmp_path: Path) -> Job:
    """Return a job that nobody runs."""
    with Ledger() as ledger:
        return ledger.add(Request(kind="check", arguments=("nowhere",), cwd=tmp_path))


def tell(job: int, *numbers: int) -> None:
    with Ledger() as ledger:
        ledger.tell(job, [{"event": "message", "text": str(number)} for number in numbers])


class Stream:
    """An open stream of events."""

    def __init__(self, served: Served, path: str, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        self.connection.request("GET", path, headers={"Host": "localhost", **headers})
        self.answer = self.connection.getresponse()
        assert self.answer.getheader("content-type", "").startswith("text/event-stream")

    def blocks(self) -> Iterator[dict[str, str]]:
        """Yield the fields of each event until the stream ends."""
        fields: dict[str, str] = {}
        for raw in self.answer:
            line = raw.decode().rstrip("\n")
            if not line and fields:
                yield fields
                fields = {}
            elif line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value

    def close(self) -> None:
        self.connection.close()


def texts(blocks: Iterator[dict[str, str]], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        event: dict[str, Any] = json.loads(next(blocks)["data"])
        if event["event"] == "message":
            found.append(event["text"])
    return found


def test_who_comes_late_or_comes_back_hears_everything_once(served: Served, tmp_path: Path) -> None:
    job = added(tmp_path).id
    tell(job, 1, 2, 3)
    stream = Stream(served, f"/api/jobs/{job}/stream")
    blocks = stream.blocks()
    assert texts(blocks, 3) == ["1", "2", "3"]
    tell(job, 4)
    assert texts(blocks, 1) == ["4"]
    stream.close()
    tell(job, 5, 6)
    with Ledger() as ledger:
        last = ledger.events(job)[-2]["sequence"]
    back = Stream(served, f"/api/jobs/{job}/stream?after=-1", **{"Last-Event-ID": str(last)})
    again = back.blocks()
    assert texts(again, 1) == ["6"]
    with Ledger() as ledger:
        ledger.cancel(job)
    rest = list(again)  # the stream ends by itself
    assert rest[-1]["event"] == "end"
    assert json.loads(rest[-1]["data"])["state"] == "cancelled"


def test_several_listeners_hear_the_same(served: Served, tmp_path: Path) -> None:
    job = added(tmp_path).id
    streams = [Stream(served, f"/api/jobs/{job}/stream").blocks() for _ in range(4)]
    tell(job, *range(50))
    for blocks in streams:
        assert texts(blocks, 50) == [str(number) for number in range(50)]


def test_many_tabs_of_a_browser_hear_over_one_connection(
    browser: Any, served: Served, tmp_path: Path
) -> None:
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(8)]  # a browser keeps six connections to a server
    for tab in tabs:
        tab.goto(f"{served.url}/queue")
    job = added(tmp_path).id
    for tab in tabs:
        tab.wait_for_selector(f"#jobs b:has-text('{job}  check')")
    assert served.studio.feed.listeners == 1
    context.close()


def test_the_queue_is_told_whenever_it_changes_and_not_otherwise(served: Served, tmp_path: Path) -> None:
    blocks = Stream(served, "/api/jobs/stream").blocks()
    assert json.loads(next(blocks)["data"]) == {"jobs": []}
    job = added(tmp_path).id
    assert [each["state"] for each in json.loads(next(blocks)["data"])["jobs"]] == ["queued"]
    with Ledger() as ledger:
        ledger.pause(job)
    assert [each["state"] for each in json.loads(next(blocks)["data"])["jobs"]] == ["paused"]


@pytest.mark.parametrize("after", ["", "x", "-", "9" * 40])
def test_a_number_that_is_none_begins_at_the_beginning(served: Served, tmp_path: Path, after: str) -> None:
    job = added(tmp_path).id
    tell(job, 1)
    stream = Stream(served, f"/api/jobs/{job}/stream", **{"Last-Event-ID": after})
    assert texts(stream.blocks(), 1) == ["1"]
    stream.close()


def test_a_job_that_is_not_there_ends_at_once(served: Served) -> None:
    assert [block["event"] for block in Stream(served, "/api/jobs/77/stream").blocks()] == ["end"]


def test_a_person_asks_and_what_cannot_be_is_said(served: Served, tmp_path: Path) -> None:
    job = added(tmp_path).id
    assert served.ask(f"/api/jobs/{job}/cancel", {}).table["job"]["state"] == "cancelled"
    assert served.ask("/api/jobs/99/cancel", {}).status == 400
    assert served.ask(f"/api/jobs/{job}/explode", {}).status == 400
    assert served.ask(f"/api/jobs/{job}/cancel", {}, page=False).status == 403
    assert served.ask("/api/jobs").table["jobs"][0]["id"] == job


def states(served: Served) -> dict[int, str]:
    return {each["id"]: each["state"] for each in served.ask("/api/jobs").table["jobs"]}


def test_jobs_change_places_and_what_is_over_is_forgotten(served: Served, tmp_path: Path) -> None:
    first, second, third = (added(tmp_path).id for _ in range(3))
    with Ledger() as ledger:
        for job in (first, second, third):
            ledger.pause(job)  # no runner takes them meanwhile
    for what, job, order in (
        ("up", third, [first, third, second]),
        ("up", first, [first, third, second]),
        ("down", first, [third, first, second]),
        ("down", second, [third, first, second]),
        ("first", second, [second, third, first]),
    ):
        assert served.ask(f"/api/jobs/{job}/{what}", {}).status == 200
        assert list(states(served)) == order
    served.ask(f"/api/jobs/{third}/cancel", {})
    assert served.ask("/api/jobs/clear", {}).table == {"cleared": [third]}
    assert list(states(served)) == [second, first]
    assert served.ask("/api/jobs/clear", {}, page=False).status == 403


def test_a_job_that_is_ended_at_once_is_dead_and_stopped_and_its_log_is_shown(
    served: Served, tmp_path: Path
) -> None:
    job = added(tmp_path).id
    work = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = identity_of(work.pid)
    with Ledger() as ledger:
        attempt = ledger.take(job)
        assert attempt is not None and identity is not None
        assert ledger.register(job, attempt, identity)
        ledger.job_folder(job).mkdir(parents=True)
        (ledger.job_folder(job) / "output.log").write_text("a line\nthe last line\n", encoding="utf-8")
    assert "lost" in served.ask(f"/api/jobs/{job}/loss").table
    assert served.ask(f"/api/jobs/{job}/kill", {}).table["job"]["state"] == "cancelled"
    assert work.wait(10) == -signal.SIGKILL
    assert states(served) == {job: "cancelled"}
    assert served.ask(f"/api/jobs/{job}/log").table == {
        "job": job,
        "lines": ["a line", "the last line"],
        "findings": [],
    }
    assert served.ask("/api/jobs/99/log").status == 400


def test_the_rule_that_knows_a_failure_stands_beside_its_log(served: Served, tmp_path: Path) -> None:
    job = added(tmp_path).id
    with Ledger() as ledger:
        attempt = ledger.take(job)
        assert attempt is not None
        ledger.job_folder(job).mkdir(parents=True)
        said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
        (ledger.job_folder(job) / "output.log").write_text(said, encoding="utf-8")
        ledger.end(job, attempt, "failed", error="it ended with exit code 1")
    found = served.ask(f"/api/jobs/{job}/log").table["findings"]
    assert [each["code"] for each in found] == ["LOG006"] and found[0]["remedy"]
