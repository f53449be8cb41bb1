"""Where a study lies: SQLite beside it, or a database that several machines reach."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, MissingExtra, Problem
from maquette.searching.records import DATABASE_NAME

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage

EXTRA = "search"
DRIVER = "psycopg"
"""What PostgreSQL is reached by."""
PATIENCE_S = 60
"""How long SQLite waits for another process's write."""


def require_optuna() -> None:
    """Raise MissingExtra where Optuna is not installed. What it logs and warns of is told by this program in its own words."""
    try:
        import optuna
    except ImportError:
        raise MissingExtra("maquette search", EXTRA) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def storage_url(folder: Path, given: str | None) -> str:
    """Return the URL of a study's database: as given, else a file in the study's folder."""
    return given or f"sqlite:///{folder.resolve() / DATABASE_NAME}"


def open_storage(url: str) -> BaseStorage:
    """Return the storage at `url`. Raises ConfigError where nothing can be kept there."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    is_sqlite = url.startswith("sqlite")
    reached = url.replace("postgresql://", f"postgresql+{DRIVER}://", 1)
    connect = {"connect_args": {"timeout": PATIENCE_S}} if is_sqlite else {"pool_pre_ping": True}
    try:
        storage = RDBStorage(reached, engine_kwargs=connect)
        if is_sqlite:
            _write_ahead(storage)
        return storage
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        required = "a database: sqlite:///FILE, or postgresql://USER@HOST/NAME"
        raise ConfigError(
            Problem("--storage", f"{shown_url(url)}: {reason}", required, "Repair the address.")
        ) from None


def _write_ahead(storage: RDBStorage) -> None:
    """Let SQLite write its changes ahead: readers never wait for the writer, and a change does not wait for the disk.

    A killed process loses nothing by it, a power cut at most the last changes: trials go on from their own runs' states.
    """
    from sqlalchemy import event

    def prepare(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", prepare)
    storage.engine.dispose()


def shown_url(url: str) -> str:
    """Return an address without its password."""
    scheme, there, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{there}{user.partition(':')[0]}{at}{place}"
