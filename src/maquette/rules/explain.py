"""The pages of the rules, made from their docstrings: for the terminal, and for docs/rules/."""

from __future__ import annotations

from collections.abc import Mapping

from maquette.errors import ConfigError, Problem, nearest
from maquette.findings.registry import PAGE_PARTS, Rule
from maquette.rules.catalogue import GROUPS, all_rules

TITLES = {
    "Why": "What goes wrong",
    "Found by": "How it is found",
    "Do": "What to do",
    "Fault": "Example",
    "Instead": "Instead",
    "Source": "Where the rule comes from",
}
REPAIRS = {
    "none": "",
    "safe": "`check --fix` repairs it: no meaning changes, nothing is lost",
    "decides": "`check --fix` repairs it, deciding something for you: look at it afterwards",
}
GRAVITY = {
    "error": "error: the run fails, or its result is wrong",
    "warning": "warning: likely harm",
    "hint": "hint: worth knowing",
}


def rule_named(name: str) -> Rule:
    """Return the rule with this code or name. Raises ConfigError with the nearest one."""
    rules = all_rules()
    for each in rules.values():
        if name.upper() == each.code or name.lower() == each.name:
            return each
    guess = nearest(name, [*rules, *(each.name for each in rules.values())])
    remedy = f"Did you mean '{guess}'?" if guess else "List them: maquette check --rules"
    raise ConfigError(Problem("--explain", f"'{name}'", "a rule's code or name", remedy))


def terminal_page(rule: Rule) -> list[str]:
    """Return the page of a rule as lines of text, not wrapped."""
    lines = [f"{rule.code} {rule.name}", GRAVITY[rule.severity], f"since {rule.since}"]
    lines += [REPAIRS[rule.repair]] if rule.repair != "none" else []
    lines += ["", rule.summary]
    for part in PAGE_PARTS:
        if part in rule.parts:
            lines += ["", TITLES[part], rule.parts[part]]
    return lines


def markdown_page(rule: Rule) -> str:
    """Return the page of a rule as Markdown."""
    lines = [
        f"# {rule.code} {rule.name}\n",
        " · ".join(
            part
            for part in (
                f"**{rule.severity}**",
                GROUPS[rule.group],
                f"since {rule.since}",
                REPAIRS[rule.repair],
            )
            if part
        )
        + "\n",
        f"{rule.summary}\n",
    ]
    for part in PAGE_PARTS:
        if part in rule.parts:
            lines.append(f"## {TITLES[part]}\n\n{rule.parts[part]}\n")
    lines.append(f"Silence it: `maquette check PATH --ignore {rule.code}`, or in `maquette.toml`:\n")
    lines.append(f'```toml\n[check]\nignore_rules = ["{rule.code}"]\n```\n')
    lines.append("[All rules](index.md)\n")
    return "\n".join(lines)


def markdown_index(rules: Mapping[str, Rule]) -> str:
    """Return the tables of all rules, one for each group."""
    parts = []
    for group, title in GROUPS.items():
        members = [rule for rule in rules.values() if rule.group == group]
        if not members:
            continue
        parts += [f"## {title}\n", "| rule | name | severity | what it says |", "| --- | --- | --- | --- |"]
        parts += [
            f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.severity} | {rule.summary} |"
            for rule in members
        ]
        parts.append("")
    return "\n".join(parts)
