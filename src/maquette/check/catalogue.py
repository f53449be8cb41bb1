"""Every rule of every room: importing a room's rules registers them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from maquette.findings.registry import RULES, Rule

RULE_MODULES = (
    "maquette.check.rules",
    "maquette.dataset.rules_caption_words",
    "maquette.dataset.rules_captions",
    "maquette.dataset.rules_folders",
    "maquette.dataset.rules_picture_sets",
    "maquette.dataset.rules_pictures",
    "maquette.dataset.rules_steps",
    "maquette.dataset.rules_triggers",
    "maquette.training.rules_environment",
    "maquette.training.rules_logs",
    "maquette.training.rules_options",
    "maquette.training.rules_rates",
    "maquette.training.rules_resources",
    "maquette.training.rules_saving",
    "maquette.training.rules_settings",
    "maquette.families.rules",
    "maquette.lora.rules",
    "maquette.lora.rules_weights",
)
"""Where rules are kept: beside what they judge."""

GROUPS = {
    "CHK": "Input as a whole",
    "STP": "Repeats and steps",
    "ENV": "Environment",
    "MOD": "Base model",
    "PIC": "Pictures",
    "CAP": "Captions",
    "SET": "Settings",
    "LOG": "Training logs",
    "LOR": "LoRA files",
}


def all_rules() -> Mapping[str, Rule]:
    """Return every rule by code, in the order of the codes."""
    for module in RULE_MODULES:
        importlib.import_module(module)
    return {code: RULES[code] for code in sorted(RULES)}
