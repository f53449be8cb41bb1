"""Where a study lies: SQLite beside it, or a database that several machines reach."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, MissingExtra, Problem
from maquette.searching.records import DATABASE_NAME
from maquette.spoken import without_passwords

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy import Engine

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

    if problem := _unfit(url):
        raise ConfigError(problem)
    is_sqlite = url.startswith("sqlite")
    reached = url.replace("postgresql://", f"postgresql+{DRIVER}://", 1)
    connect = {"connect_args": {"timeout": PATIENCE_S}} if is_sqlite else {"pool_pre_ping": True}
    try:
        storage = RDBStorage(reached, engine_kwargs=connect)
        if is_sqlite:
            _write_ahead(storage)
        return storage
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise ConfigError(_unreachable(url, error)) from None


def engine_of(storage: BaseStorage) -> Engine:
    """Return what asks the database of a storage that was opened here."""
    from optuna.storages import RDBStorage

    assert isinstance(storage, RDBStorage), "opened by open_storage"
    engine: Engine = storage.engine
    return engine


DATABASES = "a database: sqlite:///FILE, or postgresql://USER@HOST/NAME"
PROXIES = ("grpc", "http", "https")


def _unfit(url: str) -> Problem | None:
    """Return what is wrong with an address before anybody is asked there."""
    scheme, there, _ = url.partition("://")
    if scheme in ("sqlite", "postgresql") and there:
        return None
    if scheme in PROXIES:
        return Problem(
            "--storage",
            f"{without_passwords(url)}, an address of Optuna's storage proxy",
            "the database itself: the proxy hands through Optuna's own calls, of which none says who trains a trial, until when",
            "Give the database behind it: postgresql://USER@HOST/NAME. optuna-dashboard may go on using the proxy.",
        )
    return Problem("--storage", without_passwords(url), DATABASES, "Repair the address.")


def _unreachable(url: str, error: Exception) -> Problem:
    # What an address that cannot be parsed is said to hold may be a part of its password.
    told = (
        without_passwords(str(error).partition("\n")[0])
        if not isinstance(error, ValueError)
        else "is no address"
    )
    remedy = (
        "Install it: pip install 'maquette[postgres]'"
        if isinstance(error, ImportError)
        else "Repair the address."
    )
    return Problem("--storage", f"{without_passwords(url)}: {told}", DATABASES, remedy)


def _write_ahead(storage: RDBStorage) -> None:
    """Let SQLite write its changes ahead, so that a change does not wait for the disk, and let several processes change it.

    A killed process loses nothing by it, a power cut at most the last changes: trials go on from their own runs' states.
    A transaction takes the right to write as it begins: one that reads first and then finds that another has written in
    between is refused at once, however patient it is.
    """
    from sqlalchemy import event

    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # (else Python's own driver begins transactions, as readers)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", prepare)
    event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    storage.engine.dispose()
