"""What the rules over LoRA files find in one, for whoever holds its facts already."""

from __future__ import annotations

from maquette.findings.records import Finding, worst_first
from maquette.findings.registry import run_rules
from maquette.lora.facts import LoraFacts
from maquette.rules.catalogue import all_rules

GROUP = "LOR"


def judge_lora(facts: LoraFacts) -> list[Finding]:
    """Return what the rules over LoRA files find in a file with these facts, worst first."""
    rules = [rule for code, rule in all_rules().items() if code.startswith(GROUP)]
    found, _ = run_rules(rules, {LoraFacts: facts})
    return worst_first(found)
