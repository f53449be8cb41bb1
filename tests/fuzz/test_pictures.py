"""A few hundred damaged pictures of every kind: each is read, or refused in one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.pictures import hold_to_the_law, inputs, sound

pytestmark = pytest.mark.filterwarnings("ignore")
SEEDS = range(6)
EACH = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_pictures_are_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    read = 0
    for index, (ending, data) in enumerate(inputs(seed, EACH)):
        path = tmp_path / f"{index:03}{ending}"
        path.write_bytes(data)
        read += hold_to_the_law(path)
    assert 0 < read < EACH, "some damage is harmless, most is not"


def test_the_sound_ones_that_trainers_read_are_read(tmp_path: Path) -> None:
    read = []
    for index, (ending, data) in enumerate(sound()):
        path = tmp_path / f"{index:03}{ending}"
        path.write_bytes(data)
        read += [ending] if hold_to_the_law(path) else []
    assert len(read) == 16 and {*read} == {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
