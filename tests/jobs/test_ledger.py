"""The ledger under several writers: every change whole, every job taken once, every event told once."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maquette.errors import ConfigError, OutputError
from maquette.jobs import ledger as ledger_module
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Request
from maquette.jobs.tables import MIGRATIONS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "jobs")


def request(kind: str = "evaluate", run: Path | None = None) -> Request:
    return Request(kind=kind, arguments=("here",), cwd=Path("/"), run=run)


def told(text: str) -> dict[str, object]:
    return {"event": "message", "time": 0.0, "text": text, "level": "info"}


def progress(done: int) -> dict[str, object]:
    return {"event": "progress", "stage": "train", "done": done, "total": 9, "unit": "step", "values": {}}


def test_of_many_that_want_a_job_one_gets_it(ledger: Ledger) -> None:
    jobs = [ledger.add(request()).id for _ in range(8)]

    def take_all(_: int) -> list[int]:
        with Ledger(ledger.folder) as own:
            return [job for job in jobs if own.take(job) is not None]

    with ThreadPoolExecutor(6) as pool:
        taken = [job for got in pool.map(take_all, range(6)) for job in got]
    assert sorted(taken) == jobs
    assert {job.attempt for job in ledger.jobs()} == {1}


def test_an_attempt_has_one_worker_and_none_once_it_was_given_up(ledger: Ledger) -> None:
    job = ledger.add(request()).id
    first = ledger.take(job)
    assert first == 1
    assert ledger.register(job, first, "boot/1/1")
    assert not ledger.register(job, first, "boot/2/2")
    assert ledger.end(job, first, "interrupted") and ledger.retry(job, 9)
    assert ledger.take(job) == 2
    assert not ledger.register(job, first, "boot/1/1")
    assert not ledger.end(job, first, "done")
    assert ledger.job(job).state == "running"


def test_events_of_many_writers_are_numbered_without_a_gap(ledger: Ledger) -> None:
    job = ledger.add(request()).id

    def tell(writer: int) -> None:
        with Ledger(ledger.folder) as own:
            for number in range(20):
                own.tell(job, [told(f"{writer} {number}"), told(f"{writer} {number} too")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(4)))
    events = ledger.events(job)
    assert [each["sequence"] for each in events] == list(range(161))
    assert len({each["text"] for each in events[1:]}) == 160
    heard, after = [], -1
    while more := ledger.events(job, after, most=7):  # who comes back again and again hears the same
        heard, after = [*heard, *more], more[-1]["sequence"]
    assert heard == events


def test_old_progress_is_thinned_and_all_else_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_PROGRESS", 1000)
    job = ledger.add(request()).id
    for start in range(0, 4000, 500):
        ledger.tell(job, [*(progress(done) for done in range(start, start + 500)), told(f"at {start}")])
    events = ledger.events(job, most=5000)
    kept = [each["done"] for each in events if each["event"] == "progress"]
    assert len(kept) < 2000 and kept == sorted(set(kept)) and kept[-500:] == list(range(3500, 4000))
    assert [each["text"] for each in events if each["event"] == "message"] == [
        f"at {start}" for start in range(0, 4000, 500)
    ]


@pytest.mark.parametrize(
    ("state", "pause", "cancel", "resume"),
    [
        ("queued", "paused", "cancelled", "queued"),
        ("paused", "paused", "cancelled", "queued"),
        ("interrupted", "paused", "cancelled", "queued"),
        ("failed", "failed", "failed", "queued"),
        ("done", "done", "done", "done"),
        ("cancelled", "cancelled", "cancelled", "cancelled"),
    ],
)
def test_what_people_ask_of_a_job_that_nobody_runs(
    ledger: Ledger, state: str, pause: str, cancel: str, resume: str
) -> None:
    for change, after in ((Ledger.pause, pause), (Ledger.cancel, cancel), (Ledger.resume, resume)):
        job = ledger.add(request()).id
        if state == "paused":
            ledger.pause(job)
        elif state == "cancelled":
            ledger.cancel(job)
        elif state != "queued":
            ledger.end(job, ledger.take(job) or 0, state)  # type: ignore[arg-type]
        assert ledger.job(job).state == state
        assert change(ledger, job).state == after


@pytest.mark.parametrize(("change", "after"), [(Ledger.pause, "paused"), (Ledger.cancel, "cancelled")])
def test_what_is_asked_of_a_running_job_is_what_its_early_end_means(
    ledger: Ledger, change, after: str
) -> None:  # type: ignore[no-untyped-def]
    job = ledger.add(request()).id
    attempt = ledger.take(job) or 0
    assert change(ledger, job).state == "running"
    assert ledger.end(job, attempt, "interrupted", error="killed")
    assert (ledger.job(job).state, ledger.job(job).error, ledger.job(job).strikes) == (after, None, 0)


def test_who_was_asked_to_cancel_is_not_asked_to_pause_instead(ledger: Ledger) -> None:
    job = ledger.add(request()).id
    ledger.take(job)
    ledger.cancel(job)
    assert ledger.pause(job).asked == "cancel"


def test_a_job_that_ends_before_it_heeds_what_was_asked_is_done(ledger: Ledger) -> None:
    job = ledger.add(request()).id
    attempt = ledger.take(job) or 0
    ledger.cancel(job)
    assert ledger.end(job, attempt, "done", result={"run": "/r"})
    assert (ledger.job(job).state, ledger.job(job).run) == ("done", Path("/r"))


def test_workers_lost_in_a_row_are_counted_and_getting_further_starts_the_count_anew(ledger: Ledger) -> None:
    job = ledger.add(request()).id
    for reached, strikes, again in (
        (0.1, 1, True),
        (0.1, 2, True),
        (0.2, 1, True),
        (0.0, 2, True),
        (0.0, 3, False),
    ):
        attempt = ledger.take(job) or 0
        ledger.tell(job, [told("on")], reached)
        ledger.end(job, attempt, "interrupted", error="killed")
        assert ledger.job(job).strikes == strikes
        assert ledger.retry(job, 3) == again
    assert (ledger.job(job).state, ledger.job(job).error) == ("interrupted", "killed")


def test_jobs_are_moved_to_the_front_before_another_and_to_the_end(ledger: Ledger) -> None:
    a, b, c, d = (ledger.add(request()).id for _ in range(4))

    def order() -> list[int]:
        return [job.id for job in ledger.jobs()]

    ledger.move(d)
    assert order() == [d, a, b, c]
    ledger.move(c, before=a)
    assert order() == [d, c, a, b]
    ledger.move(d, to_end=True)
    assert order() == [c, a, b, d]
    for _ in range(40):  # halves of halves
        ledger.move(b, before=a)
        ledger.move(a, before=b)
    assert order() == [c, a, b, d]


def test_a_run_is_trained_by_one_job_at_a_time(ledger: Ledger, tmp_path: Path) -> None:
    first = ledger.add(request("train", tmp_path))
    with pytest.raises(OutputError, match=f"job {first.id} trains it"):
        ledger.add(request("train", tmp_path))
    ledger.add(request("evaluate", tmp_path))
    ledger.cancel(first.id)
    ledger.add(request("train", tmp_path))


def test_what_is_over_is_forgotten_with_its_events_and_its_number_is_not_used_again(ledger: Ledger) -> None:
    kept, gone = ledger.add(request()).id, ledger.add(request()).id
    ledger.cancel(gone)
    assert ledger.clear() == [gone]
    assert ledger.events(gone) == [] and [job.id for job in ledger.jobs()] == [kept]
    with pytest.raises(ConfigError, match="no such job"):
        ledger.job(gone)
    assert ledger.add(request()).id > gone


def test_a_ledger_of_a_newer_release_is_left_alone(ledger: Ledger) -> None:
    ledger.close()
    with sqlite3.connect(ledger.folder / "ledger.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(OutputError, match="a newer release of Maquette wrote it"):
        Ledger(ledger.folder)


def test_what_is_no_ledger_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match="cannot be used as the ledger of jobs"):
        Ledger(tmp_path)


def test_many_processes_may_make_it_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Ledger(tmp_path).add(request()).id, range(8)))
    assert sorted(made) == list(range(1, 9))
