"""Every key and every option given a wrong value: the answer is in words, never in a library's."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import maquette
from maquette.errors import MaquetteError, Problem
from maquette.project.config_file import load_settings
from maquette.project.fields import Options
from maquette.project.machine import Disk, Gpu, Machine, machine_from_json
from maquette.project.profile_file import profile_from_table
from maquette.project.settings import SECTION_OF, SECTIONS
from maquette.project.settings_text import toml_value

WRONG: tuple[Any, ...] = (
    "abc", "", "  ", "1e999", -1, 0, 3.5, True, [], ["a", 1], [1], {"a": 1}, 10**30, float("inf"), float("nan"),
)  # fmt: skip
JARGON = re.compile(
    r"\b(tuple|dict|str|int|integer|bool|boolean|float|None|NoneType|Literal|Sequence|Mapping|iterable|instance|"
    r"schema|pydantic|validat\w+|parse|parsing|Input should|Value error|finite|True|False|"
    r"greater than or equal|less than or equal|valid)\b|\^\[|\\w|<class|\[type="
)
NAMES = re.compile(rf"\b({'|'.join(SECTION_OF)})\b")
NUMBERS_THAT_ARE_NONE = (True, "1e999", float("inf"), float("nan"))


def problems_of(call: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        call()
    except MaquetteError as error:
        return error.problems
    return ()


def jargon_in(problems: Iterable[Problem]) -> list[str]:
    """Return the messages with a word of Python's or pydantic's in them.

    What was given is the user's own, and settings may be named by their names.
    """
    return [str(each) for each in problems if JARGON.search(NAMES.sub("…", f"{each.required} {each.remedy}"))]


def records() -> Iterator[type[Options]]:
    for module in pkgutil.walk_packages(maquette.__path__, "maquette."):
        if module.name.endswith((".options", ".new_project")):
            importlib.import_module(module.name)
    found = [Options]
    while found:
        found += found[0].__subclasses__()
        yield found.pop(0)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else toml_value(value)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_answers_a_wrong_value_in_words(section: str, tmp_path: Path) -> None:
    for name in SECTIONS[section].model_fields:
        for value in WRONG:
            given = {"base": "model.safetensors"} | {name: value}
            assert not jargon_in(problems_of(partial(load_settings, None, given)))
            named = [f"{name} = {toml(value)}", *(['base = "model"'] if name != "base" else [])]
            tables = named if section == "model" else [named[0], "[model]", named[1]]
            (tmp_path / "maquette.toml").write_text("\n".join([f"[{section}]", *tables]), encoding="utf-8")
            assert not jargon_in(problems_of(lambda: load_settings(tmp_path)))


@pytest.mark.parametrize("record", list(records()), ids=lambda record: record.__name__)
def test_every_option_answers_a_wrong_value_in_words(record: type[Options]) -> None:
    required = {name: "x" for name, field in record.model_fields.items() if field.is_required()}
    for name in record.model_fields:
        for value in WRONG:
            assert not jargon_in(problems_of(lambda given={**required, name: value}: record(**given)))


def test_the_machine_and_the_profile_answer_in_words() -> None:
    card = {"kind": "cuda", "name": "RTX", "total_bytes": 1}
    disk = {"total_bytes": 1, "free_bytes": 1}
    subject = {"kind": "character", "trigger": "zkw"}
    keys = (
        "kind",
        "trigger",
        "class_word",
        "appearance",
        "details",
        "references",
        "palette",
        "varies",
        "style",
        "forms",
    )
    for value in WRONG:
        machines = [
            value,
            *({each.name: value} for each in fields(Machine)),
            *({"gpus": [{**card, each.name: value}]} for each in fields(Gpu)),
            *({"disks": {"/": {**disk, each.name: value}}} for each in fields(Disk)),
        ]
        told = [problem for each in machines for problem in problems_of(partial(machine_from_json, each))]
        profiles = [{**subject, key: value} for key in keys]
        read = partial(profile_from_table, path=Path("profile.toml"))
        told += [problem for each in profiles for problem in problems_of(partial(read, each))]
        assert not jargon_in(told)


@pytest.mark.parametrize("value", NUMBERS_THAT_ARE_NONE)
@pytest.mark.parametrize("name", ["rank", "learning_rate", "steps", "guidance", "alpha"])
def test_a_truth_value_and_an_endless_number_are_no_numbers(name: str, value: Any) -> None:
    (problem,) = problems_of(lambda: load_settings(None, {"base": "model.safetensors", name: value}))
    assert re.match("a (whole )?number", problem.required), problem


def test_bounds_are_told_with_the_number() -> None:
    (problem,) = problems_of(lambda: load_settings(None, {"base": "m", "rank": 5000}))
    assert str(problem).startswith("--rank: 5000 — a whole number from 1 to 1,024.")
    (problem,) = problems_of(lambda: load_settings(None, {"base": "m", "dropout": 1.5}))
    assert problem.required == "a number of 0 or more, below 1"
