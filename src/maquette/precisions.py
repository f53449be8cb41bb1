"""Which precision a device computes in: what `auto` means on it and why, and who has arithmetic for bf16."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

AMPERE = (8, 0)
"""Compute capability from which CUDA cards compute in bf16."""
MACOS_WITH_BF16 = (14, 0)
"""macOS release from which Apple's GPU takes bf16: PyTorch refuses it before (torch.amp, MPS)."""
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of processors that multiply in bf16, as Linux tells them: two of x86, the last of Arm."""


@dataclass(frozen=True)
class Automatic:
    """What `auto` means on a device."""

    precision: Literal["no", "bf16", "fp16"]
    reason: str


def automatic_precision(kind: str, capability: tuple[int, int] | None = None) -> Automatic:
    """Return the precision for a device of `kind` (cuda, rocm, mps, cpu …); the capability of a CUDA card, None where unknown."""
    if kind == "cuda" and capability is not None and capability < AMPERE:
        major, minor = capability
        return Automatic(
            "fp16",
            f"the card has compute capability {major}.{minor}, and bf16 needs 8.0; the loss is scaled so that gradients "
            "do not vanish",
        )
    if kind in ("cuda", "rocm"):
        return Automatic("bf16", "the card computes in bf16, which reaches as far as float32")
    if kind == "mps":
        return Automatic(
            "no",
            "float32 is the safe one on Apple's GPU; --precision bf16 halves the memory on macOS 14 and later",
        )
    return Automatic("no", "a processor computes in float32")


def half_precision(
    kind: str,
    *,
    capability: tuple[int, int] | None = None,
    bf16_flags: tuple[str, ...] | None = None,
    macos: str = "",
) -> Literal["bf16", "fp16"] | None:
    """Return the half precision that pays on a device, None where none does; what is not known is taken for able.

    capability: of a CUDA card. bf16_flags: of the processor (`bf16_arithmetic`). macos: its release.
    """
    if kind == "cpu":
        return None if bf16_flags == () else "bf16"
    if kind == "mps":
        known = release(macos)
        return "bf16" if known is None or known >= MACOS_WITH_BF16 else None
    return "fp16" if capability is not None and capability < AMPERE else "bf16"


def bf16_arithmetic(flags: Iterable[str]) -> tuple[str, ...]:
    """Return those of a processor's flags that say that it multiplies in bf16."""
    return tuple(sorted(BF16_FLAGS.intersection(flags)))


def release(version: str) -> tuple[int, int] | None:
    """Return (14, 5) of the version `14.5.1`; None of what is none."""
    parts = version.split(".")
    if not parts[0].isdigit():
        return None
    minor = parts[1] if len(parts) > 1 else "0"
    return int(parts[0]), int(minor) if minor.isdigit() else 0
