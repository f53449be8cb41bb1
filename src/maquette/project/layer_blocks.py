"""What `[lora] blocks` says: other sizes and rates for some layers, `PATTERN: RULE` each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maquette.errors import did_you_mean

Rule = Mapping[str, int | float | bool]
"""Of rank, alpha, conv_rank, conv_alpha, lr and off those that are said."""
OFF = ("off", "0")
_BOUNDS: Mapping[str, tuple[type, float, float]] = {
    "rank": (int, 0, 1024),
    "alpha": (float, 0, 1e6),
    "conv_rank": (int, 0, 1024),
    "conv_alpha": (float, 0, 1e6),
    "lr": (float, 0, 1000),
}


def parse_blocks(texts: Iterable[str]) -> tuple[tuple[str, Rule], ...]:
    """Return each entry as its pattern and its rule. Raises ValueError naming everything that cannot be read."""
    found, wrong = [], []
    for text in texts:
        pattern, colon, said = (part.strip() for part in text.partition(":"))
        if not colon or not pattern or not said:
            wrong.append(f"'{text}' must be PATTERN: RULE, like IN01: rank=4, lr=0.5 or MID: off")
            continue
        rule, problems = _rule(said)
        wrong += [f"'{text}': {problem}" for problem in problems]
        found.append((pattern, rule))
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(found)


def _rule(said: str) -> tuple[Rule, list[str]]:
    if said.replace(" ", "") in OFF:
        return {"off": True}, []
    rule: dict[str, int | float | bool] = {}
    problems = []
    for part in (f"rank={said}" if said.isdecimal() else said).split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in _BOUNDS:
            problems.append(f"there is no '{name}'. {did_you_mean(name, _BOUNDS)}")
            continue
        kind, least, most = _BOUNDS[name]
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            words = "a whole number" if kind is int else "a number"
            problems.append(f"{name} must be {words} from {least:g} to {most:g}, not '{value}'")
        else:
            rule[name] = number
    return rule, problems


def written(rule: Rule) -> str:
    """Return a rule as settings say it."""
    if rule.get("off"):
        return "off"
    return ", ".join(f"{name}={value:.9g}" for name, value in rule.items())
