"""What `auto` means on each device, why, and whose half precision pays."""

from __future__ import annotations

import pytest

from maquette.devices import precision_here, resolve_precision
from maquette.precisions import automatic_precision, half_precision, release


@pytest.mark.parametrize(
    ("kind", "capability", "precision", "why"),
    [
        ("cuda", (8, 9), "bf16", "computes in bf16"),
        ("cuda", None, "bf16", "computes in bf16"),
        ("cuda", (7, 5), "fp16", "7.5"),
        ("rocm", None, "bf16", "computes in bf16"),
        ("mps", None, "no", "macOS 14"),
        ("cpu", None, "no", "float32"),
    ],
)
def test_auto_says_what_it_chose_and_why(
    kind: str, capability: tuple[int, int] | None, precision: str, why: str
) -> None:
    chosen = automatic_precision(kind, capability)
    assert chosen.precision == precision and why in chosen.reason


def test_what_is_asked_for_is_taken_and_the_processor_here_computes_in_float32() -> None:
    assert [resolve_precision(name, "cpu") for name in ("no", "bf16", "auto")] == ["no", "bf16", "no"]
    assert precision_here("cpu").precision == "no"


def test_half_precision_is_named_only_where_it_pays() -> None:
    assert half_precision("cpu", bf16_flags=()) is None
    assert half_precision("cpu", bf16_flags=("amx_bf16",)) == half_precision("cpu") == "bf16"
    assert half_precision("cuda", capability=(7, 0)) == "fp16"
    assert half_precision("cuda", capability=(12, 0)) == half_precision("cuda") == "bf16"
    assert half_precision("mps", macos="13.7") is None
    assert half_precision("mps", macos="14") == half_precision("mps") == "bf16"


@pytest.mark.parametrize(
    ("version", "known"),
    [("14.5.1", (14, 5)), ("26", (26, 0)), ("", None), ("beta", None), ("15.x", (15, 0))],
)
def test_a_release_is_read_from_its_version(version: str, known: tuple[int, int] | None) -> None:
    assert release(version) == known
