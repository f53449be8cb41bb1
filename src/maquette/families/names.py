"""What a file's or hub model's name says of its family. Names promise; only the tensors prove."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from maquette.families import FAMILIES
from maquette.families.common.distilled import distilled_in_name
from maquette.families.protocol import FamilySpec


def bare_name(base: str) -> str:
    """Return the last part of a path or hub name, without the ending of weight files."""
    name = PurePosixPath(base.replace("\\", "/").rstrip("/")).name
    return re.sub(r"\.(safetensors|ckpt|pt|bin)$", "", name, flags=re.IGNORECASE)


def distilled_name(base: str) -> str:
    """Return the word of a path's or hub model's name by which it draws in a few steps; empty for none."""
    return distilled_in_name(bare_name(base))


def specs_named(base: str) -> list[FamilySpec]:
    """Return the families that the name of `base` sounds like."""
    name = bare_name(base)
    specs = (family.spec for family in FAMILIES.values())
    return [spec for spec in specs if spec.name_pattern and re.search(f"(?i){spec.name_pattern}", name)]


def is_plain_base(spec: FamilySpec, base: str) -> bool:
    """Return whether the name is that of the family's own base, or of one made for photographs."""
    name = bare_name(base)
    plain = bool(spec.plain_name_pattern) and re.search(f"(?i){spec.plain_name_pattern}", name)
    return bool(plain) or bool(re.search(r"(?i)realis|photo(?!shop)|analog", name))
