"""Damaged, absurd and hostile text files: each is read, or refused in one line that any terminal shows.

Seeds are fixed; tools/fuzz_readers.py reads thousands more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.readers import READERS, Reader, hold_to_the_law, inputs

EACH = 60


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_sound_files_are_read(reader: Reader, tmp_path: Path) -> None:
    assert hold_to_the_law(reader, reader.frame(reader.sound()[reader.file]), tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_are_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    read = 0
    for index, (reader, data) in enumerate(inputs(seed, EACH)):
        folder = tmp_path / f"{index:03}"
        folder.mkdir()
        read += hold_to_the_law(reader, data, folder)
    assert 0 < read < EACH, "some damage is none, most of it is"
