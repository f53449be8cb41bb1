"""What was measured of earlier evaluations, as the price of the next one reads it."""

from __future__ import annotations

from pathlib import Path

from maquette.evaluating.price import Timing, read_timings


def test_what_is_no_timing_is_passed_over(tmp_path: Path) -> None:
    kept = Timing(base="a", device="cpu", drawn=3, work=9.0, seconds=2.5)
    kept.add(tmp_path)
    Timing(base="a", device="cpu").add(tmp_path)
    with (tmp_path / "timings.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"base": 1}\n[]\n{"base": "a", "devi')
    assert list(read_timings(tmp_path)) == [kept]
