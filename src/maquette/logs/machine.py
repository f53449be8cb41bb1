"""The machine that a log names: its card, its memory, its system. A remedy must fit it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
Device = Literal["cuda", "rocm", "mps", "xpu", "cpu"]
System = Literal["windows", "mac", "linux"]

LARGE_GIB = 20.0
_CARD = re.compile(
    r"(?:NVIDIA )?(?:GeForce )?\b(?P<card>(?:RTX|GTX|GT|Tesla|Quadro|TITAN|Titan)[ -](?:A?\d{3,4}|[VTPK]\d{1,3}|RTX|Xp?|V)\b"
    r"(?: ?(?:Ti|SUPER|Super|Ada|Laptop|Max-Q|D))*|A100|A10G?|A40|H100|H200|L4|L40S?|B200)(?![\w-])"
)
_NAMED = re.compile(
    r"NVIDIA|GeForce|detected GPU|Device:? ?(?:name)?|cuda:\d|GPU ?\d|VRAM|Tesla", re.IGNORECASE
)
_AMD = re.compile(r"\bgfx\d{3,4}\b|\bHIP\b|\bROCm\b|Radeon|detected AMD GPU", re.IGNORECASE)
_MAC = re.compile(
    r"\bMPS backend\b|\bMPS\b.{0,40}allocated|device:? ?'?mps\b|\('?mps'?\)|\(not 'mps'\)|/opt/homebrew/|\bmacOS\b|Darwin|"
    r"\bmps:0\b"
)
_MAC_PATH = re.compile(r"(?:^|[\s\"'=(])/Users/[\w.-]{1,60}/")
_WINDOWS = re.compile(
    r"\b[A-Za-z]:\\{1,2}[\w. -]|\.exe\b|\bWinError\b|\bos error 1455\b|cmd\.exe|PowerShell", re.I
)
_LINUX = re.compile(r"(?:^|[\s\"'=(])/(?:home|root|workspace|content|mnt|kaggle)/")
_MEMORY = (
    re.compile(r"total capacity of (?P<gib>\d{1,4}(?:\.\d{1,3})?) GiB"),
    re.compile(r"(?P<gib>\d{1,4}(?:\.\d{1,3})?) GiB total capacity"),
    re.compile(r"\bVRAM:? (?P<mib>\d{4,6})(?: ?MB)?\b"),
)
_OLD = re.compile(r"GTX|Tesla|GT \d|Quadro [PKM]|TITAN|RTX[ -]20\d\d|\b[VTPK]\d{1,3}\b", re.IGNORECASE)


_ACCELERATORS: tuple[Device, ...] = ("cuda", "mps", "cpu", "xpu")
_SYSTEMS: dict[System, re.Pattern[str]] = {"windows": _WINDOWS, "mac": _MAC_PATH, "linux": _LINUX}


@dataclass(frozen=True, kw_only=True)
class LogMachine:
    """What the log says of the machine; None where it says nothing."""

    device: Device | None = None
    card: str | None = None
    memory_gib: float | None = None
    system: System | None = None

    @property
    def marks(self) -> frozenset[str]:
        """What remedies ask for: the device, the system, whether the card is large, whether it is too old for bf16."""
        marks: set[str] = {mark for mark in (self.device, self.system) if mark is not None}
        if self.memory_gib is not None and self.memory_gib >= LARGE_GIB:
            marks.add("large")
        if self.card is not None and _OLD.search(self.card):
            marks.add("old")
        return frozenset(marks)

    @property
    def words(self) -> str:
        """The machine in a few words, or nothing."""
        memory = f"{self.memory_gib:.4g} GiB" if self.memory_gib else ""
        return ", ".join(part for part in (self.card or "", memory) if part)


class MachineReader:
    """Gathers the machine line by line; a card says more than what a line guesses."""

    def __init__(self) -> None:
        self._devices: Counter[Device] = Counter()
        self._systems: Counter[System] = Counter()
        self._card: str | None = None
        self._memory_gib: float | None = None

    def read(self, text: str) -> None:
        """Take in one line."""
        if self._card is None and _NAMED.search(text) and (card := _CARD.search(text)) is not None:
            self._card = card["card"]
        for pattern in _MEMORY if "iB" in text or "VRAM" in text else ():
            if (found := pattern.search(text)) is not None:
                named = found.groupdict()
                self._memory_gib = float(named["gib"]) if named.get("gib") else int(named["mib"]) / 1024
        self._device(text)
        self._system(text)

    def _device(self, text: str) -> None:
        if _AMD.search(text):
            self._devices["rocm"] += 1
        if _MAC.search(text):
            self._devices["mps"] += 1
            self._systems["mac"] += 1
        if "accelerator device: " in text:
            kind = text.partition("accelerator device: ")[2].strip().split(":")[0]
            if (named := next((device for device in _ACCELERATORS if device == kind), None)) is not None:
                self._devices[named] += 1
        if "CUDA out of memory" in text or "nVidia CUDA" in text:
            self._devices["cuda"] += 1

    def _system(self, text: str) -> None:
        for name, pattern in _SYSTEMS.items():
            if pattern.search(text):
                self._systems[name] += 1

    def machine(self) -> LogMachine:
        """Return what was gathered."""
        device: Device | None = _most(self._devices) if self._card is None else "cuda"
        return LogMachine(
            device=device,
            card=self._card,
            memory_gib=self._memory_gib,
            system=_most(self._systems),
        )


def _most(counts: Counter[T]) -> T | None:
    """Return what was seen most often, the first of equals; None where nothing was."""
    return max(counts, key=lambda name: counts[name]) if counts else None
