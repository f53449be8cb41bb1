"""The ledger: every job, its state and its events in one SQLite file that several processes write.

Each change is one transaction that begins by taking the right to write, and a change of state is made only where the state
is still the one that the writer saw (`_moved`). So two who want to start, cancel or mark a job never both succeed, and whatever
is killed leaves a change whole or not made. No decision rests on the clock: its times are for people.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, OutputError, Problem
from maquette.files import state_folder
from maquette.jobs.records import STATES, Job, Request, State
from maquette.jobs.tables import MIGRATIONS
from maquette.reading import parse_json

TRAIN = "train"
"""The command whose runs are kept apart: two jobs never train one."""
BUSY_S = 30.0
MOST_PROGRESS = 20_000
"""Rows of progress that a job keeps; of more, every second of the older half goes. Everything else that was told stays."""
COLUMNS = (
    "id, kind, arguments, cwd, project, run, device, state, asked, position, attempt, strikes, begun, worker, done, total, "
    'unit, stage, reached, "values", result, error, created_at, started_at, ended_at'
)
Telling = Mapping[str, Any]
"""An event as plain values: `event`, its own fields and its time; the ledger gives it its sequence."""


def ledger_folder() -> Path:
    """Return where this user's ledger and the jobs' logs lie."""
    return state_folder() / "jobs"


class Ledger:
    """A connection to the ledger. A thread has its own."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the ledger in `folder` (the user's where none is given), made where it is missing. Raises OutputError."""
        self.folder = folder if folder is not None else ledger_folder()
        path = self.folder / "ledger.db"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._begin_to_use()
        except (sqlite3.Error, OSError) as error:
            raise OutputError(
                Problem(
                    str(path),
                    f"cannot be used as the ledger of jobs ({error})",
                    "a place on a disk of this machine that can be written",
                    "Name another one in MAQUETTE_HOME, or free space or permissions there.",
                )
            ) from error

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    def job_folder(self, job: int) -> Path:
        """Return where a job's log lies."""
        return self.folder / str(job)

    # --- reading --------------------------------------------------------------------------------------

    def jobs(self, states: Iterable[State] = STATES) -> list[Job]:
        """Return the jobs in these states, in the order of the queue."""
        wanted = tuple(states)
        marks = ", ".join("?" * len(wanted))
        rows = self._db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE state IN ({marks}) ORDER BY position, id", wanted
        )
        return [_job(row) for row in rows]

    def find(self, job: int) -> Job | None:
        """Return a job; None where there is none of that number."""
        row = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def job(self, job: int) -> Job:
        """Return a job. Raises ConfigError where there is none of that number."""
        found = self.find(job)
        if found is None:
            raise ConfigError(
                Problem(f"job {job}", "no such job", "a number of the queue", "See: maquette queue list")
            )
        return found

    def of_run(self, run: Path) -> Job | None:
        """Return the newest job of a run's folder."""
        sql = f"SELECT {COLUMNS} FROM jobs WHERE run = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(sql, (str(run),)).fetchone()
        return None if row is None else _job(row)

    def events(self, job: int, after: int = -1, most: int = 1000) -> list[dict[str, Any]]:
        """Return up to `most` events of a job whose sequence is above `after`, in order."""
        rows = self._db.execute(
            "SELECT sequence, line FROM events WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (job, after, most),
        )
        return [{"sequence": row["sequence"], **parse_json(row["line"], any_text=True)} for row in rows]

    def changes_by_others(self) -> int:
        """Return a number that is another one once another connection has changed anything; asking costs microseconds."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def runner(self) -> str | None:
        """Return who says to be the runner."""
        row = self._db.execute("SELECT who FROM runners").fetchone()
        return None if row is None else str(row["who"])

    # --- what people change ---------------------------------------------------------------------------

    def add(self, request: Request) -> Job:
        """Put a job at the end of the queue. Raises OutputError where another that is not over has its run."""
        with self._writing():
            if request.run is not None and request.kind == TRAIN:
                self._require_free(request.run)
            sql = """INSERT INTO jobs (kind, arguments, cwd, project, run, device, begun, state, position, created_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?)"""
            values = (
                request.kind,
                json.dumps(request.arguments),
                str(request.cwd),
                None if request.project is None else str(request.project),
                None if request.run is None else str(request.run),
                request.device,
                request.begun,
                _now(),
            )
            number = int(self._db.execute(sql, values).lastrowid or 0)
            self._tell(number, [_state_event("queued")])
        return self.job(number)

    def is_reserved(self, run: Path) -> bool:
        """Return whether a job that is not over trains, or will train, the run of that folder."""
        return self._owner(run) is not None

    def cancel(self, job: int) -> Job:
        """Cancel a job: at once where no worker has it, else at its next step. Nothing happens to one that is over."""
        with self._writing():
            if not self._moved(job, ("queued", "paused", "interrupted"), "cancelled"):
                self._ask(job, "cancel")
        return self.job(job)

    def pause(self, job: int) -> Job:
        """Pause a job: at once where no worker has it, else at its next step."""
        with self._writing():
            if not self._moved(job, ("queued", "interrupted"), "paused"):
                self._ask(job, "pause")
        return self.job(job)

    def resume(self, job: int) -> Job:
        """Put a paused, interrupted or failed job back into the queue, with a fresh count of lost workers.

        A pause that was asked for and not yet taken is taken back.
        """
        with self._writing():
            if self._moved(job, ("paused", "interrupted", "failed"), "queued"):
                self._db.execute(
                    "UPDATE jobs SET strikes = 0, error = NULL, ended_at = NULL WHERE id = ?", (job,)
                )
            else:
                self._db.execute("UPDATE jobs SET asked = NULL WHERE id = ? AND asked = 'pause'", (job,))
        return self.job(job)

    def move(self, job: int, *, before: int | None = None, to_end: bool = False) -> Job:
        """Move a job to the front of the queue, before another, or to its end."""
        with self._writing():
            waiting = [each for each in self.jobs(("queued", "paused", "interrupted")) if each.id != job]
            if to_end:
                position = (waiting[-1].position if waiting else 0.0) + 1
            else:
                place = next((index for index, each in enumerate(waiting) if each.id == before), 0)
                above = waiting[place].position if waiting else 1.0
                below = waiting[place - 1].position if place else above - 2
                position = (above + below) / 2
            self._db.execute("UPDATE jobs SET position = ? WHERE id = ?", (position, job))
            self._spread()
        return self.job(job)

    def shift(self, job: int, places: int) -> Job:
        """Move a job that waits by so many places: towards the front below 0, else towards the end."""
        waiting = [each.id for each in self.jobs(("queued", "paused", "interrupted"))]
        if job not in waiting:
            return self.job(job)
        others = [each for each in waiting if each != job]
        place = max(0, waiting.index(job) + places)
        return self.move(job, before=others[place]) if place < len(others) else self.move(job, to_end=True)

    def clear(self) -> list[int]:
        """Forget the jobs that are over, with their events; return their numbers."""
        with self._writing():
            over = [each.id for each in self.jobs(("done", "failed", "cancelled"))]
            for job in over:
                self._db.execute("DELETE FROM events WHERE job = ?", (job,))
                self._db.execute("DELETE FROM jobs WHERE id = ?", (job,))
        return over

    # --- what runner and workers change ---------------------------------------------------------------

    def take(self, job: int) -> int | None:
        """Give a queued job to a worker that is about to be started; return the number of its attempt, None where it is taken."""
        with self._writing():
            if not self._moved(job, ("queued",), "running"):
                return None
            self._db.execute(
                """UPDATE jobs SET attempt = attempt + 1, worker = NULL, error = NULL, result = NULL, ended_at = NULL,
                   started_at = COALESCE(started_at, ?) WHERE id = ?""",
                (_now(), job),
            )
            return self.job(job).attempt

    def register(self, job: int, attempt: int, worker: str) -> bool:
        """Let a worker say that it runs this attempt; False where the attempt was given up, or another runs it."""
        with self._writing():
            sql = "UPDATE jobs SET worker = ? WHERE id = ? AND attempt = ? AND state = 'running' AND worker IS NULL"
            return self._db.execute(sql, (worker, job, attempt)).rowcount == 1

    def begin_run(self, job: int, run: Path, arguments: Sequence[str]) -> None:
        """Note that a run's folder is this job's own from now on."""
        with self._writing():
            self._db.execute(
                "UPDATE jobs SET run = ?, arguments = ?, begun = 1 WHERE id = ?",
                (str(run), json.dumps(list(arguments)), job),
            )

    def tell(self, job: int, events: Sequence[Telling], reached: float | None = None) -> None:
        """Append events of a job; the last progress among them becomes the job's."""
        if not events:
            return
        with self._writing():
            self._tell(job, events)
            last = next((each for each in reversed(events) if each["event"] == "progress"), None)
            if last is not None:
                self._db.execute(
                    'UPDATE jobs SET done = ?, total = ?, unit = ?, stage = ?, "values" = ? WHERE id = ?',
                    (
                        last["done"],
                        last["total"],
                        last["unit"],
                        last["stage"],
                        json.dumps(last["values"]),
                        job,
                    ),
                )
            if reached is not None:
                self._db.execute(
                    "UPDATE jobs SET strikes = 0, reached = ? WHERE id = ? AND reached < ?",
                    (reached, job, reached),
                )

    def end(
        self,
        job: int,
        attempt: int,
        state: State,
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> bool:
        """Note how an attempt ended; False where it was not the running one any more.

        Who was asked to pause or cancel and ended early did so. An interrupted job counts a strike.
        """
        with self._writing():
            found = self.find(job)
            if found is None or found.attempt != attempt:
                return False
            if state == "interrupted" and found.asked is not None:
                state, error = ("cancelled" if found.asked == "cancel" else "paused"), None
            if not self._moved(job, ("running",), state, error):
                return False
            run = (result or {}).get("run")
            self._db.execute(
                """UPDATE jobs SET result = ?, run = COALESCE(run, ?), strikes = strikes + ? WHERE id = ?""",
                (
                    None if result is None else json.dumps(result),
                    run if isinstance(run, str) else None,
                    state == "interrupted",
                    job,
                ),
            )
            return True

    def retry(self, job: int, most_strikes: int) -> bool:
        """Put an interrupted job back into its place in the queue, unless too many workers were lost in a row."""
        with self._writing():
            found = self.find(job)
            if found is None or found.strikes >= most_strikes:
                return False
            return self._moved(job, ("interrupted",), "queued", found.error)

    def enter_runner(self, who: str) -> None:
        """Note who the runner is."""
        with self._writing():
            self._db.execute("DELETE FROM runners")
            self._db.execute("INSERT INTO runners (who) VALUES (?)", (who,))

    def leave_runner(self, who: str) -> None:
        """Note that the runner is about to end."""
        with self._writing():
            self._db.execute("DELETE FROM runners WHERE who = ?", (who,))

    def require_whole(self) -> None:
        """Raise OutputError where the file is damaged."""
        said = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check")]
        if said != ["ok"]:
            problem = Problem(str(self.folder / "ledger.db"), said[0], "a whole file", "Move it away.")
            raise OutputError(problem)

    # --- within a transaction -------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            path = self.folder / "ledger.db"
            remedy = "Free space there, or name another place in MAQUETTE_HOME."
            problem = Problem(
                str(path), f"cannot be written ({error})", "room and the right to write", remedy
            )
            raise OutputError(problem) from error

    def _moved(self, job: int, before: Sequence[State], after: State, error: str | None = None) -> bool:
        """Change a job's state where it is one of `before`, and tell it; what was asked of it is thereby answered."""
        marks = ", ".join("?" * len(before))
        ends = _now() if after not in ("queued", "running") else None
        sql = f"""UPDATE jobs SET state = ?, asked = NULL, error = ?, ended_at = COALESCE(?, ended_at)
                  WHERE id = ? AND state IN ({marks})"""
        if self._db.execute(sql, (after, error, ends, job, *before)).rowcount != 1:
            return False
        self._tell(job, [_state_event(after, error)])
        return True

    def _ask(self, job: int, what: str) -> None:
        """Ask the worker; who was asked to cancel is not asked to pause instead."""
        sql = "UPDATE jobs SET asked = ? WHERE id = ? AND state = 'running' AND asked IS NOT 'cancel'"
        self._db.execute(sql, (what, job))

    def _tell(self, job: int, events: Sequence[Telling]) -> None:
        sql = "SELECT COALESCE(MAX(sequence), -1) + 1 FROM events WHERE job = ?"
        first = int(self._db.execute(sql, (job,)).fetchone()[0])
        rows = [
            (
                job,
                number,
                each["event"],
                json.dumps({name: value for name, value in each.items() if name != "sequence"}),
            )
            for number, each in enumerate(events, first)
        ]
        self._db.executemany("INSERT INTO events (job, sequence, kind, line) VALUES (?, ?, ?, ?)", rows)
        last = first + len(rows)
        if first // 1000 != last // 1000:
            self._thin(job)

    def _thin(self, job: int) -> None:
        """Keep a job's events within bounds: of old progress every second goes, so that its curve keeps its shape."""
        sql = "SELECT sequence FROM events WHERE job = ? AND kind = 'progress' ORDER BY sequence"
        known = [int(row[0]) for row in self._db.execute(sql, (job,))]
        gone: set[int] = set()
        while len(known) - len(gone) > MOST_PROGRESS:
            left = [number for number in known if number not in gone]
            gone.update(left[: len(left) // 2 : 2])
        self._db.executemany(
            "DELETE FROM events WHERE job = ? AND sequence = ?", [(job, number) for number in gone]
        )

    def _spread(self) -> None:
        """Number the queue anew: halves of halves run out of digits."""
        rows = self._db.execute("SELECT id FROM jobs ORDER BY position, id").fetchall()
        self._db.executemany(
            "UPDATE jobs SET position = ? WHERE id = ?",
            [(float(place), row["id"]) for place, row in enumerate(rows, 1)],
        )

    def _require_free(self, run: Path) -> None:
        if (owner := self._owner(run)) is not None:
            raise OutputError(
                Problem(
                    str(run),
                    f"job {owner} trains it",
                    "one job for a run",
                    "See: maquette queue list",
                )
            )

    def _owner(self, run: Path) -> int | None:
        sql = (
            "SELECT id FROM jobs WHERE run = ? AND kind = ? AND state NOT IN ('done', 'failed', 'cancelled')"
        )
        row = self._db.execute(sql, (str(run), TRAIN)).fetchone()
        return None if row is None else int(row["id"])

    def _begin_to_use(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        self._db.execute("PRAGMA foreign_keys = ON")
        _patiently(self._db, "PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if self._version() < len(MIGRATIONS):
            self._migrate()
        if self._version() > len(MIGRATIONS):
            raise sqlite3.DatabaseError("a newer release of Maquette wrote it")

    def _migrate(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            # Whoever had the right to write before may have done it meanwhile.
            for number, step in enumerate(MIGRATIONS[self._version() :], self._version() + 1):
                for statement in step:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number}")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Run what SQLite refuses at once while another connection writes, whatever its timeout."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute(statement).fetchall()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _state_event(state: State, error: str | None = None) -> dict[str, Any]:
    return {"time": time.time(), "event": "state", "state": state, "error": error}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    for name in ("cwd", "project", "run"):
        values[name] = None if values[name] is None else Path(values[name])
    for name in ("values", "result"):
        values[name] = None if values[name] is None else parse_json(values[name], any_text=True)
    values["arguments"] = tuple(parse_json(values["arguments"], any_text=True))
    values["begun"] = bool(values["begun"])
    return Job(**values)
