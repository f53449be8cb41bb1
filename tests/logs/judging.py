"""What `check` finds in the text of a log."""

from __future__ import annotations

from pathlib import Path

from maquette.findings.records import Finding
from maquette.findings.registry import run_rules
from maquette.logs.facts import LogFacts
from maquette.logs.reading import read_log
from maquette.rules.catalogue import all_rules

ACCELERATE = r"""Traceback (most recent call last):
  File "C:\Python310\lib\runpy.py", line 196, in _run_module_as_main
    return _run_code(code, main_globals, None,
  File "E:\kohya\venv\lib\site-packages\accelerate\commands\launch.py", line 637, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['E:\\kohya\\venv\\Scripts\\python.exe', 'train.py']' returned non-zero exit status 1.
"""
"""What the launcher adds to every failure."""


def judged(folder: Path, text: str, name: str = "train.log") -> list[Finding]:
    """Return the findings of a log with `text`, the gravest first."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return judged_facts(read_log(path))


def judged_facts(facts: LogFacts) -> list[Finding]:
    """Return the findings of a log's facts."""
    found, _ = run_rules(list(all_rules().values()), {LogFacts: facts})
    order = {"error": 0, "warning": 1, "hint": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def words(finding: Finding) -> str:
    """Return all that a finding says, in small letters."""
    return f"{finding.message} {finding.remedy}".lower()
