"""Who trains which trial, when several workers search one study: a lease on each, in the study's own database.

Optuna keeps what a trial is, these tables beside its own keep who trains it:

    maquette_leases    a trial's owner, how often it changed hands, the step it reached, until when it is the owner's
    maquette_workers   who takes part: host, process, version, since when, until when it is believed to be there

Until when is said by the database's clock alone; no worker's clock is asked, so that one that is wrong takes nothing from others.
Taking, renewing and letting go is one statement each, which changes a row only where it is still as it must be: of two workers
that want a trial one gets it. Who is killed renews no longer: after LEASE_S its trials are anybody's, at once where its process
is seen to be gone. Who finds that a lease went to another writes nothing more about that trial.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from maquette import __version__
from maquette.errors import ConfigError, Problem
from maquette.processes import is_alive, is_of_this_start, own_identity, pid_of

LEASE_S = 60.0
"""For so long a lease holds without being renewed: longer than a database or a network is away in passing."""
TABLES = MetaData()
LEASES = Table(
    "maquette_leases",
    TABLES,
    Column("study", String(255), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("deadline", Float(53), nullable=False),
)
WORKERS = Table(
    "maquette_workers",
    TABLES,
    Column("study", String(255), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("place", String(255), nullable=False),
    Column("process", String(255), nullable=False),
    Column("version", String(64), nullable=False),
    Column("sameness", String(64), nullable=False),
    Column("joined", Float(53), nullable=False),
    Column("seen", Float(53), nullable=False),
    Column("deadline", Float(53), nullable=False),
    Column("ended", Boolean, nullable=False),
)
NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
}
"""Seconds since 1970 by the database's clock, at the moment at which a row is looked at."""
INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@cache
def _place() -> str:
    """Return what tells a group of processes that see one another from every other: containers of one machine do not."""
    with suppress(OSError):
        return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()}"[:255]
    return socket.gethostname()


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process that searches, as it says itself."""

    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of this process alone, for ever."""
    host: str = field(default_factory=socket.gethostname)
    place: str = field(default_factory=_place)
    """Who has the same one sees this process."""
    process: str = field(default_factory=own_identity)
    version: str = __version__
    sameness: str = ""
    """What must be alike in all workers of a study."""

    def __str__(self) -> str:
        return f"process {pid_of(self.process)} on {self.host}"


@dataclass(frozen=True, kw_only=True)
class Seen(Worker):
    """A worker as the database knows it."""

    seconds: float
    """From joining to its last sign."""
    joined: float
    silent_s: float
    """Since its last sign."""
    ended: bool
    is_there: bool
    """Neither ended nor silent for longer than a lease, nor seen to be gone."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A trial and who has it."""

    trial: int
    owner: str
    turn: int
    """How often it changed hands."""
    step: int
    left_s: float
    """Below 0 where it is anybody's."""


class Leases:
    """The leases of one study, as one worker sees them. Safe to be used by several threads."""

    def __init__(
        self, engine: Engine, study: str, *, worker: Worker | None = None, seconds: float = LEASE_S
    ) -> None:
        """Raises ConfigError where `engine` is of a database that cannot hold leases."""
        self.engine, self.study, self.seconds = engine, study, seconds
        self.worker = worker or Worker()
        if (name := engine.dialect.name) not in NOW:
            raise ConfigError(_other_database(name))
        self._now: Any = literal_column(NOW[name], Float(53))
        self._insert: Any = INSERT[name]
        _create_tables(engine)

    @property
    def owner(self) -> str:
        return self.worker.owner

    # --- trials ------------------------------------------------------------------------------------------

    def take(self, trial: int) -> bool:
        """Take a trial where it is nobody's, this worker's own, or one's whose time is over or who is gone; return whether."""
        gone = self._gone()
        mine = {"study": self.study, "trial": trial, "owner": self.owner}
        new = self._insert(LEASES).values(**mine, turn=1, step=0, deadline=self._now + self.seconds)
        is_free = (LEASES.c.deadline <= self._now) | (LEASES.c.owner == self.owner)
        if gone:
            is_free |= LEASES.c.owner.in_(gone)
        changes_hands: Any = literal_column(
            "CASE WHEN maquette_leases.owner = excluded.owner THEN 0 ELSE 1 END"
        )
        statement = new.on_conflict_do_update(
            index_elements=[LEASES.c.study, LEASES.c.trial],
            set_={
                "owner": new.excluded.owner,
                "turn": LEASES.c.turn + changes_hands,
                "deadline": self._now + self.seconds,
            },
            where=is_free,
        ).returning(LEASES.c.owner)
        with self.engine.begin() as db:
            return db.execute(statement).first() is not None

    def renew(self, trials: Iterable[int]) -> set[int]:
        """Keep `trials` for another while; return those that are this worker's no longer. Says that the worker is there, too."""
        asked = set(trials)
        of_worker = (WORKERS.c.study == self.study) & (WORKERS.c.owner == self.owner)
        with self.engine.begin() as db:
            db.execute(
                update(WORKERS)
                .where(of_worker)
                .values(seen=self._now, deadline=self._now + self.seconds, ended=False)
            )
            kept = db.execute(
                update(LEASES)
                .where(self._mine(), LEASES.c.trial.in_(sorted(asked)))
                .values(deadline=self._now + self.seconds)
                .returning(LEASES.c.trial)
            )
            return asked - {int(row.trial) for row in kept}

    def note(self, trial: int, step: int) -> None:
        """Write down how far a trial came, where it is this worker's."""
        with self.engine.begin() as db:
            db.execute(update(LEASES).where(self._mine(), LEASES.c.trial == trial).values(step=step))

    def holds(self, trial: int) -> bool:
        """Return whether a trial is this worker's, and its time is not over."""
        found = select(LEASES.c.trial).where(
            self._mine(), LEASES.c.trial == trial, LEASES.c.deadline > self._now
        )
        with self.engine.connect() as db:
            return db.execute(found).first() is not None

    def release(self, trials: Iterable[int]) -> None:
        """Let go of `trials`: they are anybody's at once. Those that are another's by now are left alone."""
        with self.engine.begin() as db:
            db.execute(
                update(LEASES).where(self._mine(), LEASES.c.trial.in_(sorted(trials))).values(deadline=0.0)
            )

    def all(self) -> list[Lease]:
        """Return every lease of the study."""
        left = (LEASES.c.deadline - self._now).label("left_s")
        rows = (
            select(LEASES.c.trial, LEASES.c.owner, LEASES.c.turn, LEASES.c.step, left)
            .where(LEASES.c.study == self.study)
            .order_by(LEASES.c.trial)
        )
        with self.engine.connect() as db:
            return [Lease(**row) for row in db.execute(rows).mappings()]

    # --- workers -----------------------------------------------------------------------------------------

    def join(self) -> None:
        """Write down that this worker takes part."""
        given = self.worker
        new = self._insert(WORKERS).values(
            study=self.study,
            owner=given.owner,
            host=given.host,
            place=given.place,
            process=given.process,
            version=given.version,
            sameness=given.sameness,
            joined=self._now,
            seen=self._now,
            deadline=self._now + self.seconds,
            ended=False,
        )
        with self.engine.begin() as db:
            db.execute(new.on_conflict_do_nothing())

    def leave(self) -> None:
        """Let go of everything that this worker has, and write down that it ended."""
        of_worker = (WORKERS.c.study == self.study) & (WORKERS.c.owner == self.owner)
        with self.engine.begin() as db:
            db.execute(update(LEASES).where(self._mine()).values(deadline=0.0))
            db.execute(update(WORKERS).where(of_worker).values(seen=self._now, ended=True))

    def workers(self) -> list[Seen]:
        """Return everybody who took part, in the order of joining."""
        columns = [each for each in WORKERS.c if each.name not in ("study", "seen", "deadline")]
        told = (
            select(
                *columns,
                (WORKERS.c.seen - WORKERS.c.joined).label("seconds"),
                (self._now - WORKERS.c.seen).label("silent_s"),
                (WORKERS.c.deadline - self._now).label("left_s"),
            )
            .where(WORKERS.c.study == self.study)
            .order_by(WORKERS.c.joined)
        )
        with self.engine.connect() as db:
            rows = [dict(row) for row in db.execute(told).mappings()]
        return [
            Seen(**row, is_there=left > 0 and not row["ended"] and not _is_gone(row))
            for row in rows
            for left in (row.pop("left_s"),)
        ]

    def seconds_at_work(self) -> float:
        """Return for how long anybody searched: times in which several did count once."""
        total, until = 0.0, float("-inf")
        for each in self.workers():
            end = each.joined + each.seconds + (each.silent_s if each.is_there else 0.0)
            total += max(0.0, end - max(each.joined, until))
            until = max(until, end)
        return total

    def _gone(self) -> list[str]:
        """Return owners of leases in force whose processes are seen to be gone: those of this machine."""
        told = (
            select(WORKERS.c.owner, WORKERS.c.place, WORKERS.c.process)
            .where(
                WORKERS.c.study == self.study,
                WORKERS.c.place == self.worker.place,
                WORKERS.c.owner != self.owner,
            )
            .join(LEASES, (LEASES.c.study == WORKERS.c.study) & (LEASES.c.owner == WORKERS.c.owner))
            .where(LEASES.c.deadline > self._now)
            .distinct()
        )
        with self.engine.connect() as db:
            rows = [dict(row) for row in db.execute(told).mappings()]
        return [row["owner"] for row in rows if _is_gone(row)]

    def _mine(self) -> Any:
        return (LEASES.c.study == self.study) & (LEASES.c.owner == self.owner)

    # --- one at a time -----------------------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, this worker alone proposes trials of the study. What is killed within lets go of it by that."""
        if self._file_lock is not None:
            with self._file_lock:
                yield
            return
        with (
            self.engine.begin() as db
        ):  # (a transaction's own lock, which poolers of connections leave whole)
            key = {"name": f"maquette {self.study}"}
            db.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), key)
            yield

    @cached_property
    def _file_lock(self) -> Any:
        from filelock import FileLock

        database = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or database is None:
            return None
        return FileLock(Path(f"{database}.lock"), thread_local=False)


def _other_database(name: str) -> Problem:
    return Problem(
        "--storage",
        f"a database of the kind '{name}'",
        "SQLite or PostgreSQL, in which leases can be kept",
        "Give sqlite:///FILE or postgresql://USER@HOST/NAME.",
    )


def _create_tables(engine: Engine) -> None:
    """Make the tables where they are missing. Two workers may do so at once, of which one is told that they are there."""
    for last in (False, False, True):
        try:
            TABLES.create_all(engine)
            return
        except DBAPIError:
            if last:
                raise


def _is_gone(row: Mapping[str, Any]) -> bool:
    """Return whether a worker of this very machine is seen to have ended: then nobody need wait for its leases."""
    sees_it = row["place"] == _place() and is_of_this_start(row["process"])
    return sees_it and not is_alive(row["process"])
