"""Settings with values of any other shape are read or refused in words, whatever stands where."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from maquette.elsewhere.kinds import recognise
from maquette.elsewhere.runs import runs_of
from maquette.errors import MaquetteError
from maquette.planning.takeover import take_over
from tests.elsewhere.samples import READ, written

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 10**18, "", "x", "1e9999", "\n#\n", "../x", "512x512x3", [], [1], ["a", None], [[1]], {},
    {"a": 1}, [{"path": 1}], [{"folder_path": []}], [{"image_dir": 3, "num_repeats": "x"}],
)  # fmt: skip
PER_KIND = 40


def parsed(name: str) -> Any:
    text = READ[name]
    if name.endswith(".toml"):
        return tomllib.loads(text)
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def damaged(value: Any, chance: random.Random) -> Any:
    """Return `value` with one part of it, at any depth, replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        return {**value, key: damaged(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        index = chance.randrange(len(value))
        return [*value[:index], damaged(value[index], chance), *value[index + 1 :]]
    return chance.choice(ODD)


@pytest.mark.parametrize("name", [name for name in READ if not name.endswith(".sh")])
def test_nothing_raises_but_our_own_errors(name: str, tmp_path: Path) -> None:
    chance, whole = random.Random(name), parsed(name)
    read = 0
    for _ in range(PER_KIND):
        value = whole
        for _ in range(chance.randint(1, 4)):
            value = damaged(value, chance)
        path = written(tmp_path, "settings.json", json.dumps(value))
        foreign = recognise(path)
        if foreign is None or foreign.kind.read is None:
            continue
        try:
            for request in runs_of(path).requests:
                taken = take_over(request)
                assert taken.values or taken.left
                read += 1
        except MaquetteError as error:
            assert error.problems
    assert read > PER_KIND / 4, "most stay what they are"
