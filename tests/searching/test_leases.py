"""A trial is one worker's at a time, whoever is killed; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, update

from maquette.errors import ConfigError
from maquette.searching.keeping import Keeper
from maquette.searching.leases import LEASES, Leases, Worker
from tests.conftest import REPOSITORY
from tests.searching.databases import Postgres, postgres, wait_until
from tests.searching.leasing import STEPS

TRIALS, WORKERS, KILLS = 12, 3, 4


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as served:
        yield served


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database of either kind; what several tests write into one PostgreSQL they keep apart by their studies."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    server: Postgres = request.getfixturevalue("server")
    return server.url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url)
    yield made
    made.dispose()


def expire(engine: Engine, study: str) -> None:
    with engine.begin() as db:
        db.execute(update(LEASES).where(LEASES.c.study == study).values(deadline=1.0))


def test_a_trial_is_one_workers_until_it_lets_go_or_its_time_is_over(engine: Engine) -> None:
    one, two = Leases(engine, "taking"), Leases(engine, "taking")
    assert one.take(3) and not two.take(3)
    assert one.take(3), "who has it may take it again"
    assert one.holds(3) and not two.holds(3)
    two.release([3])
    assert one.holds(3), "nobody lets go of another's"
    one.release([3])
    assert not one.holds(3) and two.take(3)
    expire(engine, "taking")
    assert not two.holds(3) and one.take(3)
    assert two.renew([3]) == {3}, "it is told that it lost it"
    two.note(3, 40)
    one.note(3, 7)
    (lease,) = one.all()
    assert (lease.owner, lease.turn, lease.step) == (one.owner, 3, 7)
    assert 0 < lease.left_s <= one.seconds


def test_a_lease_that_ran_out_is_renewed_where_nobody_took_it(engine: Engine) -> None:
    one = Leases(engine, "late")
    one.take(1)
    expire(engine, "late")
    assert one.renew([1]) == set() and one.holds(1)


def test_studies_in_one_database_know_nothing_of_one_another(engine: Engine) -> None:
    one, other = Leases(engine, "left"), Leases(engine, "right")
    one.join()
    assert one.take(1) and other.take(1)
    assert [each.owner for each in one.all()] == [one.owner]
    assert [each.owner for each in one.workers()] == [one.owner] and not other.workers()
    one.leave()
    assert other.holds(1)


def test_no_workers_clock_is_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Leases(engine, "clock", seconds=30), Leases(engine, "clock", seconds=30)
    one.take(1)
    for moved in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda moved=moved: 1e9 + moved)
        assert not two.take(1) and one.holds(1)


def test_who_is_seen_to_be_gone_is_not_waited_for(engine: Engine) -> None:
    program = (
        "import sys, time; from sqlalchemy import create_engine; from maquette.searching.leases import Leases\n"
        "leases = Leases(create_engine(sys.argv[1]), 'gone'); leases.join(); leases.take(1)\n"
        "print('taken', flush=True); time.sleep(600)"
    )
    shown = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", program, shown], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"taken\n"
        leases = Leases(engine, "gone")
        assert not leases.take(1)
        assert [each.is_there for each in leases.workers()] == [True]
        worker.kill()
        worker.wait()
    assert [each.is_there for each in leases.workers()] == [False]
    assert leases.take(1)


def test_a_worker_elsewhere_is_waited_for(engine: Engine) -> None:
    """Another machine's processes cannot be seen: the number of one means nothing here."""
    there = Worker(host="there", place="there/1", process="another-boot/1/1")
    away, here = Leases(engine, "elsewhere", worker=there), Leases(engine, "elsewhere")
    away.join()
    assert away.take(1) and not here.take(1)
    assert [each.is_there for each in here.workers()] == [True]


def test_a_keeper_renews_and_says_what_it_lost(engine: Engine) -> None:
    leases, other = Leases(engine, "keeping", seconds=1.0), Leases(engine, "keeping", seconds=60.0)
    with Keeper(leases) as keeper:
        assert keeper.take(1) and keeper.take(2)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not other.take(1)
            time.sleep(0.1)
        assert not keeper.lost
        with engine.begin() as db:
            db.execute(
                update(LEASES).where(LEASES.c.study == "keeping", LEASES.c.trial == 2).values(owner="x")
            )
        wait_until(lambda: keeper.lost)
        assert keeper.lost == {2} and keeper.holds(1) and not keeper.holds(2)
    assert other.take(1), "all is let go of at the end"
    assert [each.ended for each in leases.workers()] == [True]


def test_one_proposes_at_a_time(engine: Engine) -> None:
    one, two = Leases(engine, "alone"), Leases(engine, "alone")
    order: list[str] = []

    def second() -> None:
        with two.alone():
            order.append("second")

    with one.alone():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_of_workers_killed_at_random_no_trial_is_lost_told_twice_or_two_workers_at_once(
    tmp_path: Path,
) -> None:
    kill_at_random(f"sqlite:///{tmp_path / 'study.db'}", tmp_path)


@pytest.mark.slow
def test_nor_is_it_on_postgresql(server: Postgres, tmp_path: Path) -> None:
    kill_at_random(server.url.replace("postgresql://", "postgresql+psycopg://"), tmp_path)


def kill_at_random(url: str, folder: Path) -> None:
    chance = random.Random(11)
    engine = create_engine(url)
    Leases(engine, "s")  # the tables
    started = 0

    def start() -> subprocess.Popen[bytes]:
        nonlocal started
        started += 1
        program = [
            sys.executable,
            "-m",
            "tests.searching.leasing",
            url,
            str(folder),
            str(TRIALS),
            str(started),
        ]
        return subprocess.Popen(program, cwd=REPOSITORY, stderr=subprocess.PIPE)

    workers = [start() for _ in range(WORKERS)]
    wait_until(lambda: len(list(folder.glob("busy-*"))) >= 2)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.02, 0.12))
        place = chance.randrange(WORKERS)
        os.kill(workers[place].pid, signal.SIGKILL)
        workers[place].wait()
        workers[place] = start()
    for each in workers:
        _, said = each.communicate(timeout=120)
        assert each.returncode == 0, said.decode()
    told = (folder / "told").read_text().split()
    assert sorted(map(int, told)) == list(range(TRIALS))
    assert {(folder / f"state-{each}").read_text() for each in range(TRIALS)} == {str(STEPS)}
    engine.dispose()


@property_settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "renew", "release", "leave", "expire"]),
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        max_size=30,
    )
)
def test_leases_do_as_a_table_in_ones_head(events: list[tuple[str, int, int]]) -> None:
    engine = create_engine("sqlite://")
    workers = [Leases(engine, "s") for _ in range(3)]
    owner: dict[int, int] = {}
    in_force: set[int] = set()
    for what, who, trial in events:
        leases, is_mine = workers[who], owner.get(trial) == who
        if what == "take":
            may = trial not in in_force or is_mine
            assert leases.take(trial) == may
            if may:
                owner[trial] = who
                in_force.add(trial)
        elif what == "renew":
            assert leases.renew([trial]) == (set() if is_mine else {trial})
            in_force |= {trial} if is_mine else set()
        elif what == "release":
            leases.release([trial])
            in_force -= {trial} if is_mine else set()
        elif what == "leave":
            leases.leave()
            in_force -= {each for each in in_force if owner[each] == who}
        else:
            expire(engine, "s")
            in_force.clear()
        for each in range(3):
            assert workers[who].holds(each) == (each in in_force and owner[each] == who)


def test_a_database_that_cannot_hold_leases_is_refused_in_words() -> None:
    class Dialect:
        name = "mysql"

    class Other:
        dialect = Dialect()

    with pytest.raises(ConfigError, match="SQLite or PostgreSQL"):
        Leases(Other(), "s")  # type: ignore[arg-type]
