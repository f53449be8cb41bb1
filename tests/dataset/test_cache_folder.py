"""A cache folder holds what it was given or says that it does not; it keeps its limit and what running processes need."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import torch

from maquette.dataset.cache_folder import CacheFolder

ENTRY = {"latent": torch.arange(250, dtype=torch.float32)}
LIMIT = 6_500
"""Five entries of 1,000 bytes of values and some of header."""


def key(number: int) -> str:
    return f"{number:02d}" + "a" * 62


def opened(path: Path, limit: int | None = LIMIT) -> CacheFolder:
    folder = CacheFolder(path, limit)
    folder.open()
    folder.need(())
    return folder


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*.safetensors"))


def test_tensors_of_any_type_come_back(tmp_path: Path) -> None:
    folder = opened(tmp_path, None)
    entry = {"text": torch.ones(2, 3, dtype=torch.bfloat16), "pooled": torch.zeros(0), "one": torch.tensor(3)}
    assert folder.read(key(1)) is None
    assert folder.write(key(1), entry)
    found = folder.read(key(1))
    assert isinstance(found, dict) and found.keys() == entry.keys()
    assert all(torch.equal(found[name], entry[name]) for name in entry)
    assert folder.names() == {key(1)}


def test_what_was_longest_not_used_makes_room(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(5):
        folder.write(key(number), ENTRY)
        os.utime(folder.file_of(key(number)), (number, number))
    assert isinstance(folder.read(key(0)), dict), "read last: used last"
    assert folder.write(key(9), ENTRY)
    left = folder.names()
    assert key(0) in left and key(1) not in left and key(9) in left
    assert size_of(tmp_path) <= LIMIT and folder.removed == 6 - len(left)


def test_what_a_running_process_needs_stays(tmp_path: Path) -> None:
    mine, other = opened(tmp_path), opened(tmp_path)
    for number in range(5):
        assert mine.write(key(number), ENTRY)
    mine.need({key(number) for number in range(5)})
    assert not other.write(key(9), ENTRY) and other.is_full
    assert other.removed == 0 and size_of(tmp_path) <= LIMIT
    mine.close()
    other.is_full = False
    assert other.write(key(9), ENTRY), "its need went with it"


def _killed(path: Path) -> None:
    folder = opened(path)
    for number in range(5):
        folder.write(key(number), ENTRY)
    folder.need({key(number) for number in range(5)})
    os._exit(1)


def test_the_needs_of_a_killed_process_end_with_it(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert list((tmp_path / ".in-use").glob("*.keys"))
    assert opened(tmp_path).write(key(9), ENTRY)


def _fill(path: Path, order: list[int]) -> None:
    folder = opened(path)
    for number in order:
        if not isinstance(folder.read(key(number)), dict):
            folder.write(key(number), {"latent": torch.full((250,), float(number))})


def test_two_processes_fill_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    orders = (list(range(20)), list(reversed(range(20))))
    processes = [context.Process(target=_fill, args=(tmp_path, order)) for order in orders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    folder = opened(tmp_path)
    for name in folder.names():
        found = folder.read(name)
        assert isinstance(found, dict) and torch.equal(found["latent"], torch.full((250,), float(name[:2])))
    assert folder.names() and not list(tmp_path.rglob("*.part"))
