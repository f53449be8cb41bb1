"""Numbers are said as people say them, one way each."""

from __future__ import annotations

import pytest

from maquette.spoken import disk_size, duration, has_password, memory_size, without_passwords


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59, "59 s"), (60, "1 min 00 s"), (201, "3 min 21 s"), (7500, "2 h 05 min")],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (1_234_567, "1.2 MB"), (151_000_000, "151 MB")]
)
def test_sizes_are_said_as_people_do(count: int, text: str) -> None:
    assert disk_size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(72 * 2**20, "72 MiB"), (3 * 2**30, "3.0 GiB"), (2**30 - 1, "1.0 GiB")]
)
def test_memory_is_counted_in_powers_of_two(count: int, text: str) -> None:
    assert memory_size(count) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:geheim@db:5432/studies", "postgresql://me@db:5432/studies"),
        ("postgresql://me:geheim:geheim/ge@heim@db/studies", "postgresql://me@db/studies"),
        ("postgresql+psycopg://:geheim@db/studies", "postgresql+psycopg://@db/studies"),
        (
            "postgresql://db/studies?user=me&password=geheim&x=1",
            "postgresql://db/studies?user=me&password=…&x=1",
        ),
        (
            "search '--storage=postgresql://me:geheim@db/s' --json",
            "search '--storage=postgresql://me@db/s' --json",
        ),
    ],
)
def test_no_password_of_an_address_is_said(address: str, shown: str) -> None:
    assert without_passwords(address) == shown
    assert has_password(address) and "geheim" not in without_passwords(address)


@pytest.mark.parametrize(
    "text", ["postgresql://me@db:5432/s", "sqlite:////a/b.db", "https://a.b:80/c", "a: b@c"]
)
def test_what_holds_no_password_stays(text: str) -> None:
    assert without_passwords(text) == text and not has_password(text)
