"""`maquette check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.checking.options import CheckOptions
from maquette.cli.options import given_of, options_of
from maquette.cli.output import follow, painted, result_command, say
from maquette.cli.tasks import Task, chosen_task, names_of
from maquette.spoken import counted

CHECK = Task(heeds=names_of(CheckOptions))
RULES = Task(asked_by=("list_rules",), heeds=("select", "ignore"))
EXPLAIN = Task(asked_by=("explain",))
UNDO = Task(asked_by=("undo",))
A_CARD = {
    "kind": "cuda", "name": "RTX 4090", "total_bytes": 25757220864, "free_bytes": None, "compute_capability": [8, 9],
    "processes": [],
}  # fmt: skip
"""A card as a machine's file describes it, for one who has none to look at."""
THIS_MACHINE = Task(asked_by=("machine",))
COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


@result_command(
    click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH…"),
    *options_of(CheckOptions),
    click.option("--undo", is_flag=True, help="Take back the latest repairs made at PATH."),
    click.option("--rules", "list_rules", is_flag=True, help="List every rule."),
    click.option("--explain", metavar="CODE", help="Print a rule's page."),
    name="check",
)
def command(paths: tuple[Path, ...], **given: Any) -> dict[str, Any]:
    """Find the known mistakes before they cost GPU time.

    PATH is a project, a folder of pictures, a kohya folder, a kohya dataset TOML or --config_file TOML, a shell script or
    saved command line of sd-scripts, a training log, a LoRA file or a base model. Several may be given.

    Exit code 1 when an error is found, else 0: warnings and hints do not fail.

    \b
      maquette check my-project
      maquette check dataset/train train.sh --profile profile.toml
      maquette check train.log
      maquette check --explain fp16-on-mps
    """
    is_this = given["machine"] == "this" and not paths
    given["machine"] = None if given["machine"] == "this" and paths else given["machine"]
    task = chosen_task((THIS_MACHINE,) if is_this else (CHECK, RULES, EXPLAIN, UNDO), given)
    if task is EXPLAIN:
        return _explained(given["explain"])
    if task is UNDO:
        return _undone(paths)
    if task is THIS_MACHINE:
        return _this_machine()
    options = CheckOptions(**given_of(CheckOptions, given))
    if task is RULES:
        return _listed(options.select, options.ignore)
    from maquette.checking.run import check_events

    return check_report(follow(check_events(paths, options)), paths)


def check_report(result: Any, paths: tuple[Path, ...]) -> dict[str, Any]:
    """Return what `check --json` prints, with the lines a person reads."""
    return {
        **result.to_json(),
        "exit_code": int(result.failed),
        "lines": [*_finding_lines(result.findings), *_summary_lines(result, paths)],
    }


def _finding_lines(findings: Any) -> list[str]:
    lines = []
    for finding in findings:
        head = painted(f"{finding.severity} {finding.code}", fg=COLOURS[finding.severity], bold=True)
        where = painted(finding.where or "this machine", bold=True)
        lines += [f"{head}  {where}", f"    {finding.message}", f"    → {finding.remedy}"]
        if finding.fix is not None:
            lines.append(f"    --fix: {finding.fix.summary}")
        lines.append("")
    return lines


def _summary_lines(result: Any, paths: tuple[Path, ...]) -> list[str]:
    counts = [counted(result.count(kind), kind) for kind in COLOURS if result.count(kind)]
    over = "; ".join(result.looked_at) or "nothing that could be read"
    rules = counted(len(result.rules_run), "rule") if result.rules_run else "no rule is about it alone"
    repairable = sum(finding.fixable for finding in result.findings)
    lines: list[str] = []
    where = " ".join(str(path) for path in paths)
    if result.fixed:
        lines.append(f"{counted(len(result.fixed), 'repair')} made; take back: maquette check {where} --undo")
    elif repairable:
        lines.append(f"{repairable} can be repaired: maquette check {where} --fix")
    if result.findings:
        lines.append(f"What a rule means: maquette check --explain {result.findings[0].code}")
    return [*lines, f"{', '.join(counts) or 'Nothing found'} in {over} ({rules})."]


def _explained(name: str) -> dict[str, Any]:
    import textwrap

    from maquette.rules.explain import rule_named, terminal_page

    rule = rule_named(name)
    lines = [wrapped for line in terminal_page(rule) for wrapped in textwrap.wrap(line, 88) or [""]]
    return {"code": rule.code, "name": rule.name, "severity": rule.severity, **_page(rule), "lines": lines}


def _page(rule: Any) -> dict[str, str]:
    return {
        "summary": rule.summary,
        **{part.lower().replace(" ", "_"): text for part, text in rule.parts.items()},
    }


def _listed(select: tuple[str, ...], ignore: tuple[str, ...]) -> dict[str, Any]:
    from maquette.findings.registry import chosen
    from maquette.rules.catalogue import GROUPS, all_rules

    rules = chosen(all_rules(), select, ignore)
    lines: list[str] = []
    for group, title in GROUPS.items():
        members = [rule for rule in rules if rule.group == group]
        lines += ["", painted(title, bold=True)] if members else []
        lines += [f"  {rule.code}  {rule.severity:<8} {rule.name:<28} {rule.summary}" for rule in members]
    return {
        "rules": [
            {"code": rule.code, "name": rule.name, "severity": rule.severity, "summary": rule.summary}
            for rule in rules
        ],
        "lines": [*lines[1:], "", f"{len(rules)} rules. A rule's page: maquette check --explain CODE"],
    }


def _this_machine() -> dict[str, Any]:
    import json

    from maquette.project.machine import machine_to_json
    from maquette.project.machine_look import look_at_machine

    described = machine_to_json(look_at_machine())
    if not described["gpus"]:
        say(f'No accelerator here. One stands in "gpus" as {json.dumps(A_CARD)}')
    return {**described, "lines": json.dumps(described, indent=2).splitlines()}


def _undone(paths: tuple[Path, ...]) -> dict[str, Any]:
    from maquette.checking.run import undo

    restored = undo(paths)
    return {
        "restored": [str(path) for path in restored],
        "lines": [*(f"restored: {path}" for path in restored), f"{len(restored)} files are as they were."],
    }
