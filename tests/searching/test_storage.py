"""Where a study may lie, and what is said of an address that will not do: never its password."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import optuna
import pytest

from maquette.errors import ConfigError
from maquette.searching.storage import open_storage, require_optuna

require_optuna()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/s", "postgresql://me@127.0.0.1:1/s"),
        ("postgresql://me:ge:heim/geheim@db/s", "postgresql://me@db/s"),
        ("postgresql://me:geheim@db:port/s", "postgresql://me@db:port/s"),
        ("mysql://me:geheim@db/s", "a database: sqlite:///FILE, or postgresql://"),
        ("studies.db", "a database: sqlite:///FILE, or postgresql://"),
        ("grpc://db:13000", "none says who trains a trial"),
        ("http://db:13000", "Give the database behind it"),
        ("sqlite:////no/such/folder/study.db", "sqlite:////no/such/folder/study.db"),
    ],
)
def test_an_address_that_will_not_do_is_said_in_words_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_storage(url)
    assert said in str(error.value) and "geheim" not in str(error.value) and "heim" not in str(error.value)
    assert error.value.__cause__ is None


def _ask(url: str, count: int) -> None:
    require_optuna()
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    for _ in range(count):
        trial = study.ask()
        trial.set_user_attr("seen", len(study.get_trials(deepcopy=False)))
        study.tell(trial, trial.suggest_float("x", 0, 1))


def test_several_processes_change_one_sqlite_file_and_none_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    workers = [multiprocessing.get_context("fork").Process(target=_ask, args=(url, 6)) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0, 0, 0]
    numbers = [each.number for each in study.trials]
    assert numbers == list(range(18))
