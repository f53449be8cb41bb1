"""Databases that the tests of leases run on: SQLite in a file, and a real PostgreSQL where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLACES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
"""Where Debian keeps what it does not put among the commands."""


class Postgres:
    """A PostgreSQL of its own in a temporary folder, which goes with it."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.programs, self.folder, self.port = programs, folder, port

    @property
    def url(self) -> str:
        return f"postgresql://maquette:geheim@127.0.0.1:{self.port}/postgres"

    def run(self, name: str, *arguments: str) -> None:
        """Run one of its programs, as somebody who is not root: it refuses to serve root."""
        done = subprocess.run(
            [*_as_nobody(), str(self.programs / name), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self.run(
            "pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options, "-w", "start"
        )

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Serve a new, empty PostgreSQL within; skip the test where none is installed."""
    found = shutil.which("initdb")
    programs = (
        Path(found).parent if found else next((each for each in PLACES if (each / "initdb").is_file()), None)
    )
    if programs is None:
        pytest.skip("needs PostgreSQL: no initdb among the commands nor below /usr/lib/postgresql")
    folder = Path(tempfile.mkdtemp(prefix="maquette-pg-", dir="/tmp"))
    server = Postgres(programs, folder, _free_port())
    try:
        folder.chmod(0o777)
        password = folder / "password"
        password.write_text("geheim\n")
        password.chmod(0o644)
        data = ("-D", f"{folder}/data", "-U", "maquette", "-A", "scram-sha-256", "--pwfile", str(password))
        server.run("initdb", *data, "--no-sync")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = next(each for each in pwd.getpwall() if each.pw_name in ("postgres", "nobody"))
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_until(is_so: object, seconds: float = 60.0) -> None:
    """Wait until `is_so()`; fail where it does not become so."""
    assert callable(is_so)
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
