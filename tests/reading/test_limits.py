"""What a stranger may have written costs neither minutes nor gigabytes, and YAML means what PyYAML says it means."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maquette.errors import ConfigError
from maquette.reading import (
    FileKind,
    Unreadable,
    parse_json,
    parse_toml,
    read_lines,
    read_table,
    shown,
    text_of,
)
from maquette.reading.limits import MAX_LINE_BYTES, MAX_SHOWN, MAX_TOML_BYTES, MAX_VALUES, MAX_YAML_VALUES
from maquette.reading.yaml_values import parse_yaml

KIND = FileKind("a table", "Repair it.")
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join(['*' + a] * 10)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" + "0," * MAX_VALUES + "0]", "more than"),
        ("[" * 100_000, "nested deeper"),
        (f"[{2**64}]", "a whole number of 20 digits"),
        ("[" + "9" * 4000 + "]", "a whole number of 4000 digits"),
        ('{"\\udc80": 1}', "no text file"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_json_has_limits(text: str | bytes, expected: str) -> None:
    with pytest.raises(Unreadable, match=expected):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".".join(["a"] * 200_000) + " = 1", "nested deeper"),
        (" . ".join(['"a b"'] * 50_000) + " = 1", "nested deeper"),
        ("[" + ".".join(["a"] * 50_000) + "]", "nested deeper"),
        (f"a = {2**64}", "a whole number of 20 digits"),
        ("born = 2001-02-30", "not valid"),
        ('folder = "C:\\pictures"', "not valid TOML"),
    ],
)
def test_toml_has_limits(text: str, expected: str) -> None:
    with pytest.raises(Unreadable, match=expected):
        parse_toml(text)


def test_a_backslash_in_toml_gets_the_remedy_for_folders() -> None:
    with pytest.raises(Unreadable) as caught:
        parse_toml('folder = "C:\\pictures"')
    assert "'single quotes'" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "expected", "place"),
    [
        ("name: Ida\nborn: 2001-02-30", "'2001-02-30' is no date of the calendar", " line 2"),
        (LAUGHS, f"more than {MAX_YAML_VALUES:,} values", ""),
        (MERGES, f"more than {MAX_YAML_VALUES:,} values", ""),
        ("a: &a [*a]", "nested deeper", " line 1"),
        ("[" * 100_000, "nested deeper", " line 1"),
        ("a: 1\na: 2", "'a' stands twice", " line 2"),
        ("a: *b", "not valid YAML", " line 1"),
        ("a: !!python/object/apply:os.system [ls]", "not for plain values", " line 1"),
        ("a: !!int ''", "is not what its tag", " line 1"),
        ("a: !!bool maybe", "is not what its tag", " line 1"),
        ("a: !!timestamp soon", "is not what its tag", " line 1"),
        ("a: !!binary x", "not for plain values", " line 1"),
        ("? [1]\n: 2", "as a key", " line 1"),
        ("<<: 1", "takes in a table", " line 1"),
        ("a: 1\n---\nb: 1", "second document", " line 2"),
        ("a: " + "1" * 5000, "5000 characters", " line 1"),
        ("a: 0x" + "f" * 5000, "5002 characters", " line 1"),
        ('a: "\\ud800"', "", ""),
        ("a: \x00", "", ""),
    ],
)
def test_yaml_has_limits(text: str, expected: str, place: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_yaml(text)
    assert expected in caught.value.given and caught.value.place.startswith(place)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, -2, 0x1f, 0b11, 017, 1_000, 0]",
        "a: [1.5, .5, -1., 6.0e+3, 1e-4]",
        "a: [yes, No, ON, off, true, False, y, ~, null, '', \"no\"]",
        "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: {<<: [*x, {b: 3, g: 4}], b: 5}",
        "a: |\n  text\n  more\nb: >-\n  folded\n  lines\n",
        "- - 1\n  - 2\n- {a: b}",
        "a: !!str 5",
        "",
        "a:\nb: \n",
        "%YAML 1.1\n---\na: 1\n...\n",
    ],
)
def test_yaml_means_what_it_means_to_its_own_library(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_dates_and_times_stay_the_text_that_is_written() -> None:
    assert parse_yaml("a: 2001-02-03\nb: 12:30\nc: 2001-12-14t21:59:43.10-05:00") == {
        "a": "2001-02-03",
        "b": "12:30",
        "c": "2001-12-14t21:59:43.10-05:00",
    }


def test_keys_are_texts() -> None:
    assert parse_yaml("1: one\ntrue: 2\nno: 3\n~: 4") == {"1": "one", "true": 2, "no": 3, "~": 4}


def test_an_alias_is_a_copy() -> None:
    found = parse_yaml("a: &x {b: [1]}\nc: *x")
    found["a"]["b"].append(2)
    assert found["c"] == {"b": [1]}


@given(text=st.text(alphabet=" \n\t-:,[]{}&*!|>'\"%@`#?<ab01.~", max_size=60))
def test_no_yaml_raises_anything_else(text: str) -> None:
    with contextlib.suppress(Unreadable):
        parse_yaml(text)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_table(path, KIND)
    (problem,) = caught.value.problems
    return str(problem)


def test_only_ordinary_files_of_an_ordinary_size_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "a.toml").write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    assert "no ordinary file" in refused(tmp_path / "pipe.json")
    assert "larger than 512 KiB" in refused(tmp_path / "a.toml")
    assert "cannot be read" in refused(tmp_path / ("n" * 300 + ".json"))


def test_line_ends_and_marks_of_windows_are_taken_and_other_encodings_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes('\ufeffa = 1\r\nb = "ü"\r\n'.encode())
    assert read_table(path, KIND) == {"a": 1, "b": "ü"}
    path.write_bytes('a = "ü"'.encode("utf-16"))
    assert "UTF-16" in refused(path) and "Save it as UTF-8" in refused(path)
    path.write_bytes('a = 1\nb = "ü"'.encode("latin-1"))
    assert "line 2: not UTF-8" in refused(path)


def test_cut_lines_are_passed_over_and_lines_beyond_the_limits_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n\n[1]\n{"a": 2}\n{"a"')
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}]
    for line in (b'{"a": "\\u0000"}', b"[" * 1000, b" " * (MAX_LINE_BYTES + 1)):
        path.write_bytes(b'{"a": 1}\n' + line)
        with pytest.raises(Unreadable) as caught:
            list(read_lines(path))
        assert caught.value.place == " line 2"


def test_a_large_value_is_shown_by_its_beginning() -> None:
    assert shown({"a": [1, "b"]}) == "{'a': [1, 'b']}"
    for large in ("x" * 10**6, ["x" * 10**6], list(range(10**6)), {"k": list(range(10**6))}):
        assert len(shown(large)) <= MAX_SHOWN + 1 and shown(large).endswith("…")


def test_what_is_no_file_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no name of a file"):
        text_of(tmp_path / "a\0b")
