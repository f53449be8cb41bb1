"""Adapters of kinds that Maquette does not train or draw with: how to tell that a tensor is one's, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable

TITLES: dict[str, str] = {
    "hada_t": "LoHa with a Tucker core",
    "hada_": "LoHa",
    "lokr_t": "LoKr with a Tucker core",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "rescale": "OFT with a rescale",
    "boft_": "BOFT",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_mid": "LoCon with a middle",
    "lora_E": "AdaLoRA",
    "ia3_l": "(IA)³",
    "on_input": "(IA)³",
    "vera_lambda": "VeRA",
    "a1": "GLoRA",
    "a2": "GLoRA",
    "b1": "GLoRA",
    "b2": "GLoRA",
    "diff": "whole differences of weights",
    "diff_b": "whole differences of weights",
    "w_norm": "norm layers",
    "b_norm": "norm layers",
    "set_weight": "whole weights",
    "reshape_weight": "widened layers",
}
"""What a part between dots of such a tensor's name is, or begins with where it ends in an underline, and the kind's title.
LyCORIS, PEFT and ComfyUI write these."""
BESIDE_ON_INPUT = "weight"
"""(IA)³ of LyCORIS keeps its vector as `KEY.weight`, which tells nothing without `KEY.on_input` beside it."""
_STARTS = (
    *(mark for mark in TITLES if mark.endswith("_")),
    "dora_scale",
    "lora_magnitude_vector",
    "lora_mid",
    "ia3_l",
    "vera_lambda",
)
_LAST = (
    "diff",
    "diff_b",
    "w_norm",
    "b_norm",
    "set_weight",
    "reshape_weight",
    "on_input",
    "lora_E",
    "rescale",
)
_GLORA = ("a1", "a2", "b1", "b2")


def split_foreign_name(name: str) -> tuple[str, str] | None:
    """Return (module name, the rest) of a tensor of another kind of adapter, or None when it is none."""
    parts = name.split(".")
    for place, part in enumerate(parts[1:], 1):
        is_last = place == len(parts) - 1
        glora = part in _GLORA and parts[place + 1 :] == ["weight"]
        if part.startswith(_STARTS) or (part in _LAST and is_last) or glora:
            return ".".join(parts[:place]), ".".join(parts[place:])
    return None


def titles_of(marks: Iterable[str]) -> str:
    """Return what the kinds of adapters are called whose tensors are named so: `LoHa`, `DoRA and LoKr`."""
    found = dict.fromkeys(title for mark in marks if (title := _title(mark.split(".")[0])))
    return " and ".join(found) or "another kind"


def _title(part: str) -> str | None:
    if part == BESIDE_ON_INPUT:
        return TITLES["on_input"]
    return next(
        (
            title
            for mark, title in TITLES.items()
            if part == mark or (part.startswith(mark) and len(mark) > 2)
        ),
        None,
    )
