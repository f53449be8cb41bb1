"""Our own files are read within limits, and whatever is wrong is told in words, at its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maquette.errors import ConfigError, DatasetError
from maquette.project.validation import Unfit, check, checked, read_as
from maquette.reading import FileKind, read_table, read_yaml
from maquette.reading.limits import MAX_DEPTH

KIND = FileKind("a list of hens", "Count them again.", DatasetError)


def even(number: int) -> int:
    if number % 2:
        raise Unfit("an even number", "Add one.")
    return number


@dataclass(frozen=True, kw_only=True)
class Hen:
    name: str
    eggs: int = 0
    colour: Literal["white", "brown"] = "white"
    size_wh: tuple[int, int] | None = None


class Yard(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hens: tuple[Hen, ...] = ()
    names: tuple[str, ...] = ()
    path: Path = Path("yard")
    weight: float = 0.0
    legs: Annotated[int, AfterValidator(even)] = 2
    open: bool = True
    by_day: Mapping[str, int] = {}
    fence: int = Field(3, ge=1, description="Rails of the fence.")


def file(folder: Path, text: str | bytes, name: str = "yard.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        (read_yaml if path.suffix == ".yaml" else read_table)(path, KIND)
    (problem,) = caught.value.problems
    assert str(path) in problem.where and problem.required == KIND.required and problem.remedy
    return str(problem)


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"a": {"b": [1]}}'), ("a.toml", "a = {b = [1]}")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_are_read_with_or_without_a_byte_order_mark(
    name: str, text: str, mark: str, tmp_path: Path
) -> None:
    assert read_table(file(tmp_path, mark + text, name), KIND) == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "{", "line 1"),
        ("a.json", '{"a": 1,\n"b" 2}', "line 2: not valid JSON"),
        ("a.json", "[1]", "[1], where keys and values belong"),
        ("a.json", '{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        ("a.json", '{"a": "\\u0000"}', "a character that no text file can"),
        ("a.json", '{"\\ud800": 1}', "a character that no text file can"),
        ("a.json", b'{"a": "\x00"}', "not valid JSON"),
        ("a.json", '{"a": ' + "[" * 100_000, "nested deeper"),
        ("a.json", '{"a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "nested deeper"),
        ("a.json", '{"a": ' + "1" * 5000 + "}", "4300 digits"),
        ("a.json", b'{"a":\n"\xff"}', "line 2: not UTF-8"),
        ("a.toml", "a = ", "not valid TOML"),
        ("a.toml", "a = b", "line 1"),
        ("a.toml", "a = 1\na = 2", "not valid TOML"),
        ("a.toml", "a = " + "[" * 100_000, "nested deeper"),
        ("a.toml", "a = " + "1" * 5000, "4300 digits"),
        ("a.toml", b"a = 'x\x00'", "not valid TOML"),
        ("a.toml", 'a = "ü"'.encode("utf-16"), "not UTF-8"),
        ("a.yaml", "", "nothing in it"),
        ("a.yaml", "- 1", "where keys and values belong"),
        ("a.yaml", "a: [", "not valid YAML"),
        ("a.yaml", "a: !!python/object:os.system {}", "not valid YAML"),
        ("a.yaml", "a: &a [*a]", "nested deeper"),
        (
            "a.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{b}: &{b} [{','.join(['*' + a] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "more than",
        ),
    ],
)
def test_what_cannot_be_read_is_one_problem(
    name: str, text: str | bytes, expected: str, tmp_path: Path
) -> None:
    assert expected in refusal(file(tmp_path, text, name))


def test_what_is_not_there_or_no_file_is_one_problem(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "a.json")
    (tmp_path / "b.json").mkdir()
    assert "cannot be read" in refusal(tmp_path / "b.json")
    assert "no name of a file" in refusal(Path("a\0.json"))


def test_all_problems_come_together_in_words_with_their_places() -> None:
    found, problems = check(
        Yard,
        {
            "hens": [{"name": "Ida", "egs": 3}, {"eggs": "2", "colour": "wite", "size_wh": [1, 2, 3]}],
            "names": "Ida",
            "path": 3,
            "weight": "7",
            "legs": 3,
            "open": "yes",
            "by_day": {"monday": 1.5},
            "fence": 0,
            "gate": 1,
        },
        "yard.toml",
    )
    told = "\n".join(str(problem) for problem in problems)
    assert found is None
    for expected in (
        "yard.toml hens 1: unknown key 'egs' — a known key. Did you mean 'eggs'?",
        'yard.toml hens 2 name: not given — required: a text. Write it in quotes: name = "…"',
        "yard.toml hens 2 eggs: '2' — a whole number. Write it without quotes: eggs = …",
        "yard.toml hens 2 colour: 'wite' — one of white, brown. Did you mean 'white'?",
        "yard.toml hens 2 size_wh: [1, 2, 3] — a list of 2 whole numbers.",
        'yard.toml names: \'Ida\' — a list of texts. Write: names = ["…", "…"]',
        "yard.toml path: 3 — a path.",
        "yard.toml weight: '7' — a number.",
        "yard.toml legs: 3 — an even number. Add one.",
        "yard.toml open: 'yes' — true or false.",
        "yard.toml by_day monday: 1.5 — a whole number.",
        "yard.toml fence: 0 — a whole number of 1 or more. Rails of the fence.",
        "yard.toml: unknown key 'gate' — a known key.",
    ):
        assert expected in told, told
    assert len(problems) == 13, told


def test_remedies_are_written_in_the_file_s_language() -> None:
    for name, expected in (("a.toml", 'names = ["…", "…"]'), ("a.json", '"names": ["…", "…"]')):
        assert expected in str(check(Yard, {"names": 3}, name)[1][0])
    for name, expected in (("a.toml", "below a line [[hens]]"), ("a.json", '"hens": [{…}, {…}]')):
        assert expected in str(check(Yard, {"hens": 3}, name)[1][0])


def test_a_right_file_becomes_its_record(tmp_path: Path) -> None:
    values = {"hens": [{"name": "Ida", "size_wh": [1, 2]}], "weight": 2, "path": "there"}
    yard = read_as(Yard, file(tmp_path, json.dumps(values), "yard.json"), KIND)
    assert yard.hens == (Hen(name="Ida", size_wh=(1, 2)),) and yard.path == Path("there")
    with pytest.raises(ConfigError, match="a table"):
        checked(Yard, {"hens": [3]}, "yard.json")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.sampled_from([*Yard.model_fields, "gate"]), plain, max_size=5))
def test_no_value_is_more_than_a_problem_in_words(values: dict[str, object]) -> None:
    found, problems = check(Yard, values, "yard.toml")
    assert (found is None) == bool(problems)
    told = "\n".join(str(problem) for problem in problems)
    assert not {"tuple", "str_type", "pattern", "Input", "instance"} & set(told.split())
