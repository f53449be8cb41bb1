"""Laws of the registry: rules run when their facts are at hand, names mean what they say, pages are whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.findings.records import Finding, Fix, WriteText, worst_first
from maquette.findings.registry import Report, Rule, chosen, run_rules


@dataclass(frozen=True)
class Weather:
    raining: bool


@dataclass(frozen=True)
class Umbrella:
    colour: str


def wet(weather: Weather, umbrella: Umbrella | None, report: Report) -> Iterator[Finding]:
    """Rain falls on those without umbrella.

    Why: Water
      is wet.
    Found by: looking up.
    Do: Open it.
    Source: everybody.
    """
    if weather.raining and umbrella is None:
        yield report(Path("street"), "line 3", "It rains.", "Go inside.")


def coloured(umbrella: Umbrella, report: Report) -> Iterator[Finding]:
    """Umbrellas have colours."""
    yield report(None, umbrella.colour, "A colour.", "Look.", severity="hint")


RULES = {
    "WET001": Rule("WET001", "wet", "error", wet),
    "COL001": Rule("COL001", "coloured", "warning", coloured),
}


def test_a_rule_runs_when_what_it_needs_is_there_and_no_sooner() -> None:
    findings, ran = run_rules(RULES.values(), {Weather: Weather(True)})
    assert [finding.code for finding in findings] == ["WET001"]
    assert ran == ["WET001"]
    findings, ran = run_rules(RULES.values(), {Weather: Weather(True), Umbrella: Umbrella("red")})
    assert [finding.code for finding in findings] == ["COL001"], "the optional fact reached the first rule"
    assert ran == ["WET001", "COL001"]


def test_code_and_severity_come_from_the_rule_unless_it_says_otherwise() -> None:
    findings, _ = run_rules(RULES.values(), {Weather: Weather(True)})
    assert findings[0].severity == "error"
    findings, _ = run_rules(RULES.values(), {Umbrella: Umbrella("red")})
    assert findings[0].severity == "hint"


def test_the_docstring_is_the_page() -> None:
    rule = RULES["WET001"]
    assert rule.summary == "Rain falls on those without umbrella."
    assert rule.parts == {
        "Why": "Water is wet.",
        "Found by": "looking up.",
        "Do": "Open it.",
        "Source": "everybody.",
    }


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        ((), (), ["COL001", "WET001"]),
        (("WET",), (), ["WET001"]),
        (("wet001",), (), ["WET001"]),
        (("coloured",), (), ["COL001"]),
        ((), ("COL",), ["WET001"]),
        (("WET", "COL"), ("wet",), ["COL001"]),
    ],
)
def test_rules_are_chosen_by_code_beginning_or_name(
    select: tuple[str, ...], ignore: tuple[str, ...], expected: list[str]
) -> None:
    assert [rule.code for rule in chosen(RULES, select, ignore)] == expected


def test_a_name_that_means_nothing_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="WET001"):
        chosen(RULES, ("WET01",))
    with pytest.raises(ConfigError) as caught:
        chosen(RULES, ("",), ("zzz",))
    assert len(caught.value.problems) == 1, "select is looked at first"


def test_worst_come_first() -> None:
    def finding(severity: str, code: str) -> Finding:
        return Finding(code=code, severity=severity, path=None, message="m", remedy="r")  # type: ignore[arg-type]

    mixed = [
        finding("hint", "AAA001"),
        finding("error", "BBB001"),
        finding("warning", "AAA001"),
        finding("error", "AAA002"),
    ]
    assert [(f.severity, f.code) for f in worst_first(mixed)] == [
        ("error", "AAA002"),
        ("error", "BBB001"),
        ("warning", "AAA001"),
        ("hint", "AAA001"),
    ]


def test_json_says_whether_it_can_be_repaired() -> None:
    plain = Finding(code="AAA001", severity="hint", path=Path("a.txt"), message="m", remedy="r")
    repaired = Finding(
        code="AAA001",
        severity="hint",
        path=Path("a.txt"),
        place="line 1",
        message="m",
        remedy="r",
        fix=Fix("write it", (WriteText(Path("a.txt"), "x"),)),
        repair="safe",
    )
    assert plain.to_json()["fixable"] is False
    assert repaired.to_json() == {
        "code": "AAA001",
        "severity": "hint",
        "path": "a.txt",
        "place": "line 1",
        "message": "m",
        "remedy": "r",
        "fixable": True,
        "fix": "write it",
        "repair": "safe",
    }
