"""Writes the tables of well-known layouts that are shipped: parts and adaptable layers, traced passes.

    python tools/make_tables.py            write them all
    python tools/make_tables.py sdxl       those whose family or file name holds the word

They depend on the installed torch, diffusers and transformers; `tests/footprint/test_tables.py` says when one is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import maquette  # noqa: F401 (before torch: it says how torch's libraries must start)
from maquette import families
from maquette.families.common import layers, stored
from maquette.families.protocol import Layout
from maquette.families.tiny import LAYOUTS
from maquette.footprint import workload
from maquette.world.pack import base_path

Table = tuple[Path, Callable[[], dict[str, Any]]]


def known_layouts() -> list[Layout]:
    """Return the layouts whose tables are shipped: published models, the small world, the tiny models of tests."""
    small_world = families.layout_of(families.inspect(base_path()))
    sizes = [size for _, *sizes in LAYOUTS.values() for size in sizes]
    return [*sizes, small_world]


def tables() -> Iterator[Table]:
    """Yield (place, what makes it) of every shipped table."""
    for layout in known_layouts():
        family = families.FAMILIES[layout.family]
        yield (
            stored.SHIPPED / f"{layers.table_name(layout)}.json.gz",
            lambda family=family, layout=layout: layers.parts_table(family, layout),
        )
        yield (
            workload.SHIPPED / f"{workload.coding_name(layout)}.json.gz",
            lambda layout=layout: workload.coding_table(layout),
        )
        for parts, conv in product(workload.PARTS_CHOICES, (False, True)):
            yield (
                workload.SHIPPED / f"{workload.training_name(layout, parts, conv)}.json.gz",
                lambda layout=layout, parts=parts, conv=conv: workload.training_table(layout, parts, conv),
            )


def main() -> None:
    """Write the tables that the command line names."""
    for path, make in tables():
        if len(sys.argv) < 2 or any(word in path.name for word in sys.argv[1:]):
            stored.write_table(path, make())
            print(path)


if __name__ == "__main__":
    main()
