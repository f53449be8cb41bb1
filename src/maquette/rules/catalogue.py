"""Every rule: importing the modules of this room registers them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from maquette.findings.registry import RULES, Rule

RULE_MODULES = (
    "maquette.rules.unusable",
    "maquette.rules.foreign",
    "maquette.rules.caption_words",
    "maquette.rules.caption_lists",
    "maquette.rules.captions",
    "maquette.rules.caption_syntax",
    "maquette.rules.caption_texts",
    "maquette.rules.folders",
    "maquette.rules.masks",
    "maquette.rules.held_out",
    "maquette.rules.picture_sets",
    "maquette.rules.pictures",
    "maquette.rules.kernels",
    "maquette.rules.preservation",
    "maquette.rules.regularization",
    "maquette.rules.steps",
    "maquette.rules.triggers",
    "maquette.rules.environment",
    "maquette.rules.bf16",
    "maquette.rules.logs",
    "maquette.rules.options",
    "maquette.rules.rates",
    "maquette.rules.resources",
    "maquette.rules.samples",
    "maquette.rules.saving",
    "maquette.rules.settings",
    "maquette.rules.showings",
    "maquette.rules.sizes",
    "maquette.rules.models",
    "maquette.rules.lora_files",
    "maquette.rules.lora_weights",
)

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
