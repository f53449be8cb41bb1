"""Adapters of kinds that Maquette does not train or draw with: how to tell that a tensor is one's."""

from __future__ import annotations

MARKS = ("hada_", "lokr_", "oft_", "boft_", "dora_scale", "lora_magnitude_vector", "lora_mid")
"""How a part between dots of such a tensor's name begins: LoHa, LoKr, OFT, BOFT, DoRA (kohya's, PEFT's), LoCon with a middle."""
LAST = ("diff", "diff_b")
"""What stands last in the name of a whole difference of weights or biases."""
TITLES = "LoHa, LoKr, OFT, DoRA, LoCon with a middle"


def split_foreign_name(name: str) -> tuple[str, str] | None:
    """Return (module name, the rest) of a tensor of another kind of adapter, or None when it is none."""
    parts = name.split(".")
    for place, part in enumerate(parts[1:], 1):
        if part.startswith(MARKS) or (part in LAST and place == len(parts) - 1):
            return ".".join(parts[:place]), ".".join(parts[place:])
    return None
