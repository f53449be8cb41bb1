"""Settings that real projects proved, chosen by the base's native size, the kind of subject and the number of pictures.

They lie in `presets.toml`, each value with its reason. Their names say what they are for, never a model family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.footprint.memory import DeviceKind
from maquette.project.settings import SECTION_OF
from maquette.project.settings_text import Reasoned
from maquette.reading import parse_toml

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that one project proved, and what they were found on."""

    name: str
    title: str
    native_px: int
    """Native edge of the bases that it is for, px."""
    kinds: tuple[str, ...]
    pictures: tuple[int, int]
    """How many pictures it suits."""
    device: DeviceKind
    memory_gb: int
    """The smallest machine that it is for: the card's memory, on Apple silicon all of the computer's."""
    source: str
    settings: Mapping[str, Reasoned]
    elsewhere: Mapping[str, Reasoned]
    """What the project used besides and the preset does not set."""

    def values(self) -> dict[str, Any]:
        """Return its settings as flags would give them."""
        return {name: entry.value for name, entry in self.settings.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "native_px": self.native_px,
            "kinds": list(self.kinds),
            "pictures": list(self.pictures),
            "machine": {"device": self.device, "memory_gb": self.memory_gb},
            "source": self.source,
            "settings": {name: vars(entry) for name, entry in self.settings.items()},
            "elsewhere": {name: vars(entry) for name, entry in self.elsewhere.items()},
        }


@cache
def presets() -> tuple[Preset, ...]:
    """Return every preset that ships, in the order of the file."""
    tables = parse_toml(FILE.read_text(encoding="utf-8"))["preset"]
    return tuple(_preset(table) for table in tables)


def preset_named(name: str) -> Preset:
    """Return the preset of that name. Raises ConfigError with the nearest one."""
    known = {preset.name: preset for preset in presets()}
    if name not in known:
        raise ConfigError(
            Problem(
                "--preset", name, "a preset (maquette plan --presets lists them)", did_you_mean(name, known)
            )
        )
    return known[name]


def fitting_presets(native_px: int, kind: str | None, pictures: int) -> tuple[Preset, ...]:
    """Return the presets for such a base and subject, those made for about so many pictures first."""
    suited = [
        preset
        for preset in presets()
        if preset.native_px == native_px and (kind is None or kind in preset.kinds)
    ]
    return tuple(sorted(suited, key=lambda preset: _distance(preset, pictures)))


def _distance(preset: Preset, pictures: int) -> float:
    """Return 0 within the preset's range of pictures, else by what factor they are off."""
    low, high = preset.pictures
    return 0.0 if low <= pictures <= high else max(low / max(pictures, 1), pictures / high)


def _preset(table: Mapping[str, Any]) -> Preset:
    settings = {name: Reasoned(*entry) for name, entry in table["settings"].items()}
    unknown = settings.keys() - SECTION_OF.keys()
    assert not unknown, f"{FILE.name}: {table['name']} sets {unknown}"
    low, high = table["pictures"]
    return Preset(
        name=table["name"],
        title=table["title"],
        native_px=table["native_px"],
        kinds=tuple(table["kinds"]),
        pictures=(low, high),
        device=table["machine"]["device"],
        memory_gb=table["machine"]["memory"],
        source=table["source"],
        settings=settings,
        elsewhere={name: Reasoned(*entry) for name, entry in table.get("elsewhere", {}).items()},
    )
